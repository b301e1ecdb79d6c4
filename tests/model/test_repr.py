"""What a notebook shows of a model."""

import re

import pytest

from buir import BUIR
from buir.data import make_interactions, nested_split


def cells(text: str) -> dict[str, str]:
    """First column to the second of a table of two."""
    return dict(re.findall(r"<tr><th[^>]*>(.*?)</th><td[^>]*>(.*?)</td></tr>", text))


def test_an_unfitted_model_shows_what_was_changed():
    assert "<b>BUIR, not fitted</b>" in BUIR()._repr_html_()
    assert cells(BUIR()._repr_html_()) == {"changed": "nothing"}
    found = cells(BUIR(epochs=3, terms={"popularity": 0.3})._repr_html_())
    assert found == {"changed": "epochs=3, terms={&#x27;popularity&#x27;: 0.3}"}
    assert "<script>" not in BUIR(device="<script>")._repr_html_()


@pytest.fixture(scope="module")
def split():
    return nested_split(make_interactions(n_users=40, n_items=30, n_pairs=300, seed=0), 1.0, seed=0)


def test_a_fitted_model_shows_what_the_fit_came_to(split):
    model = BUIR(embedding_dim=4, epochs=4, encoder="graph", start="random", uniformity=0.0, device="cpu")
    model.fit(split.train, split.valid, show_progress=False)
    found = cells(model._repr_html_())
    assert found["users, items, pairs"] == f"40, 30, {split.train.n_pairs}"
    assert found["came to"] == str(model.chosen_)
    (best,) = [record for record in model.history if record["epoch"] == model.chosen_.epochs]
    assert found["health"].startswith(f"effective rank {best['effective_rank']:.1f} of 4, alignment")
    assert f"lists show {best['catalogue_share']:.0%} of what they could" in found["health"]
    assert "array" not in model._repr_html_()


def test_without_validation_the_last_state_is_the_one_kept(split):
    model = BUIR(embedding_dim=4, epochs=2, inner_validation=False, device="cpu").fit(split.train, show_progress=False)
    assert f"rank {model.history[-1]['effective_rank']:.1f} of 4" in model._repr_html_()
    model.seen_ = None
    assert cells(model._repr_html_())["users, items"] == "40, 30"

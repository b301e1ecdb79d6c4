"""The number of epochs that held-out pairs choose."""

import numpy as np
import pytest

from buir import BUIR
from buir.data import Interactions, splits
from buir.errors import InputError
from buir.model import choose_epochs

TINY = {"embedding_dim": 4, "batch_size": 50, "device": "cpu", "epochs": 6, "seed": 5}


def test_it_is_the_best_of_a_trial_with_these_settings():
    rng = np.random.default_rng(0)
    rows = sorted({(user, 2 * int(rng.integers(15)) + user % 2) for user in range(40) for _ in range(8)})
    data = Interactions.from_pairs(*zip(*rows, strict=True))
    train, held = splits.hold_out(data, 0.3, 5)
    assert data.n_items > 20
    trial = BUIR(**TINY).fit(train, held, show_progress=False)
    values = [record["ndcg_at_20"] for record in trial.history]
    chosen = choose_epochs(BUIR(**TINY), data, 0.3)
    assert chosen.value == max(values)
    assert chosen.model.epochs == trial.history[int(np.argmax(values))]["epoch"]
    assert chosen.model.get_params() | {"epochs": 6} == BUIR(**TINY).get_params()
    assert chosen.n_held == held.n_pairs
    assert not hasattr(chosen.model, "user_ids_")


def test_nothing_to_hold_out():
    with pytest.raises(InputError, match="2 pairs") as caught:
        choose_epochs(BUIR(**TINY), Interactions.from_pairs([1, 2], [1, 2]), 0.1)
    assert caught.value.argument == "valid_fraction"

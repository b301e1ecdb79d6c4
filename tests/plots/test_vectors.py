"""Pictures of vectors: singular values and principal components."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from buir import BUIR, plots
from buir.errors import InputError
from buir.learning import effective_rank
from buir.recommend import vectors_of
from tests.support.factors import Fixed


def test_singular_values_are_shares_with_their_effective_rank():
    # orthogonal rows of lengths 3 and 1: shares 3/4 and 1/4, effective rank exp(-.75 ln .75 - .25 ln .25) = 1.7548
    (axes,) = plots.spectrum(np.array([[3.0, 0.0], [0.0, 1.0]])).axes
    curve, mark = axes.lines
    np.testing.assert_allclose(np.asarray(curve.get_xydata()), [[1, 0.75], [2, 0.25]])
    assert mark.get_xdata()[0] == pytest.approx(1.7548, abs=1e-4)
    assert curve.get_label() == "effective rank 1.8 of 2"


def test_several_spectra_by_name():
    rng = np.random.default_rng(0)
    tables = {"even": np.eye(4), "tall": rng.normal(size=(50, 4))}
    (axes,) = plots.spectrum(tables).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "even: effective rank 4.0 of 4",
        f"tall: effective rank {effective_rank(tables['tall']):.1f} of 4",
    ]
    sigma = np.linalg.svd(tables["tall"], compute_uv=False)
    np.testing.assert_allclose(axes.lines[2].get_ydata(), sigma / sigma.sum())


def test_a_model_is_drawn_as_similar_items_compares_it():
    matrix = csr_array(np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]]))
    model = BUIR(embedding_dim=2, epochs=0, terms={"popularity": 1.0}, device="cpu").fit(matrix, show_progress=False)
    vectors = vectors_of(model, "item_factors", "a test")
    assert vectors.shape[1] < model.item_factors.shape[1]  # popularity has a coordinate of its own
    (axes,) = plots.spectrum(model).axes
    sigma = np.linalg.svd(vectors.astype(float), compute_uv=False)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), sigma / sigma.sum(), rtol=1e-6)


def test_the_map_is_the_plane_of_most_variance():
    angles = np.radians([0, 10, 180, 190])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) * [[1], [5], [1], [2]]  # lengths do not count
    figure = plots.item_map(vectors, [1, 2, 30, 4])
    (points,) = figure.axes[0].collections
    order = [0, 1, 3, 2]  # by popularity
    places, angle = np.asarray(points.get_offsets()), np.radians(5)
    expected = np.column_stack([np.cos(angles - angle), np.sin(angles - angle)])[order]
    signs = np.sign((places * expected).sum(axis=0))
    np.testing.assert_allclose(places * signs, expected, atol=1e-12)
    assert np.asarray(points.get_array()).tolist() == [1, 2, 4, 30]
    share = 100 * np.cos(angle) ** 2
    assert figure.axes[0].get_xlabel() == f"component 1 ({share:.0f} % of the variance)"
    assert figure.axes[1].get_ylabel() == "popularity"


def test_the_sign_of_a_component_is_not_left_to_the_machine():
    vectors = np.random.default_rng(0).normal(size=(9, 3))
    first, second = (
        np.asarray(plots.item_map(table, np.ones(9)).axes[0].collections[0].get_offsets())
        for table in (vectors, -vectors)
    )
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_popularity_of_a_model_is_its_training_pairs():
    seen = csr_array(np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0]]))
    model = Fixed(np.eye(3), np.array([[1.0, 0], [0, 1], [1, 1]]), seen)
    figure = plots.item_map(model)
    assert sorted(np.asarray(figure.axes[0].collections[0].get_array())) == [1, 1, 3]
    assert figure.axes[1].get_ylabel() == "training pairs"
    model.seen_ = None
    with pytest.raises(InputError, match="expected popularity: a number for each item") as caught:
        plots.item_map(model)
    assert caught.value.argument == "popularity"


@pytest.mark.parametrize("draw", [plots.spectrum, plots.item_map])
@pytest.mark.parametrize("wrong", [3, [[1.0, 2.0]], np.eye(3, dtype=int), np.ones(4)])
def test_what_is_no_table_of_vectors(draw, wrong):
    with pytest.raises(InputError, match=r"expected floats as vectors of shape \(n, d\), or a fitted model"):
        draw(wrong)


def test_vectors_that_cannot_be_drawn():
    with pytest.raises(InputError, match="all zero"):
        plots.spectrum(np.zeros((3, 2)))
    with pytest.raises(InputError, match="vectors of bad are all zero"):
        plots.spectrum({"good": np.eye(2), "bad": np.zeros((3, 2))})
    with pytest.raises(InputError, match="hold NaN"):
        plots.spectrum(np.array([[1.0, np.nan]]))
    with pytest.raises(InputError, match="vectors is empty, expected names"):
        plots.spectrum({})
    with pytest.raises(InputError, match="at least two items"):
        plots.item_map(np.ones((1, 4)))
    for popularity in ([1.0], [1, -1, 0], [1, 2, np.inf]):
        with pytest.raises(InputError, match=r"expected \(3,\): a finite number from 0 on"):
            plots.item_map(np.eye(3), popularity)

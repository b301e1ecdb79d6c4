"""The collapse monitor warns where it should, and says what to do."""

import warnings

import pytest

from buir.collapse import CollapseWarning, warn_of_collapse


def test_a_collapsed_representation():
    text = r"effective rank is 4\.2 of 64 dimensions and its lists show 12\.5% of the catalogue they could; raise momentum, lower learning_rate"
    with pytest.warns(CollapseWarning, match=text):
        warn_of_collapse({"effective_rank": 4.2, "catalogue_share": 0.125}, 64)


@pytest.mark.parametrize(("rank", "n_dimensions"), [(6.4, 64), (33.0, 64), (0.5, 9)])
def test_a_sound_one(rank: float, n_dimensions: int):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_collapse({"effective_rank": rank, "catalogue_share": 0.1}, n_dimensions)

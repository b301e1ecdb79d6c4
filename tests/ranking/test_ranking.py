import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array, csr_matrix

from buir.errors import InputError
from buir.ranking.selection import GROUP, largest, padded_width
from buir.ranking.top_k import FactorScorer, Scorer, top_k
from tests.support import oracles


class Table:
    """A scorer that reads a dense table, and hands out views of it."""

    def __init__(self, scores, device="cpu"):
        self.scores = torch.as_tensor(scores, dtype=torch.float32, device=device)

    @property
    def n_users(self):
        return self.scores.shape[0]

    @property
    def n_items(self):
        return self.scores.shape[1]

    def score_block(self, users):
        first, last = (int(users[0]), int(users[-1]) + 1) if len(users) else (0, 0)
        if np.array_equal(users, np.arange(first, last)):
            return self.scores[first:last]
        return self.scores[torch.from_numpy(users)]


def random_lists(rng, shape, share):
    return csr_array((rng.random(shape) < share).astype(np.float32))


def test_by_hand():
    user_factors = np.array([[1.0, 0.0], [0.0, 1.0]])
    item_factors = np.array([[3.0, 1.0], [1.0, 5.0], [2.0, 5.0], [0.0, -1.0]])
    ids, scores = top_k(FactorScorer(user_factors, item_factors), np.array([0, 1]), 3)
    np.testing.assert_array_equal(ids, [[0, 2, 1], [1, 2, 0]])  # user 1 ties on items 1 and 2
    np.testing.assert_array_equal(scores, [[3, 2, 1], [5, 5, 1]])
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32


def test_seen_denied_and_allowed_by_hand():
    scorer = Table([[5.0, 4.0, 3.0, 2.0, 1.0]] * 2)
    seen = csr_array(np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]))
    ids, _ = top_k(scorer, np.array([0, 1]), 3, exclude=seen, deny=np.array([2]))
    np.testing.assert_array_equal(ids, [[1, 3, 4], [0, 3, 4]])
    ids, scores = top_k(scorer, np.array([0, 1]), 3, exclude=seen, allow=np.array([4, 1, 1]))
    np.testing.assert_array_equal(ids, [[1, 4, -1], [4, -1, -1]])
    np.testing.assert_array_equal(scores, [[4, 1, -np.inf], [1, -np.inf, -np.inf]])
    own = csr_array(np.array([[1, 1, 0, 0, 1], [0, 1, 0, 1, 0]]))
    ids, _ = top_k(scorer, np.array([0, 1]), 2, exclude=seen, allow=own)
    np.testing.assert_array_equal(ids, [[1, 4], [3, -1]])
    ids, _ = top_k(scorer, np.array([0, 1]), 2, allow=np.array([0, 3, 4]), deny=csr_array(own))
    np.testing.assert_array_equal(ids, [[3, -1], [0, 4]])


def test_one_row_of_exclude_belongs_to_each_asked_user():
    scorer = Table([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    exclude = csr_array(np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0]]))
    ids, _ = top_k(scorer, np.array([2, 1, 2]), 1, exclude=exclude)
    np.testing.assert_array_equal(ids, [[0], [2], [1]])


@pytest.mark.parametrize("n_items", [1, 5, 63, 64, 65, 300, 3000])
@pytest.mark.parametrize("k", [1, 7, 64])
def test_equals_sorting(n_items, k):
    rng = np.random.default_rng(n_items + k)
    shape = (11, n_items)
    scores = rng.standard_normal(shape).astype(np.float32)
    exclude, own, deny = (random_lists(rng, shape, share) for share in (0.3, 0.6, 0.1))
    users = np.arange(11)
    for arguments in ({}, {"exclude": exclude}, {"exclude": exclude, "allow": own, "deny": deny}):
        ids, best = top_k(Table(scores), users, k, **arguments)
        expected = oracles.rank(scores, k, **{name: oracles.sets(lists) for name, lists in arguments.items()})
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_array_equal(best, expected[1])


@pytest.mark.parametrize("n_items", [40, 700, 4500])
@pytest.mark.parametrize("values", [1, 2, 5, 200])
def test_ties_go_to_the_lower_row(n_items, values):
    rng = np.random.default_rng(n_items * values)
    scores = rng.integers(-values, values, size=(8, n_items)).astype(np.float32)
    scores[3] = 0.0
    scores[4, ::2] = -0.0
    exclude = random_lists(rng, scores.shape, 0.2)
    for k in (1, 2, 10, 30):
        expected, _ = oracles.rank(scores, k, exclude=oracles.sets(exclude))
        ids, _ = top_k(Table(scores), np.arange(8), k, exclude=exclude)
        np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("k", [1, 6, 90, 400])
def test_items_that_score_nothing_are_ranked_as_if_they_were_scored(k: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(k)
    users, items = (rng.integers(-2, 3, size=(n, 4)).astype(np.float32) for n in (150, 300))
    items[rng.random(300) < 0.7] = 0
    scores, asked = users @ items.T, np.arange(150)
    had = items.any(axis=1) | (rng.random(300) < 0.1)  # some leave out an item that scores nothing
    exclude = csr_array(((rng.random(scores.shape) < 0.1) & had).astype(np.float32))
    deny = np.flatnonzero(rng.random(300) < 0.1)
    scored, whole = [], FactorScorer.score_into

    def score_into(scorer: FactorScorer, out: torch.Tensor, rows: np.ndarray) -> None:
        scored.append(scorer.n_items)
        whole(scorer, out, rows)

    monkeypatch.setattr(FactorScorer, "score_into", score_into)
    for left_out in ({}, {"exclude": exclude}, {"exclude": exclude, "deny": deny}):
        ids, best = top_k(FactorScorer(users, items), asked, k, **left_out)
        lists = {name: [set(deny)] * 150 if name == "deny" else oracles.sets(exclude) for name in left_out}
        expected = oracles.rank(scores, k, **lists)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_array_equal(best, expected[1])
    assert (max(scored) < 300) == (k < 400)
    scored.clear()
    top_k(FactorScorer(users, items), asked[:100], k)
    assert set(scored) == {300}  # for few users it is not worth a look


def test_ties_between_groups_at_the_cut():
    """One best item in each of many groups, all equal: the k first groups win, whichever the maxima were taken from."""
    scores = np.zeros((2, 200 * GROUP), dtype=np.float32)
    scores[0, 63::GROUP] = 1.0
    scores[1, ::-GROUP] = 1.0
    scores[1, 130] = 2.0
    ids, _ = top_k(Table(scores), np.arange(2), 5)
    np.testing.assert_array_equal(ids[0], 63 + GROUP * np.arange(5))
    np.testing.assert_array_equal(ids[1], [130, 63, 127, 191, 255])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_selection_is_a_stable_sort(data):
    n = data.draw(st.integers(1, 6))
    width = data.draw(st.integers(1, 30)) * GROUP
    k = data.draw(st.integers(1, min(width, 40)))
    spread = data.draw(st.sampled_from([1, 3, 50, 10_000]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores = torch.from_numpy(rng.integers(-spread, spread, size=(n, width)).astype(np.float32))
    scores[torch.from_numpy(rng.random((n, width)) < data.draw(st.sampled_from([0.0, 0.5, 0.995])))] = -torch.inf
    before = scores.clone()
    values, columns = largest(scores, k)
    expected = torch.sort(scores, dim=1, descending=True, stable=True)
    torch.testing.assert_close(values, expected.values[:, :k], rtol=0, atol=0)
    real = values > -torch.inf
    torch.testing.assert_close(columns[real], expected.indices[:, :k][real], rtol=0, atol=0)
    torch.testing.assert_close(scores, before, rtol=0, atol=0)


def test_selection_in_pieces(monkeypatch):
    monkeypatch.setattr("buir.ranking.selection._PIECE", 10)
    scores = torch.arange(12.0).remainder(3).repeat(7, 64)[:, : 12 * GROUP].contiguous()
    for k in (2, 5):
        values, columns = largest(scores, k)
        expected = torch.sort(scores, dim=1, descending=True, stable=True)
        torch.testing.assert_close(columns, expected.indices[:, :k])
        torch.testing.assert_close(values, expected.values[:, :k])


def test_the_list_does_not_depend_on_the_block():
    rng = np.random.default_rng(5)
    factors = FactorScorer(rng.integers(-2, 3, size=(200, 6)), rng.integers(-2, 3, size=(9000, 6)))
    exclude = random_lists(rng, (200, 9000), 0.01)
    whole = top_k(factors, np.arange(200), 12, exclude=exclude)
    narrow = top_k(factors, np.arange(200), 12, exclude=exclude, memory_mb=1)
    single = [top_k(factors, np.array([u]), 12, exclude=exclude[[u]]) for u in range(200)]
    for part in (0, 1):
        np.testing.assert_array_equal(whole[part], narrow[part])
        np.testing.assert_array_equal(whole[part], np.concatenate([one[part] for one in single]))


def test_real_scores_in_blocks_and_shuffled():
    rng = np.random.default_rng(6)
    user_factors, item_factors = rng.standard_normal((60, 16)), rng.standard_normal((5000, 16))
    exclude = random_lists(rng, (60, 5000), 0.01)
    scorer, users = FactorScorer(user_factors, item_factors), rng.permutation(60)
    ids, scores = top_k(scorer, users, 10, exclude=exclude[users], memory_mb=1)
    expected = oracles.rank(user_factors[users] @ item_factors.T, 10, oracles.sets(exclude[users]))
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)


def test_a_subset_of_items_is_the_ranking_of_the_rest_left_out():
    rng = np.random.default_rng(7)
    scorer = FactorScorer(rng.integers(-3, 4, size=(20, 4)), rng.integers(-3, 4, size=(500, 4)))
    some = rng.choice(500, 120, replace=False)
    exclude, deny = random_lists(rng, (20, 500), 0.2), rng.choice(500, 50, replace=False)
    rest = np.setdiff1d(np.arange(500), some)
    for scored in (scorer, Table(scorer.score_block(np.arange(20)))):
        left = top_k(scored, np.arange(20), 130, exclude=exclude, allow=some, deny=deny)
        right = top_k(scored, np.arange(20), 130, exclude=exclude, deny=np.union1d(rest, deny))
        for part in (0, 1):
            np.testing.assert_array_equal(left[part], right[part])


def test_what_is_seen_outside_a_full_group_takes_nothing_from_another_row():
    # with as many allowed items as a group has places there is no empty place between the rows of scores
    scores = np.arange(2.0 * (GROUP + 3)).reshape(2, GROUP + 3).astype(np.float32)
    seen = csr_array((np.ones(4), ([0, 0, 1, 1], [GROUP, GROUP + 2, GROUP + 1, 3])), shape=scores.shape)
    ids, _ = top_k(Table(scores), np.arange(2), GROUP, exclude=seen, allow=np.arange(GROUP))
    downwards = np.arange(GROUP)[::-1].tolist()
    assert ids.tolist() == [downwards, [item for item in downwards if item != 3] + [-1]]


def test_blocks_are_of_like_size():
    asked = []

    class Watched(Table):
        def score_block(self, users):
            asked.append(len(users))
            return super().score_block(users)

    top_k(Watched(np.ones((4097, 3), np.float32)), np.arange(4097), 1)
    assert asked == [2049, 2048]


def test_a_scorer_keeps_its_own_table():
    scorer = Table(torch.zeros(1, 6).expand(4, 6))
    ids, _ = top_k(scorer, np.arange(4), 2, exclude=csr_array(np.eye(4, 6)))
    np.testing.assert_array_equal(ids, [[1, 2], [0, 2], [0, 1], [0, 1]])
    assert scorer.scores.eq(0).all()
    assert isinstance(scorer, Scorer)


def test_nothing_left():
    scorer = Table(np.ones((2, 3)))
    everything = csr_array(np.ones((2, 3)))
    for arguments in ({"exclude": everything}, {"allow": np.array([], dtype=int)}, {"deny": [0, 1, 2]}, {"allow": []}):
        ids, scores = top_k(scorer, np.arange(2), 4, **arguments)
        assert (ids == -1).all()
        assert (scores == -np.inf).all()
    assert top_k(scorer, np.array([], dtype=int), 4)[0].shape == (0, 4)
    assert top_k(scorer, [], 4)[0].shape == (0, 4)
    assert top_k(scorer, np.arange(2), 0)[0].shape == (2, 0)
    ids, _ = top_k(Table(np.ones((2, 0))), np.arange(2), 2)
    assert (ids == -1).all()


def test_infinite_scores():
    ids, scores = top_k(Table([[-np.inf, 1.0, np.inf, np.inf, 0.0]]), np.array([0]), 5)
    np.testing.assert_array_equal(ids, [[2, 3, 1, 4, -1]])
    np.testing.assert_array_equal(scores, [[np.inf, np.inf, 1, 0, -np.inf]])


@pytest.mark.parametrize("n_items", [10, 5000])
def test_nan_is_an_error_unless_it_is_left_out(n_items):
    scores = np.ones((3, n_items))
    scores[1, 7] = np.nan
    with pytest.raises(ValueError, match=r"scores of 1 user hold NaN \(first: user 1\).*diverged"):
        top_k(Table(scores), np.arange(3), 2)
    ids, _ = top_k(Table(scores), np.arange(3), 2, deny=[7])
    np.testing.assert_array_equal(ids, [[0, 1]] * 3)


def test_any_sparse_format_and_stored_zeros():
    scorer = Table([[3.0, 2.0, 1.0]])
    stored = csr_array((np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 3))
    repeated = coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(1, 3))
    for exclude in (stored, csr_matrix(stored), repeated, stored.tocsc()):
        ids, _ = top_k(scorer, np.array([0]), 3, exclude=exclude)
        np.testing.assert_array_equal(ids, [[0, 2, -1]])
    assert stored.nnz == 2


def test_factors_may_be_read_only_or_of_other_types():
    table = np.eye(3)
    table.setflags(write=False)
    scorer = FactorScorer(table, torch.eye(3, dtype=torch.float64, requires_grad=True))
    ids, scores = top_k(scorer, np.array([2]), 1)
    assert (ids, scores) == (np.array([[2]]), np.array([[1.0]]))
    assert scorer.user_factors.dtype == scorer.item_factors.dtype == torch.float32


def test_errors():
    scorer = Table(np.ones((2, 3)))
    with pytest.raises(IndexError, match=r"users holds 2, .* 0 to 1"):
        top_k(scorer, np.array([0, 2]), 1)
    with pytest.raises(IndexError, match="users holds -1"):
        top_k(scorer, np.array([-1]), 1)
    with pytest.raises(IndexError, match=r"deny holds 3, .* 0 to 2"):
        top_k(scorer, np.array([0]), 1, deny=[3])
    with pytest.raises(TypeError, match=r"allow is boolean.*flatnonzero"):
        top_k(scorer, np.array([0]), 1, allow=np.array([True, False, True]))
    with pytest.raises(TypeError, match=r"users holds float values"):
        top_k(scorer, np.array([0.0]), 1)
    for name in ("exclude", "allow", "deny"):
        with pytest.raises(
            ValueError, match=rf"{name} has shape \(1, 3\); expected \(3, 3\), one row for each asked user"
        ):
            top_k(scorer, np.array([0, 1, 1]), 1, **{name: csr_array((1, 3))})
    with pytest.raises(ValueError, match=r"exclude\[userid\], not the whole matrix"):
        top_k(scorer, np.array([0]), 1, exclude=csr_array((2, 3)))
    with pytest.raises(ValueError, match="k is -1"):
        top_k(scorer, np.array([0]), -1)
    with pytest.raises(TypeError, match=r"k is 2\.0"):
        top_k(scorer, np.array([0]), 2.0)
    with pytest.raises(ValueError, match=r"item_factors \(3, 4\), expected .* with the same d"):
        FactorScorer(np.ones((2, 5)), np.ones((3, 4)))
    scorer.score_block = lambda users: torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"score_block gave shape \(1, 3\), expected \(2, 3\)"):
        top_k(scorer, np.array([0, 1]), 1)


def test_padded_width():
    assert [padded_width(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]


@pytest.mark.gpu
def test_cuda_equals_cpu():
    rng = np.random.default_rng(8)
    user_factors, item_factors = rng.integers(-3, 4, size=(300, 8)), rng.integers(-3, 4, size=(20_000, 8))
    exclude, own = random_lists(rng, (300, 20_000), 0.01), random_lists(rng, (300, 20_000), 0.3)
    on_cpu = FactorScorer(user_factors, item_factors)
    on_gpu = FactorScorer(torch.as_tensor(user_factors, device="cuda"), item_factors)
    table = Table(on_gpu.score_block(np.arange(300)), device="cuda")
    some = rng.choice(20_000, 9000, replace=False)
    for arguments in ({"exclude": exclude}, {"allow": own, "deny": some}, {"allow": some, "exclude": exclude}):
        expected = top_k(on_cpu, np.arange(300), 20, **arguments)
        for scorer in (on_gpu, table):
            found = top_k(scorer, np.arange(300), 20, **arguments)
            for part in (0, 1):
                np.testing.assert_array_equal(found[part], expected[part])


@pytest.mark.parametrize("k", [10**12, 10**15])
def test_lists_that_have_no_room_are_refused_before_memory_is_taken(k):
    scorer = FactorScorer(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    with pytest.raises(
        InputError, match=rf"lists of {k:,} items for 3 users take .* there are 3 items: ask for as many"
    ):
        top_k(scorer, [0, 1, 2], k)
    assert top_k(scorer, [0, 1, 2], 1000)[0].shape == (3, 1000)

"""Splits: protocols by hand, a slow oracle of the author's, and what every split must obey."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from buir.data.files.readers import read, read_split
from buir.data.interactions import Interactions
from buir.data.splits import (
    author_split,
    given_split,
    hold_out,
    leave_one_out,
    nested_levels,
    nested_split,
    time_split,
)


def pairs_of(part: Interactions) -> set:
    return set(zip(part.user_ids[part.users].tolist(), part.item_ids[part.items].tolist(), strict=True))


def parts_of(split):
    return [split.train, split.valid, split.test, split.dropped]


def interactions(rows):
    users, items, times = zip(*rows, strict=True)
    return Interactions.from_pairs(users, items, times=times)


row = st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 30))
tables = st.lists(row, min_size=15, max_size=60)
few = settings(max_examples=40)

SPLITTERS = {
    "author": lambda data, seed: author_split(data, 0.5, seed),
    "author-.2": lambda data, seed: author_split(data, 0.2, seed),
    "nested": lambda data, seed: nested_split(data, 0.6, seed),
    "time": lambda data, seed: time_split(data, 0.2, 0.2),
    "last": lambda data, seed: leave_one_out(data),
    "order": lambda data, seed: leave_one_out(data, by="order"),
    "random": lambda data, seed: leave_one_out(data, seed, by="random"),
}


def attempt(kind, data, seed=0):
    """Split, or tell hypothesis that these data leave nothing to test."""
    try:
        return SPLITTERS[kind](data, seed)
    except ValueError as error:
        if "leave" not in str(error):
            raise
        reject()


@pytest.mark.parametrize("kind", SPLITTERS)
@few
@given(rows=tables, seed=st.integers(0, 5))
def test_what_every_split_obeys(kind, rows, seed):
    data = interactions(rows)
    split = attempt(kind, data, seed)
    sets = [pairs_of(part) for part in parts_of(split)]
    assert sum(map(len, sets)) == data.n_pairs
    assert set.union(*sets) == pairs_of(data)
    trained = {user for user, _ in sets[0]}
    assert {user for user, _ in sets[1] | sets[2]} <= trained
    assert sets[2]
    for part in parts_of(split):
        assert part.matrix.shape == data.matrix.shape
        assert part.matrix.has_canonical_format
    place = dict(zip(zip(data.users.tolist(), data.items.tolist(), strict=True), data.positions, strict=True))
    for part in parts_of(split):
        found = zip(part.users.tolist(), part.items.tolist(), part.positions, strict=True)
        assert all(place[u, i] == position for u, i, position in found)
    again = attempt(kind, data, seed)
    assert again.digest == split.digest
    assert [pairs_of(part) for part in parts_of(again)] == sets
    assert split.test_users.tolist() == sorted(set(split.test.users.tolist()))


@few
@given(rows=tables, seeds=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_digests_differ_when_parts_do(rows, seeds):
    data = interactions(rows)
    one, two = attempt("nested", data, seeds[0]), attempt("nested", data, seeds[1])
    same = [pairs_of(part) for part in parts_of(one)] == [pairs_of(part) for part in parts_of(two)]
    if not same:
        assert one.digest != two.digest
    assert (one.digest == two.digest) == (seeds[0] == seeds[1])


def test_digest_depends_on_every_part(toy):
    split = leave_one_out(toy, by="order")
    empty = toy.keep(np.zeros(9, dtype=bool))
    others = [replace(split, **{name: empty}) for name in ("train", "valid", "test")]
    others += [replace(split, protocol="x"), replace(split, params={"by": "order", "seed": 1})]
    assert len({split.digest, *(other.digest for other in others)}) == 6
    assert replace(split, dropped=toy).digest == split.digest
    assert nested_split(toy, 1).digest == nested_split(toy, 1.0, np.int64(0)).digest


@pytest.mark.parametrize("kind", ["nested", "random"])
@few
@given(rows=tables)
def test_the_numbering_of_items_does_not_matter(kind, rows):
    data = interactions(rows)
    order = np.argsort(data.item_ids, kind="stable")
    renumbered = data.aligned(data.user_ids, data.item_ids[order])
    assert [pairs_of(p) for p in parts_of(attempt(kind, data))] == [
        pairs_of(p) for p in parts_of(attempt(kind, renumbered))
    ]


class TestAuthor:
    @staticmethod
    def slow(data, beta, seed):
        """The protocol in plain words, with lists."""
        rng = np.random.RandomState(seed)
        train, valid, test = {}, {}, {}
        frame = data.to_frame()
        for user in dict.fromkeys(frame["user"]):
            items = list(dict.fromkeys(frame["item"][frame["user"] == user]))
            rng.shuffle(items)
            n = int(len(items) * (1 - beta) / 2)
            test[user], valid[user], train[user] = items[:n], items[n : 2 * n], items[2 * n :]
        known = {item for items in train.values() for item in items}
        for user in list(train):
            test[user] = [item for item in test[user] if item in known]
            valid[user] = [item for item in valid[user] if item in known]
            if not (test[user] and valid[user]):
                test[user] = valid[user] = []
        return [{(u, i) for u, items in part.items() for i in items} for part in (train, valid, test)]

    @few
    @given(rows=tables, beta=st.sampled_from([0.1, 0.2, 0.5, 0.8]), seed=st.integers(0, 3))
    def test_equals_a_slow_oracle(self, rows, beta, seed):
        data = interactions(rows)
        expected = self.slow(data, beta, seed)
        if not expected[2]:
            with pytest.raises(ValueError, match="leaves no test pair"):
                author_split(data, beta, seed)
            return
        split = author_split(data, beta, seed)
        assert [pairs_of(part) for part in parts_of(split)[:3]] == expected

    def test_toy_data(self, data_dir):
        data = read(data_dir / "buir-toy/users.dat")
        split = author_split(data, 0.5, 0)
        assert [part.n_pairs for part in parts_of(split)] == [10_350, 4_206, 4_180, 466]
        assert len(split.test_users) == 840
        assert set(split.valid.users) == set(split.test.users)
        assert len({author_split(data, 0.5, seed).digest for seed in range(3)}) == 3
        assert repr(split) == "Split(author, train / valid / test 10350 / 4206 / 4180, 466 dropped)"

    def test_float_error_is_part_of_the_protocol(self):
        # 10 * (1 - .8) / 2 is .9999999999999998: nobody with ten items is tested
        data = Interactions.from_pairs([1] * 10 + [2] * 10, list(range(10)) * 2)
        with pytest.raises(ValueError, match="leaves no test pair"):
            author_split(data, 0.8)
        assert author_split(data, 0.79).test.n_pairs > 0

    @pytest.mark.parametrize("beta", [0, 1, -0.5, 20, float("nan")])
    def test_wrong_ratio(self, toy, beta):
        with pytest.raises(ValueError, match=f"beta is {beta}, expected a share strictly between 0 and 1"):
            author_split(toy, beta)


class TestNested:
    def test_sizes_by_hand(self):
        sizes = [1, 2, 3, 4, 10, 15, 16, 25, 26]
        users = np.repeat(np.arange(len(sizes)), sizes)
        data = Interactions.from_pairs(users, np.concatenate([np.arange(n) for n in sizes]))
        split = nested_split(data, 0.5)
        counts = [np.bincount(part.users, minlength=9).tolist() for part in parts_of(split)]
        held = [0, 0, 1, 1, 1, 2, 2, 2, 3]  # round(1.5) = 2 and round(2.5) = 2: to even
        assert counts[1] == counts[2] == held
        assert counts[0] == [1, 1, 1, 1, 4, 6, 6, 11, 10]
        assert np.sum(counts, axis=0).tolist() == sizes

    @few
    @given(rows=tables, seed=st.integers(0, 3))
    def test_levels_contain_each_other(self, rows, seed):
        data = interactions(rows)
        attempt("nested", data, seed)
        splits = nested_levels(data, (0.2, 0.5, 0.7, 1.0), seed)
        trains = [pairs_of(split.train) for split in splits.values()]
        assert list(splits) == [0.2, 0.5, 0.7, 1.0]
        assert all(low <= high for low, high in itertools.pairwise(trains))
        assert len({split.test.digest for split in splits.values()}) == 1
        assert len({split.valid.digest for split in splits.values()}) == 1
        assert splits[1.0].dropped.n_pairs == 0
        pool = np.bincount(splits[1.0].train.users, minlength=data.n_users)
        for level, split in splits.items():
            kept = np.bincount(split.train.users, minlength=data.n_users)
            exact = [math.ceil(round(level * 10) * n / 10) for n in pool.tolist()]
            assert kept.tolist() == exact
            assert level == 1.0 or split.digest != splits[1.0].digest

    def test_the_chosen_pairs_depend_on_the_seed(self):
        data = Interactions.from_pairs(np.repeat(np.arange(50), 10), np.tile(np.arange(10), 50))
        splits = [nested_split(data, 0.5, seed) for seed in (0, 1)]
        assert pairs_of(splits[0].test) != pairs_of(splits[1].test)
        # each of the ten items is tested about as often as any other
        counts = sum(np.bincount(nested_split(data, 1.0, seed).test.items, minlength=10) for seed in range(20))
        assert counts.sum() == 1000
        assert 60 < counts.min() <= counts.max() < 140

    @pytest.mark.parametrize("level", [0, 1.1, 20, -1])
    def test_wrong_level(self, toy, level):
        with pytest.raises(ValueError, match=f"level is {level}, expected a share in"):
            nested_split(toy, level)

    def test_a_level_in_letters(self, toy):
        with pytest.raises(TypeError, match=r"level is 'a', expected a share in \(0, 1\]"):
            nested_split(toy, "a")

    def test_nobody_to_test(self):
        with pytest.raises(ValueError, match="the nested split leaves no test pair of a user with training pairs"):
            nested_split(Interactions.from_pairs([1, 1, 2], [1, 2, 1]), 0.5)


class TestLeaveOneOut:
    def test_by_hand(self, toy):
        # ann took 10, 30, 50, 20 in time, and 30, 10, 20, 50 in the file; nobody else has three
        by_time, by_order = leave_one_out(toy), leave_one_out(toy, by="order")
        assert (pairs_of(by_time.test), pairs_of(by_time.valid)) == ({("ann", 20)}, {("ann", 50)})
        assert (pairs_of(by_order.test), pairs_of(by_order.valid)) == ({("ann", 50)}, {("ann", 20)})
        assert by_time.train.n_pairs == 7
        assert by_time.dropped.n_pairs == 0

    def test_equal_times_fall_back_to_the_order_of_the_source(self):
        data = Interactions.from_pairs([1, 1, 1], [30, 20, 10], times=[5, 5, 5])
        assert pairs_of(leave_one_out(data).test) == {(1, 10)}

    @few
    @given(rows=tables)
    def test_equals_a_slow_oracle(self, rows):
        data = interactions(rows)
        split = attempt("last", data)
        frame = data.to_frame()
        test, valid = set(), set()
        for user, own in frame.groupby("user"):
            ordered = own.sort_values("time", kind="stable")["item"].tolist()
            if len(ordered) >= 3:
                test.add((user, ordered[-1]))
                valid.add((user, ordered[-2]))
        assert (pairs_of(split.test), pairs_of(split.valid)) == (test, valid)

    def test_random_is_seeded(self):
        data = Interactions.from_pairs(np.repeat(np.arange(20), 9), np.tile(np.arange(9), 20))
        digests = {leave_one_out(data, seed, by="random").test.digest for seed in (0, 0, 1, 2)}
        assert len(digests) == 3

    def test_errors(self):
        data = Interactions.from_pairs([1, 1, 1], [1, 2, 3])
        with pytest.raises(
            ValueError,
            match=r"no times; .*or leave one out by 'order' or 'random' \(by, in a configuration protocol\.by\)$",
        ):
            leave_one_out(data)
        with pytest.raises(ValueError, match="by is 'date', expected 'time', 'order' or 'random'"):
            leave_one_out(data, by="date")


class TestTime:
    def test_by_hand(self):
        users, items = [1, 2, 1, 2, 1, 2, 3, 1, 2, 1], [1, 1, 2, 2, 3, 3, 1, 4, 4, 5]
        data = Interactions.from_pairs(users, items, times=range(10))
        split = time_split(data, 0.2, 0.2)
        assert pairs_of(split.test) == {(2, 4), (1, 5)}
        assert pairs_of(split.valid) == {(1, 4)}
        assert pairs_of(split.dropped) == {(3, 1)}  # nothing is known of 3 before

    def test_ties_stay_together_on_the_later_side(self):
        users, times = [1, 1, 1, 1, 1, 1], [0, 1, 2, 2, 3, 3]
        split = time_split(Interactions.from_pairs(users, range(6), times=times), 1 / 6, 1 / 6)
        assert (pairs_of(split.test), pairs_of(split.valid)) == ({(1, 4), (1, 5)}, {(1, 2), (1, 3)})

    @few
    @given(rows=tables, shares=st.tuples(st.sampled_from([0.1, 0.3]), st.sampled_from([0.1, 0.3])))
    def test_nothing_is_learned_from_the_future(self, rows, shares):
        data = interactions(rows)
        try:
            split = time_split(data, *shares)
        except ValueError:
            return
        assert split.train.times.max() < min(split.test.times.min(), *split.valid.times, math.inf)
        assert max([*split.valid.times, -math.inf]) < split.test.times.min()

    def test_errors(self, toy):
        with pytest.raises(ValueError, match=r"leave none of 9 pairs to train \(3 are earlier than test\)"):
            time_split(toy, 0.3, 0.7)
        with pytest.raises(ValueError, match="test_fraction is 0, expected a share"):
            time_split(toy, 0.1, 0)
        with pytest.raises(
            ValueError,
            match=r"no times; name the column of times .*, or take another protocol, such as nested, or leave-one-out by 'order'$",
        ):
            time_split(Interactions.from_pairs([1], [1]))
        with pytest.raises(
            ValueError, match="all 3 pairs have one time, 5: none is before another; name another column"
        ):
            time_split(Interactions.from_pairs([1, 1, 1], [1, 2, 3], times=[5, 5, 5]))
        with pytest.raises(ValueError, match="the time split leaves no test pair"):
            time_split(Interactions.from_pairs([1, 2, 3], [1, 2, 3], times=[5, 6, 7]))


class TestGiven:
    @few
    @given(rows=tables, extra=tables, fraction=st.sampled_from([0.0, 0.1, 0.4, 0.9]), seed=st.integers(0, 3))
    def test_what_it_obeys(self, rows, extra, fraction, seed):
        whole = interactions([*rows, *extra])
        known = set(zip(*interactions(rows).to_frame()[["user", "item"]].to_numpy().T, strict=True))
        pairs = list(zip(whole.user_ids[whole.users], whole.item_ids[whole.items], strict=True))
        mask = np.array([pair in known for pair in pairs])
        train, test = whole.keep(mask), whole.keep(~mask)
        try:
            split = given_split(train, test, fraction, seed)
        except ValueError:
            assert not set(train.users) & set(test.users)
            return
        assert pairs_of(split.train) | pairs_of(split.valid) == pairs_of(train)
        assert not pairs_of(split.train) & pairs_of(split.valid)
        assert pairs_of(split.test) | pairs_of(split.dropped) == pairs_of(test)
        assert set(split.train.users) == set(train.users)
        assert set(split.train.items) == set(train.items)
        assert set(split.test.users) <= set(train.users)
        assert not set(split.dropped.users) & set(train.users)
        assert given_split(train, test, fraction, seed).digest == split.digest
        assert fraction or split.valid.n_pairs == 0

    def test_pairs_in_both_files_and_strangers_are_dropped(self):
        whole = Interactions.from_pairs([1, 1, 1, 2, 3], [1, 2, 3, 1, 1])
        train = whole.keep(np.array([True, True, False, True, False]))
        test = whole.keep(np.array([True, False, True, False, True]))
        split = given_split(train, test, 0)
        assert pairs_of(split.test) == {(1, 3)}
        assert pairs_of(split.dropped) == {(1, 1), (3, 1)}

    def test_the_share_and_the_seed(self):
        data = Interactions.from_pairs(np.repeat(np.arange(100), 20), np.tile(np.arange(20), 100))
        mask = data.items < 15
        splits = [given_split(data.keep(mask), data.keep(~mask), 0.2, seed) for seed in (0, 1)]
        assert np.bincount(splits[0].valid.users).tolist() == [3] * 100
        assert pairs_of(splits[0].valid) != pairs_of(splits[1].valid)
        assert splits[0].test.digest == splits[1].test.digest == data.keep(~mask).digest

    def test_errors(self, toy):
        other = Interactions.from_pairs(["ann"], [30])
        with pytest.raises(ValueError, match="train and test have different user_ids; read both with read_split"):
            given_split(toy, other)
        with pytest.raises(ValueError, match="valid_fraction is 1, expected a share"):
            given_split(toy, toy, 1)
        with pytest.raises(ValueError, match="the given split leaves no test pair"):
            given_split(toy, toy)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["gowalla", "yelp2018"])
    def test_public_split(self, data_dir, name):
        train, test = read_split(data_dir / name / "train.txt.gz", data_dir / name / "test.txt.gz")
        split = given_split(train, test)
        assert split.test.digest == test.digest
        assert split.dropped.n_pairs == 0
        assert split.train.n_pairs + split.valid.n_pairs == train.n_pairs
        assert 0.09 < split.valid.n_pairs / train.n_pairs < 0.105
        # every test item occurs in train, as in the published files
        assert set(split.test.items) <= set(split.train.items)


def test_inside_a_training_part_pairs_are_held_out_as_a_fit_holds_them_out():
    rng = np.random.default_rng(0)
    matrix = csr_array((rng.random((400, 30)) < 0.3).astype(np.float32))
    split = nested_split(Interactions.from_matrix(matrix), 0.8, seed=0)
    for seed in (0, 3):
        inside = split.inside(seed)
        rest, held = hold_out(split.train.matrix, seed)
        assert (inside.train.matrix != rest).nnz == (inside.valid.matrix != held).nnz == 0
        assert (inside.train.matrix + inside.valid.matrix != split.train.matrix).nnz == 0
        assert inside.test is split.test
        assert inside.digest != split.digest

"""The loop: batches, stopping rules, the best state, history, callbacks."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from buir.learning.loop import Pairs, Schedule, run_epoch, train

N_PAIRS = 23
PAIRS = Pairs(torch.arange(N_PAIRS), torch.arange(N_PAIRS) + 100)


class Script:
    """An objective whose validations follow a script and whose state is the number of steps taken."""

    remedy = "lower learning_rate, or raise momentum towards 1"

    def __init__(
        self,
        values: list[float] | None = None,
        losses: list[float] | None = None,
        others: list[float] | None = None,
    ) -> None:
        self.values, self.losses, self.others = list(values or []), list(losses or []), list(others or [])
        self.batches: list[tuple[list[int], list[int]]] = []
        self.keys: list[int] = []
        self.state = 0
        self.validated_at: list[int] = []

    def step(self, users: torch.Tensor, items: torch.Tensor, key: int) -> torch.Tensor:
        self.batches.append((users.tolist(), items.tolist()))
        self.keys.append(key)
        self.state += 1
        return torch.tensor(self.losses.pop(0) if self.losses else 1.0)

    def validate(self) -> dict[str, float]:
        self.validated_at.append(self.state)
        named = {"ndcg_at_5": self.values, "other": self.others}
        return {"effective_rank": 3.0} | {name: values.pop(0) for name, values in named.items() if values}

    def snapshot(self) -> int:
        return self.state

    def restore(self, snapshot: int) -> None:
        self.state = snapshot


def run(script: Script, callback=None, *, epochs: int = 10, batch_size: int = N_PAIRS, seed: int = 0, **rules):
    schedule = Schedule(epochs, batch_size, seed, **rules)
    return train(script, PAIRS, schedule, callback=callback, show_progress=False).history


def epochs_of(history) -> list[int]:
    return [record["epoch"] for record in history]


def test_each_epoch_visits_each_pair_once_in_an_order_of_its_own():
    script = Script()
    run(script, epochs=3, batch_size=5)
    assert [len(users) for users, _ in script.batches] == [5, 5, 5, 5, 3] * 3
    orders = []
    for epoch in range(3):
        batches = script.batches[5 * epoch : 5 * epoch + 5]
        order = [user for users, _ in batches for user in users]
        assert sorted(order) == list(range(N_PAIRS))
        assert [item for _, items in batches for item in items] == [user + 100 for user in order]
        orders.append(tuple(order))
    assert len({*orders, tuple(range(N_PAIRS))}) == 4
    assert len(set(script.keys)) == 15


def test_the_seed_decides_orders_and_keys():
    one, again, other = Script(), Script(), Script()
    for script, seed in ((one, 0), (again, 0), (other, 1)):
        run(script, epochs=2, batch_size=4, seed=seed)
    assert (one.batches, one.keys) == (again.batches, again.keys)
    assert one.batches != other.batches
    assert not set(one.keys) & set(other.keys)


def test_the_loss_is_the_mean_over_pairs():
    # batches of 10, 10 and 3 pairs
    total = run_epoch(Script(losses=[1.0, 2.0, 7.0]), PAIRS, 10, key=0)
    assert total.item() == pytest.approx((10 * 1 + 10 * 2 + 3 * 7) / 23)


def test_history_without_validation_data():
    script = Script(losses=[4.0, 2.0, 1.0])
    history = run(script, epochs=3)
    assert [set(record) for record in history] == [{"epoch", "loss", "seconds", "effective_rank", "best"}] * 3
    assert [record["loss"] for record in history] == [4.0, 2.0, 1.0]
    assert epochs_of(history) == [1, 2, 3]
    assert all(record["best"] is False for record in history)
    seconds = [record["seconds"] for record in history]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert script.state == 3


def test_validate_every_and_the_last_epoch():
    script = Script()
    assert epochs_of(run(script, epochs=10, validate_every=4)) == [4, 8, 10]
    assert script.validated_at == [4, 8, 10]
    assert epochs_of(run(Script(), epochs=8, validate_every=4)) == [4, 8]
    assert epochs_of(run(Script(), epochs=2, validate_every=5)) == [2]


def test_patience_in_a_row():
    # the second-last improvement resets the count
    script = Script([0.1, 0.3, 0.2, 0.2, 0.4, 0.3, 0.4, 0.1, 0.9, 0.9])
    history = run(script, metric="ndcg_at_5", patience=3)
    assert epochs_of(history) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [record["best"] for record in history] == [True, True, False, False, True, False, False, False]
    assert script.state == 5


def test_patience_in_total():
    script = Script([0.1, 0.3, 0.2, 0.2, 0.4, 0.3, 0.9, 0.9, 0.9, 0.9])
    history = run(script, metric="ndcg_at_5", patience=3, cumulative=True)
    assert epochs_of(history) == [1, 2, 3, 4, 5, 6]
    assert script.state == 5


def test_patience_counts_validations_not_epochs():
    script = Script([0.5, 0.4, 0.4, 0.9])
    assert epochs_of(run(script, epochs=40, metric="ndcg_at_5", patience=2, validate_every=10)) == [10, 20, 30]
    assert script.state == 10


def test_an_equal_value_is_no_improvement_and_the_first_of_the_best_is_kept():
    script = Script([0.5] * 10)
    assert len(run(script, metric="ndcg_at_5", patience=4)) == 5
    assert script.state == 1


def test_the_best_state_comes_back_after_the_last_epoch():
    script = Script([0.1, 0.8, 0.7])
    assert len(run(script, epochs=3, metric="ndcg_at_5")) == 3
    assert script.state == 2


def test_two_metrics_have_a_best_state_and_a_patience_each():
    # both are best after the second epoch, and both miss in the third
    script = Script([0.2, 0.8, 0.7, 0.6, 0.5, 0.9], others=[0.1, 0.3, 0.2, 0.4, 0.3, 0.2])
    schedule = Schedule(6, N_PAIRS, 0, metric="ndcg_at_5", second="other", patience=1)
    history, best = train(script, PAIRS, schedule, show_progress=False)
    assert [(record["best"], record["best_other"]) for record in history] == [
        (True, True),
        (True, True),
        (False, False),
    ]
    assert best == {"ndcg_at_5": 2, "other": 2}
    script = Script([0.2, 0.8, 0.7, 0.6, 0.5, 0.9], others=[0.1, 0.3, 0.2, 0.4, 0.3, 0.2])
    history, best = train(
        script, PAIRS, Schedule(6, N_PAIRS, 0, metric="ndcg_at_5", second="other", patience=2), show_progress=False
    )
    assert best == {"ndcg_at_5": 6, "other": 4}  # the other's patience took the first metric to its sixth epoch
    assert script.state == 6


def test_a_metric_that_is_never_a_number_keeps_the_last_state():
    script = Script([float("nan")] * 4)
    assert len(run(script, epochs=4, metric="ndcg_at_5", patience=9)) == 4
    assert script.state == 4


@pytest.mark.parametrize("answer", [True, np.True_])
def test_a_callback_stops_with_the_best_state(answer):
    seen = []

    def stop_at_three(record):
        seen.append(record)
        return answer if record["epoch"] == 3 else None

    script = Script([0.1, 0.9, 0.2, 0.3])
    history = run(script, stop_at_three, epochs=4, metric="ndcg_at_5")
    assert epochs_of(history) == [1, 2, 3]
    assert seen == history
    assert script.state == 2


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [True]])
def test_a_callback_that_does_not_say_true_goes_on(answer):
    assert len(run(Script(), lambda _: answer, epochs=3)) == 3


def test_an_exception_of_a_callback_passes_through():
    class Pruned(Exception):  # noqa: N818
        """What a tuner raises."""

    def prune(record):
        raise Pruned

    with pytest.raises(Pruned):
        run(Script(), prune)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(loss: float):
    script = Script(losses=[1.0, loss, 1.0])
    with pytest.raises(
        FloatingPointError, match=f"loss became {loss}: lower learning_rate, or raise momentum towards 1"
    ):
        run(script, epochs=3)
    assert len(script.batches) == 2


def test_a_continued_run_has_other_orders_and_counts_on():
    first, second = Script(), Script()
    run(first, epochs=2)
    history = run(second, epochs=2, first_epoch=2)
    assert epochs_of(history) == [3, 4]
    assert not set(first.keys) & set(second.keys)
    whole = Script()
    run(whole, epochs=4)
    assert whole.batches == first.batches + second.batches
    assert whole.keys == first.keys + second.keys


def test_the_bar_shows_itself_only_on_a_terminal(capsys: pytest.CaptureFixture[str]):
    train(Script(), PAIRS, Schedule(2, 5, 0), show_progress=True)
    assert capsys.readouterr() == ("", "")


class Stop(Exception):  # noqa: N818 - what ends a run from outside
    """Raised in the middle of a training."""


WATCHED = {"metric": "ndcg_at_5"}


@pytest.mark.parametrize(
    "rules",
    [{}, WATCHED | {"patience": 2}, WATCHED | {"start": True}, WATCHED | {"second": "other", "patience": 2}],
)
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("done", range(1, 7))
def test_a_training_goes_on_from_any_epoch_as_if_nothing_had_been(done: int, cumulative: bool, rules):
    values, others = [0.1, 0.3, 0.2, 0.4, 0.3, 0.3, 0.5, 0.1], [0.5, 0.4, 0.6, 0.1, 0.2, 0.3, 0.2, 0.2]
    rules = rules | {"cumulative": cumulative, "validate_every": 2 if "start" in rules else 1}
    whole, heard = Script(values, others=others), []
    expected = run(whole, heard.append, epochs=6, **rules)
    kept = []

    def keep(progress):
        kept.append(progress)
        if progress.epoch == done:
            raise Stop

    schedule = Schedule(6, N_PAIRS, 0, **rules)
    first, again = Script(values, others=others), []
    with suppress(Stop):
        train(first, PAIRS, schedule, show_progress=False, keep=keep)
    progress = kept[-1]
    second = Script(values[len(first.validated_at) :], others=others[len(first.validated_at) :])
    second.state = progress.epoch
    history, best = train(second, PAIRS, schedule, callback=again.append, show_progress=False, progress=progress)

    def timeless(records):
        return [{name: value for name, value in r.items() if name not in ("seconds", "loss")} for r in records]

    assert timeless(history) == timeless(expected)
    assert timeless(again) == timeless(heard)
    assert set(best) == {rules[name] for name in ("metric", "second") if name in rules}
    assert (second.state, second.keys) == (whole.state, whole.keys[len(first.keys) :])
    seconds = [record["seconds"] for record in history]
    assert seconds == sorted(seconds)


def test_a_callback_that_ended_a_training_ends_it_again():
    kept, heard = [], []
    schedule = Schedule(9, N_PAIRS, 0)

    def callback(record):
        heard.append(record["epoch"])
        return record["epoch"] == 3

    whole = train(Script(), PAIRS, schedule, callback=callback, show_progress=False, keep=kept.append)
    script = Script()
    history = train(script, PAIRS, schedule, callback=callback, show_progress=False, progress=kept[-1])
    assert heard == [1, 2, 3] * 2
    assert (history.history, script.keys) == (whole.history, [])

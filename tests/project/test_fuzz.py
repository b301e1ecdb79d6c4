"""Broken input gets a sentence: a thousand inputs here, twenty thousand where there is time, more with ``make fuzz``."""

import numpy as np
import pytest

from tests.support.fuzz import Fuzzer, Tally

TOLD: list[str] = []


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    return Fuzzer(tmp_path_factory.mktemp("fuzz"))


def assert_sound(tally: Tally, count: int) -> None:
    assert tally.defects == []
    assert sum(tally.tried.values()) == count
    # neither so broken that nothing is read, nor so whole that nothing is refused
    for door in ("files", "models", "options"):
        assert 0.03 < tally.read[door] / tally.tried[door] < 0.7


def test_a_thousand_broken_inputs(fuzzer):
    assert_sound(fuzzer.run(range(1000), 1, Tally(), TOLD.append), 1000)


@pytest.mark.slow
def test_twenty_thousand_broken_inputs(fuzzer):
    assert_sound(fuzzer.run(range(20_000), 0, Tally(), TOLD.append), 20_000)


def test_the_fuzzer_finds_what_is_wrong(fuzzer, monkeypatch):
    def broken(rng: np.random.Generator) -> None:
        if rng.random() < 0.5:
            raise ZeroDivisionError("division by zero")
        np.log(np.array([0.0]))

    monkeypatch.setattr(fuzzer, "doors", {"files": (1.0, broken)})
    tally, told = Tally(), []
    fuzzer.run(range(20), 0, tally, told.append)
    assert len(tally.defects) == len(told) == 20
    kinds = {fault.partition(":")[0] for _, _, fault in tally.defects}
    assert kinds == {"ZeroDivisionError", "RuntimeWarning"}
    assert str(tally).endswith("tried 20, survived 0, defects 20")
    again = Tally()
    fuzzer.run(range(7, 8), 0, again, told.append)
    assert again.defects == [defect for defect in tally.defects if defect[0] == 7]

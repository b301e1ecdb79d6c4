"""A report never judges what was not run."""

from dataclasses import replace

import pytest

from buir.experiment.report.advice import advice, standing, winners
from buir.experiment.report.write import write_report
from buir.experiment.statistics.findings import find
from tests.support.records import make_cells

MEANS = {"ALS": (0.3, 0.3), "popularity": (0.2, 0.2), "BUIR-nb": (0.5, 0.5)}
PLANNED = {"ALS": 3, "popularity": 3, "BUIR-nb": 3}
KINDS = {"ALS": "als", "popularity": "popularity", "BUIR-nb": "buir", "BUIR-walk": "buir"}
SECONDS = dict.fromkeys(KINDS, 1.0)


def lacking(drop, planned=PLANNED, means=MEANS):
    """What is found where the records that ``drop`` names were not run; levels 20 % and 50 %."""
    records, frames = make_cells(means)
    kept = [record for record in records if not drop(record)]
    return find(kept, frames.__getitem__, planned=planned), kept, frames


def test_a_place_without_a_model_names_it_and_has_no_verdict():
    (half, whole), *_ = lacking(lambda r: r.model == "ALS" and r.level == 0.2)
    assert (half.missing, whole.missing) == (("ALS (3 of 3 runs)",), ())
    first, *lines = standing([half, whole], KINDS)
    assert "2 places" in first
    assert next(line.rpartition("**")[2] for line in lines if "highest mean in" in line) == ": toy 50 %."
    assert lines[-1] == "Nothing is judged in **1**: toy 20 % (missing: ALS (3 of 3 runs))."
    assert "No verdict: ALS (3 of 3 runs)" in advice(half, KINDS, SECONDS)
    assert winners([half, whole])[0] == "At 20 %: no verdict, ALS (3 of 3 runs) are missing."


def test_a_run_of_several_is_missing_too_and_a_refusal_is_a_result():
    found, *_ = lacking(lambda r: r.model == "popularity" and r.seed == 2)
    assert [part.missing for part in found] == [("popularity (1 of 3 runs)",)] * 2
    records, frames = make_cells(MEANS)
    told = [replace(r, status="refused", metrics={}) if r.model == "ALS" else r for r in records]
    assert [part.missing for part in find(told, frames.__getitem__, planned=PLANNED)] == [(), ()]


def test_only_variants_of_buir_are_no_lead():
    found, *_ = lacking(lambda r: False, planned=None, means={"BUIR-nb": 0.5, "BUIR-walk": 0.3})
    _, *lines = standing(found, KINDS)
    assert lines[0] == "A variant of BUIR has the highest mean in **0**."
    assert lines[-1].startswith("Nothing is judged in **2**: toy 20 % (only variants of BUIR were run)")


@pytest.mark.parametrize("level", [0.2, 0.5])
def test_the_page_marks_nobody_where_runs_are_missing(tmp_path, level):
    _, records, frames = lacking(lambda r: r.model == "ALS" and r.level == level)
    plan = {"name": "x", "config": None, "keys": [r.key for r in records], "headline": ("ndcg_at_20", "recall_at_20")}
    made = write_report(plan | {"planned": PLANNED}, records, frames.__getitem__, tmp_path)
    text = next(file for file in made.files if file.suffix == ".md").read_text(encoding="utf-8")
    place = f"toy, {100 * level:.0f} %"
    assert f"| {place} |" in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {place} |"))
    assert "no verdict | missing: ALS (3 of 3 runs)" in row
    differences = next(file for file in made.files if file.name.endswith("-differences.csv")).read_text()
    assert f",{level:g}," not in differences
    assert f",{0.7 - level:g}," in differences

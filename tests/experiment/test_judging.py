"""A report never judges what was not run."""

from dataclasses import replace

import pytest

from buir.experiment.report.advice import advice, winners
from buir.experiment.report.panels import outcomes
from buir.experiment.report.write import write_report
from buir.experiment.statistics.findings import find
from buir.experiment.statistics.panels import default_panel, judge
from tests.support.records import make_cells

MEANS = {"ALS": (0.3, 0.3), "popularity": (0.2, 0.2), "BUIR-nb": (0.5, 0.5)}
PLANNED = {"ALS": 3, "popularity": 3, "BUIR-nb": 3}
SECONDS = dict.fromkeys(("ALS", "popularity", "BUIR-nb", "BUIR-walk"), 1.0)


def lacking(drop, planned=PLANNED, means=MEANS):
    """What is found where the records that ``drop`` names were not run; levels 20 % and 50 %."""
    records, frames = make_cells(means)
    kept = [record for record in records if not drop(record)]
    return find(kept, frames.__getitem__, planned=planned), kept, frames


def test_a_place_without_a_model_names_it_and_has_no_verdict():
    (half, whole), records, _ = lacking(lambda r: r.model == "ALS" and r.level == 0.2)
    assert (half.missing, whole.missing) == ({"ALS": "ALS"}, {})
    judgement = judge([half, whole], [default_panel(records)])[0]
    assert [*judgement.comparisons] == judgement.highest == [("toy", "nested", 0.5)]
    assert outcomes(judgement)[-1] == "Nothing is judged in **1**: toy 20 % (missing: ALS)."
    assert "No verdict, missing: ALS; run them first." in advice(half, SECONDS)
    assert winners([half, whole])[0] == "At 20 %: no verdict, missing: ALS."


def test_a_run_of_several_is_missing_too_and_a_refusal_is_a_result():
    found, *_ = lacking(lambda r: r.model == "popularity" and r.seed == 2)
    assert [part.missing for part in found] == [{"popularity": "popularity (1 of 3 runs)"}] * 2
    records, frames = make_cells(MEANS)
    told = [replace(r, status="refused", metrics={}) if r.model == "ALS" else r for r in records]
    assert [part.missing for part in find(told, frames.__getitem__, planned=PLANNED)] == [{}, {}]


def test_only_variants_of_buir_are_no_lead():
    found, records, _ = lacking(lambda r: False, planned=None, means={"BUIR-nb": 0.5, "BUIR-walk": 0.3})
    whole = default_panel(records)
    judgement = judge(found, [whole])[0]
    assert judgement.comparisons == {}
    assert set(judgement.open.values()) == {"only variants of BUIR were run"}
    # where nobody is said to lead, variants are compared: that is what an ablation is
    assert len(judge(found, [replace(whole, headline=False)])[0].comparisons) == 2


@pytest.mark.parametrize("level", [0.2, 0.5])
def test_the_page_marks_nobody_where_runs_are_missing(tmp_path, level):
    _, records, frames = lacking(lambda r: r.model == "ALS" and r.level == level)
    plan = {"name": "x", "config": None, "keys": [r.key for r in records], "headline": ("ndcg_at_20", "recall_at_20")}
    made = write_report(plan | {"planned": PLANNED}, records, frames.__getitem__, tmp_path)
    text = next(file for file in made.files if file.suffix == ".md").read_text(encoding="utf-8")
    place = f"toy, {100 * level:.0f} %"
    assert f"| {place} |" in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {place} |"))
    assert "no verdict | missing: ALS" in row
    differences = next(file for file in made.files if file.name.endswith("-differences.csv")).read_text()
    assert f"toy,nested,{level:g}," not in differences
    assert f"toy,nested,{0.7 - level:g}," in differences

"""What was chosen on validation data: candidates counted, gains on both parts, who searched for whom."""

from dataclasses import replace

import pytest

from buir.experiment.report.choices import section, terms_section
from tests.experiment.test_report import Content
from tests.support.records import make_cells, make_record

METRIC = "ndcg_at_20"


def searched(*values):
    """The fields of a record whose search gave these values."""
    trials = [{"number": n, "value": value, "state": "complete"} for n, value in enumerate(values)]
    return {"n_trials": len(values), "tuning": {"results": trials, "best_value": max(values), "metric": METRIC}}


def record(model, valid, test, *, terms=0, epochs=1, **facts):
    """A run with as many validated epochs, the best of them the last, and a choice among combinations of terms."""
    history = [{"epoch": epoch, METRIC: valid - 0.001 * (epochs - epoch)} for epoch in range(1, epochs + 1)]
    history[-1] |= {"terms": {"n_candidates": terms}} if terms else {}
    return make_record(key=model, model=model, history=history, metrics={METRIC: test}, **facts)


RECORDS = [
    record("popularity", 0.10, 0.20, **searched(0.10)),
    record("ALS", 0.20, 0.38, **searched(0.16, 0.20, 0.12)),
    record("ALS-terms", 0.22, 0.40, terms=50, **searched(0.16, 0.20, 0.12)),
    record("LightGCN", 0.15, 0.30, epochs=10, **searched(0.15, 0.14)),
    record("LightGCN-terms", 0.15, 0.32, epochs=10, terms=30, **searched(0.15, 0.14)),
    replace(
        record("BUIR", 0.2, 0.44, epochs=4, kind="buir", **searched(0.24)),
        chosen={"n_candidates": 90, "start": 0.20, "trained": 0.23, "value": 0.24},
    ),
]
SHARED = {"ALS-terms": "ALS", "LightGCN-terms": "LightGCN"}


def rows(records, shared=SHARED):
    table = section(records, shared, METRIC).blocks[-1].frame
    return {row[0]: row[1:] for row in table.itertuples(index=False, name=None)}


def test_candidates_by_hand():
    found = rows(RECORDS)
    assert {name: row[:3] for name, row in found.items()} == {
        "popularity": ("1", "1", "1"),
        "ALS": ("3", "1", "3"),
        # three bare trials of the search it shares, then its own fit
        "ALS-terms": ("those of ALS", "50", "53"),
        "LightGCN": ("2", "10", "20"),
        "LightGCN-terms": ("those of LightGCN", "40", "60"),
        "BUIR": ("1", "90", "90"),
    }
    # a search of its own chooses the terms in every trial
    assert rows(RECORDS, {})["ALS-terms"][:3] == ("3", "50", "150")


def test_gains_by_hand():
    found = rows(RECORDS)
    assert found["ALS"][3:] == ("1.250", "2.000", "1.900", "-5.0 %")
    assert found["ALS-terms"][3:] == ("", "2.200", "2.000", "-9.1 %")
    # of epochs that were validated without the terms nobody knows what the terms came to
    assert found["LightGCN-terms"][3:] == ("", "", "", "")
    assert found["BUIR"][3:] == ("1.200", "2.400", "2.200", "-8.3 %")
    assert found["popularity"][3:] == ("", "1.000", "1.000", "+0.0 %")


def test_gains_are_those_of_the_same_run():
    other = [replace(r, split_seed=1, metrics={METRIC: 2 * r.metrics[METRIC]}) for r in RECORDS if r.model != "ALS"]
    assert rows([*RECORDS, *other])["ALS"][4:6] == ("2.000", "1.900")
    assert rows([RECORDS[1]])["ALS"][4:6] == ("1.000", "1.000")


def test_a_model_that_watched_another_metric_is_not_compared():
    paper = replace(RECORDS[-1], model="paper", params={"valid_metric": "recall_at_20"})
    assert rows([*RECORDS, paper])["paper"] == ("1", "90", "90", "", "", "", "")


def test_without_the_metric_nothing_is_compared():
    found = rows([replace(r, metrics={"map_at_5": 0.1}) for r in RECORDS])
    assert found["ALS"][3:] == ("1.250", "", "", "")


@pytest.fixture(scope="module")
def page():
    records, frames = make_cells({"popularity": 0.2, "ALS": 0.3, "BPR": 0.3, "EASE": 0.4}, tuned=True, levels=(0.2,))
    for place, one in enumerate(records):
        if one.model == "EASE":
            tuning = one.tuning | {"trials": 64, "sampler": "random"}
            records[place] = replace(one, tuning=tuning, fit_seconds=30.0)
    models = [{"kind": "als"}, {"kind": "bpr", "settings_of": "ALS"}]
    config = {"data": [], "models": models, "notes": ["one corner is from a paper"]}
    return Content(records, frames, config=config, test_reads={records[0].split_digest: 40})


def test_who_had_how_many_trials(page):
    said = page.said("Tuning")
    assert "Nothing to search, one fit on validation data: popularity." in said
    assert "3 trials: ALS, EASE" not in said
    assert "3 trials: ALS. 64 trials, drawn at random: EASE." in said
    assert "No search of their own, but the settings of another one's: BPR (of ALS)." in said
    assert "Where candidates come from: one corner is from a paper" in said
    assert all("BPR" not in table.index for table in page.tables("Tuning"))


def test_a_shared_search_costs_once(page):
    (cost,) = page.tables("Cost")
    seconds = cost.set_index("model")["search, processor s"]
    assert seconds.to_dict() == {"popularity": "2.0", "ALS": "6.0", "BPR": "in ALS", "EASE": "6.0"}
    prices = page.tables("Results on toy")[2]
    assert prices.loc["ALS"].iloc[0].endswith(" + 6 s")
    assert prices.loc["BPR"].iloc[0].endswith(" + search of ALS")


def test_how_often_a_test_part_was_read(page):
    splits = page.tables("Data, versions, configuration")[0]
    assert [*splits["runs that read the test part"]] == ["40"]
    assert [*splits[["training pairs", "validation", "test"]].iloc[0]][1:] == ["50", "70"]
    assert "reads the test part of its split once" in page.said("How to read the numbers")


def with_terms(model, strengths, gains, value, bare, **facts):
    """A run that chose terms, of a rival."""
    told = {"strengths": strengths, "gains": gains, "value": value, "bare": bare, "n_candidates": 9}
    return make_record(key=f"{model}{value}", model=model, history=[{"epoch": 1, METRIC: bare, "terms": told}], **facts)


def test_what_each_term_is_worth_by_hand():
    gains = {"filter": 0.02, "popularity": 0.0, "dial": 0.01}
    chosen = {"strengths": {"popularity": 0.1}, "trained": 0.4, "value": 0.4, "bare": 0.2}
    runs = [
        with_terms("ALS-terms", {"filter": 1.0, "dial": 0.5}, gains, 0.2, 0.1),
        with_terms("ALS-terms", {"filter": 1.0}, {"filter": 0.01}, 0.4, 0.4),
        with_terms("EASE-terms", {}, {}, 0.4, 0.4),
        # of a version that did not keep what a term is worth
        replace(record("BUIR", 0.4, 0.4, kind="buir"), chosen=chosen),
        replace(record("BUIR", 0.4, 0.4, kind="buir", split_seed=1), chosen=chosen | {"gains": {"popularity": 0.1}}),
    ]
    (found,) = terms_section(runs)
    frame = found.blocks[-1].frame
    assert list(frame.columns) == ["model", "fits", "all", "filter", "popularity", "dial"]
    assert frame.values.tolist() == [
        ["ALS-terms", "2", "1.414", "2 fits, -6.2 %", "0 fits", "1 fit, -5.0 %"],
        ["BUIR", "2", "2.000", "0 fits", "2 fits, -25.0 %", "0 fits"],
    ]
    assert terms_section(runs[2:3]) == []
    assert terms_section([record("ALS", 0.2, 0.3)]) == []

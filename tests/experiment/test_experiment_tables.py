"""Tables of results: every number is one of the findings or of a record."""

import re
from dataclasses import replace

import pytest

from buir.errors import InputWarning
from buir.experiment.report.blocks import aligned, table
from buir.experiment.report.tables import markdown_report, results_table, searches_table, seconds_table, text_report
from buir.experiment.report.words import interval_text
from buir.experiment.run.sources import Sources
from buir.experiment.statistics.findings import find
from buir.experiment.tracking import runs
from tests.support.benchmarks import make_config
from tests.support.records import make_cells

METRICS = ("ndcg_at_20", "recall_at_20")


def make_results(means, *, refused=(), **cells):
    """Records and what they amount to; cells of ``refused``, pairs of model and level in per cent, have no numbers."""
    records, frames = make_cells(means, **cells)
    nothing = {"status": "refused", "reason": "too many items", "metrics": {}, "n_test_users": 0}
    records = [replace(r, **nothing) if (r.model, r.train_pct) in refused else r for r in records]
    return records, find(records, frames.__getitem__, headlines=METRICS)


REFUSED = (("BPR", 50), ("EASE", 20))
RESULTS = make_results(
    {"ALS": (0.5, 0.3), "BPR": (0.5, 0.1), "EASE": (0.1, 0.1), "popularity": (0.2, 0.3)}, refused=REFUSED
)


def test_every_mean_stands_with_its_interval_and_what_is_missing_is_said():
    records, found = RESULTS
    done = [r for r in records if (r.model, r.train_pct) != ("EASE", 50)]
    made, notes = results_table(done, "ndcg_at_20", found)
    shown = {
        (part.train_pct, model): interval_text(part.intervals[model, "ndcg_at_20"])
        for part in found
        for model in part.models
    }
    marks = {
        (part.train_pct, model): "*" if model == part.leaders["ndcg_at_20"].best else "≈"
        for part in found
        for model in part.leaders["ndcg_at_20"].names
    }
    assert [*made.frame.columns] == ["model", "train 20 %", "train 50 %"]
    assert {mark for (pct, _), mark in marks.items() if pct == 20} == {"*", "≈"}
    for row in made.frame.to_numpy():
        for pct, cell in zip((20, 50), row[1:], strict=True):
            if (row[0], pct) in REFUSED:
                assert cell == "n/a "
            elif row[0] != "EASE":
                assert cell == shown[pct, row[0]] + marks.get((pct, row[0]), " ")
    assert [*made.frame["train 20 %"]][2] == "n/a "
    assert notes == ["n/a: BPR: too many items", "n/a: EASE: too many items"]


def test_a_cell_that_was_not_run():
    records, found = make_results({"ALS": 0.3, "BPR": 0.1})
    missing = [r for r in records if (r.model, r.train_pct) != ("BPR", 50)]
    part = next(part for part in found if part.train_pct == 20)
    made, notes = results_table(missing, "ndcg_at_20", [part])
    assert [*made.frame["train 50 %"]] == ["not run ", "not run "]
    assert notes == []


def test_models_without_chance_and_single_runs_have_intervals_too():
    for seeds in ((0,), (0, 1, 2)):
        records, found = make_results({"popularity": 0.2, "ALS": 0.3}, seeds=seeds, levels=(0.2,))
        text = text_report(records, found, METRICS, {})
        low, high = map(float, re.findall(r"^popularity +0\.\d{4} \[(0\.\d{4}), (0\.\d{4})\]", text, re.MULTILINE)[0])
        assert low < high
    assert "[95 % interval over users, model seeds]; * highest mean of a column; ≈ not shown to be worse" in text


def test_seconds_name_their_unit_and_searches_count_once():
    records, _ = make_results({"ALS": 0.3}, tuned=True, levels=(0.2,), split_seeds=(0, 1), seeds=(0, 1))
    made = seconds_table(records, {}).frame
    assert [*made.columns] == ["seconds", "fit (processor)", "rank (clock)", "tune (processor)"]
    # two splits with seeds 0 and 1; a search of three trials on each, of 2 and of 3 seconds
    assert made.to_numpy().tolist() == [["ALS", "34.0", "0.4", "15.0"]]


def test_searches_name_their_split_where_there_are_several():
    records, _ = make_results({"ALS": 0.3}, tuned=True, levels=(0.2,), split_seeds=(0, 1), seeds=(0,))
    refused = replace(records[0], model="EASE", status="refused", reason="too large", tuning={})
    made = searches_table([*records, refused]).frame
    assert [*made.columns][:3] == ["model", "split seed", "valid NDCG@20"]
    assert made.to_numpy().tolist() == [
        ["ALS", "0", "0.1200", "3", "6.0", "embedding_dim=64"],
        ["ALS", "1", "0.1200", "3", "9.0", "embedding_dim=64"],
        ["EASE", "0", "n/a", "", "", "refused: too large"],
    ]
    assert "split seed" not in searches_table(records[:1]).frame


def test_text_has_aligned_columns():
    shown = table(["m", "x"], [["long", "1"], ["s", "22"]])
    assert aligned(shown) == "m      x\n--------\nlong   1\ns     22"
    assert aligned(shown, words=True) == "m     x\n--------\nlong  1\ns     22"
    text = text_report(*RESULTS, METRICS, {})
    assert text.startswith("toy, protocol nested, full ranking, mean over 60 test users\n\nNDCG@20\nmodel  ")
    assert text.count("n/a: BPR: too many items") == 1
    assert text.count("fit (processor)") == 1
    assert text.endswith("fit and tune count what all threads used of the processor, rank is time on the clock.")


def test_markdown():
    text = markdown_report(*RESULTS, METRICS, {})
    assert "| NDCG@20 | train 20 % | train 50 % |\n| --- | ---: | ---: |\n| ALS | 0." in text
    assert re.search(r"^\| EASE \| n/a \| 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\] \|$", text, re.MULTILINE)
    assert "| seconds | fit (processor) | rank (clock) | tune (processor) |" in text


def test_nothing_finished():
    records, _ = make_results({"ALS": 0.3}, levels=(0.2,))
    refused = [replace(record, status="refused", reason="no", metrics={}) for record in records]
    assert "nothing is finished" in text_report(refused, [], METRICS, {})


@pytest.mark.parametrize(
    ("level", "text"), [(0.2, "20"), (1.0, "100"), (0.01, "1"), (0.005, "0.5"), (0.001, "0.1"), (0.00125, "0.12")]
)
def test_levels_below_one_per_cent_are_not_called_zero(level, text):
    records, found = make_results({"ALS": (0.5,)}, levels=(level,))
    assert {str(record.train_pct) for record in records} == {text}
    assert [*results_table(records, "ndcg_at_20", found)[0].frame.columns] == ["model", f"train {text} %"]
    assert f"train {text} %" in text_report(records, found, METRICS, {})


def test_levels_below_one_per_cent_have_steps_of_their_own():
    records, _ = make_results({"ALS": 0.5}, levels=(0.001, 0.005, 0.2))
    means = runs.level_means(records, ["ndcg_at_20"])
    assert list(means) == [0.1, 0.5, 20]
    curve = [metric for metric in runs.sweep_metrics(means, 1) if metric.key == "test/ndcg_at_20"]
    assert [metric.step for metric in curve] == [-1, 0, 20]


def test_levels_that_keep_the_same_pairs_are_told():
    levels = (0.001, 0.005, 0.5)
    config = make_config(protocol={"kind": "nested", "levels": list(levels)})
    label = config.data[0].label
    with pytest.warns(
        InputWarning, match=f"^{label}: levels 0.001 and 0.005 keep the same .* training pairs"
    ) as caught:
        made = Sources(config).splits(label, 0)
    assert len(caught) == 1
    assert made[0.001].train.n_pairs == made[0.005].train.n_pairs < made[0.5].train.n_pairs

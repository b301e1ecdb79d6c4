"""Tables of results: every cell by hand."""

from buir.experiment.tables import aligned, markdown_report, results_table, text_report


def make_record(model, pct, value, *, seed=0, split_seed=0, status="ok", reason=None, fit_s=2.0, tune_s=0.0):
    return {
        "dataset": "toy",
        "protocol": "nested",
        "model": model,
        "train_pct": pct,
        "split_seed": split_seed,
        "seed": seed,
        "status": status,
        "reason": reason,
        "metrics": {"ndcg_at_20": value} if status == "ok" else {},
        "fit_s": fit_s,
        "rank_s": 0.25,
        "tune_s": tune_s,
        "n_test_users": 1234,
    }


RECORDS = [
    make_record("A", 20, 0.1),
    make_record("A", 20, 0.3, seed=1),
    make_record("A", 50, 0.2, tune_s=10.0),
    make_record("A", 50, 0.2, seed=1, tune_s=10.0),
    make_record("B", 20, 0.15),
    make_record("B", 50, 0.0, status="refused", reason="too many items"),
    make_record("C", 20, 0.0, status="refused", reason="too many items"),
]


def test_means_spreads_and_what_is_missing():
    rows, notes = results_table(RECORDS, "ndcg_at_20")
    assert rows == [
        ["model", "train 20 %", "train 50 %", "fit s", "rank s", "tune s"],
        ["A", "0.2000 ± 0.1414*", "0.2000 ± 0.0000*", "8.0", "1.0", "10.0"],
        ["B", "0.1500 ", "n/a ", "2.0", "0.2", "0.0"],
        ["C", "n/a ", "not run ", "", "", ""],
    ]
    assert notes == ["n/a: B: too many items", "n/a: C: too many items"]


def test_each_split_has_its_search_and_model_seeds_share_it():
    searched = [make_record("A", 50, 0.2, seed=s, split_seed=p, tune_s=10.0 + p) for p in (0, 1) for s in (0, 1)]
    rows, _ = results_table(searched, "ndcg_at_20")
    assert rows[1][-1] == "21.0"


def test_text_has_aligned_columns():
    assert aligned([["m", "x"], ["long", "1"], ["s", "22"]]) == "m      x\n--------\nlong   1\ns     22"
    text = text_report(RECORDS, ["ndcg_at_20"])
    assert text.startswith("toy, protocol nested, full ranking, mean over 1,234 test users\n\nNDCG@20\nmodel  ")
    assert "± standard deviation over 2 runs (seeds)" in text
    assert text.count("n/a: B: too many items") == 1


def test_markdown():
    text = markdown_report(RECORDS, ["ndcg_at_20"])
    assert (
        "| NDCG@20 | train 20 % | train 50 % | fit s | rank s | tune s |\n| --- | ---: | ---: | ---: | ---: | ---: |"
        in text
    )
    assert "| B | 0.1500  | n/a  | 2.0 | 0.2 | 0.0 |" in text


def test_one_seed_has_no_spread():
    text = text_report(RECORDS[4:5], ["ndcg_at_20"])
    assert "±" not in text

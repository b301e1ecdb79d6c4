"""The report: what it says is true of its records, whoever wins."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from buir.experiment.records import provenance
from buir.experiment.report.advice import advice, winners
from buir.experiment.report.blocks import Cell, Image, Section, Table, table
from buir.experiment.report.content import make_content
from buir.experiment.report.figures import verdict_figure
from buir.experiment.report.tables import text_report
from buir.experiment.report.words import range_text, seconds_text, span_text
from buir.experiment.report.write import panels_of, render, write_report
from buir.experiment.statistics.findings import HEADLINES, find, user_metrics
from buir.experiment.statistics.panels import default_panel, judge
from tests.support.records import make_cells

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


class Outline(HTMLParser):
    """Collects what a page would load from elsewhere, and checks that tags close in order."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.outside, self.images, self.titles = [], [], 0, []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.images += tag == "img"
        self.outside += [v for k, v in found.items() if k in ("src", "href") and not v.startswith(("data:", "#"))]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def plan_of(records, **changes):
    return {"name": "study", "keys": [r.key for r in records], "headline": HEADLINES, "config": None} | changes


class Content:
    """What a report of records says, asked by the titles of its sections."""

    def __init__(self, records, frames, made_by=(), **plan):
        panels = panels_of(plan.get("config"), records)
        self.found = find(records, frames.__getitem__, panels=panels)
        self.csv, self.sections = {}, {}
        self.judged = judge(self.found, panels)
        content = make_content(plan_of(records, **plan), records, self.found, self.judged, made_by)
        self.csv = content["csv"]
        self.sections = {section.title: section.blocks for section in content["sections"]}

    def said_of(self, reference, metric, part):
        """What a reference comes to against each rival at a place."""
        (judged,) = [j for j in self.judged if (j.reference, j.metric) == (reference, metric)]
        return {comparison.other: comparison for comparison in judged.comparisons[part.place]}

    def said(self, title):
        """All sentences of a section."""
        blocks = self.sections[title]
        return " ".join(" ".join(b) if isinstance(b, list) else b for b in blocks if isinstance(b, str | list))

    def tables(self, title):
        """All tables of a section as texts, by model or whatever stands in the first column, those in folds too."""
        flat = [b for block in self.sections[title] for b in (block.blocks if isinstance(block, Section) else [block])]
        return [block.frame.map(str).set_index(block.frame.columns[0]) for block in flat if isinstance(block, Table)]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+|-?\d+", text.replace(",", ""))]


REFUSED = {
    "status": "refused",
    "reason": "25,181 items need 5 GB",
    "metrics": {},
    "groups": {"user": [], "item": []},
    "n_test_users": 0,
}


# -- one golden page for each form


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Write the report of few records on a machine that is always the same; return its folder and the texts in it."""
    means = {"popularity": (0.2, 0.2), "ALS": (0.3, 0.5), "BUIR-nb": (0.5, 0.3)}
    records, frames = make_cells(means, tuned=True, seeds=(0, 1), n_users=30)
    records.append(replace(records[0], key="f" * 16, model="EASE|2", kind="ease", **REFUSED))
    config = {"name": "study", "seeds": [0, 1], "data": [{"dataset": "synthetic"}], "models": [{"kind": "als"}]}
    start = "buir benchmark study.yaml --jobs 2"
    plan = plan_of([], keys=["k"] * 20, config=config, command=start, jobs=2)
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "machine", lambda: {"processor": "Fast 9", "cores": 8, "system": "Linux x86_64"})
        patch.setattr(provenance, "versions", lambda: {"torch": "9.9.9", "optuna": "5.0.0"})
        made = write_report(plan, records, frames.__getitem__, folder, command="buir report study", rerun=start)
    texts = {file.name: file.read_text(encoding="utf-8") for file in made.files}
    texts["study.html"] = re.sub(r"(?<=base64,)[^\"]+", "", texts["study.html"])
    return folder, texts | {"terminal.txt": text_report(records, made.findings, HEADLINES, {}) + "\n"}


NAMES = ["study.html", "study.md", "study.csv", "study-differences.csv", "study-groups.csv", "terminal.txt"]


def test_every_form_is_the_golden_one(golden):
    _, texts = golden
    assert [*texts] == [*NAMES[:5], "study.yaml", "terminal.txt"]
    for name in NAMES:
        assert texts[name] == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_the_html_needs_no_other_file(golden):
    _, texts = golden
    outline = Outline()
    outline.feed(texts["study.html"])
    assert outline.open == []
    assert outline.outside == []
    assert outline.images == 2
    assert outline.titles == re.findall(r"^## (.*)$", texts["study.md"], re.MULTILINE)
    assert len(outline.titles) == 15


def test_the_markdown_shows_files_that_exist(golden):
    folder, texts = golden
    files = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", texts["study.md"])
    assert files == ["study-figures/levels-toy-nested.png", "study-figures/verdicts-all-models.png"]
    for file in files:
        assert (folder / file).read_bytes().startswith(b"\x89PNG")


# -- the content


@pytest.fixture(scope="module")
def content():
    means = {"popularity": (0.2, 0.2), "ALS": (0.3, 0.5), "BUIR-nb": (0.5, 0.3), "BUIR-walk": (0.5, 0.3)}
    records, frames = make_cells(means, tuned=True, names=("ndcg", "recall", "map"), ks=(10, 20))
    refused = replace(records[0], key="f" * 16, model="EASE", kind="ease", **REFUSED)
    config = {"seeds": [0, 1, 2], "data": [{"dataset": "synthetic"}]}
    started = {"command": "buir benchmark study.yaml", "jobs": 2}
    return Content([*records, refused], frames, keys=range(30), config=config, **started)


def test_every_number_of_a_model_stands_with_its_interval(content):
    ndcg, recall, seconds = content.tables("Results on toy")
    assert [*ndcg.index] == [*recall.index] == [*seconds.index] == ["popularity", "ALS", "BUIR-nb", "BUIR-walk", "EASE"]
    for shown, metric in ((ndcg, "ndcg_at_20"), (recall, "recall_at_20")):
        for part in content.found:
            column = shown[f"{part.train_pct} % kept"]
            for model in part.models:
                interval = part.intervals[model, metric]
                assert interval.low < interval.value < interval.high
                ends = [interval.value, interval.low, interval.high]
                assert numbers(column[model]) == pytest.approx(ends, abs=5e-5)
                assert column[model].endswith(" ≈") == (model in part.leaders[metric].ties)
    assert [*ndcg.loc["EASE"]] == ["refused", "not run"]
    # a run of ALS takes 8, 9 or 10 seconds, and its search three trials of 2 seconds
    assert [*seconds.loc["ALS"]] == ["9 s + 6 s", "9 s + 6 s"]
    assert [*seconds.loc["popularity"]] == ["0.5 s + 2 s", "0.5 s + 2 s"]
    assert [*seconds.loc["EASE"]] == ["", ""]


def test_what_is_best_is_marked(content):
    table = content.sections["Results on toy"][1]
    sparse, dense = content.found
    for part, column in ((sparse, "20 % kept"), (dense, "50 % kept")):
        best = [c.tone == "best" for c in table.frame[column] if isinstance(c, Cell)]
        assert best == [model == part.leaders["ndcg_at_20"].best for model in part.models]


def test_the_csvs_have_every_number(content):
    means, differences, groups = (content.csv[end] for end in ("", "-differences", "-groups"))
    assert len(means) == 4 * 2 * 6
    assert set(means["metric"]) == {f"{m}_at_{k}" for m in ("ndcg", "recall", "map") for k in (10, 20)}
    assert (means["low"] <= means["mean"]).all()
    assert (means["mean"] <= means["high"]).all()
    # two references against three others, two metrics, two levels
    assert len(differences) == 2 * 3 * 2 * 2
    asked = {"level": "0.5", "model": "BUIR-nb", "other": "ALS", "metric": "recall_at_20"}
    (row,) = differences[(differences[[*asked]] == pd.Series(asked)).all(axis=1)].to_dict("records")
    c = content.said_of("BUIR-nb", "recall_at_20", content.found[1])["ALS"]
    assert (row["panel"], row["ratio"], row["detectable"]) == ("all models", c.ratio, c.detectable)
    assert (row["difference"], row["low"], row["high"]) == (c.difference.value, c.difference.low, c.difference.high)
    assert (row["p"], row["p_holm"], row["verdict"]) == (c.p, c.p_holm, "loses")
    users = groups[groups["of"] == "users"]
    assert len(users) == 2 * 5 * 4 * 2
    assert (users["standing"] == "best").sum() == 2 * 5 * 2
    asked = {"of": "items", "group": 2, "model": "ALS", "level": "0.2", "metric": "ndcg_at_20"}
    (row,) = groups[(groups[[*asked]] == pd.Series(asked)).all(axis=1)].to_dict("records")
    # three runs with 0.10, 0.11 and 0.12
    assert (row["mean"], row["smallest_run"], row["largest_run"]) == pytest.approx((0.11, 0.10, 0.12))
    assert (row["n_users"], row["n_items"], row["low_degree"], row["high_degree"]) == (9, 4, 3, 5)
    assert pd.isna(row["low"])
    assert pd.isna(row["high"])


def test_the_winner_is_named_when_it_is_buir_and_when_it_is_not(content):
    sparse, dense = content.found
    assert set(sparse.leaders["ndcg_at_20"].names) == {"BUIR-nb", "BUIR-walk"}
    assert dense.leaders["ndcg_at_20"].names == ("ALS",)
    (shown,) = content.tables("What should I use on my data?")
    assert [*shown["highest mean NDCG@20"]] == [sparse.leaders["ndcg_at_20"].best, "ALS"]
    assert [*shown["not shown to be worse"]] == [sparse.leaders["ndcg_at_20"].ties[0], "none"]
    sizes = shown.iloc[:, :4].map(lambda text: float(text.replace(",", "")))
    assert [*sizes.loc["toy, 20 %"][:2]] == [60, 100]
    assert [*sizes["training pairs"] / 60] == pytest.approx([*sizes["pairs per user"]], abs=0.05)
    assert shown["fastest of these (processor time)"]["toy, 50 %"] == "ALS (9 s)"
    assert "toy, 50 %: Not BUIR: use **ALS**" in content.said("What should I use on my data?")
    assert numbers(content.said("Summary"))[:5] == [24, 5, 1, 1, 5]  # runs, models, data sets, refused, missing


def test_verdicts_stand_with_interval_and_p(content):
    folds = [block for block in content.sections["Verdicts: all models"] if isinstance(block, Section)]
    assert [fold.title for fold in folds] == [
        "Means, Recall@20",
        "BUIR-nb against each rival, NDCG@20",
        "BUIR-nb against each rival, Recall@20",
        "BUIR-walk against each rival, NDCG@20",
        "BUIR-walk against each rival, Recall@20",
    ]
    (table,) = folds[1].blocks
    assert isinstance(table, Table)
    shown = table.frame.map(str).set_index(table.frame.columns[0])
    for part in content.found:
        for c in content.said_of("BUIR-nb", "ndcg_at_20", part).values():
            word, rest = shown[f"{part.train_pct} %"][c.other].split(" ", 1)
            assert word == c.verdict
            expected = [c.difference.value, c.difference.low, c.difference.high, max(c.p_holm, 0.001)]
            expected += [c.detectable] if c.verdict == "ties" else []
            assert numbers(rest) == pytest.approx(expected, abs=5e-4)
    assert [*shown.loc["EASE"]] == ["refused", "not run"]


def test_groups_of_users_have_intervals_and_add_up(content):
    for found in content.found:
        assert len(found.groups) == 5
        assert sum(g.n_users for g in found.groups) == 60
        bounds = [(group.low, group.high) for group in found.groups]
        assert all(low <= high for low, high in bounds)
        assert all(bounds[i][1] + 1 == bounds[i + 1][0] for i in range(4))
        for metric in ("ndcg_at_20", "recall_at_20"):
            everyone = sum(g.intervals["ALS", metric].value * g.n_users for g in found.groups) / 60
            assert everyone == pytest.approx(found.intervals["ALS", metric].value)
            assert all(g.leaders[metric].best in found.models for g in found.groups)


def test_groups_are_shown_for_ndcg_and_for_recall(content):
    users, items = (content.tables(f"{of}") for of in ("Sparse and active users", "Rare and popular items"))
    assert len(users) == len(items) == 4
    assert sum(numbers(" ".join(users[0].loc["users"]))) == 60
    groups = content.found[0].groups
    assert numbers(users[1].loc["ALS"].iloc[2])[0] == pytest.approx(
        groups[2].intervals["ALS", "recall_at_20"].value, abs=5e-5
    )
    assert [*items[0].loc["items"]] == ["4"] * 5
    assert [*items[0].loc["users measured"]] == ["9"] * 5
    assert [*items[0].loc["ALS"]] == ["0.1100 (0.1000 to 0.1200)"] * 5
    assert [*items[0].columns] == ["0 to 2 users", "3 to 5 users", "6 to 8 users", "9 to 11 users", "12 to 14 users"]


def test_all_metrics_at_the_headlines_length(content):
    shown = content.tables("All metrics")[1]
    assert [*shown.columns] == ["NDCG@20", "Recall@20", "MAP@20", "coverage@20"]
    value = content.found[1].intervals["ALS", "map_at_20"].value
    assert numbers(shown["MAP@20"]["ALS"])[0] == pytest.approx(value, abs=5e-5)
    assert shown["coverage@20"]["ALS"] == "0.2600 (0.2500 to 0.2700)"


def test_what_was_spent_and_searched(content):
    (cost,) = content.tables("Cost")
    assert [*cost[cost["model"] == "ALS"].iloc[0]][1:] == [
        *("ALS", "9.0 (8.0 to 10.0)", "0.1 (0.1 to 0.1)", "301 (300 to 302)", "6.0", "3"),
    ]
    longest, spaces, best = content.tables("Tuning")
    assert [*longest.loc["ALS"]] == ["no", "2.0", "toy 20 %"]
    assert [*longest.loc["BUIR-nb"]] == ["yes", "2.0", "toy 20 %"]
    assert [*spaces.loc["popularity"]] == ["`(nothing)`", ""]
    assert spaces.loc["ALS"].to_numpy().tolist()[1] == ["`learning_rate`", "0.0001 to 0.01 (logarithmic)"]
    row = best[best["model"] == "ALS"].iloc[0]
    assert [*row][2:] == ["0", "3 (1 pruned, 0 failed)", "1", "6.0", "0.1200", "`embedding_dim=64`"]
    said = content.said("Tuning")
    assert [*map(int, numbers(said))] == [20, 3, 60]  # NDCG@20, trials, seconds of a trial
    assert "(popularity, ALS) **cannot be ended**" in said
    assert "no test pair has decided" in said


def test_what_is_missing_and_what_computed_it(content):
    assert numbers(content.said("What is missing")) == [5, 30]
    (refused,) = content.tables("What is missing")
    assert [*refused.loc["toy"]] == ["20 %", "EASE", "25,181 items need 5 GB"]
    splits, machines, versions, commits, keys, config = content.tables("Data, versions, configuration")
    assert len(splits) == 2
    assert [*splits.iloc[0]][3:] == ["60", "100", splits.iloc[0]["training pairs"], "50", "70", "12"]
    assert [*machines.loc["runs"]] == ["25", *["unknown"] * 4]
    assert int(machines.loc["this page"]["cores"]) == provenance.available_cores()
    assert versions["version"]["torch"] == "2.13.0"
    assert re.fullmatch(r"\S+ \(when this page was made; .*\)", versions["version"]["optuna"])
    assert [*commits.loc["`0123abc`"]] == ["25", "popularity 6, ALS 6, BUIR-nb 6, BUIR-walk 6, EASE 1"]
    assert len(keys) == 25
    assert config["value"]["seeds"] == "`[0, 1, 2]`"


def test_intervals_of_metrics_stay_between_0_and_1():
    records, frames = make_cells(
        {"ALS": 0.02, "BUIR-nb": 0.98}, levels=(0.2,), n_users=6, names=("ndcg",), seeds=(0, 1)
    )
    for record in records:
        # seeds that differ much make wide intervals
        frames[record.key]["ndcg_at_20"] = abs(0.4 * record.seed - (record.model != "ALS"))
    (found,) = find(records, frames.__getitem__, headlines=("ndcg_at_20",))
    als, ours = (found.intervals[name, "ndcg_at_20"] for name in ("ALS", "BUIR-nb"))
    # means of 0 and 0.4, of 1 and 0.6: without bounds Student's t reaches 2.5 to either side
    assert (als.low, als.value, als.high) == (0.0, pytest.approx(0.2), 1.0)
    assert (ours.low, ours.value, ours.high) == (0.0, pytest.approx(0.8), 1.0)
    assert all(0 <= i.low <= i.high <= 1 for group in found.groups for i in group.intervals.values())


def test_runs_of_several_commits_are_told_and_counted(tmp_path):
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    records[:2] = [replace(record, git_commit="fedcba9876543210") for record in records[:2]]
    warning = write_report(plan_of(records), records, frames.__getitem__, tmp_path).warning
    assert warning is not None
    assert "2 commits" in warning
    content = Content(records, frames)
    assert content.said("Summary").count(warning) == 1
    commits = content.tables("Data, versions, configuration")[3]["runs"]
    assert commits.to_dict() == {"`0123abc`": "4", "`fedcba9876543210`": "2"}
    of_which = content.tables("Data, versions, configuration")[3]["of which model"]
    assert [*of_which] == ["ALS 1, BUIR-nb 3", "ALS 2"]
    assert write_report(plan_of(records), records[2:], frames.__getitem__, tmp_path).warning is None


def test_records_that_know_their_machine():
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    machine = {"processor": "Fast 9", "cores": 8, "threads": 4, "system": "Linux x86_64"}
    records[1:] = [replace(r, machine=machine, versions=r.versions | {"optuna": "5.0.0"}) for r in records[1:]]
    content = Content(records, frames)
    machines, versions = content.tables("Data, versions, configuration")[1:3]
    assert machines.loc["runs"].to_numpy().tolist() == [
        ["1", *["unknown"] * 4],
        ["5", "Fast 9", "8", "4", "Linux x86_64"],
    ]
    assert versions["version"]["optuna"] == "5.0.0"


def test_a_report_is_reproduced_whatever_the_order_in_which_runs_were_finished(tmp_path):
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, n_users=30)
    other = sorted(records, key=lambda record: (-record.seed, -record.level))
    for place, some in (("0", records), ("1", other)):
        write_report(plan_of(some), some, frames.__getitem__, tmp_path / place)
    files = sorted(file.relative_to(tmp_path / "0") for file in (tmp_path / "0").rglob("*.*"))
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "1" / file).read_bytes(), file


def findings_of(means, **cells):
    records, frames = make_cells(means, levels=(0.2,), **cells)
    (found,) = find(records, frames.__getitem__)
    return found


SECONDS = {"popularity": 0.01, "ALS": 2.0, "BUIR-id": 5.0, "BUIR-nb": 120.0}


@pytest.mark.parametrize(
    ("means", "expected", "absent"),
    [
        ({"ALS": 0.2, "BUIR-nb": 0.5}, r"^Use \*\*BUIR-nb\*\* \(NDCG@20 .*\): it beats every other model\.$", "not"),
        (
            {"ALS": 0.5, "BUIR-nb": 0.2},
            r"^Not BUIR: use \*\*ALS\*\* .* BUIR's best variant is BUIR-nb, 0\.\d+ \[.*\] behind\.$",
            "popular",
        ),
        (
            {"popularity": 0.5, "ALS": 0.2, "BUIR-nb": 0.2},
            "Not BUIR: use .*popularity.* No model is shown to beat recommending what is popular",
            "Use",
        ),
        (
            {"ALS": 0.3, "BUIR-nb": 0.3, "BUIR-id": 0.1},
            r"has the highest mean .* is not shown to beat (ALS|BUIR-nb)\. Of these, \*\*ALS\*\* trains fastest \(2 s of processor time\)\.",
            "BUIR is not",
        ),
        (
            {"ALS": 0.3, "popularity": 0.3, "BUIR-id": 0.1},
            "BUIR is not the choice here: BUIR's best variant is BUIR-id",
            "Use",
        ),
        ({"ALS": 0.4, "popularity": 0.1}, r"^Use \*\*ALS\*\*", "BUIR"),
        ({"ALS": 0.4}, r"^Only \*\*ALS\*\* was run", "beat"),
    ],
)
def test_advice_in_every_outcome(means, expected, absent):
    found = findings_of(means)
    text = advice(found, SECONDS)
    assert re.search(expected, text), text
    assert absent not in text


def test_advice_admits_that_there_was_one_run():
    found = findings_of({"ALS": 0.2, "BUIR-nb": 0.5}, seeds=(0,))
    assert "There was one run only, so other seeds might change this." in advice(found, SECONDS)


def test_winners_level_by_level():
    records, frames = make_cells({"ALS": (0.5, 0.3), "BUIR-nb": (0.2, 0.3)})
    lines = winners(find(records, frames.__getitem__))
    assert re.fullmatch(
        r"At 20 %: \*\*ALS\*\* has the highest mean \(NDCG@20 0\.\d{4} \[.*\]\); all others are shown to be worse\.",
        lines[0],
    )
    assert re.fullmatch(r"At 50 %: \*\*(ALS|BUIR-nb)\*\* has .*; not shown to be worse: (ALS|BUIR-nb)\.", lines[1])
    (alone,) = winners([findings_of({"ALS": 0.3})])
    assert alone.endswith("; no other model was run.")


def test_seconds_have_two_digits():
    assert [seconds_text(s) for s in (0.0344, 8.16, 12.4, 1400)] == ["0.034 s", "8.2 s", "12 s", "1,400 s"]


def test_the_authors_protocol_warns_against_comparing_levels():
    content = Content(*make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, protocol="author", n_users=20))
    assert "must NOT be compared" in content.said("How to read the numbers")


def test_several_splits_are_covered_and_each_has_its_search():
    cells = {"split_seeds": (0, 1, 2), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    content = Content(*make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, **cells))
    said = content.said("How to read the numbers")
    assert "here they cover: users, split seeds, model seeds." in said
    assert "of these 3 splits" in said
    assert "nothing about other splits" not in said
    assert "no test pair has decided" in content.said("Tuning")
    best = content.tables("Tuning")[2]
    assert [*best[best["model"] == "ALS"]["split seed"]] == ["0", "1", "2"]
    # three searches of three trials that take 2, 3 and 4 seconds, 9 seconds on average
    (cost,) = content.tables("Cost")
    assert [*cost["search, processor s"]] == ["27.0", "27.0"]
    assert content.tables("Results on toy")[2].loc["ALS"].iloc[0].endswith("+ 9 s")


def test_one_split_says_nothing_about_others(content):
    said = content.said("How to read the numbers")
    assert "here they cover: users, model seeds." in said
    assert "nothing about other splits" in said
    assert "**Nested levels" in said


def test_a_search_that_served_several_splits_is_admitted():
    cells = {"split_seeds": (0, 1), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, **cells)
    first = {record.model: record.tuning for record in records if record.split_seed == 0}
    said = Content([replace(record, tuning=first[record.model]) for record in records], frames).said("Tuning")
    assert "searched on one split and used on another" in said
    assert "no test pair" not in said


def test_budgets_of_data_sets_and_fits_ended_by_the_clock_are_told():
    cells = {"datasets": ("toy", "huge"), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, **cells)
    for place, record in enumerate(records):
        huge = record.dataset == "huge"
        tuning = record.tuning | {"trials": 10 if huge else 30, "fit_seconds": 90.0}
        capped = huge and record.model == "BUIR-nb"
        records[place] = replace(record, fit_seconds=90.0, capped=capped, tuning=tuning)
    said = Content(records, frames).said("Tuning")
    assert "had the same budget, 30 trials on toy; 10 trials on huge: ALS, BUIR-nb." in said
    assert "have 90 processor seconds" in said
    assert "ended so: BUIR-nb 1 of 2." in said
    assert "The clock limits trials only" not in said
    assert "The clock limits trials only" in Content(*make_cells({"ALS": 0.3}, tuned=True)).said("Tuning")


def test_levels_with_other_budgets_are_told_apart():
    records, frames = make_cells({"ALS": 0.3}, seeds=(0,), tuned=True, levels=(0.2, 0.5))
    again = {"space": {}, "trials": 1, "max_seconds": 3.0}
    first = {"max_seconds": 10.0, "trials": 8}
    records = [replace(r, tuning=r.tuning | (again if r.level == 0.2 else first)) for r in records]
    said = Content(records, frames).said("Tuning")
    assert "nothing to search on toy at 20 %; 8 trials on toy at 50 %: ALS" in said
    assert "first validation after 10 processor seconds" in said, "what nothing is searched with limits nothing"


def test_deciding_inside_the_training_part_is_told():
    records, frames = make_cells({"ALS": 0.3, "LightGCN": 0.2}, seeds=(0,), tuned=True, levels=(0.2,))
    inside = [replace(r, decided_on="inner", fit_seconds=9.0, tuning=r.tuning | {"fit_seconds": 9.0}) for r in records]
    for these, is_inner in ((records, False), (inside, True)):
        content = Content(these, frames)
        assert ("Every model decided inside its training part" in content.said("How to read the numbers")) is is_inner
        said = content.said("Tuning")
        assert ("on pairs held out of the training part" in said) is is_inner
        assert ("Training again on everything" in said) is is_inner
    mixed = Content([records[0], *inside[1:]], frames)
    assert "Every model decided" not in mixed.said("How to read the numbers")


def test_without_searches_there_is_no_table_of_them():
    assert Content(*make_cells({"ALS": 0.3}, levels=(0.2,), n_users=20)).tables("Tuning") == []


def test_words_agree_with_their_number():
    for means, words in (
        ({"ALS": 0.3, "BUIR-nb": 0.4, "BUIR-id": 0.2}, "BUIR-nb and BUIR-id win, tie and lose"),
        ({"ALS": 0.3, "BUIR-nb": 0.4}, "BUIR-nb wins, ties and loses"),
    ):
        blocks = Content(*make_cells(means, n_users=30)).sections["Verdicts: all models"]
        (image,) = [block for block in blocks if isinstance(block, Image)]
        assert words in image.caption
    assert range_text([1, 1], "item") == "1 item"
    assert range_text([0], "user") == "0 users"
    assert range_text([3, 2], "item") == "2 to 3 items"


def test_ends_are_shown_where_they_differ():
    assert span_text([], ".1f") == ""
    assert span_text([1.0, 3.0], ".1f") == "2.0 (1.0 to 3.0)"
    assert [span_text(values, ".1f") for values in ([2.0], [2.0, 2.01])] == ["2.0", "2.0"]
    assert span_text([2.0, 2.0], ".1f", equal=True) == "2.0 (2.0 to 2.0)"
    assert span_text([2.0], ".1f", equal=True) == "2.0"


def test_verdict_figure_has_axes_for_each_reference():
    records, frames = make_cells({"ALS": 0.2, "BUIR-nb": 0.5, "BUIR-id": 0.2}, levels=(0.2,), datasets=("toy", "more"))
    found = find(records, frames.__getitem__)
    judged = [j for j in judge(found, [default_panel(records)]) if j.metric == "ndcg_at_20"]
    figure = verdict_figure(judged, found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["BUIR-nb", "BUIR-id"]
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["vs ALS", "vs BUIR-id"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20 %\ntoy", "20 %\nmore"]
    said = judged[0].comparisons["toy", "nested", 0.2]
    shown = [float(text.get_text()) for text in axes.texts[:2]]
    assert shown == pytest.approx([100 * (c.ratio - 1) for c in said], abs=0.51)
    assert [patch.get_facecolor() for patch in axes.patches] == [to_rgba("#7fb3d8")] * 4
    tie, loss = figure.axes[1].patches[:2]
    assert (tie.get_facecolor(), loss.get_facecolor()) == (to_rgba("#ececec"), to_rgba("#f2a07b"))


def test_one_model_alone_has_no_verdicts(recwarn):
    content = Content(*make_cells({"BUIR-nb": 0.4}, n_users=30))
    assert not any(title.startswith("Verdicts") for title in content.sections)
    assert len(content.csv["-differences"]) == 0
    assert not recwarn


def test_without_groups_there_are_no_sections_of_them():
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    content = Content([replace(record, groups={"user": [], "item": []}) for record in records], frames)
    assert not {"Sparse and active users", "Rare and popular items"} & set(content.sections)
    assert len(content.csv["-groups"]) == 0


def test_a_group_of_items_that_a_run_lacks_has_the_values_of_the_others():
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    few = records[2].groups | {"item": records[2].groups["item"][:3]}
    shown = Content([*records[:2], replace(records[2], groups=few), *records[3:]], frames).tables(
        "Rare and popular items"
    )
    assert [*shown[0].loc["ALS"]][2:4] == ["0.1100 (0.1000 to 0.1200)", "0.1050 (0.1000 to 0.1100)"]


def test_references_and_metrics():
    records, _ = make_cells({"ALS": 0.2, "BUIR-nb": 0.5, "BUIR-id": 0.2}, levels=(0.2,))
    assert default_panel(records).references == ("BUIR-nb", "BUIR-id")
    assert default_panel(records).models == ("ALS", "BUIR-nb", "BUIR-id")
    assert default_panel([r for r in records if r.model == "ALS"]).references == ("ALS",)
    assert user_metrics(records, ("recall_at_20",)) == ["recall_at_20", "ndcg_at_20"]
    with pytest.raises(ValueError, match="'ndcg_at_5' was not computed in every cell; there are: ndcg_at_20"):
        user_metrics(records, ("ndcg_at_5",))


def test_nothing_finished_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no finished run among 0 records of study"):
        write_report(plan_of([]), [], {}.__getitem__, tmp_path)


# -- the templates


def test_both_forms_by_hand():
    shown = table(["model", "a|b"], [["x", Cell("0.1 <", "best")], ["y", "0.2"]], "Caption")
    words = table(["what", "why"], [["z", "so\nit is"]], words=True)
    blocks = ["Some **bold** and `code`.", ["one", "two"], Section("more & more", [shown, words])]
    content = {"title": "T & co", "sections": [Section("First", blocks), Section("Last", ["End."])]}
    assert render("md", content, {}, "pics") == (
        "# T & co\n\n## First\n\nSome **bold** and `code`.\n\n- one\n- two\n\n"
        "<details><summary>more &amp; more</summary>\n\nCaption\n\n"
        "| model | a\\|b |\n| --- | ---: |\n| x | **0.1 <** |\n| y | 0.2 |\n\n"
        "| what | why |\n| --- | --- |\n| z | so it is |\n\n</details>\n\n## Last\n\nEnd.\n"
    )
    markup = render("html", content, {}, "pics")
    assert "<h1>T &amp; co</h1>" in markup
    assert '<h2 id="s1">Last</h2>' in markup
    assert "<p>Some <b>bold</b> and <code>code</code>.</p>" in markup
    assert "<ul><li>one</li><li>two</li></ul>" in markup
    assert '<td class="best">0.1 &lt;</td>' in markup
    assert "<caption>Caption</caption>" in markup
    assert markup.count('<table class="text">') == 1


def test_figures_are_embedded_or_beside():
    content = {"title": "t", "sections": [Section("s", [Image("dot", Figure(figsize=(1, 1)), 'A "dot"')])]}
    assert '![A "dot"](pics/dot.png)' in render("md", content, {"dot": b"\x89PNG"}, "pics")
    markup = render("html", content, {"dot": b"\x89PNG"}, "pics")
    assert 'src="data:image/png;base64,iVBORw=="' in markup
    assert 'alt="A &#34;dot&#34;"' in markup


def test_who_lists_what_is_popular_is_told_in_its_cell():
    records, frames = make_cells({"popularity": 0.2, "ALS": 0.3, "BUIR-nb": 0.5}, seeds=(0, 1))
    shares = {"popularity": 1.0, "ALS": 0.4, "BUIR-nb": 0.86}
    # of two runs the mean counts
    records = [replace(r, popularity_overlap=shares[r.model] + 0.1 * r.seed * (r.level == 0.2)) for r in records]
    page = Content(records, frames)
    shown, _ = page.tables("Results on toy")[:2]
    assert shown.loc["BUIR-nb"].str.endswith(": this is popularity").tolist() == [True, False]
    assert not shown.drop(index="BUIR-nb").stack().str.contains("popularity").any()
    assert "**This is popularity**: At least 90% of the places" in page.said("Results on toy")
    (first, second) = winners(page.found, records)
    assert first.endswith(" **BUIR-nb is popularity here**: its lists hold what is popular.")
    assert "popularity here" not in second
    text = text_report(records, page.found, HEADLINES, {})
    marked = [line for line in text.splitlines() if "*†" in line]
    assert [line.split()[0] for line in marked] == ["BUIR-nb"] * 2
    assert text.count("†") == 3
    assert "† this is popularity. At least 90% of the places of its lists" in text


def test_what_every_fit_came_to():
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.5}, seeds=(0,), levels=(0.2,))
    told = {"epochs": 0, "epochs_run": 0, "stopped": "start", "strengths": {"popularity": 30.0}, "batch_size": 256}
    told |= {"start": 0.2, "trained": 0.19, "value": 0.31, "bare": 0.2, "with_terms": True, "kept": 0.305, "other": 0.3}
    told |= {"collapse": "the lists are nearly the same"}
    buir = replace(records[1], chosen=told, popularity_overlap=0.96, device_peak_mb=1234.0)
    page = Content([records[0], buir], frames)
    (shown,) = page.tables("What every fit came to")
    row = shown.set_index("model").loc["BUIR-nb"]
    assert row["best epoch"] == "0 of 0"
    assert row[["ended by", "without terms", "with terms", "strengths"]].tolist() == [
        *("start", "0.2000", "0.3100", "popularity=30")
    ]
    assert row[["start", "trained", "training added"]].tolist() == ["0.2000", "0.1900", "-0.0100"]
    assert row[["kept", "popular places"]].tolist() == [
        "with terms (0.3050; the other 0.3000)",
        "96%: this is popularity",
    ]
    assert row[["decided by the fit", "peak memory of the device, MB"]].tolist() == ["batch_size=256", "1,234"]
    said = page.said("What every fit came to")
    assert "So it is of BUIR-nb on toy 20 %." in said
    assert "**BUIR-nb**: the lists are nearly the same." in said

"""The report: what it says is true of its records, whoever wins."""

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from buir.experiment.report.advice import advice, seconds_text, standing, winners
from buir.experiment.report.outcomes import _bounds
from buir.experiment.report.pages import Bullets, Cell, Fold, Image, Page, Section, Table
from buir.experiment.report.verdicts import verdict_figure
from buir.experiment.report.write import write_report
from buir.experiment.statistics.findings import find, reference_models, user_metrics
from tests.support.benchmarks import make_config
from tests.support.records import make_cells


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


def report(folder, means, *, name="study", cells=None, **options):
    records, frames = make_cells(means, **(cells or {}))
    return write_report(records, frames.__getitem__, folder, name=name, **options)


CONFIG = make_config(
    name="study", seeds=[0, 1, 2], protocol={"kind": "time", "test_fraction": 0.2}, tuning={"trials": 3}
).model_dump(mode="json", exclude_none=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    means = {"popularity": (0.2, 0.2), "ALS": (0.3, 0.5), "BUIR-nb": (0.5, 0.3), "BUIR-walk": (0.5, 0.3)}
    folder = tmp_path_factory.mktemp("report")
    records, frames = make_cells(means, tuned=True, names=("ndcg", "recall", "map"), ks=(10, 20))
    reason = {
        "status": "refused",
        "reason": "25,181 items need 5 GB",
        "metrics": {},
        "groups": {"user": [], "item": []},
    }
    refused = replace(records[0], key="f" * 16, model="EASE", kind="ease", **reason)
    made = write_report(
        [*records, refused],
        frames.__getitem__,
        folder,
        name="study",
        command="buir report study",
        rerun="buir benchmark study.yaml --jobs 2",
        plan={"command": "buir benchmark study.yaml --jobs 2", "jobs": 2},
        expected=30,
        config=CONFIG,
    )
    return made, records, frames


def test_the_html_needs_no_other_file(written):
    outline = Outline()
    outline.feed(written[0].html.read_text(encoding="utf-8"))
    assert outline.open == []
    assert outline.outside == []
    assert outline.images == 2
    assert outline.titles[:3] == ["Summary", "What should I use on my data?", "How to read the numbers"]
    for title in (
        "Results on toy",
        "Verdicts",
        "Sparse and active users",
        "Rare and popular items",
        "Cost",
        "Tuning",
        "Settings",
    ):
        assert title in outline.titles


def test_the_markdown_shows_files_that_exist(written):
    text = written[0].markdown.read_text(encoding="utf-8")
    files = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert files == ["study-figures/levels-toy-nested.png", "study-figures/verdicts.png"]
    for file in files:
        assert (written[0].markdown.parent / file).read_bytes().startswith(b"\x89PNG")


def test_every_number_of_a_model_stands_with_its_interval(written):
    text = written[0].markdown.read_text(encoding="utf-8")
    (found, _) = written[0].findings
    interval = found.intervals["ALS", "ndcg_at_20"]
    assert interval.low < interval.value < interval.high
    assert f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]" in text
    table = text.split("NDCG@20, mean over 60 users")[1].split("\n\n")[1].splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in table] == ["popularity", "ALS", "BUIR-nb", "BUIR-walk", "EASE"]
    assert all(re.search(r"\| (\*\*)?0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", row) for row in table[:4])
    assert "refused" in table[4]


def test_the_csv_has_every_metric_of_every_model_and_level(written):
    rows = list(csv.DictReader(written[0].table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 4 * 2 * 6
    assert {row["metric"] for row in rows} == {f"{m}_at_{k}" for m in ("ndcg", "recall", "map") for k in (10, 20)}
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows)


def test_the_winner_is_named_when_it_is_buir_and_when_it_is_not(written):
    text = written[0].markdown.read_text(encoding="utf-8")
    sparse, dense = written[0].findings
    assert set(sparse.leaders["ndcg_at_20"].names) == {"BUIR-nb", "BUIR-walk"}
    assert dense.leaders["ndcg_at_20"].names == ("ALS",)
    assert (
        "BUIR in 2 places (a data set at a level), by NDCG@20:\n\n"
        "- A variant of BUIR has the highest mean in **1**: toy 20 %.\n"
        "- It is shown to be better than every model of another kind in **1**: toy 20 %.\n"
        "- Another model has the highest mean, and BUIR's best variant is not shown to be worse, in **0**.\n"
        "- Every variant of BUIR is shown to be worse than the model with the highest mean in **1**: toy 50 %.\n\n"
    ) in text
    assert re.search(
        r"toy, 50 %: Not BUIR: use \*\*ALS\*\* \(NDCG@20 0\.\d{4} .*\): it beats every other model\. BUIR's best variant is BUIR-\w+, 0\.\d{4}",
        text,
    )


def test_protocol_budget_cost_and_gaps_are_said(written):
    text = written[0].markdown.read_text(encoding="utf-8")
    assert "**Nested levels on a fixed test set**" in text
    assert "here they cover: users, model seeds." in text
    assert "had 3 trials of seeded search, for each data set" in text
    assert "at most 60 s of training each" not in text
    assert "A trial of a model that trains in epochs ends at its first validation after 60 processor seconds" in text
    assert (
        "Models that are fitted in one go (popularity, ALS, EASE) **cannot be ended**: their trials took what they took."
        in text
    )
    assert "| ALS | no | 2.0 | toy 20 % |\n| BUIR-nb | yes | 2.0 | toy 20 % |" in text
    assert "Only one split seed was run: they say **nothing about other splits** of the same data" in text
    assert "in seconds of the processor (all threads together): mean of training a run" in text
    assert "| data set | level | model | training, processor s | ranking, s on the clock |" in text
    assert "popularity | `(nothing)`" in text
    assert "`learning_rate` | 0.0001 to 0.01 (logarithmic)" in text
    assert "3 (1 pruned, 0 failed) | 1 | 6.0 | 0.1200" in text
    assert "no test pair has decided anything" in text
    assert "| ALS | 9 s + 6 s | 9 s + 6 s |" in text
    assert "5 of 30 runs are not finished" in text
    assert "25,181 items need 5 GB" in text
    assert "Made by `buir report study`." in text
    assert (
        "Runs: `buir benchmark study.yaml --jobs 2` (with another folder after --out, everything runs again)." in text
    )
    assert "Latest start of the runs: buir benchmark study.yaml --jobs 2; cells at the same time (--jobs): 2." in text
    assert "| torch | 2.13.0 |" in text
    assert re.search(r"\| optuna \| \S+ \(when this page was made; not recorded by the runs\) \|", text)
    assert "| runs | 25 | unknown | unknown | unknown | unknown |" in text
    assert re.search(r"\| this page \|  \| [^|]+ \| \d+ \|  \| ", text)
    assert "| `0123abc` | 25 |" in text
    assert "were computed by" not in text
    assert written[0].warning is None
    assert "| seeds | `[0, 1, 2]` |" in text
    for record in written[1]:
        assert f"`{record.key}`" in text
        assert f"`{record.split_digest}`" in text


def test_groups_of_users_have_intervals_and_add_up(written):
    for found in written[0].findings:
        assert len(found.groups) == 5
        assert sum(g.n_users for g in found.groups) == 60
        bounds = [(group.low, group.high) for group in found.groups]
        assert all(low <= high for low, high in bounds)
        assert all(bounds[i][1] + 1 == bounds[i + 1][0] for i in range(4))
        for metric in ("ndcg_at_20", "recall_at_20"):
            everyone = sum(g.intervals["ALS", metric].value * g.n_users for g in found.groups) / 60
            assert everyone == pytest.approx(found.intervals["ALS", metric].value)
            assert all(g.leaders[metric].best in found.models for g in found.groups)


def test_groups_are_shown_for_ndcg_and_for_recall(written):
    text = written[0].markdown.read_text(encoding="utf-8")
    users, _, rest = text.partition("## Sparse and active users")[2].partition("## Rare and popular items")
    items = rest.partition("## All metrics")[0]
    for part in (users, items):
        assert part.count("NDCG@20\n\n| model |") == part.count("Recall@20\n\n| model |") == 2
        assert "NDCG@20 and Recall@20" in part
    assert "| items | 4 | 4 | 4 | 4 | 4 |\n| users measured | 9 | 9 | 9 | 9 | 9 |" in items
    assert "**The range is not an interval**" in items
    # three runs with 0.10, 0.11 and 0.12
    assert "| ALS | 0.1100 (0.1000 to 0.1200) |" in items


def read_csv(file):
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def test_the_csvs_have_the_differences_and_the_groups(written):
    made = written[0]
    rows = read_csv(made.differences)
    # two references against three others, two metrics, two levels
    assert len(rows) == 2 * 3 * 2 * 2
    (row,) = [
        r
        for r in rows
        if (r["level"], r["model"], r["other"], r["metric"]) == ("0.5", "BUIR-nb", "ALS", "recall_at_20")
    ]
    (c,) = [c for c in made.findings[1].verdicts["BUIR-nb", "recall_at_20"] if c.other == "ALS"]
    assert (float(row["difference"]), float(row["low"]), float(row["high"])) == pytest.approx(
        (c.difference.value, c.difference.low, c.difference.high), abs=1e-6
    )
    assert (float(row["p"]), float(row["p_holm"]), row["verdict"]) == pytest.approx((c.p, c.p_holm, "loses"), abs=1e-6)
    groups = read_csv(made.groups)
    assert {(r["of"], r["metric"]) for r in groups} == {
        (of, metric) for of in ("users", "items") for metric in ("ndcg_at_20", "recall_at_20")
    }
    users = [r for r in groups if r["of"] == "users"]
    assert len(users) == 2 * 5 * 4 * 2
    assert sum(r["standing"] == "best" for r in users) == 2 * 5 * 2
    (row,) = [
        r
        for r in groups
        if r["of"] == "items"
        and r["group"] == "2"
        and r["model"] == "ALS"
        and r["level"] == "0.2"
        and r["metric"] == "ndcg_at_20"
    ]
    assert (row["mean"], row["low"], row["smallest_run"], row["largest_run"]) == (
        "0.110000",
        "",
        "0.100000",
        "0.120000",
    )
    assert (row["n_users"], row["n_items"], row["low_degree"], row["high_degree"]) == ("9", "4", "3", "5")


def test_intervals_of_metrics_stay_between_0_and_1():
    records, frames = make_cells(
        {"ALS": 0.02, "BUIR-nb": 0.98}, levels=(0.2,), n_users=6, names=("ndcg",), seeds=(0, 1)
    )
    for record in records:
        # seeds that differ much make wide intervals
        frames[record.key]["ndcg_at_20"] = abs(0.4 * record.seed - (record.model != "ALS"))
    (found,) = find(records, frames.__getitem__, headlines=("ndcg_at_20",))
    als, ours = (found.intervals[name, "ndcg_at_20"] for name in ("ALS", "BUIR-nb"))
    assert als.low == 0.0 < als.value < als.high < 1.0 or als.high == 1.0
    assert ours.high == 1.0 > ours.value > ours.low >= 0.0
    assert all(0 <= i.low <= i.high <= 1 for group in found.groups for i in group.intervals.values())


def test_runs_of_several_commits_are_told_and_counted(tmp_path):
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    records[:2] = [replace(record, git_commit="fedcba9876543210") for record in records[:2]]
    made = write_report(records, frames.__getitem__, tmp_path, name="x")
    warning = "These runs were computed by 2 commits of one version: 0123abc (4), fedcba9876 (2)."
    assert made.warning is not None
    assert made.warning.startswith(warning)
    text = made.markdown.read_text(encoding="utf-8")
    assert text.count(warning) == 1
    assert "| `0123abc` | 4 |\n| `fedcba9876543210` | 2 |" in text


def test_records_that_know_their_machine(tmp_path):
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, levels=(0.2,), n_users=20)
    machine = {"processor": "Fast 9", "cores": 8, "threads": 4, "system": "Linux x86_64"}
    records[1:] = [replace(r, machine=machine, versions=r.versions | {"optuna": "5.0.0"}) for r in records[1:]]
    text = write_report(records, frames.__getitem__, tmp_path, name="x").markdown.read_text(encoding="utf-8")
    assert "| runs | 1 | unknown | unknown | unknown | unknown |\n| runs | 5 | Fast 9 | 8 | 4 | Linux x86_64 |" in text
    assert "| optuna | 5.0.0 |" in text
    assert "command not recorded; cells at the same time (--jobs): not recorded." in text


def test_a_report_is_reproduced_whatever_the_order_in_which_runs_were_finished(tmp_path):
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, n_users=30)
    other = sorted(records, key=lambda record: (-record.seed, -record.level))
    made = [write_report(r, frames.__getitem__, tmp_path / str(i), name="x") for i, r in enumerate((records, other))]
    assert made[0].markdown.read_bytes() == made[1].markdown.read_bytes()
    assert made[0].table.read_bytes() == made[1].table.read_bytes()
    figure = "x-figures/verdicts.png"
    assert (tmp_path / "0" / figure).read_bytes() == (tmp_path / "1" / figure).read_bytes()


def findings_of(means, **cells):
    records, frames = make_cells(means, levels=(0.2,), **cells)
    (found,) = find(records, frames.__getitem__)
    kinds = {record.model: record.kind for record in records}
    return found, kinds


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
    found, kinds = findings_of(means)
    text = advice(found, kinds, SECONDS)
    assert re.search(expected, text), text
    assert absent not in text


def test_advice_admits_that_there_was_one_run():
    found, kinds = findings_of({"ALS": 0.2, "BUIR-nb": 0.5}, seeds=(0,))
    assert "There was one run only, so other seeds might change this." in advice(found, kinds, SECONDS)


def test_standing_without_buir():
    found, kinds = findings_of({"ALS": 0.2, "popularity": 0.5})
    assert standing([found], kinds) == ["BUIR did not take part; 1 combination of data set and level compared."]


def test_standing_in_every_outcome():
    means = {
        "alone": {"ALS": 0.2, "BUIR-nb": 0.5},
        "level": {"ALS": 0.3, "popularity": 0.3, "BUIR-nb": 0.3, "BUIR-id": 0.1},
        "beaten": {"ALS": 0.5, "BUIR-nb": 0.2},
        "absent": {"ALS": 0.5, "popularity": 0.2},
        "only BUIR": {"BUIR-nb": 0.5, "BUIR-id": 0.2},
    }
    found, kinds = [], {}
    for dataset, some in means.items():
        part, more = findings_of(some, datasets=(dataset,))
        found.append(part)
        kinds |= more
    first, *lines = standing(found, kinds)
    assert first == "BUIR in 5 places (a data set at a level), by NDCG@20:"
    top = found[1].leaders["ndcg_at_20"]
    assert {"ALS", "BUIR-nb"} <= set(top.names)
    ours = "level 20 %" if kinds[top.best] == "buir" else ""
    highest = ["alone 20 %", *([ours] if ours else []), "only BUIR 20 %"]
    assert lines == [
        f"A variant of BUIR has the highest mean in **{len(highest)}**: {', '.join(highest)}.",
        # nobody else was there to be beaten in the last place
        "It is shown to be better than every model of another kind in **1**: alone 20 %.",
        "Another model has the highest mean, and BUIR's best variant is not shown to be worse, in "
        + ("**0**." if ours else "**1**: level 20 %."),
        "Every variant of BUIR is shown to be worse than the model with the highest mean in **1**: beaten 20 %.",
        "BUIR has no finished run in **1**: absent 20 %.",
    ]


def test_winners_level_by_level():
    records, frames = make_cells({"ALS": (0.5, 0.3), "BUIR-nb": (0.2, 0.3)})
    lines = winners(find(records, frames.__getitem__))
    assert re.fullmatch(
        r"At 20 %: \*\*ALS\*\* has the highest mean \(NDCG@20 0\.\d{4} \[.*\]\); all others are shown to be worse\.",
        lines[0],
    )
    assert re.fullmatch(r"At 50 %: \*\*(ALS|BUIR-nb)\*\* has .*; not shown to be worse: (ALS|BUIR-nb)\.", lines[1])
    (alone,) = winners([findings_of({"ALS": 0.3})[0]])
    assert alone.endswith("; no other model was run.")


def test_seconds_have_two_digits():
    assert [seconds_text(s) for s in (0.0344, 8.16, 12.4, 1400)] == ["0.034 s", "8.2 s", "12 s", "1,400 s"]


def test_the_authors_protocol_warns_against_comparing_levels(tmp_path):
    made = report(tmp_path, {"ALS": 0.3, "BUIR-nb": 0.4}, cells={"protocol": "author", "n_users": 20})
    assert "must NOT be compared with each other" in made.markdown.read_text(encoding="utf-8")


def test_several_splits_are_covered_and_each_has_its_search(tmp_path):
    cells = {"split_seeds": (0, 1, 2), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    text = report(tmp_path, {"ALS": 0.3, "BUIR-nb": 0.4}, cells=cells).markdown.read_text(encoding="utf-8")
    assert "here they cover: users, split seeds, model seeds." in text
    assert (
        "account for other users of these 3 splits, for other splits of the same data and for other model seeds" in text
    )
    assert "nothing about other splits" not in text
    assert "no test pair has decided anything" in text
    searches = [line for line in text.splitlines() if line.startswith("| toy | 20 % | ALS |") and "pruned" in line]
    assert [line.split(" | ")[3:6:2] for line in searches] == [["0", "1"], ["1", "1"], ["2", "1"]]
    # three searches of three trials that take 2, 3 and 4 seconds, 9 seconds on average
    assert "| 27.0 | 3 |" in text
    assert "+ 9 s" in text


def test_a_search_that_served_several_splits_is_admitted(tmp_path):
    cells = {"split_seeds": (0, 1), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, **cells)
    first = {record.model: record.tuning for record in records if record.split_seed == 0}
    shared = [replace(record, tuning=first[record.model]) for record in records]
    text = write_report(shared, frames.__getitem__, tmp_path, name="x").markdown.read_text(encoding="utf-8")
    assert "Settings were searched on one split and used on another" in text
    assert "no test pair" not in text


def test_budgets_of_data_sets_and_fits_ended_by_the_clock_are_told(tmp_path):
    cells = {"datasets": ("toy", "huge"), "seeds": (0,), "tuned": True, "levels": (0.2,)}
    records, frames = make_cells({"ALS": 0.3, "BUIR-nb": 0.4}, **cells)
    for place, record in enumerate(records):
        huge = record.dataset == "huge"
        tuning = record.tuning | {"trials": 10 if huge else 30, "fit_seconds": 90.0}
        capped = huge and record.model == "BUIR-nb"
        records[place] = replace(record, fit_seconds=90.0, capped=capped, tuning=tuning)
    text = write_report(records, frames.__getitem__, tmp_path, name="x").markdown.read_text(encoding="utf-8")
    assert "had 30 trials on toy, 10 trials on huge of seeded search" in text
    assert "have 90 processor seconds to train, the same for every model that trains in epochs" in text
    assert "Runs that were ended so: BUIR-nb 1 of 2. Models that are fitted in one go are never ended." in text
    assert "The clock limits trials only" not in text


def test_words_agree_with_their_number(tmp_path):
    made = report(tmp_path, {"ALS": 0.3, "BUIR-nb": 0.4, "BUIR-id": 0.2}, cells={"n_users": 30})
    text = made.markdown.read_text(encoding="utf-8")
    assert "Where BUIR-nb and BUIR-id win, tie and lose on NDCG@20" in text
    made = report(tmp_path, {"ALS": 0.3, "BUIR-nb": 0.4}, cells={"n_users": 30})
    text = made.markdown.read_text(encoding="utf-8")
    assert "Where BUIR-nb wins, ties and loses on NDCG@20" in text
    assert "| 1 items |" not in text
    assert _bounds(1, 1, "item") == "1 item"
    assert _bounds(0, 0, "user") == "0 users"
    assert _bounds(2, 3, "item") == "2 to 3 items"


def test_verdict_figure_has_a_panel_for_each_reference():
    found, _ = findings_of({"ALS": 0.2, "BUIR-nb": 0.5, "BUIR-id": 0.2})
    figure = verdict_figure([found], ["BUIR-nb", "BUIR-id"], "ndcg_at_20")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["BUIR-nb", "BUIR-id"]
    words = [text.get_text().split("\n")[0] for text in figure.axes[0].texts]
    assert words == ["wins", "wins"]
    assert [text.get_text().split("\n")[0] for text in figure.axes[1].texts] == ["ties", "loses"]


def test_one_model_alone_has_no_verdicts(tmp_path, recwarn):
    made = report(tmp_path, {"BUIR-nb": 0.4}, cells={"n_users": 30})
    assert "## Verdicts" not in made.markdown.read_text(encoding="utf-8")
    assert not recwarn


def test_references_and_metrics():
    records, _ = make_cells({"ALS": 0.2, "BUIR-nb": 0.5, "BUIR-id": 0.2}, levels=(0.2,))
    assert reference_models(records) == ("BUIR-nb", "BUIR-id")
    assert reference_models([r for r in records if r.model == "ALS"]) == ("ALS",)
    assert user_metrics(records, ("recall_at_20",)) == ["recall_at_20", "ndcg_at_20"]
    with pytest.raises(
        ValueError, match="metric 'ndcg_at_5' was not computed in every cell; there are: ndcg_at_20, recall_at_20"
    ):
        user_metrics(records, ("ndcg_at_5",))


def test_errors_are_told(tmp_path):
    records, frames = make_cells({"ALS": 0.2}, levels=(0.2,))
    with pytest.raises(ValueError, match="reference 'BUIR' is not in the benchmark; its models are ALS"):
        write_report(records, frames.__getitem__, tmp_path, name="x", references=["BUIR"])
    with pytest.raises(ValueError, match="no finished run among 0 records of x: run the benchmark first"):
        write_report([], frames.__getitem__, tmp_path, name="x")


def test_page_renders_both_forms_by_hand():
    table = Table(["model", "a|b"], [["x", Cell("0.1 <", "best")], ["y", "0.2"]], "Caption")
    page = Page("T & co", [Section("First", ["Some **bold** and `code`.", Bullets(["one"]), Fold("more", [table])])])
    text, files = page.markdown()
    assert files == {}
    assert text == (
        "# T & co\n\n## First\n\nSome **bold** and `code`.\n\n- one\n\n<details><summary>more</summary>\n\nCaption\n\n"
        "| model | a\\|b |\n| --- | ---: |\n| x | **0.1 <** |\n| y | 0.2 |\n\n</details>\n"
    )
    markup = page.html()
    assert "<h1>T &amp; co</h1>" in markup
    assert "<p>Some <b>bold</b> and <code>code</code>.</p>" in markup
    assert '<td class="best">0.1 &lt;</td>' in markup
    assert "<caption>Caption</caption>" in markup


def test_figures_are_embedded_or_beside():
    page = Page("t", [Section("s", [Image("dot", Figure(figsize=(1, 1)), "A dot")])])
    text, files = page.markdown("pics")
    assert "![A dot](pics/dot.png)" in text
    assert files["dot.png"].startswith(b"\x89PNG")
    assert '<img alt="A dot" src="data:image/png;base64,iVBOR' in page.html()

"""Panels: one family of tests over all places, by hand and by simulations whose truth is known; what a page says of them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from buir.errors import ConfigError
from buir.experiment.config import load, shipped_configs
from buir.experiment.report.blocks import Table
from buir.experiment.report.panels import outcomes, payoffs, sections, standing
from buir.experiment.report.write import panels_of
from buir.experiment.statistics.findings import find
from buir.experiment.statistics.panels import N_FLIPS, Judgement, Panel, corrected, geometric_mean, judge
from buir.experiment.statistics.place import PlaceValues
from buir.experiment.statistics.resampling import sign_flip_p
from buir.experiment.statistics.summary import Comparison, Interval, Summary
from tests.experiment.test_report import Content
from tests.support.records import make_cells

METRIC = "ndcg_at_20"


def compared(p, value=0.01, *, half=0.005, users=0.0025, runs=0.0, ratio=1.1, other="b"):
    interval = Interval(value, value - half, value + half, 100, 1, 1, users, runs)
    return Comparison("a", other, METRIC, interval, ratio, p)


def place(rng, n_users=400, splits=3, worse=(), mean=0.3, noise=0.12, rivals=3):
    """A reference "r" of a mean and rivals of the same, those in ``worse`` 5 % below; splits add noise of their own."""
    models = ("r", *(f"rival{number}" for number in range(rivals)))
    base = rng.normal(mean, 0.2, n_users)
    values = {}
    for model in models:
        taste = base + rng.normal(0, noise, n_users) - (0.05 * mean if model in worse else 0.0)
        for split in range(splits):
            values[model, split] = (taste + rng.normal(0, noise, n_users) + rng.normal(0, 0.0005))[None, :, None]
    degrees = dict.fromkeys(range(splits), np.ones(n_users))
    return PlaceValues("toy", "nested", 0.2, (METRIC,), models, np.arange(n_users), degrees, values)


def family(places, n_flips):
    """The reference against every rival over all places, corrected together."""
    found = []
    for seed, values in enumerate(places):
        summary = Summary(values, n_resamples=400, seed=seed)
        pairs = [("r", name) for name in values.models if name != "r"]
        found += summary.compare(pairs, [METRIC], n_flips=n_flips)
    return corrected(found, 0.95)


# -- numbers by hand


def test_a_family_by_hand():
    found = corrected([compared(0.01), compared(0.04), compared(0.03), compared(0.001, -0.01)], 0.95)
    # Holm: .001 x 4, .01 x 3, .03 x 2, then no less than before
    assert [c.p_holm for c in found] == pytest.approx([0.03, 0.06, 0.06, 0.004])
    assert [c.verdict for c in found] == ["wins", "ties", "ties", "loses"]


def test_a_small_p_without_an_interval_that_excludes_zero_is_a_tie():
    (found,) = corrected([compared(0.001, 0.004)], 0.95)
    assert (found.p_holm, found.verdict) == (0.001, "ties")


def test_the_detectable_difference_by_hand():
    # two of four are not rejected: the level is .05 / 2; the test over users asks for more than the interval
    found = corrected([compared(0.5, users=0.002, half=0.004), compared(0.6), compared(1e-4), compared(1e-4)], 0.95)
    assert found[0].detectable == pytest.approx((norm.ppf(1 - 0.0125) + norm.ppf(0.8)) * 0.002)
    # the error of runs makes the interval wide, and then it asks for more
    (wide,) = corrected([compared(0.5, half=0.02, users=0.003, runs=0.004)], 0.95)
    assert wide.detectable == pytest.approx(0.02 + norm.ppf(0.8) * 0.005)


def test_ratios_by_hand():
    found, _ = two_places({"ALS": (0.4, 0.2), "EASE": (0.3, 0.3), "BUIR-nb": (0.36, 0.33)})
    judgement = judge(found, [Panel("all", ("BUIR-nb",), ("ALS", "EASE", "BUIR-nb"))])[0]
    means = [[part.intervals[name, METRIC].value for name in ("BUIR-nb", "ALS", "EASE")] for part in found]
    expected = [mine / max(rivals) for mine, *rivals in means]
    assert [*judgement.ratios.values()] == pytest.approx(expected)
    assert geometric_mean(expected) == pytest.approx((expected[0] * expected[1]) ** 0.5)
    assert judgement.highest == [part.place for part, ratio in zip(found, expected, strict=True) if ratio >= 1]
    assert (geometric_mean([2.0, 0.5]), geometric_mean([0.0, 3.0])) == (pytest.approx(1.0), 0.0)
    assert np.isnan(geometric_mean([]))


def test_users_without_a_difference_change_no_p_value():
    rng = np.random.default_rng(0)
    some = rng.normal(0.05, 1, (40, 2))
    padded = np.zeros((4000, 2))
    padded[::100] = some
    p, q = (sign_flip_p(values, 999, np.random.default_rng(1)) for values in (some, padded))
    np.testing.assert_array_equal(p, q)
    assert p.min() > 0.001


def test_the_smallest_p_of_a_panel_passes_a_large_family():
    (first, *_) = corrected([compared(1 / (N_FLIPS + 1))] + [compared(1.0)] * 239, 0.95)
    assert (first.verdict, first.p_holm) == ("wins", pytest.approx(0.0024))


# -- simulation: the truth is known


def test_a_true_difference_of_5_per_cent_is_found():
    rng = np.random.default_rng(5)
    verdicts = []
    for _ in range(3):
        # six places with as many users as CiteULike in three splits, one rival of three 5 % worse: a family of eighteen
        found = family([place(rng, 5500, worse=("rival1",)) for _ in range(6)], 9999)
        verdicts += [c.verdict for c in found if c.other == "rival1"]
        assert max(c.detectable for c in found) < 0.05 * 0.3 * 1.1
    assert verdicts.count("wins") >= 17  # of 18


def test_without_a_difference_a_family_rarely_has_a_verdict():
    rng = np.random.default_rng(6)
    wrong = [any(c.verdict != "ties" for c in family([place(rng, 60) for _ in range(2)], 999)) for _ in range(80)]
    # expected at most .05; the interval over runs makes it less
    assert np.mean(wrong) <= 0.1


def test_the_users_test_alone_keeps_the_familys_error():
    rng = np.random.default_rng(7)
    wrong = []
    for _ in range(150):
        summary = [Summary(place(rng, 60, splits=1)) for _ in range(2)]
        p = [s.p_values([("r", f"rival{n}") for n in range(3)], [METRIC], 999)[0] for s in summary]
        wrong.append(any(c.p_holm <= 0.05 for c in corrected([compared(float(x)) for x in np.concatenate(p)], 0.95)))
    assert np.mean(wrong) <= 0.1


@pytest.mark.parametrize("splits", [1, 3])
def test_a_detectable_difference_is_found_four_times_in_five(splits):
    rng = np.random.default_rng(8)
    settings = {"n_users": 300, "splits": splits, "rivals": 1}
    detectable = np.mean([family([place(rng, **settings)], 499)[0].detectable for _ in range(20)])
    found = []
    for _ in range(120):
        values = place(rng, **settings)
        moved = {key: v + detectable if key[0] == "r" else v for key, v in values.values.items()}
        found.append(family([replace(values, values=moved)], 499)[0].verdict == "wins")
    assert 0.68 <= np.mean(found) <= 0.95


# -- places and missing runs


def two_places(means, *, drop=lambda r: False, planned=None, panels=None, **cells):
    records, frames = make_cells(means, **cells)
    kept = [record for record in records if not drop(record)]
    return find(kept, frames.__getitem__, planned=planned, panels=panels), kept


MEANS = {"popularity": (0.2, 0.2), "ALS": (0.3, 0.5), "EASE": (0.3, 0.3), "BUIR-nb": (0.5, 0.3)}
BARE = Panel("bare", ("BUIR-nb",), ("BUIR-nb", "popularity", "ALS"), headline=False)
FULL = Panel("full", ("BUIR-nb",), ("BUIR-nb", "ALS", "EASE"))


def test_a_panel_needs_the_runs_of_its_own_models_only():
    planned = dict.fromkeys(MEANS, 3)
    found, _ = two_places(
        MEANS, drop=lambda r: r.model == "EASE" and r.level == 0.5, planned=planned, panels=(BARE, FULL)
    )
    bare, _, full, _ = judge(found, (BARE, FULL))
    assert [*bare.comparisons] == [("toy", "nested", 0.2), ("toy", "nested", 0.5)]
    assert [*full.comparisons] == [("toy", "nested", 0.2)]
    assert full.open == {("toy", "nested", 0.5): "missing: EASE"}
    # one family over all places: two rivals at two places, two at one
    assert (len(bare.family), len(full.family)) == (4, 2)
    smallest = min(bare.family, key=lambda c: c.p)
    assert smallest.p_holm == pytest.approx(4 * smallest.p)


@pytest.mark.parametrize(("runs", "missing"), [({"toy": 3}, ""), ({"toy": 4}, "ALS (1 of 4 runs)"), ({"other": 9}, "")])
def test_the_runs_of_a_place_are_those_of_its_data_set(runs, missing):
    found, _ = two_places(MEANS, planned={"ALS": runs}, panels=[FULL])
    assert [part.missing.get("ALS", "") for part in found] == [missing] * 2


def test_a_refusal_is_no_missing_run():
    records, frames = make_cells(MEANS)
    nothing = {"status": "refused", "metrics": {}, "reason": "too large"}
    told = [replace(r, **nothing) if r.model == "EASE" and r.level == 0.5 else r for r in records]
    found = find(told, frames.__getitem__, planned=dict.fromkeys(MEANS, 3), panels=[FULL])
    judgement = judge(found, [FULL])[0]
    assert [[c.other for c in here] for here in judgement.comparisons.values()] == [["ALS", "EASE"], ["ALS"]]
    (section,) = sections(found, [judgement], N_FLIPS)
    (means,) = [b for b in section.blocks if getattr(b, "caption", "").startswith("NDCG@20, mean over splits")]
    assert [*map(str, means.frame["EASE"])][1] == "refused"


def test_a_reference_that_was_refused_is_not_judged():
    records, frames = make_cells(MEANS)
    told = [replace(r, status="refused", metrics={}) if r.kind == "buir" and r.level == 0.5 else r for r in records]
    judgement = judge(find(told, frames.__getitem__, panels=[FULL]), [FULL])[0]
    assert [*judgement.open.values()] == ["BUIR-nb has no finished run"]
    nobody = judge(find([r for r in records if r.kind == "buir"], frames.__getitem__, panels=[FULL]), [FULL])[0]
    assert [*nobody.open.values()] == ["no rival was run"] * 2


# -- the page


@pytest.fixture(scope="module")
def page():
    panels = {
        "reference": "BUIR-nb",
        "headline": "full",
        "models": {"bare": ["popularity", "ALS"], "full": ["ALS", "EASE", "BUIR-nb"]},
    }
    config = {"seeds": [0, 1, 2], "data": [], "models": [], "panels": panels, "description": "Two levels of toys."}
    records, frames = make_cells(MEANS)
    return Content(records, frames, config=config)


def test_leads_is_said_in_the_headline_panel_only(page):
    summary = page.said("Summary")
    assert "**BUIR-nb leads in 1 of 2 places**: its mean is the highest (panel full, by NDCG@20)." in summary
    assert "Two levels of toys." in summary
    (table,) = page.tables("Summary")
    assert [*table.index] == ["bare", "full"]
    assert [*table.loc["full"]][:6] == ["BUIR-nb", "2", "1", "1", "1", "1"]
    said = {name: page.said(f"Verdicts: {name}") for name in ("bare", "full")}
    assert "BUIR-nb leads (highest mean) in **1**: toy 20 %." in said["full"]
    assert "lead" not in said["bare"]
    assert "Highest mean in **1**: toy 20 %." in said["bare"]
    for text in said.values():
        assert "Shown to be worse than at least one rival in **1**: toy 50 %." in text
        assert "4 comparisons on each metric, each tested with 99,999 sign flips" in text
        assert "can give is 4e-05 after the correction" in text
        assert "detectable" in text
    elsewhere = " ".join(page.said(title) for title in page.sections if title not in ("Summary", "Verdicts: full"))
    assert "leads" not in elsewhere


def test_means_and_ratios_of_a_panel(page):
    means, ratios, *_ = page.tables("Verdicts: bare")
    assert [*means.columns] == ["BUIR-nb", "popularity", "ALS"]
    part = page.found[1]
    assert [float(text) for text in means.loc["toy 50 %"]] == pytest.approx(
        [part.intervals[name, METRIC].value for name in means.columns], abs=5e-5
    )
    (judged,) = [j for j in page.judged if (j.panel.name, j.metric) == ("bare", METRIC)]
    assert [*ratios["level"]] == ["20 %", "50 %", "all levels"]
    values = [*judged.ratios.values()]
    assert [float(text) for text in ratios["mean over best rival"]] == pytest.approx(
        [*values, geometric_mean(values)], abs=5e-4
    )
    assert ratios["smallest"].iloc[2] == f"{values[1]:.3f} (toy 50 %)"
    bold = next(block for block in page.sections["Verdicts: bare"] if isinstance(block, Table)).frame
    assert [[cell.tone for cell in row[1:]] for row in bold.itertuples(index=False)] == [
        ["best", "", ""],
        ["", "", "best"],
    ]


def test_too_few_flips_are_said(page):
    (judged,) = [j for j in page.judged if (j.panel.name, j.metric) == ("bare", METRIC)]
    (section,) = sections(page.found, [judged], 9)
    assert "is 0.4 after the correction: **too few flips to show anything**." in section.blocks[0]


def test_nothing_to_judge_is_said_with_the_reason():
    found, _ = two_places(MEANS, drop=lambda r: r.model == "ALS", planned=dict.fromkeys(MEANS, 3), panels=[FULL])
    judgement = judge(found, [FULL])[0]
    assert [*sections(found, [judgement], N_FLIPS)] == []
    assert outcomes(judgement)[-1] == "Nothing is judged in **2**: toy 20 % (missing: ALS), toy 50 % (missing: ALS)."
    row = standing([judgement]).frame.iloc[0]
    assert [*row][2:] == ["0", "0", "0", "0", "0", "", ""]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (
            {0.1: ("ties", 0.01), 0.2: ("ties", -0.01), 0.5: ("wins", 0.02)},
            "toy: negatives begin to pay at no level: Contrastive-terms is not shown better than BUIR at 10, 20 and 50 %; "
            "its mean is higher at 20 %.",
        ),
        (
            {0.5: ("loses", -0.02), 0.1: ("ties", 0.01), 0.2: ("ties", 0.0), 0.8: ("loses", -0.01)},
            "toy: negatives begin to pay **between 20 % and 50 %**: Contrastive-terms is shown better than BUIR at 50 and "
            "80 %; its mean is higher at 50 and 80 %.",
        ),
        (
            {0.1: ("loses", -0.02), 0.2: ("wins", 0.02)},
            "toy: negatives begin to pay **at 10 % or before**: Contrastive-terms is shown better than BUIR at 10 %; its "
            "mean is higher at 10 %.",
        ),
        (
            {0.2: ("wins", 0.02)},
            "toy: negatives begin to pay at no level: Contrastive-terms is not shown better than BUIR at 20 %; its mean "
            "is higher at none of them.",
        ),
    ],
)
def test_where_negatives_begin_to_pay(verdicts, said):
    panel = Panel("with terms", ("BUIR",), ("BUIR", "Contrastive-terms", "BPR-terms"))
    kinds = {"BUIR": "buir", "Contrastive-terms": "contrastive", "BPR-terms": "bpr"}
    comparisons, found = {}, []
    for level, (verdict, value) in verdicts.items():
        rival, other = (
            replace(compared(0.01, value, other=name), model="BUIR", verdict=verdict) for name in panel.models[1:]
        )
        comparisons["toy", "nested", level] = [other, rival]
        found.append(SimpleNamespace(place=("toy", "nested", level), kinds=kinds))
    assert payoffs(found, Judgement(panel, "BUIR", METRIC, comparisons)) == [said]


def test_a_page_says_it_of_the_panel_that_may_say_leads(page, monkeypatch):
    assert "negatives" not in page.said("Verdicts: full")
    monkeypatch.setattr("buir.experiment.report.panels.NEGATIVES", "als")
    said = {s.title: repr(s.blocks) for s in sections(page.found, page.judged, N_FLIPS)}
    assert "toy: negatives begin to pay **between 20 % and 50 %**: ALS is shown better" in said["Verdicts: full"]
    assert "negatives begin" not in said["Verdicts: bare"]


# -- the configuration

PANELS = """
data: [{dataset: synthetic}]
models: [{kind: als}, {kind: popularity}, {kind: buir}]
panels:
  reference: BUIR
  headline: two
  models: {one: [ALS], two: [ALS, popularity, BUIR]}
"""


def written(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load(file)


def test_panels_of_a_configuration(tmp_path):
    config = written(tmp_path, PANELS)
    one, two = panels_of(config.model_dump(mode="json", exclude_none=True), [])
    assert one == Panel("one", ("BUIR",), ("BUIR", "ALS"), headline=False)
    assert two == Panel("two", ("BUIR",), ("ALS", "popularity", "BUIR"), headline=True)
    alone = written(tmp_path, PANELS.replace("  headline: two\n", "").replace("one: [ALS], ", ""))
    assert [panel.headline for panel in panels_of(alone.model_dump(mode="json"), [])] == [True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("reference: BUIR", "reference: BUIRR"), "panels.reference: no model is called 'BUIRR'; did you mean 'BUIR'?"),
        (("one: [ALS]", "one: [ASL]"), "panels.models.one: no model is called 'ASL'; did you mean 'ALS'?"),
        (("headline: two", "headline: tow"), "panels.headline: got 'tow'; did you mean 'two'?"),
        (
            ("  headline: two\n", ""),
            "panels: there are 2 panels; add 'headline', the one that decides who leads: one of",
        ),
        (("one: [ALS]", "one: [BUIR]"), "panels.models.one: lists no rival of 'BUIR'; name at least one model"),
        (("one: [ALS]", "one: []"), "panels.models.one: lists no rival of 'BUIR'"),
        (("one: [ALS]", "one: [ALS, ALS]"), "panels.models.one: lists ALS more than once; remove the repeated ones"),
        (("one: [ALS]", "one: ALS"), "panels.models.one: got 'ALS' (text), expected a list"),
        (("one: [ALS]", "a/b: [ALS]"), "panels.models.a/b: a panel is called 'a/b', expected letters, digits"),
        (("{one: [ALS], two: [ALS, popularity, BUIR]}", "{}"), "panels.models: is empty; give at least one entry"),
        (("  reference: BUIR\n", ""), "panels.reference: missing; add it"),
        (("reference: BUIR", "refrence: BUIR"), "panels.refrence: unknown key; did you mean 'reference'?"),
    ],
)
def test_mistakes_in_panels(tmp_path, change, told):
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, PANELS.replace(*change))
    assert any(problem.startswith(f"mine.yaml: {told}") for problem in caught.value.problems), caught.value.problems


def test_the_sweep_has_three_panels(tmp_path, monkeypatch):
    file = shipped_configs() / "sweep.yaml"
    text = file.read_text(encoding="utf-8").split("data:")[0].replace("name: sweep", "")
    text += "data: [{dataset: synthetic}]\n" + file.read_text(encoding="utf-8").split("seeds: [0]\n")[1]
    config = written(tmp_path, text)
    bare, terms, ablation = panels_of(config.model_dump(mode="json", exclude_none=True), [])
    assert [panel.name for panel in (bare, terms, ablation)] == ["bare", "with terms", "ablation"]
    assert [panel.headline for panel in (bare, terms, ablation)] == [False, True, False]
    assert all(name.endswith("-terms") for name in terms.rivals("BUIR") if name != "popularity")
    assert (len(bare.rivals("BUIR")), len(terms.rivals("BUIR")), len(ablation.rivals("BUIR"))) == (11, 11, 4)
    assert {name for panel in (bare, terms, ablation) for name in panel.models} == {m.label for m in config.models}

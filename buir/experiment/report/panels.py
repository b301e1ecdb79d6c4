"""What a reference comes to in its panels: where it is first and where it is not, by how much, and every verdict."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from buir.errors import counted
from buir.experiment.config import per_cent
from buir.experiment.records import metric_label
from buir.experiment.report.blocks import Block, Cell, Image, Section, Table, table
from buir.experiment.report.figures import verdict_figure
from buir.experiment.report.words import interval_text
from buir.experiment.statistics import Comparison, Findings, Judgement, geometric_mean

NEGATIVES = "contrastive"
"""Kind of the models by which a page judges what negatives are worth: a softmax loss over them."""
DETECTABLE = (
    "Where the reference ties, **detectable** is the smallest true difference that would have been found with a chance "
    "of 80 %: the larger of (z(1 - a/2) + z(0.8)) s and h + z(0.8) S, where s is the standard error of the difference "
    "over users, S the one over users and runs, h half the width of the interval, and a is 0.05 over the number of "
    "comparisons of the family that Holm did not reject."
)


def standing(judgements: Sequence[Judgement]) -> Table:
    """Count, for each reference of each panel on the first metric, the places of every outcome."""
    rows = []
    for judgement in judgements:
        ratios = judgement.ratios
        outcomes = (judgement.highest, judgement.better, judgement.not_worse, judgement.worse)
        counts = [str(len(judgement.comparisons)), *(str(len(places)) for places in outcomes)]
        worst = min(ratios, key=ratios.__getitem__) if ratios else None
        smallest = "" if worst is None else f"{ratios[worst]:.3f} ({_named(worst)})"
        names = [judgement.panel.name, judgement.reference]
        rows.append([*names, *counts, f"{geometric_mean(ratios.values()):.3f}" if ratios else "", smallest])
    head = ["panel", "reference", "places judged", "highest mean", "shown better than every rival"]
    head += ["not shown worse than any", "shown worse than one or more", "mean over best rival", "smallest"]
    caption = (
        f"By {metric_label(judgements[0].metric)}. Mean over best rival: geometric mean over the places judged; the "
        "best rival of a place is picked from its test values, which favours the rivals."
    )
    return table(head, rows, caption)


def outcomes(judgement: Judgement) -> list[str]:
    """Name the places of every outcome: each place judged is in one of highest, not shown to be worse, shown worse."""
    level = [place for place in judgement.not_worse if place not in judgement.highest]
    word = f"{judgement.reference} leads (highest mean)" if judgement.panel.headline else "Highest mean"
    lines = [
        f"{word} in {_places(judgement.highest)}.",
        f"Shown to be better than every rival in {_places(judgement.better)}.",
        f"A rival has a higher mean, none is shown to be better, in {_places(level)}.",
        f"Shown to be worse than at least one rival in {_places(judgement.worse)}.",
    ]
    unjudged = [f"{_named(place)} ({reason})" for place, reason in judgement.open.items()]
    return [*lines, f"Nothing is judged in **{len(unjudged)}**: {', '.join(unjudged)}."] if unjudged else lines


def payoffs(found: Sequence[Findings], judgement: Judgement) -> list[str]:
    """Say for each data set at which share of it negatives begin to pay: a softmax over them is shown to be better."""
    kinds = {part.place: part.kinds for part in found}
    said: list[str] = []
    for rival in judgement.panel.rivals(judgement.reference):
        against = {
            place: comparison
            for place, several in judgement.comparisons.items()
            for comparison in several
            if comparison.other == rival and kinds[place][rival] == NEGATIVES
        }
        for (dataset, _), places in groupby(sorted(against), key=itemgetter(0, 1)):
            said.append(f"{dataset}: {_payoff([(place[2], against[place]) for place in places])}")
    return said


def _payoff(levels: Sequence[tuple[float, Comparison]]) -> str:
    """Name the lowest level at which a rival is shown better, the one before it, and all where its mean is higher."""
    rival, reference = levels[0][1].other, levels[0][1].model
    higher = [level for level, comparison in levels if comparison.difference.value < 0]
    means = f"its mean is higher at {_shares(higher) if higher else 'none of them'}"
    better = [level for level, comparison in levels if comparison.verdict == "loses"]
    if not better:
        every = _shares([level for level, _ in levels])
        return f"negatives begin to pay at no level: {rival} is not shown better than {reference} at {every}; {means}."
    before = [level for level, _ in levels if level < better[0]][-1:]
    since = f"between {_shares(before)} and {_shares(better[:1])}" if before else f"at {_shares(better[:1])} or before"
    return (
        f"negatives begin to pay **{since}**: {rival} is shown better than {reference} at {_shares(better)}; {means}."
    )


def _shares(levels: Sequence[float]) -> str:
    """Write ``10, 20 and 50 %``."""
    *first, last = [str(per_cent(level)) for level in levels]
    return f"{', '.join(first)} and {last} %" if first else f"{last} %"


def sections(found: Sequence[Findings], judgements: Sequence[Judgement], n_flips: int) -> Iterator[Section]:
    """Make a section of each panel; none of a panel in which nothing could be compared."""
    for panel, several in groupby(judgements, lambda judgement: judgement.panel):
        every = list(several)
        first = [j for j in every if j.metric == every[0].metric and j.comparisons]
        if not first:
            continue
        blocks: list[Block] = [_family(first, n_flips)]
        for judgement in first:
            blocks += [f"**{judgement.reference}**, by {metric_label(judgement.metric)}:", outcomes(judgement)]
            if panel.headline and (said := payoffs(found, judgement)):
                blocks += ["What negatives are worth:", said]
        caption = (
            f"Where {_listed([j.reference for j in first])} on {metric_label(first[0].metric)}, panel {panel.name}"
        )
        blocks.append(Image(f"verdicts-{panel.name.replace(' ', '-')}", verdict_figure(first, found), caption))
        means = [(j.metric, _means(found, j)) for j in every if j.reference == first[0].reference]
        blocks += [
            means[0][1],
            _ratios(first),
            DETECTABLE,
            *(Section(f"Means, {metric_label(m)}", [t]) for m, t in means[1:]),
        ]
        for judgement in (j for j in every if j.comparisons):
            title = f"{judgement.reference} against each rival, {metric_label(judgement.metric)}"
            blocks.append(Section(title, _verdicts(found, judgement)))
        yield Section(f"Verdicts: {panel.name}", blocks)


def _family(judgements: Sequence[Judgement], n_flips: int) -> str:
    """Say over how many comparisons Holm corrects, and that the flips are enough for that."""
    sizes = [len(judgement.family) for judgement in judgements]
    smallest = max(sizes) / (n_flips + 1)
    enough = f"{smallest:.2g} after the correction" + (
        "" if smallest <= 0.05 else ": **too few flips to show anything**"
    )
    sizes_text = (
        counted(sizes[0], "comparison") if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)} comparisons"
    )
    return (
        f"A reference against every rival over all places together is one family of Holm: {sizes_text} on each "
        f"metric, each tested with {n_flips:,} sign flips of users; the smallest p that they can give is {enough}."
    )


def _means(found: Sequence[Findings], judgement: Judgement) -> Table:
    """Lay out the means of a panel: a row for each place, a column for each model, the best of a row marked."""
    names, rows = judgement.panel.models, []
    for part in found:
        here = {name: part.intervals[name, judgement.metric].value for name in names if name in part.models}
        shown = {name: f"{value:.4f}" for name, value in here.items()}
        best = max(here.values(), default=None) if part.place in judgement.comparisons else None
        cells = [
            Cell(shown[name], "best" if here[name] == best else "") if name in here else _absent(part, name)
            for name in names
        ]
        rows.append([_named(part.place), *cells])
    caption = (
        f"{metric_label(judgement.metric)}, mean over splits and test users; bold: highest of a place that is judged"
    )
    return table(["place", *names], rows, caption)


def _absent(part: Findings, model: str) -> str:
    """Say why a model has no number at a place."""
    return "refused" if model in part.kinds else "not run"


def _ratios(judgements: Sequence[Judgement]) -> Table:
    """Give the reference's mean over that of the best rival, level by level and over all places."""
    rows = []
    for judgement in judgements:
        levels = sorted({level for _, _, level in judgement.ratios})
        groups = {f"{per_cent(level)} %": [p for p in judgement.ratios if p[2] == level] for level in levels}
        for name, places in (groups | {"all levels": list(judgement.ratios)}).items():
            if not places:
                continue
            worst = min(places, key=judgement.ratios.__getitem__)
            mean = geometric_mean(judgement.ratios[place] for place in places)
            least = f"{judgement.ratios[worst]:.3f} ({_named(worst)})"
            rows.append([judgement.reference, name, str(len(places)), f"{mean:.3f}", least])
    caption = (
        f"{metric_label(judgements[0].metric)} of the reference over that of the best rival, geometric mean over places"
    )
    return table(["reference", "level", "places", "mean over best rival", "smallest"], rows, caption)


def _verdicts(found: Sequence[Findings], judgement: Judgement) -> list[Table]:
    """Lay out every comparison, a table for each data set."""
    tables = []
    for (dataset, _), parts in groupby(found, lambda part: (part.dataset, part.protocol)):
        here = [part for part in parts if part.place in judgement.comparisons]
        said = [{c.other: _verdict(c) for c in judgement.comparisons[part.place]} for part in here]
        rivals = judgement.panel.rivals(judgement.reference)
        rows = [
            [rival, *(cells.get(rival, _absent(part, rival)) for part, cells in zip(here, said, strict=True))]
            for rival in rivals
        ]
        head = [f"{dataset}: {judgement.reference} minus", *(f"{part.train_pct} %" for part in here)]
        tables += [table(head, rows)] if here else []
    return tables


def _verdict(comparison: Comparison) -> Cell:
    """Write a comparison with everything that stands behind its verdict."""
    p = "< 0.001" if comparison.p_holm < 0.001 else f"= {comparison.p_holm:.3f}"
    text = f"{comparison.verdict} {interval_text(comparison.difference, '+.4f')}, p {p}"
    if comparison.verdict == "ties":
        text += f", detectable {comparison.detectable:.4f}"
    return Cell(text, comparison.verdict)


def _listed(names: Sequence[str]) -> str:
    verbs = "wins, ties and loses" if len(names) == 1 else "win, tie and lose"
    return f"{' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))} {verbs}"


def _named(place: tuple[str, str, float]) -> str:
    return f"{place[0]} {per_cent(place[2])} %"


def _places(places: Sequence[tuple[str, str, float]]) -> str:
    """Write ``2: toy 20 %, toy 50 %``."""
    return f"**{len(places)}**: {', '.join(map(_named, places))}" if places else "**0**"

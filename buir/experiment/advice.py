"""What should I use on my data? The answer of a benchmark in sentences, whoever wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buir.experiment.figures import metric_label
from buir.experiment.findings import Findings
from buir.experiment.panel import Record
from buir.experiment.verdicts import interval_text


def advice(found: Findings, kinds: Mapping[str, str], seconds: Mapping[str, float]) -> str:
    """Say which model to take on data like these.

    Parameters
    ----------
    found
        One data set at one level.
    kinds
        Kind of every model: "buir" for its variants, "popularity" for the list that is the same for all.
    seconds
        Mean training time of every model.
    """
    metric = found.headlines[0]
    leaders = found.leaders[metric]
    best = leaders.best
    value = f"{metric_label(metric)} {interval_text(found.intervals[best, metric])}"
    if len(found.models) == 1:
        return f"Only **{best}** was run ({value}); there is nothing to compare it with."
    buirs = [name for name in found.models if kinds[name] == "buir"]
    sentences = []
    if not leaders.ties:
        verb = "Use" if kinds[best] == "buir" or not buirs else "Not BUIR: use"
        sentences.append(f"{verb} **{best}** ({value}): it beats every other model.")
    else:
        names = ", ".join(leaders.ties)
        fastest = min(leaders.names, key=lambda name: seconds[name])
        sentences.append(f"**{best}** has the highest mean ({value}) but is not shown to beat {names}.")
        sentences.append(f"Of these, **{fastest}** trains fastest ({seconds_text(seconds[fastest])}).")
    if buirs and not set(buirs) & set(leaders.names):
        nearest = max(buirs, key=lambda name: found.intervals[name, metric].value)
        gap = f", {interval_text(found.gaps[nearest, metric])} behind" if (nearest, metric) in found.gaps else ""
        start = "" if not leaders.ties else "BUIR is not the choice here: "
        sentences.append(f"{start}BUIR's best variant is {nearest}{gap}.")
    if any(kinds[name] == "popularity" for name in leaders.names):
        sentences.append(
            "No model is shown to beat recommending what is popular: personalising is not shown to pay here."
        )
    if found.intervals[best, metric].covers == ("users",):
        sentences.append("There was one run only, so other seeds might change this.")
    return " ".join(sentences)


def standing(findings: Sequence[Findings], kinds: Mapping[str, str]) -> str:
    """Count where BUIR leads, shares the lead and is beaten, so that the first line of a report hides nothing."""
    sole = shared = beaten = 0
    for found in findings:
        names = found.leaders[found.headlines[0]].names
        buir = [kinds[name] == "buir" for name in names]
        sole += all(buir)
        shared += any(buir) and not all(buir)
        beaten += not any(buir)
    total = len(findings)
    if not any(kinds[name] == "buir" for found in findings for name in found.models):
        return f"BUIR did not take part; {counted(total, 'combination')} of data set and level compared."
    return (
        f"Of {counted(total, 'combination')} of data set and level, a variant of BUIR leads alone in {sole}, shares the lead with models "
        f"of another kind in {shared}, and is beaten in {beaten}."
    )


def mean_seconds(records: Sequence[Record], found: Findings) -> dict[str, float]:
    """Mean training time of every model in one place."""
    times: dict[str, list[float]] = {}
    for record in records:
        place = (record["dataset"], record["protocol"], record["level"])
        if record["status"] == "ok" and place == (found.dataset, found.protocol, found.level):
            times.setdefault(record["model"], []).append(record["fit_s"])
    return {name: sum(values) / len(values) for name, values in times.items()}


def seconds_text(seconds: float) -> str:
    """Write a time with two digits that count: ``0.034 s``, ``8.2 s``, ``140 s``."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def counted(number: int, word: str) -> str:
    """Write ``1 run``, ``2 runs``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"

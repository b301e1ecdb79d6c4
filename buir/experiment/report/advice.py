"""What should I use on my data? The answer of a benchmark in sentences, whoever wins."""

from collections.abc import Mapping, Sequence

from buir.errors import counted
from buir.experiment.records import metric_label
from buir.experiment.report.words import interval_text, seconds_text
from buir.experiment.statistics import Findings


def advice(found: Findings, kinds: Mapping[str, str], seconds: Mapping[str, float]) -> str:
    """Say which model to take on data like these.

    Parameters
    ----------
    found
        One data set at one level.
    kinds
        Kind of every model: "buir" for its variants, "popularity" for the list that is the same for all.
    seconds
        Mean training time of every model, in seconds of the processor.
    """
    metric = found.headlines[0]
    leaders = found.leaders[metric]
    best, value = leaders.best, _highest(found)
    if found.missing:
        lacking = ", ".join(found.missing)
        return f"No verdict: {lacking} are missing; run them first. Highest mean so far: {best} ({value})."
    if len(found.models) == 1:
        return f"Only **{best}** was run ({value}); there is nothing to compare it with."
    buirs = [name for name in found.models if kinds[name] == "buir"]
    sentences = []
    if not leaders.ties:
        verb = "Use" if kinds[best] == "buir" or not buirs else "Not BUIR: use"
        sentences.append(f"{verb} **{best}** ({value}): it beats every other model.")
    else:
        fastest = min(leaders.names, key=lambda name: seconds[name])
        sentences += [
            f"**{best}** has the highest mean ({value}) but is not shown to beat {', '.join(leaders.ties)}.",
            f"Of these, **{fastest}** trains fastest ({seconds_text(seconds[fastest])} of processor time).",
        ]
    if buirs and not set(buirs) & set(leaders.names):
        nearest = max(buirs, key=lambda name: found.intervals[name, metric].value)
        gap = f", {interval_text(found.gaps[nearest, metric])} behind" if (nearest, metric) in found.gaps else ""
        start = "BUIR is not the choice here: " if leaders.ties else ""
        sentences.append(f"{start}BUIR's best variant is {nearest}{gap}.")
    if any(kinds[name] == "popularity" for name in leaders.names):
        sentences.append(
            "No model is shown to beat recommending what is popular: personalising is not shown to pay here."
        )
    if found.intervals[best, metric].covers == ("users",):
        sentences.append("There was one run only, so other seeds might change this.")
    return " ".join(sentences)


def standing(findings: Sequence[Findings], kinds: Mapping[str, str]) -> list[str]:
    """Say in how many places BUIR leads, keeps up and falls behind, and in which: a report's first lines hide nothing.

    Returns
    -------
    One sentence if BUIR did not take part; else one that says what is counted, and a line for each outcome. Every place
    is in one of the lines "highest mean", "not shown to be worse", "shown to be worse", "no finished run" and, where
    planned runs are missing or nothing but BUIR was run, "nothing is judged".
    """
    if not any(kinds[name] == "buir" for found in findings for name in found.models):
        return [f"BUIR did not take part; {counted(len(findings), 'combination')} of data set and level compared."]
    highest, better, level, worse, absent, open_ = ([] for _ in range(6))
    for found in findings:
        place = f"{found.dataset} {found.train_pct} %"
        leaders = found.leaders[found.headlines[0]]
        others = [name for name in found.models if kinds[name] != "buir"]
        if found.missing:
            open_.append(f"{place} (missing: {', '.join(found.missing)})")
        elif len(others) == len(found.models):
            absent.append(place)
        elif not others:
            open_.append(f"{place} (only variants of BUIR were run)")
        elif kinds[leaders.best] == "buir":
            highest.append(place)
            if not set(others) & set(leaders.ties):
                better.append(place)
        else:
            (level if any(kinds[name] == "buir" for name in leaders.ties) else worse).append(place)
    metric = metric_label(findings[0].headlines[0])
    lines = [
        f"BUIR in {counted(len(findings), 'place')} (a data set at a level), by {metric}:",
        f"A variant of BUIR has the highest mean in {_named(highest)}.",
        f"It is shown to be better than every model of another kind in {_named(better)}.",
        f"Another model has the highest mean, and BUIR's best variant is not shown to be worse, in {_named(level)}.",
        f"Every variant of BUIR is shown to be worse than the model with the highest mean in {_named(worse)}.",
    ]
    lines += [f"BUIR has no finished run in {_named(absent)}."] if absent else []
    return [*lines, f"Nothing is judged in {_named(open_)}."] if open_ else lines


def winners(findings: Sequence[Findings]) -> list[str]:
    """Answer for each level of one data set which model is best there, and which ones are not shown to be worse."""
    lines = []
    for found in findings:
        leaders = found.leaders[found.headlines[0]]
        rest = "all others are shown to be worse" if len(found.models) > 1 else "no other model was run"
        if found.missing:
            lines.append(f"At {found.train_pct} %: no verdict, {', '.join(found.missing)} are missing.")
            continue
        if leaders.ties:
            rest = f"not shown to be worse: {', '.join(leaders.ties)}"
        lines.append(f"At {found.train_pct} %: **{leaders.best}** has the highest mean ({_highest(found)}); {rest}.")
    return lines


def _highest(found: Findings) -> str:
    metric = found.headlines[0]
    return f"{metric_label(metric)} {interval_text(found.intervals[found.leaders[metric].best, metric])}"


def _named(places: Sequence[str]) -> str:
    """Write ``2: toy 20 %, toy 50 %``."""
    return f"**{len(places)}**: {', '.join(places)}" if places else "**0**"

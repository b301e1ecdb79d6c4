"""What should I use on my data? The answer of a benchmark in sentences, whoever wins."""

from collections.abc import Mapping, Sequence

from buir.experiment.records import Record, metric_label
from buir.experiment.report.words import interval_text, popular_models, seconds_text
from buir.experiment.statistics import Findings


def advice(found: Findings, seconds: Mapping[str, float]) -> str:
    """Say which model to take on data like these.

    Parameters
    ----------
    found
        One data set at one level.
    seconds
        Mean training time of every model, in seconds of the processor.
    """
    metric, kinds = found.headlines[0], found.kinds
    leaders = found.leaders[metric]
    best, value = leaders.best, _highest(found)
    if found.missing:
        lacking = ", ".join(found.missing.values())
        return f"No verdict, missing: {lacking}; run them first. Highest mean so far: {best} ({value})."
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


def winners(findings: Sequence[Findings], records: Sequence[Record] = ()) -> list[str]:
    """Answer for each level of one data set which model is best there, and which ones are not shown to be worse.

    Where the best one lists what is popular, that is said; ``records`` are those of the data set.
    """
    lines = []
    for found in findings:
        leaders = found.leaders[found.headlines[0]]
        rest = "all others are shown to be worse" if len(found.models) > 1 else "no other model was run"
        if found.missing:
            lines.append(f"At {found.train_pct} %: no verdict, missing: {', '.join(found.missing.values())}.")
            continue
        if leaders.ties:
            rest = f"not shown to be worse: {', '.join(leaders.ties)}"
        popular = popular_models([record for record in records if record.level == found.level])
        said = (
            f" **{leaders.best} is popularity here**: its lists hold what is popular."
            if leaders.best in popular
            else ""
        )
        lines.append(
            f"At {found.train_pct} %: **{leaders.best}** has the highest mean ({_highest(found)}); {rest}.{said}"
        )
    return lines


def _highest(found: Findings) -> str:
    metric = found.headlines[0]
    return f"{metric_label(metric)} {interval_text(found.intervals[found.leaders[metric].best, metric])}"

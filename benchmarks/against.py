"""Pairs of models of a comparison at every place: the paired test of the report, for pairs that no panel judges.

    python -m benchmarks.against results/sweep-again Contrastive:BPR Contrastive-terms:BPR-terms

Whether the softmax loss is anywhere shown to be worse than BPR decides what its row is worth. All places of a pair are one family of tests,
corrected by Holm, on NDCG@20. The table is docs/results/negatives/against.csv.
"""

import argparse

import pandas as pd

from benchmarks.ledger import RESULTS
from buir.experiment.config import per_cent
from buir.experiment.records import Journal, Record, Results
from buir.experiment.statistics import Panel, findings, judge
from buir.experiment.statistics.panels import geometric_mean

METRIC = "ndcg_at_20"


def judged(records: list[Record], journal: Journal, model: str, other: str) -> pd.DataFrame:
    """Judge a pair: a row for each place, in the order of the records."""
    panel = Panel("pair", (model,), (model, other))
    mine = [record for record in records if record.model in panel.models]
    found = findings.find(mine, journal.read_users, headlines=(METRIC,), panels=[panel])
    (judgement,) = judge(found, [panel])
    ratio = geometric_mean(judgement.ratios.values())
    print(
        f"{model} against {other}: {len(judgement.comparisons)} places, higher mean in {len(judgement.highest)}, "
        f"shown better in {len(judgement.better)}, shown worse in {len(judgement.worse)}, "
        f"geometric mean of the ratios {ratio:.3f}"
    )
    rows = [
        {
            "model": model,
            "other": other,
            "data": data,
            "level": per_cent(level),
            "ratio": round(comparison.ratio, 3),
            "difference": comparison.difference.value,
            "low": comparison.difference.low,
            "high": comparison.difference.high,
            "p_holm": comparison.p_holm,
            "verdict": comparison.verdict,
        }
        for (data, _, level), (comparison,) in judgement.comparisons.items()
    ]
    return pd.DataFrame(rows)


def main() -> None:
    """Judge the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="folder of a finished comparison, or its name under results/")
    parser.add_argument("pairs", nargs="+", metavar="MODEL:OTHER")
    args = parser.parse_args()
    results = Results.open(args.results)
    journal, order = Journal(results.folder), {key: place for place, key in enumerate(results.plan["keys"])}
    records = sorted((r for r in journal.records() if r.key in order), key=lambda record: order[record.key])
    tables = [judged(records, journal, *pair.split(":")) for pair in args.pairs]
    out = RESULTS / "negatives" / "against.csv"
    pd.concat(tables).to_csv(out, index=False, float_format="%.5f", lineterminator="\n")


if __name__ == "__main__":
    main()

"""What it brings to take the square of the item filter away from it: validation NDCG@20, plain and sharpened.

    python -m benchmarks.sharpening

Nested levels, split seed 0; the test part is never read. Strengths of all terms are chosen beside the spectral start, untrained, by one half
of the users with held-out pairs and measured on the other half, and the other way round; `alone` is the filter by itself, on all of them.
Rows go to docs/results/ablation/sharpening.csv; finished ones are not run again. ML-100K and CiteULike are what the term was found on,
together with pairs held out of Gowalla's training file; the others only say whether it holds.
"""

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks.data import halves, nested
from benchmarks.ledger import RESULTS, Ledger
from buir.graph import spectral_factors
from buir.ranking import FactorScorer, Scorer, Term, TermScorer, choose_terms
from buir.recommend import FILTERS, make_terms, with_filter

SETS = ("ml-100k", "citeulike", "filmtrust", "lastfm", "ciao")
LEVELS, WIDTH, METRIC = (0.2, 0.5, 0.8), 64, "ndcg_at_20"


def value(scorer: Scorer, train: csr_array, held: csr_array) -> float:
    """Return the metric of a scorer."""
    return choose_terms(TermScorer(scorer, {}), train, held, metric=METRIC).value


def crossed(base: Scorer, terms: dict[str, Term], train: csr_array, parts: tuple[csr_array, csr_array]) -> float:
    """Choose strengths on each half, measure on the other."""
    values = []
    for mine, other in (parts, parts[::-1]):
        strengths = choose_terms(TermScorer(base, terms), train, mine, metric=METRIC).strengths
        values.append(value(TermScorer(base, terms).with_strengths(strengths), train, other))
    return float(np.mean(values))


def measured(data: str, level: float) -> dict[str, object]:
    """Measure both filters on a level of a data set."""
    split = nested(data, level)
    train, valid = split.train.matrix, split.valid.matrix
    spectrum = spectral_factors(train, WIDTH)
    base = FactorScorer(*spectrum.tables())
    terms = make_terms(train, width=WIDTH, spectrum=spectrum)
    told: dict[str, object] = {"data": data, "level": level, "pairs_of_a_user": f"{train.nnz / train.shape[0]:.1f}"}
    for name in FILTERS:
        mine = with_filter(terms, name)
        alone = mine[name]
        assert isinstance(alone, Scorer)
        told[f"{name}_alone"] = f"{value(alone, train, valid):.4f}"
        told[f"{name}_with_terms"] = f"{crossed(base, mine, train, halves(split)):.4f}"
    return told


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    ledger = Ledger(RESULTS / "ablation" / "sharpening.csv", ("data", "level"))
    for data in SETS:
        for level in LEVELS:
            if (data, str(level)) not in ledger:
                ledger.add(measured(data, level))


if __name__ == "__main__":
    main()

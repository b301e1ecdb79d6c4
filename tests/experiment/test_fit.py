"""What a fit came to, read alike from the records of all models, and from those of earlier versions."""

import pytest

from buir.experiment.records import Fit
from tests.support.records import make_record

NDCG = "ndcg_at_20"
BUIR = {
    "uniformity": 0.3,
    "embedding_dim": 32,
    "epochs": 4,
    "strengths": {"popularity": 0.5},
    "start": 0.20,
    "trained": 0.23,
    "value": 0.26,
    "bare": 0.22,
    "kept": 0.255,
    "other": 0.25,
    "with_terms": False,
    "epochs_run": 9,
    "stopped": "patience",
    "held_out": "given",
    "device": "cpu",
    "batch_size": 512,
    "learning_rate": 0.0014,
    "momentum": 0.9975,
    "row_sparse": True,
    "collapse": None,
}


def buir(**facts):
    return make_record(kind="buir", model="BUIR", params={"epochs": "auto", "valid_metric": NDCG}, **facts)


def epochs(*values, best):
    return [{"epoch": n, NDCG: value, "best": n == best} for n, value in enumerate(values, start=1)]


def test_of_buir():
    fit = Fit.of(buir(chosen=BUIR))
    assert (fit.stopped, fit.best_epoch, fit.epochs_run, fit.end) == (
        *("patience", 4, 9),
        "patience: 5 epochs without improvement",
    )
    assert (fit.bare, fit.value, fit.kept, fit.compared) == (0.22, 0.26, "without terms", (0.255, 0.25))
    assert fit.gain == pytest.approx(0.03)
    assert fit.decided == {
        "device": "cpu",
        "batch_size": 512,
        "learning_rate": 0.0014,
        "momentum": 0.9975,
        "row_sparse": True,
        "embedding_dim": 32,
        "uniformity": 0.3,
        "held_out": "given",
    }
    assert fit.numbers == pytest.approx(
        {
            "epochs_run": 9,
            "best_epoch": 4,
            "valid_start": 0.20,
            "valid_trained": 0.23,
            "gain_over_start": 0.03,
            "valid_without_terms": 0.22,
            "valid_with_terms": 0.26,
        }
    )
    assert list(fit.words()) == [
        "Ran 9 epochs, best after 4; ended by patience: 5 epochs without improvement.",
        "Training added +0.0300 over its start: 0.2000 before, 0.2300 after.",
        "Of the two best states the one watched without terms was kept (0.2550; the other one 0.2500).",
        "NDCG@20 on held-out pairs: 0.2600 with the terms of the score and 0.2200 without.",
        "Terms of the score: popularity 0.5.",
    ]


def test_the_clock_a_start_and_a_collapse_are_said():
    assert Fit.of(buir(chosen=BUIR | {"stopped": "callback"}, capped=True)).stopped == "seconds"
    other_cut = Fit.of(buir(chosen=BUIR | {"began": "spectral", "beside": 0.24}, capped=True))
    assert other_cut.stopped == "patience"
    said = "Two starts were trained: kept is what began from the spectral one (0.2600; from the random one 0.2400)."
    assert said in list(other_cut.words())
    start = Fit.of(buir(chosen=BUIR | {"stopped": "start", "epochs": 0, "epochs_run": 0}))
    assert start.end == "its start, which no training beat"
    assert next(start.words()).startswith("Its start was kept: no branch of training validated better")
    assert list(Fit.of(buir(chosen=BUIR | {"collapse": "all alike"})).words())[-1] == "Warning: all alike."
    refused = Fit.of(buir(status="refused", reason="too wide"))
    assert (refused.stopped, list(refused.words())) == ("refused", [])


def test_a_record_of_an_earlier_version_says_what_its_history_says():
    old = {
        name: BUIR[name] for name in ("uniformity", "embedding_dim", "epochs", "strengths", "start", "trained", "value")
    }
    record = buir(chosen=old, history=epochs(0.2, 0.21, 0.22, 0.23, 0.2, 0.2, best=4))
    fit = Fit.of(record)
    assert (fit.stopped, fit.best_epoch, fit.epochs_run) == ("patience", 4, 6)
    assert (fit.value, fit.bare, fit.kept, fit.compared) == (0.26, None, None, None)
    assert fit.decided == {"embedding_dim": 32, "uniformity": 0.3}


def test_of_what_is_fitted_in_one_go():
    terms = {"strengths": {"filter": 0.2}, "gains": {}, "value": 0.31, "bare": 0.30, "n_candidates": 9}
    fit = Fit.of(make_record(kind="als", params={"factors": 4}, history=[{"epoch": 15, NDCG: 0.31, "terms": terms}]))
    assert (fit.stopped, fit.epochs_run, fit.value, fit.bare, fit.terms) == (
        "at once",
        None,
        0.31,
        0.30,
        {"filter": 0.2},
    )
    assert next(fit.words()) == "Fitted in one go, without epochs."
    assert Fit.of(make_record(history=[{"epoch": 1, NDCG: 0.1}])).value == 0.1
    assert Fit.of(make_record(history=[])).value is None


@pytest.mark.parametrize(
    ("most", "capped", "stopped"), [(3, False, "epochs"), (200, False, "patience"), (200, True, "seconds")]
)
def test_of_what_learns_in_epochs(most, capped, stopped):
    params = {"epochs": most, "valid_metric": NDCG}
    history = epochs(0.1, 0.3, 0.2, best=2)
    record = make_record(kind="lightgcn", params=params, history=history, capped=capped, chosen={"device": "cpu"})
    fit = Fit.of(record)
    assert (fit.stopped, fit.best_epoch, fit.epochs_run) == (stopped, 2, 3)
    # without terms the best epoch is the value
    assert (fit.trained, fit.value, fit.bare, fit.decided) == (0.3, 0.3, 0.3, {"device": "cpu"})
    history[-1]["terms"] = {"strengths": {"popularity": 1.0}, "n_candidates": 3}
    assert Fit.of(record).value is None  # of an earlier version
    history[-1]["terms"] |= {"value": 0.35, "bare": 0.29}
    assert (Fit.of(record).value, Fit.of(record).bare) == (0.35, 0.29)


@pytest.mark.parametrize(
    ("kind", "share", "said"), [("buir", 0.9, True), ("buir", 0.899, False), ("popularity", 1.0, False)]
)
def test_popularity_is_said_of_who_lists_it(kind, share, said):
    assert make_record(kind=kind, popularity_overlap=share).is_popularity is said
    assert not make_record(kind=kind).is_popularity

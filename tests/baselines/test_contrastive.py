"""The contrastive baseline: its loss against a slow loop, what counts as a negative, and what a fit decides."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.nn import functional

from baselines import contrastive
from baselines.contrastive import Contrastive
from baselines.contrastive_learner import ContrastiveLearner, n_uniform
from buir.data import Interactions
from buir.errors import InputError
from buir.learning import uniformity_loss
from buir.ranking import evaluate
from tests.support import dense

CPU = torch.device("cpu")
MATRIX = dense.random_matrix()
N_USERS, N_ITEMS = MATRIX.shape
TAKEN = MATRIX.toarray() > 0


def learner_of(**settings) -> ContrastiveLearner:
    settings = {"embedding_dim": 6, "temperature": 0.3, "learning_rate": 0.01, "seed": 4} | settings
    return ContrastiveLearner(Contrastive(**settings), MATRIX, None, CPU)


def batch(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    users, items = MATRIX.nonzero()
    chosen = np.random.default_rng(0).choice(len(users), n)
    return torch.from_numpy(users[chosen].astype(np.int64)), torch.from_numpy(items[chosen].astype(np.int64))


def unit_vectors(learner, n_layers) -> torch.Tensor:
    table = learner.table.detach().double().requires_grad_()
    adjacency = dense.adjacency(MATRIX)
    whole = sum(torch.linalg.matrix_power(adjacency, k) @ table for k in range(n_layers + 1)) / (n_layers + 1)
    return table, functional.normalize(whole, dim=1)


def slow_loss(vectors, users, items, temperature, weight_of, *, coupled=False, c=1.0):
    """One pair and one item at a time; ``weight_of`` gives what an item counts for a pair, known pairs left out."""
    total = 0.0
    for pair, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        positive = vectors[user] @ vectors[N_USERS + item] / temperature
        mass = positive.exp() if coupled else 0.0
        for other in range(N_ITEMS):
            if not TAKEN[user, other]:
                mass = mass + weight_of(pair, other) * (vectors[user] @ vectors[N_USERS + other] / temperature).exp()
        total = total - positive + c * torch.log(mass)
    return total / len(users)


@pytest.mark.parametrize("n_layers", [0, 2])
@pytest.mark.parametrize("loss", ["dcl", "info_nce"])
def test_loss_and_gradient_are_those_of_a_loop_over_all_items(n_layers, loss):
    learner, (users, items) = learner_of(n_layers=n_layers, loss=loss, negative_weight=1.2), batch()
    table, vectors = unit_vectors(learner, n_layers)
    expected = slow_loss(vectors, users, items, 0.3, lambda *_: 1.0, coupled=loss == "info_nce", c=1.2)
    expected.backward()
    found = learner.loss(users, items, 7)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradient = learner.table.grad
    assert gradient.is_sparse is (n_layers == 0)
    dense_gradient = gradient.to_dense() if gradient.is_sparse else gradient
    torch.testing.assert_close(dense_gradient.double(), table.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("correction", [0.0, 1.0])
def test_drawn_candidates_count_as_often_as_they_came_up(correction):
    learner = learner_of(uniform=5, in_batch=7, correction=correction)
    users, items = batch()
    found = learner.candidates(items, 7)
    assert found.drawn.sum() == 12
    weight = dict(zip(found.items.tolist(), found.log_weight(correction).exp().tolist(), strict=True))
    _, vectors = unit_vectors(learner, 0)
    expected = slow_loss(vectors, users, items, 0.3, lambda _, other: weight.get(other, 0.0))
    assert learner.loss(users, items, 7).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_sampler_gives_each_pair_its_own_candidates():
    def sampler(users, items, key):
        return torch.stack([(items + key) % N_ITEMS, users % N_ITEMS, (users + 1) % N_ITEMS], dim=1)

    learner, (users, items) = learner_of(sampler=sampler), batch()
    drawn = sampler(users, items, 3)
    assert any(TAKEN[user, item] for user, row in zip(users, drawn, strict=True) for item in row)
    _, vectors = unit_vectors(learner, 0)
    sound = [i for i in range(12) if not TAKEN[users[i], drawn[i]].all()]
    users, items, drawn = users[sound], items[sound], drawn[sound]
    expected = slow_loss(vectors, users, items, 0.3, lambda pair, other: (drawn[pair] == other).sum())
    assert learner.loss(users, items, 3).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("returned", "word"),
    [
        (torch.zeros(12, 2), "float32"),
        (torch.zeros(12, dtype=torch.int64), r"shape \(12,\)"),
        (torch.zeros(3, 2, dtype=torch.int64), r"shape \(12, N\)"),
        (torch.full((12, 2), N_ITEMS), "from 0 to 10"),
        (None, "NoneType"),
    ],
)
def test_what_a_sampler_must_not_return(returned, word):
    with pytest.raises(InputError, match=word) as caught:
        learner_of(sampler=lambda *_: returned).loss(*batch(), 3)
    assert caught.value.argument == "sampler"


def test_a_known_pair_is_never_a_negative():
    # a user who lacks one item of the batch is pushed from that one alone
    full = np.ones((3, 5), dtype=np.float32)
    full[0, 2] = 0
    settings = Contrastive(embedding_dim=4, temperature=0.3, uniform=0, in_batch=5)
    learner = ContrastiveLearner(settings, csr_array(full), None, CPU)
    users, items = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([0, 2, 3, 4, 4])
    vectors = functional.normalize(learner.table.detach(), dim=1)
    score = vectors[:3] @ vectors[3:].T / 0.3
    # users 1 and 2 have all items: they are pulled alone
    expected = -score[users, items].sum() + 2 * score[0, 2]
    assert learner.loss(users, items, 1).item() == pytest.approx(expected.item() / 5, rel=1e-5)


def test_direct_au_by_the_losses_it_is_made_of():
    learner, (users, items) = learner_of(loss="direct_au", negative_weight=0.7), batch()
    _, vectors = unit_vectors(learner, 0)
    user, item = vectors[users], vectors[N_USERS + items]
    expected = (user - item).square().sum(1).mean() + 0.35 * (uniformity_loss(user) + uniformity_loss(item))
    assert learner.loss(users, items, 1).item() == pytest.approx(expected.item(), rel=1e-5)
    alone = (user[:1] - item[:1]).square().sum().item()
    assert learner.loss(users[:1], items[:1], 1).item() == pytest.approx(alone, rel=1e-5)


def test_dclw_weighs_the_pairs():
    learner, (users, items) = learner_of(loss="dclw"), batch()
    plain = learner_of(loss="dcl").loss(users, items, 1).item()
    _, vectors = unit_vectors(learner, 0)
    positive = (vectors[users] * vectors[N_USERS + items]).sum(1)
    weights = 2 - 12 * (positive / 0.5).softmax(0)
    expected = plain + ((1 - weights) * positive / 0.3).mean().item()
    assert learner.loss(users, items, 1).item() == pytest.approx(expected, rel=1e-5)


def test_pairs_near_the_end_of_a_list_count_most():
    learner, (users, items) = learner_of(top_k=3, top_k_temperature=0.5), batch()
    _, vectors = unit_vectors(learner, 0)
    scores = vectors[:N_USERS] @ vectors[N_USERS:].T
    third = scores.sort(dim=1, descending=True).values[:, 2]
    weight = torch.sigmoid((scores[users, items] - third[users]) / 0.5)
    plain = [learner_of().loss(users[pair : pair + 1], items[pair : pair + 1], 1).item() for pair in range(len(users))]
    expected = (weight * torch.tensor(plain)).mean().item()
    assert learner.loss(users, items, 1).item() == pytest.approx(expected, rel=1e-5)


def test_ends_of_lists_are_looked_up_every_few_epochs():
    learner, (users, items) = learner_of(top_k=3, batch_size=12), batch()
    learner.step(users, items, 1)
    first = learner.limits
    for key in range(2, learner.renewed + 1):
        learner.step(users, items, key)
        assert learner.limits is first
    learner.step(users, items, 0)
    assert not torch.equal(learner.limits, first)
    # more places than items: the last item of all
    learner = learner_of(top_k=1000)
    learner.loss(users, items, 1)
    _, vectors = unit_vectors(learner, 0)
    lowest = (vectors[:N_USERS] @ vectors[N_USERS:].T).min(dim=1).values.float()
    torch.testing.assert_close(learner.limits, lowest.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_layers", [0, 1])
def test_decay_is_of_the_rows_of_the_pairs(n_layers):
    users, items = batch()
    bare, learner = (learner_of(n_layers=n_layers, weight_decay=weight) for weight in (0.0, 0.3))
    rows = torch.cat([users, items + N_USERS])
    squares = learner.table.detach()[rows].square().sum().item()
    found = learner.loss(users, items, 1).item() - bare.loss(users, items, 1).item()
    assert found == pytest.approx(0.3 / 24 * squares, rel=1e-4)


def test_a_step_of_matrix_factorisation_moves_the_rows_it_reads_by_adams_rule():
    learner, (users, items) = learner_of(uniform=0, in_batch=3), batch(4)
    before = learner.table.detach().clone()
    learner.loss(users, items, 5).backward()
    gradient = learner.table.grad.to_dense()
    learner.step(users, items, 5)
    read = torch.zeros(N_USERS + N_ITEMS, dtype=torch.bool)
    read[users], read[items + N_USERS] = True, True
    moved = before - 0.01 * gradient / (gradient.abs() + 1e-8)
    assert torch.equal(learner.table.detach()[~read], before[~read])
    torch.testing.assert_close(learner.table.detach()[read], moved[read], atol=1e-4, rtol=1e-3)


def test_what_auto_comes_to():
    assert n_uniform("auto", 8192) is None
    assert n_uniform("auto", 8193) == 256
    assert n_uniform(16, 100) == 16


# Fits.


def grouped() -> tuple[Interactions, Interactions]:
    rng = np.random.default_rng(0)
    taken = rng.random((60, 40)) < np.where(np.arange(60)[:, None] % 3 == np.arange(40) % 3, 0.6, 0.02)
    taken[np.arange(60), np.arange(60) % 40] = True
    whole = Interactions.from_matrix(csr_array(taken.astype(np.float32)))
    held_out = np.random.default_rng(1).random(whole.n_pairs) < 0.2
    return whole.keep(~held_out), whole.keep(held_out)


TRAIN, VALID = grouped()


def quick(**settings) -> Contrastive:
    options = {
        "embedding_dim": 8,
        "batch_size": 64,
        "valid_metric": "ndcg_at_10",
        "device": "cpu",
        "epochs": 30,
        "temperature": 0.1,
    }
    return Contrastive(**(options | settings))


def fit(*, valid=VALID, **settings) -> Contrastive:
    return quick(**settings).fit(TRAIN, valid, show_progress=False)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "info_nce"},
        {"loss": "dclw"},
        {"loss": "direct_au"},
        {"top_k": 10},
        {"n_layers": 2},
        {"uniform": 16, "in_batch": 8},
        {"uniform": 0, "in_batch": 32, "correction": 1.0},
        {"sampler": lambda users, _, key: (users[:, None] * 7 + key + torch.arange(16)) % 40},
    ],
    ids=["dcl", "info_nce", "dclw", "direct_au", "top_k", "graph", "drawn", "corrected", "sampler"],
)
def test_it_finds_the_groups(settings):
    model = fit(**settings)
    values = [record["ndcg_at_10"] for record in model.history]
    assert max(values) > 0.4
    found = evaluate(model, TRAIN, VALID, ks=(10,)).means["ndcg_at_10"]
    assert found >= max(values) - 1e-12
    again = fit(**settings)
    np.testing.assert_array_equal(model.user_factors, again.user_factors)


def test_a_record_says_how_scores_are_distributed():
    last = fit(epochs=20, valid=None, score="cosine")
    scores, known = last.user_factors @ last.item_factors.T, TRAIN.matrix.toarray() > 0
    found = last.history[-1]
    assert found["positive_mean"] == pytest.approx(scores[known].mean(), abs=1e-5)
    assert found["positive_std"] == pytest.approx(scores[known].std(), abs=1e-5)
    assert found["negative_mean"] == pytest.approx(scores[~known].mean(), abs=1e-5)
    assert found["negative_std"] == pytest.approx(scores[~known].std(), abs=1e-5)
    hard = 0
    for row, mask in zip(scores, known, strict=True):
        part = np.exp(row[~mask] / 0.1)
        hard += (part / part.sum() > 1 / len(part)).sum()
    assert found["hard_share"] == pytest.approx(hard / (~known).sum(), abs=1e-3)
    assert found["uniformity"] == pytest.approx(uniformity_loss(torch.from_numpy(last.user_factors)).item(), abs=1e-5)
    assert found["positive_mean"] > found["negative_mean"] + 0.3


def test_the_score_is_the_one_that_validates_better():
    models = {score: fit(score=score, epochs=6, patience=9) for score in ("auto", "cosine", "inner")}
    np.testing.assert_allclose(np.linalg.norm(models["cosine"].user_factors, axis=1), 1, atol=1e-6)
    assert models["cosine"].chosen_.score == "cosine"
    assert models["inner"].chosen_.score == "inner"
    lengths = np.linalg.norm(models["inner"].item_factors, axis=1)
    assert lengths.std() > 0.01
    # auto watches the cosine, as the second does: the better of its two scores is at least that
    values = {name: evaluate(model, TRAIN, VALID, ks=(10,)).means["ndcg_at_10"] for name, model in models.items()}
    assert values["auto"] >= values["cosine"]
    unit = functional.normalize(torch.from_numpy(models["auto"].user_factors), dim=1)
    np.testing.assert_allclose(unit.numpy(), models["cosine"].user_factors, atol=1e-6)
    assert fit(valid=None, epochs=2).chosen_.score == "cosine"


def test_users_who_have_everything_teach_nothing():
    full = np.zeros((6, 4), dtype=np.float32)
    full[:3] = 1
    full[3:, 0] = 1
    model = quick(epochs=3, batch_size=2).fit(csr_array(full), show_progress=False)
    assert np.isfinite(model.user_factors).all()
    with pytest.raises(ValueError, match=r"each of the 3 users with interactions has all 4 items; .*pushed away"):
        quick(batch_size=2).fit(csr_array(full[:3]))


def test_a_batch_too_large_for_memory_names_one_that_fits(monkeypatch):
    monkeypatch.setattr(contrastive, "MOST_BYTES", 12 * 40 * 10)
    with pytest.raises(InputError, match=r"batch_size=10 fits") as caught:
        fit(batch_size=64)
    assert caught.value.argument == "batch_size"
    fit(batch_size=10, epochs=1)
    with pytest.raises(InputError, match=rf"batch_size={math.isqrt(400)} fits"):
        fit(batch_size=21, loss="direct_au")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"loss": "dlc"}, InputError, "did you mean 'dcl'"),
        ({"temperature": 0}, InputError, "at least 0.001"),
        ({"uniform": 0, "in_batch": 0}, InputError, "candidates from at least one"),
        ({"uniform": -1}, InputError, "at least 0"),
        ({"score": "dot"}, InputError, "'inner'"),
        ({"top_k": 10, "loss": "direct_au"}, InputError, "0, since that loss has no negatives"),
        ({"sampler": "uniform"}, TypeError, "sampler is 'uniform'; expected a function or None"),
    ],
)
def test_wrong_settings_are_one_error(settings, error, words):
    with pytest.raises(error, match=words) as caught:
        quick(**settings)
    assert caught.value.argument == next(iter(settings))


def test_a_learning_rate_that_blows_up_is_an_error():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        fit(valid=None, learning_rate=1e38)


def test_the_number_of_threads_does_not_matter():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            learner = learner_of(embedding_dim=64)
            learner.step(*batch(40), 3)
            found.append(learner.table.detach().numpy())
    finally:
        torch.set_num_threads(before)
    one, *two = found
    np.testing.assert_array_equal(*two)  # gradients of a row add up in one order
    # on some processors BLAS cuts the sums of a product into as many parts as there are threads
    np.testing.assert_allclose(one, two[0], rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
def test_a_gpu_fits_the_same_model():
    here, there = (fit(valid=None, epochs=3, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here.user_factors, there.user_factors, atol=1e-4)
    np.testing.assert_array_equal(here.recommend([1, 2])[0], there.recommend([1, 2])[0])

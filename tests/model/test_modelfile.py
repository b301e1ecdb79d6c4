"""What of a model its file holds: everything that makes lists comes back, bit for bit, and no pickle is in it."""

import copy
import io
import json
import pickle
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors
import torch
from scipy.sparse import csr_array

from buir import BUIR, Interactions
from buir.errors import StorageError
from buir.model.storage import FORMAT_VERSION, read_file, write_file
from tests.support.plain_training import PLAIN

GOLDEN = Path(__file__).parents[1] / "golden" / "format1.safetensors"
USERS = ["ann", "ann", "ann", "bob", "bob", "cat", "cat", "dan", "dan", "eve"]
ITEMS = [10, 20, 30, 10, 30, 40, 50, 40, 60, 60]
SMALL = {"embedding_dim": 4, "epochs": 2, "batch_size": 5, "device": "cpu"} | PLAIN
PAIRS = {
    "str and int": (USERS, ITEMS),
    "int and str": ([len(user) * 100 + ord(user[0]) for user in USERS], [f"é{item}" for item in ITEMS]),
}


def fitted(encoder: str = "graph", ids: str = "str and int", **options) -> BUIR:
    data = Interactions.from_pairs(*PAIRS[ids])
    return BUIR(encoder=encoder, **(SMALL | options)).fit(data, show_progress=False)


def through_file(model: BUIR, **options) -> BUIR:
    stream = io.BytesIO()
    model.save(stream, **options)
    return BUIR.load(io.BytesIO(stream.getvalue()))


def assert_same(first: BUIR, second: BUIR) -> None:
    assert first.get_params() == second.get_params()
    for name in ("user_factors", "item_factors", "user_ids_", "item_ids_"):
        mine, other = getattr(first, name), getattr(second, name)
        assert mine.dtype == other.dtype, name
        np.testing.assert_array_equal(mine, other, err_msg=name)
    pd.testing.assert_frame_equal(first.recommend_frame(k=3), second.recommend_frame(k=3))


# Round trips


@pytest.mark.parametrize("encoder", ["id", "graph", "walk"])
@pytest.mark.parametrize("ids", PAIRS)
def test_everything_that_makes_lists_comes_back(encoder, ids, tmp_path):
    model = fitted(encoder, ids)
    model.save(tmp_path / "model.safetensors")
    back = BUIR.load(tmp_path / "model.safetensors")
    assert_same(model, back)
    history = {"new": [model.item_ids_[0], model.item_ids_[3]]}
    pd.testing.assert_frame_equal(
        model.recommend_frame(histories=history, k=3), back.recommend_frame(histories=history, k=3)
    )
    if encoder != "id":
        user, item = model.user_ids_[0], model.item_ids_[5]
        pd.testing.assert_frame_equal(model.explain(user, item), back.explain(user, item))
    np.testing.assert_array_equal(model.similar_items(2, N=3)[1], back.similar_items(2, N=3)[1])
    assert [record["epoch"] for record in back.history] == [1, 2]
    assert back.history[-1]["loss"] == model.history[-1]["loss"]


@pytest.mark.parametrize(("ids", "kinds"), [("str and int", "Oi"), ("int and str", "iO")])
def test_ids_keep_their_type(ids, kinds):
    back = through_file(fitted(ids=ids))
    assert back.user_ids_.dtype.kind + back.item_ids_.dtype.kind == kinds
    frame = back.recommend_frame(k=1)
    assert [np.asarray(frame[name]).dtype == np.int64 for name in ("user", "item")] == [kind == "i" for kind in kinds]


def test_a_matrix_gives_row_numbers():
    matrix = csr_array(np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]))
    model = BUIR(**(SMALL | {"batch_size": 3})).fit(matrix, show_progress=False)
    back = through_file(model)
    assert_same(model, back)
    assert back.user_ids_.tolist() == [0, 1, 2, 3]


def test_a_file_on_disk_equals_a_file_object(tmp_path):
    model = fitted()
    model.save(str(tmp_path / "model.safetensors"))
    with (tmp_path / "model.safetensors").open("rb") as file:
        assert_same(model, BUIR.load(file))
    stream = io.BytesIO()
    model.save(stream)
    _, arrays, facts = read_file(tmp_path / "model.safetensors")
    _, others, other_facts = read_file(io.BytesIO(stream.getvalue()))
    assert facts == other_facts
    assert arrays.keys() == others.keys()
    assert all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_an_unfitted_model_keeps_its_parameters():
    model = BUIR(encoder="id", embedding_dim=7, learning_rate=0.1, seed=5)
    back = through_file(model)
    assert back.get_params() == model.get_params()
    with pytest.raises(ValueError, match=r"this BUIR is not fitted: call fit\(user_items\) first"):
        back.recommend_frame()


def test_a_device_of_torch_is_kept_by_its_name():
    model = fitted(device=torch.device("cpu"))
    assert model.device == "cpu"
    assert through_file(model).device == "cpu"
    assert BUIR(device=torch.device("cuda", 1)).device == "cuda:1"


def test_without_the_training_matrix():
    model = fitted()
    back = through_file(model, training_matrix=False)
    pd.testing.assert_frame_equal(
        back.recommend_frame(k=3, exclude_seen=False), model.recommend_frame(k=3, exclude_seen=False)
    )
    with pytest.raises(ValueError, match=r"training rows, without which this BUIR was saved; .*exclude_seen=False"):
        back.recommend_frame(k=3)
    with pytest.raises(ValueError, match=r"partial_fit needs the old training rows.*save it with training_matrix=True"):
        back.partial_fit(Interactions.from_pairs(["ann"], [40]))
    expected = (
        "this BUIR was saved without its training rows, which explain needs; save the model with its training matrix"
    )
    with pytest.raises(ValueError, match=f"^{expected}$"):
        back.explain("ann", 40)
    assert_same_factors(model, through_file(back))


def assert_same_factors(first: BUIR, second: BUIR) -> None:
    np.testing.assert_array_equal(first.export_factors()[0], second.export_factors()[0])
    np.testing.assert_array_equal(first.export_factors()[1], second.export_factors()[1])


def test_training_goes_on_alike_after_a_file_with_the_optimiser():
    model = fitted(epochs=4)
    back = through_file(model, optimiser=True)
    new = Interactions.from_pairs(["eve", "fay"], [50, 10])
    for one in (model, back):
        one.partial_fit(new, epochs=2, show_progress=False)
    assert back.history[-1]["epoch"] == 6
    assert_same(model, back)


def test_a_loaded_model_is_the_callers_own():
    model = fitted()
    back = through_file(model)
    back.item_factors[:] = 0
    assert model.item_factors.any()
    assert back.weights_.table.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_the_object_pickles_and_copies_like_any_estimator(copied):
    model = fitted("walk")
    model.recommend_frame(k=1)
    twin = copied(model)
    assert_same(model, twin)
    twin.partial_fit(Interactions.from_pairs(["eve"], [50]), epochs=1, show_progress=False)
    assert not np.array_equal(twin.user_factors, model.user_factors)
    assert copied(BUIR(seed=3)).get_params() == BUIR(seed=3).get_params()


# The file


def test_no_pickle_is_made_or_read(tmp_path, monkeypatch):
    model = fitted()

    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")

    for module, name in ((pickle, "dumps"), (pickle, "dump"), (pickle, "loads"), (pickle, "load"), (torch, "save")):
        monkeypatch.setattr(module, name, refuse)
    model.save(tmp_path / "model.safetensors", optimiser=True)
    assert_same(model, BUIR.load(tmp_path / "model.safetensors"))


def test_the_file_is_json_and_plain_numbers_to_the_last_byte(tmp_path):
    path = tmp_path / "model.safetensors"
    fitted().save(path, optimiser=True)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    assert {entry["dtype"] for entry in header.values()} <= {"F32", "I64", "I32", "U8"}
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - size
    facts = json.loads(metadata["facts"])
    assert metadata["format_version"] == str(FORMAT_VERSION) == "1"
    assert facts["parameters"]["embedding_dim"] == 4
    assert set(facts["versions"]) == {"buir", "torch", "numpy", "scipy", "safetensors", "python"}


def test_other_programs_read_the_factors(tmp_path):
    model = fitted()
    model.save(tmp_path / "model.safetensors")
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        np.testing.assert_array_equal(file.get_tensor("user_factors"), model.user_factors)


def test_history_without_a_number_is_strict_json(tmp_path):
    model = fitted()
    model.history[-1]["alignment"] = float("nan")
    model.save(tmp_path / "model.safetensors")
    assert BUIR.load(tmp_path / "model.safetensors").history[-1]["alignment"] is None


def test_a_model_from_a_gpu_loads_on_a_cpu(tmp_path):
    model = fitted()
    model.device = "cuda"  # what a model trained there says
    model.save(tmp_path / "model.safetensors", optimiser=True)
    back = BUIR.load(tmp_path / "model.safetensors")
    assert back.device == "cuda"
    tensors = [*vars(back.weights_).values(), *back.state_.tensors.values()]
    tensors += [part for folding in back.folding_ for part in (folding.sums, folding.own)]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert_same(model, back)


def test_saving_replaces_the_old_model_with_the_rights_of_any_file(tmp_path):
    path, other = tmp_path / "model.safetensors", tmp_path / "other"
    fitted().save(path)
    fitted(seed=9).save(path)
    other.touch()
    assert BUIR.load(path).seed == 9
    assert path.stat().st_mode == other.stat().st_mode
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.safetensors", "other"]


def test_optimiser_that_is_gone(tmp_path):
    data = Interactions.from_pairs(USERS, ITEMS)
    model = BUIR(**(SMALL | {"epochs": 3})).fit(data, show_progress=False)
    model.state_ = None
    with pytest.raises(StorageError, match=r"optimiser=True, but the state of the optimiser is gone.*optimiser=False"):
        model.save(tmp_path / "model.safetensors", optimiser=True)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_file_of_another_class(tmp_path):
    write_file(tmp_path / "model.safetensors", {}, {"class": "EASE", "parameters": {}, "fitted": False})
    with pytest.raises(
        StorageError, match=r"model\.safetensors holds a EASE; expected a BUIR: load it with EASE\.load"
    ):
        BUIR.load(tmp_path / "model.safetensors")


# The golden file of format 1: numbers that no later version may change


def test_golden_file_is_small_and_of_format_1():
    assert GOLDEN.stat().st_size < 20_000
    with safetensors.safe_open(GOLDEN, "np") as file:
        assert file.metadata()["format_version"] == "1"


def test_golden_lists():
    model = BUIR.load(GOLDEN)
    frame = model.recommend_frame(k=3)
    assert frame["user"].tolist() == [user for user in ("ann", "bob", "cat", "dan", "eve") for _ in range(3)]
    assert frame["item"].tolist() == [60, 50, 40, 20, 60, 50, 60, 20, 30, 50, 20, 30, 50, 40, 20]
    np.testing.assert_allclose(
        frame["score"].head(6), [1.748004, 1.103700, 0.999947, 0.449036, 0.388285, 0.154832], atol=2e-6
    )
    ids, _ = model.recommend(np.arange(5), N=6, filter_already_liked_items=False)
    assert ids.tolist() == [
        [5, 4, 3, 1, 2, 0],
        [2, 1, 5, 0, 4, 3],
        [5, 4, 3, 1, 2, 0],
        [5, 4, 3, 1, 2, 0],
        [5, 4, 3, 1, 0, 2],
    ]


def test_golden_strangers_and_explanations():
    model = BUIR.load(GOLDEN)
    new = model.recommend_frame(histories={"new": [10]}, k=2)
    assert new["item"].tolist() == [60, 30]
    np.testing.assert_allclose(new["score"], [0.616058, 0.479549], atol=2e-6)
    parts = model.explain("ann", 40)
    assert parts["item"].tolist()[:3] == [20, 10, 30]
    np.testing.assert_allclose(parts["contribution"], [0.415648, 0.123280, 0.087020, 0.432013, -0.058014], atol=2e-6)


def test_golden_model_goes_on_learning():
    model = BUIR.load(GOLDEN).partial_fit(Interactions.from_pairs(["fay"], [10]), epochs=1, show_progress=False)
    assert model.user_ids_.tolist() == ["ann", "bob", "cat", "dan", "eve", "fay"]
    assert model.history[-1]["epoch"] == 21


def test_golden_file_is_read_whole():
    _, arrays, facts = read_file(GOLDEN)
    assert facts["epoch"] == 20
    assert arrays["user_ids.utf8"].tobytes() == b"annbobcatdaneve"
    assert arrays["item_ids"].tolist() == [10, 20, 30, 40, 50, 60]


# Files with a right checksum that save() did not write


def forged(forge) -> io.BytesIO:
    """The file of a model after ``forge`` has changed its arrays and facts."""
    stream, other = io.BytesIO(), io.BytesIO()
    fitted().save(stream, optimiser=True)
    _, arrays, facts = read_file(io.BytesIO(stream.getvalue()))
    forge(arrays, facts)
    write_file(other, arrays, facts)
    return io.BytesIO(other.getvalue())


FORGED = {
    "an unknown parameter": (
        lambda arrays, facts: facts["parameters"].update(depth=3),
        r".*BUIR has no parameter 'depth'",
    ),
    "parameters of another kind": (lambda arrays, facts: facts.update(parameters=[1]), ".*mapping"),
    "no parameters": (lambda arrays, facts: facts.pop("parameters"), "'parameters' is missing"),
    "no class": (lambda arrays, facts: facts.pop("class"), "'class' is missing"),
    "a class of another kind": (lambda arrays, facts: facts.update({"class": 3}), "its class is 3"),
    "no word on the fit": (lambda arrays, facts: facts.pop("fitted"), "'fitted' is missing"),
    "no factors": (lambda arrays, facts: arrays.pop("item_factors"), "'item_factors' is missing"),
    "no weights": (lambda arrays, facts: arrays.pop("weights.table"), "'weights.table' is missing"),
    "no ids": (lambda arrays, facts: arrays.pop("user_ids.bounds"), "'user_ids.bounds' is missing"),
    "half of the training rows": (lambda arrays, facts: arrays.pop("seen.indices"), "'seen.indices' is missing"),
    "training rows of other users": (
        lambda arrays, facts: arrays.update({"seen.indptr": arrays["seen.indptr"][:-1]}),
        r"seen\.indptr has the shape \(5,\), expected \(6\)",
    ),
    "no epoch of the optimiser": (lambda arrays, facts: facts.pop("epoch"), "'epoch' is missing"),
    "no history": (lambda arrays, facts: facts.pop("history"), "'history' is missing"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_file_that_only_looks_like_a_model(name):
    forge, text = FORGED[name]
    pattern = rf"^the file object is no whole BUIR \({text}.*\); expected the settings and arrays that save\(\) writes: save the model again$"
    with pytest.raises(StorageError, match=pattern):
        BUIR.load(forged(forge))


TERMS = {"popularity": 0.5, "block": 1.0, "filter": 2.0, "dial": 0.5}


def everything() -> io.BytesIO:
    """The file of a model that has all arrays that models can have."""
    stream = io.BytesIO()
    fitted(encoder="walk", terms=TERMS).save(stream, optimiser=True)
    return stream


def rewritten(stream: io.BytesIO, forge) -> io.BytesIO:
    """The same file with other arrays and facts, and the checksum that belongs to them."""
    other = io.BytesIO()
    _, arrays, facts = read_file(io.BytesIO(stream.getvalue()))
    forge(arrays, facts)
    write_file(other, arrays, facts)
    return io.BytesIO(other.getvalue())


def spoilt(array: np.ndarray) -> dict[str, np.ndarray]:
    """Wrong forms of an array: other types, other shapes, numbers that are none or far away."""
    wrong = {
        "one row less": array[:-1],
        "one row more": np.concatenate([array, array[:1]]),
        "flat": array.reshape(-1) if array.ndim > 1 else array[None],
        "empty": array[:0],
        "float64": array.astype(np.float64),
        "bool": array.astype(bool),
    }
    if array.dtype.kind == "f":
        changed = array.copy()
        changed.flat[-1] = np.nan
        return wrong | {"NaN": changed, "infinity": np.where(np.isnan(changed), np.inf, changed).astype(array.dtype)}
    far = np.iinfo(array.dtype)
    for name, value in (("least", far.min), ("largest", far.max)):
        changed = array.copy()
        changed[min(1, len(array) - 1)] = value
        wrong[f"the {name} number"] = changed
    return wrong


def test_every_array_is_checked_before_anything_is_built_from_it():
    whole = everything()
    _, arrays, _ = read_file(io.BytesIO(whole.getvalue()))
    assert {name.split(".")[0] for name in arrays} >= {"seen", "terms", "state", "folding", "weights", "user_factors"}
    told = {}
    for name, array in arrays.items():
        # text of ids is any bytes, a count of steps any number
        wrong = {} if "steps" in name or name == "user_ids.utf8" or not array.size else spoilt(array)
        for how, changed in wrong.items():
            told[name, how] = message(rewritten(whole, lambda held, _, n=name, c=changed: held.update({n: c})))
    assert len(told) > 150
    assert [place for place, text in told.items() if text is None] == [
        ("item_ids", "the least number"),
        ("item_ids", "the largest number"),
    ]
    texts = [text for text in told.values() if text is not None]
    assert all(text.startswith("the file object is no whole BUIR (") and len(text) < 500 for text in texts)


def message(stream: io.BytesIO) -> str | None:
    """What is said of a file that cannot be loaded; None where it can."""
    try:
        BUIR.load(stream)
    except StorageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("seen.indptr", [0, 2**31 - 1, 5, 7, 9, 10], "does not rise from 0 to 10"),
        ("seen.indptr", [0, 5, 3, 7, 9, 10], "does not rise from 0 to 10"),
        ("seen.indptr", [1, 3, 5, 7, 9, 10], "does not rise from 0 to 10"),
        ("seen.indices", [0, 1, 6, 0, 2, 3, 4, 3, 5, 5], "go from 0 to 6, expected 0 to 5"),
        ("seen.indices", [-1, 1, 2, 0, 2, 3, 4, 3, 5, 5], "go from -1 to 5"),
        ("seen.indices", [1, 0, 2, 0, 2, 3, 4, 3, 5, 5], "do not ascend"),
        ("seen.indices", [0, 0, 2, 0, 2, 3, 4, 3, 5, 5], "do not ascend, or repeat"),
        ("item_ids", [10, 20, 20, 40, 50, 60], "hold a label twice"),
        ("user_ids.bounds", [0, 3, 2, 9, 12, 15], "do not rise from 0 to 15"),
    ],
)
def test_structure_that_would_reach_compiled_code(name, values, told):
    def forge(arrays, _):
        arrays[name] = np.array(values, dtype=arrays[name].dtype)

    with pytest.raises(StorageError, match=re.escape(told)):
        BUIR.load(rewritten(everything(), forge))


@pytest.mark.parametrize(
    "facts",
    [
        {"history": []},
        {"history": [3]},
        {"history": [{"epoch": "two"}]},
        {"layers": 2.5},
        {"layers": 2**70},
        {"layers": 10**400},
        {"epoch": 2**63},
        {"layers": -1},
        {"epoch": True},
        {"chosen": {"uniformity": "much"}},
        {"terms": None},
        {"terms": {"strengths": {"magic": 1.0}, "choice": None, "padding": 1.0, "n_further": 0}},
        {"terms": {"strengths": {"popularity": float("nan")}, "choice": None, "padding": 1.0, "n_further": 1}},
        {"terms": {"strengths": TERMS, "choice": None, "padding": 1.0, "n_further": 2}},
        {"parameters": {"embedding_dim": -3}},
    ],
)
def test_facts_that_save_never_writes(facts):
    with pytest.raises(StorageError, match="is no whole BUIR"):
        BUIR.load(rewritten(everything(), lambda _, held: held.update(facts)))


def test_a_header_is_measured_before_it_is_read_and_shapes_before_memory_is_taken():
    data = everything().getvalue()
    for length in (2**63, 10**9, len(data)):
        with pytest.raises(StorageError, match="its beginning is damaged"):
            BUIR.load(io.BytesIO(struct.pack("<Q", length) + data[8:]))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for shape, offsets in (
        ([2**40, 2**20], header["user_factors"]["data_offsets"]),
        ([2**31, 64], [0, 2**31 * 256]),
        ([5, -4], [0, 80]),
        ([5, 4.0], [0, 80]),
        ("54", [0, 80]),
        ([5, 4], [0]),
    ):
        header["user_factors"] |= {"shape": shape, "data_offsets": offsets}
        text = json.dumps(header).encode()
        with pytest.raises(StorageError, match="truncated or damaged"):
            BUIR.load(io.BytesIO(struct.pack("<Q", len(text)) + text + data[8 + length :]))


def test_loading_takes_little_more_memory_than_the_file(tmp_path):
    rng = np.random.default_rng(0)
    data = Interactions.from_pairs(rng.integers(0, 3000, 20_000), rng.integers(0, 2000, 20_000))
    model = BUIR(embedding_dim=64, epochs=0, start="random", terms={}, inner_validation=False).fit(data)
    model.save(tmp_path / "model.safetensors")
    tracemalloc.start()
    try:
        BUIR.load(tmp_path / "model.safetensors")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * (tmp_path / "model.safetensors").stat().st_size


@pytest.mark.parametrize("unfitted", [False, True])
def test_a_removed_parameter_at_its_default_is_passed_over(unfitted):
    def forge(arrays, facts):
        facts["parameters"]["output_target"] = False
        facts["fitted"] = not unfitted

    back = BUIR.load(forged(forge))
    assert "output_target" not in back.get_params()
    assert back.get_params() == fitted().get_params()


def test_a_removed_parameter_elsewhere_is_named():
    with pytest.raises(StorageError, match=r"^the model was trained with output_target=True, .* expected .*=False"):
        BUIR.load(forged(lambda arrays, facts: facts["parameters"].update(output_target=True)))

"""The commands over one model, by what they write and print."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

from buir import BUIR
from buir.cli import options
from buir.cli.app import app
from buir.data.files.readers import read

TRAIN = [
    *[("ann", 10), ("ann", 20), ("ann", 30), ("bob", 10), ("bob", 30), ("cat", 40)],
    *[("cat", 50), ("dan", 40), ("dan", 60), ("eve", 60), ("eve", 50), ("eve", 10)],
]
TINY = ["--set", "embedding_dim=4", "--set", "epochs=3", "--set", "batch_size=5", "--set", "device=cpu"]


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def write(path, pairs, header="user,item"):
    path.write_text("\n".join([header, *(f"{user},{item}" for user, item in pairs)]) + "\n")
    return path


def assert_printed(result, expected):
    """Other blocks round otherwise."""
    assert_frame_equal(pd.read_csv(io.StringIO(result.stdout)), expected, rtol=1e-5, check_dtype=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    write(folder / "train.csv", TRAIN)
    run("fit", folder / "train.csv", "--out", folder / "model.safetensors", *TINY)
    return folder


@pytest.fixture
def model(folder) -> BUIR:
    return BUIR.load(folder / "model.safetensors")


# fit


def test_fit_is_the_librarys(folder, model):
    settings = {"embedding_dim": 4, "epochs": 3, "batch_size": 5, "device": "cpu"}
    same = BUIR(**settings).fit(read(folder / "train.csv"), show_progress=False)
    np.testing.assert_array_equal(model.user_factors, same.user_factors)
    assert model.user_ids_.tolist() == ["ann", "bob", "cat", "dan", "eve"]


def test_fit_says_what_it_did(tmp_path):
    path = write(tmp_path / "train.csv", TRAIN)
    said = run("fit", path, "--out", tmp_path / "m", *TINY, "--set", "encoder=graph").stdout
    assert re.fullmatch(
        r"\S+m: BUIR, encoder graph, 5 users, 6 items, 12 pairs; 3 epochs.*, width 4, uniformity 0.1; .*terms: none.*\n",
        said,
    )


def test_fit_says_which_rows_are_no_pair_of_their_own(tmp_path):
    path = write(tmp_path / "train.csv", [*TRAIN, TRAIN[0]])
    said = run("fit", path, "--out", tmp_path / "m", *TINY).stdout
    assert ", 12 pairs (of 13 rows: 1 repeating a pair); " in said


def test_the_predictor_none_is_a_word(tmp_path):
    path = write(tmp_path / "train.csv", TRAIN)
    run("fit", path, "--out", tmp_path / "m", *TINY, "--paper", "--set", "predictor=none", "--set", "uniformity=0.1")
    assert BUIR.load(tmp_path / "m").predictor == "none"


def test_one_of_a_thing_is_not_many(tmp_path):
    path = write(tmp_path / "train.csv", [("ann", 10), ("ann", 20)])
    options = ["--set", "epochs=1", "--set", "batch_size=2"]
    said = run("fit", path, "--out", tmp_path / "m", *TINY, *options).stdout
    assert re.search(r", 1 user, 2 items, 2 pairs; 1 epoch\b", said)
    said = run("recommend", tmp_path / "m", "--include-seen", "--k", 1, "--out", tmp_path / "l.csv").stdout
    assert said.endswith("l.csv: 1 row, lists for 1 user\n")


def test_settings_are_read_by_their_kind(tmp_path):
    path = write(tmp_path / "train.csv", TRAIN)
    settings = [
        "learning_rate=1e-3",
        "cumulative_patience=False",
        "row_sparse=false",
        "n_layers=1",
        "seed=7",
        "epochs=1",
    ]
    options = [part for setting in settings for part in ("--set", setting)]
    run("fit", path, "--out", tmp_path / "m", "--paper", *TINY, *options)
    params = BUIR.load(tmp_path / "m").get_params()
    assert (
        params
        == BUIR.paper(
            learning_rate=1e-3,
            cumulative_patience=False,
            row_sparse=False,
            n_layers=1,
            seed=7,
            epochs=1,
            embedding_dim=4,
            batch_size=5,
            device="cpu",
        ).get_params()
    )


def test_columns_and_filters(tmp_path):
    path = tmp_path / "plays.tsv"
    path.write_text(
        "".join(f"{item}\t{user}\t{stars}\n" for (user, item), stars in zip(TRAIN, [5, 1] * 6, strict=True))
    )
    columns = ["--column", "user=1", "--column", "item=0", "--column", "rating=2"]
    run("fit", path, "--out", tmp_path / "m", *TINY, *columns, "--min-rating", "3")
    assert BUIR.load(tmp_path / "m").item_ids_.tolist() == [10, 30, 50, 60]
    said = run("data", "describe", path, *columns, "--min-rating", "3").stdout
    assert re.search(r"^distinct pairs +6$", said, re.MULTILINE)
    assert re.search(r"^columns +user=1, item=0, rating=2", said, re.MULTILINE)


def test_a_log_of_events_is_described_as_it_is_fitted(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,event\n" + "".join(f"{u},{i},{'buy' if i > 20 else 'view'}\n" for u, i in TRAIN))
    bought = sum(item > 20 for _, item in TRAIN)
    said = run("data", "describe", path, "--where", "event=buy").stdout
    assert re.search(rf"^distinct pairs +{bought}$", said, re.MULTILINE)
    assert re.search(rf"^left out +{len(TRAIN) - bought} rows? of other events$", said, re.MULTILINE)


@pytest.mark.slow
def test_inner_validation_decides_and_trains_on_everything(tmp_path):
    rng = np.random.default_rng(0)
    pairs = sorted({(f"u{user}", 2 * int(rng.integers(10)) + user % 2) for user in range(220) for _ in range(8)})
    path = write(tmp_path / "train.csv", pairs)
    said = run("fit", path, "--out", tmp_path / "m", *TINY).stdout
    model = BUIR.load(tmp_path / "m")
    assert str(model.chosen_) in said
    assert "on held-out pairs" in said
    assert len(model.history) == max(1, model.chosen_.epochs)
    assert model.seen_ is not None
    assert model.seen_.nnz == len(pairs)
    run(
        "fit",
        path,
        "--out",
        tmp_path / "plain",
        *TINY,
        "--set",
        "inner_validation=false",
        "--set",
        'terms={"popularity": 0.3}',
    )
    plain = BUIR.load(tmp_path / "plain")
    assert (plain.chosen_.value, plain.chosen_.epochs, plain.terms_.strengths) == (None, 3, {"popularity": 0.3})


def test_warnings_are_one_line_each(tmp_path):
    path = write(tmp_path / "train.csv", TRAIN)
    result = run("fit", path, "--out", tmp_path / "m", *TINY, "--set", "batch_size=500")
    (line,) = [line for line in result.stderr.splitlines() if "batch" in line]
    assert re.match(r"warning: user_items holds 12 .*fewer than one batch of 500", line)


# recommend


def test_lists_on_the_screen(folder, model):
    printed = run("recommend", folder / "model.safetensors", "--user", "cat", "--user", "ann", "--k", 2).stdout
    expected = model.recommend_frame(["cat", "ann"], k=2)
    assert printed == expected.to_csv(index=False)
    assert run("recommend", folder / "model.safetensors").stdout.count("\n") == 1 + 5 * 6 - len(TRAIN)


@pytest.mark.parametrize(
    ("name", "load"),
    [("l.csv", pd.read_csv), ("l.tsv", lambda path: pd.read_csv(path, sep="\t")), ("l.parquet", pd.read_parquet)],
)
def test_lists_in_a_file(folder, model, tmp_path, name, load):
    said = run("recommend", folder / "model.safetensors", "--k", 1, "--out", tmp_path / name).stdout
    assert said == f"{tmp_path / name}: 5 rows, lists for 5 users\n"
    frame = load(tmp_path / name)
    expected = model.recommend_frame(k=1)
    assert frame["user"].tolist() == expected["user"].tolist()
    assert frame["item"].tolist() == expected["item"].tolist()
    np.testing.assert_allclose(frame["score"], expected["score"], rtol=1e-6)


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.parquet"])
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_lists_in_blocks_are_the_lists_at_once(folder, model, tmp_path, monkeypatch, name, size):
    run("recommend", folder / "model.safetensors", "--out", tmp_path / f"whole-{name}")
    monkeypatch.setattr(options, "BLOCK", size)
    said = run("recommend", folder / "model.safetensors", "--all", "--out", tmp_path / name).stdout
    assert said == f"{tmp_path / name}: 18 rows, lists for 5 users\n"
    load = {"l.parquet": pd.read_parquet, "l.csv": pd.read_csv, "l.tsv": lambda path: pd.read_csv(path, sep="\t")}[name]
    frame = load(tmp_path / name)
    assert_frame_equal(frame, load(tmp_path / f"whole-{name}"), rtol=1e-5)
    assert frame["item"].tolist() == model.recommend_frame()["item"].tolist()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_blocks_share_allow_lists_histories_and_what_is_unknown(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "BLOCK", 1)
    history = write(tmp_path / "new.csv", [("zoe", 10), ("zoe", 50), ("ann", 60)])
    (tmp_path / "deny.txt").write_text("30")
    asked = ["recommend", folder / "model.safetensors", "--history", history, "--deny", tmp_path / "deny.txt"]
    own = {"zoe": [10, 50], "ann": [60]}
    assert_printed(run(*asked), model.recommend_frame(histories=own, deny=[30]))
    everybody = ["zoe", "ann", "bob", "cat", "dan", "eve"]
    assert_printed(run(*asked, "--all"), model.recommend_frame(everybody, histories=own, deny=[30]))
    out = tmp_path / "l.parquet"
    run(*asked, "--user", "kim", "--user", "zoe", "--unknown", "skip", "--out", out)  # the first block is empty
    assert pd.read_parquet(out)["user"].unique().tolist() == ["zoe"]
    before = out.read_bytes()
    run(*asked, "--user", "zoe", "--user", "kim", "--out", out, code=2)  # the second block fails
    assert out.read_bytes() == before
    assert run(*asked, "--all", "--user", "ann", code=2).stderr == (
        "error: --all asks for everybody, and --user and --users for some; expected one of them\n"
    )


NAMED = dict(zip(range(10, 70, 10), ["Lamp, red", "Desk", "Chair", "Bed", "Cup", "Jar"], strict=True))
TITLES = {
    "by name.csv": "".join(["title,year,movieId\n", *(f'"{name}",1999,{item}\n' for item, name in NAMED.items())]),
    "by place.tsv": "".join(f"{item}\t{name}\n" for item, name in NAMED.items()),
    "movies.dat": "".join(f"{item}::{name}::Home|Red|Old\n" for item, name in NAMED.items()),
    "movies.csv": "".join(["movieId,title,genres\n", *(f'{item},"{name}",A|B|C\n' for item, name in NAMED.items())]),
    "no names.csv": "".join(f'{item},"{name}",A|B|C|D|E\n' for item, name in NAMED.items()),
    "u.item": "".join(f"{item}|{name} (1995)|01-Jan-1995||http://x|0|1\n" for item, name in NAMED.items()),
    "meta.jsonl": "".join(f'{{"asin": "{item}", "price": 1.5, "title": "{name}"}}\n' for item, name in NAMED.items()),
    "names.csv": "".join(["sku,name\n", *(f'{item},"{name}"\n' for item, name in NAMED.items())]),
}


@pytest.mark.parametrize("name", TITLES)
def test_titles_stand_beside_the_items(folder, model, tmp_path, name):
    path = tmp_path / name
    path.write_text(TITLES[name])
    called = {item: f"{title} (1995)" if name == "u.item" else title for item, title in NAMED.items()}
    result = run("recommend", folder / "model.safetensors", "--titles", path, "--out", tmp_path / "l.parquet")
    assert result.stderr == ""
    frame = pd.read_parquet(tmp_path / "l.parquet")
    assert frame.columns.tolist() == ["user", "item", "title", "score", "rank"]
    assert frame["title"].tolist() == frame["item"].map(called).tolist()
    printed = run("similar", folder / "model.safetensors", "--item", 10, "--k", 2, "--titles", path).stdout
    expected = model.similar_items_frame(10, k=2)
    expected.insert(2, "title", expected["similar_item"].map(called))
    assert printed == expected.to_csv(index=False)


def test_titles_in_parquet(folder, tmp_path):
    frame = pd.DataFrame({"name": [*NAMED.values(), "Nobody's"], "item_id": [*NAMED, 7]})
    frame.to_parquet(tmp_path / "items.parquet")
    printed = run("recommend", folder / "model.safetensors", "--titles", tmp_path / "items.parquet").stdout
    assert printed.count('"Lamp, red"') == 2  # of dan and cat, who have not got it


def test_titles_that_are_missing_or_of_others_are_told(folder, tmp_path):
    some = tmp_path / "some.csv"
    some.write_text("item,title\n10,Lamp\n20,\n30,Chair\n30,Stool\n")
    result = run("recommend", folder / "model.safetensors", "--user", "cat", "--titles", some)
    assert re.search(r"1 item with two titles, such as '30'; the first is taken", result.stderr)
    assert re.search(r"no title for 4 of 6 items, such as '20'; it stays empty there", result.stderr)
    rows = [line.split(",")[1:3] for line in result.stdout.splitlines()[1:]]
    assert sorted(rows) == [["10", "Lamp"], ["20", ""], ["30", "Chair"], ["60", ""]]
    for text, code, said in (
        (
            "item,title\n7,Lamp\n",
            2,
            "none of them the model's: its ids are such as '7', those of the model such as '10'",
        ),
        (
            "item,year,hue\n10,9,red\n",
            1,
            r"no column that is known to hold the title; it has \['item', 'year', 'hue'\]",
        ),
        ("10 20 30\n20 30\n40 50\n50 10 20 30\n", 1, "which has no titles; give a table of item ids and titles"),
    ):
        some.write_text(text)
        assert re.search(said, run("recommend", folder / "model.safetensors", "--titles", some, code=code).stderr)


def test_similar_items_and_users(folder, model, tmp_path, monkeypatch):
    asked = ["similar", folder / "model.safetensors"]
    assert run(*asked).stdout == model.similar_items_frame().to_csv(index=False)
    (tmp_path / "ids.txt").write_text("20\n10\n")
    (tmp_path / "deny.txt").write_text("30\n")
    monkeypatch.setattr(options, "BLOCK", 2)
    said = run(*asked, "--items", tmp_path / "ids.txt", "--item", 60, "--k", 3, "--deny", tmp_path / "deny.txt")
    assert_printed(said, model.similar_items_frame([60, 20, 10], k=3, deny=[30]))
    said = run(*asked, "--user", "eve", "--user", "zoe", "--unknown", "skip", "--out", tmp_path / "s.csv").stdout
    assert said == f"{tmp_path / 's.csv'}: 4 rows, lists for 1 user\n"
    assert (tmp_path / "s.csv").read_text() == model.similar_users_frame("eve").to_csv(index=False)
    said = run(*asked, "--user", "ann", "--item", 10, code=2).stderr
    assert "--user asks for similar users, and --item is of items" in said
    said = run(*asked, "--item", 7, code=2).stderr
    assert re.search("holds item ids unknown to the model: 7; .* --unknown skip", said)


def test_an_unknown_user_is_told_by_the_option_that_named_it(folder, tmp_path):
    (tmp_path / "users.txt").write_text("zoe\n")
    asked = ["recommend", folder / "model.safetensors"]
    for named, option in (
        (["--users", tmp_path / "users.txt"], f"--users {tmp_path / 'users.txt'}"),
        (["--user", "zoe"], "--user"),
    ):
        assert run(*asked, *named, code=2).stderr.startswith(
            f"error: {option} holds user ids unknown to the model: 'zoe';"
        )


def test_allow_deny_and_users_from_files(folder, tmp_path):
    (tmp_path / "allow.txt").write_text("50\n60\n\n20\n")
    (tmp_path / "deny.txt").write_text("60")
    (tmp_path / "users.txt").write_text("bob\ncat\nbob\n")
    options = ["--users", tmp_path / "users.txt", "--allow", tmp_path / "allow.txt", "--deny", tmp_path / "deny.txt"]
    printed = run("recommend", folder / "model.safetensors", *options).stdout.splitlines()[1:]
    assert sorted(line.rsplit(",", 2)[0] for line in printed) == ["bob,20", "bob,50", "cat,20"]
    printed = run("recommend", folder / "model.safetensors", *options, "--include-seen").stdout.splitlines()[1:]
    assert sorted(line.rsplit(",", 2)[0] for line in printed) == ["bob,20", "bob,50", "cat,20", "cat,50"]


def test_less_and_more_like_some_items(folder, model):
    options = ["--less-like", 10, "--less-like", 60, "--more-like", 50, "--strength", 0.8]
    printed = run("recommend", folder / "model.safetensors", *options).stdout
    assert printed == model.recommend_frame(less_like=[10, 60], more_like=50, strength=0.8).to_csv(index=False)
    assert printed != run("recommend", folder / "model.safetensors").stdout


def test_unknown_users(folder):
    asked = ["recommend", folder / "model.safetensors", "--user", "bob", "--user", "zoe", "--k", 1, "--unknown"]
    assert [line.split(",")[0] for line in run(*asked, "skip").stdout.splitlines()] == ["user", "bob"]
    # 10 has three training users, more than any other item.
    assert run(*asked, "popular").stdout.splitlines()[-1] == "zoe,10,,1"


def test_histories_of_strangers(folder, model, tmp_path):
    path = write(tmp_path / "new.csv", [("zoe", 10), ("zoe", 50), ("ann", 60)])
    printed = run("recommend", folder / "model.safetensors", "--history", path, "--k", 2).stdout
    assert printed == model.recommend_frame(histories={"zoe": [10, 50], "ann": [60]}, k=2).to_csv(index=False)


def test_integer_ids(tmp_path):
    path = write(tmp_path / "train.csv", [(ord(user[0]), item) for user, item in TRAIN])
    run("fit", path, "--out", tmp_path / "m", *TINY)
    model = BUIR.load(tmp_path / "m")
    printed = run("recommend", tmp_path / "m", "--user", ord("b"), "--k", 1).stdout
    assert printed == model.recommend_frame([ord("b")], k=1).to_csv(index=False)
    out = tmp_path / "lists.parquet"
    for stranger in ("zoe", "098", "9", "99999999999999999999999", str(2**63), "9" * 5000):
        run(
            "recommend",
            tmp_path / "m",
            "--user",
            98,
            "--user",
            stranger,
            "--unknown",
            "popular",
            "--k",
            1,
            "--out",
            out,
        )
        assert [str(user) for user in pd.read_parquet(out)["user"]] == ["98", stranger]


# evaluate


def test_evaluation_by_hand(folder, model, tmp_path):
    """Of the seven pairs one is in training, one of an unknown user and one of an unknown item."""
    pairs = [("ann", 40), ("ann", 50), ("bob", 20), ("eve", 40), ("cat", 40), ("zoe", 10), ("dan", 99)]
    said = run("evaluate", folder / "model.safetensors", write(tmp_path / "test.csv", pairs), "--k", 2, "--k", 6).stdout
    lines = said.splitlines()
    assert lines[0].endswith(
        "test.csv: 7 pairs, 4 measured; dropped: 1 of unknown users, 1 of unknown items, 1 that are in training"
    )
    assert lines[1].split() == ["3", "users", "@2", "@6"]
    relevant = {"ann": {40, 50}, "bob": {20}, "eve": {40}}
    lists = {
        user: part["item"].tolist()[:2] for user, part in model.recommend_frame(list(relevant), k=2).groupby("user")
    }
    recall = np.mean([len(relevant[user] & set(lists[user])) / len(relevant[user]) for user in relevant])
    table = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in lines[2:]}
    assert table["recall"] == [pytest.approx(recall, abs=1e-4), 1.0]
    assert table["hit_rate"][1] == 1.0
    assert set(table) == {"recall", "ndcg", "precision", "capped_precision", "hit_rate", "map", "mrr", "coverage"}


def test_values_of_each_user(folder, tmp_path):
    test = write(tmp_path / "test.csv", [("eve", 40), ("ann", 40)])
    run("evaluate", folder / "model.safetensors", test, "--k", 6, "--out", tmp_path / "users.csv")
    frame = pd.read_csv(tmp_path / "users.csv")
    assert frame["user"].tolist() == ["ann", "eve"]
    assert frame["train_degree"].tolist() == [3, 3]
    assert frame["recall_at_6"].tolist() == [1.0, 1.0]


def test_ids_of_the_test_file_are_matched_by_text(tmp_path):
    """Alone, "7" and "8" are integers; beside "x" they are texts. The same user is found in both."""
    train = [("7", 1), ("7", 2), ("x", 2), ("x", 3), ("8", 3), ("8", 1)]
    run("fit", write(tmp_path / "train.csv", train), "--out", tmp_path / "m", *TINY)
    said = run("evaluate", tmp_path / "m", write(tmp_path / "test.csv", [("7", 3), ("8", 2)]), "--k", 3).stdout
    assert "2 pairs, 2 measured; dropped: none" in said
    assert re.search(r"^recall +1\.0000$", said, re.MULTILINE)


# files


@pytest.mark.parametrize(
    ("order", "out"),
    [
        (["fit", "train.csv"], "train.csv"),
        (["fit", "train.csv"], "./train.csv"),
        (["fit", "train.csv"], "link.csv"),
        (["recommend", "model.csv"], "model.csv"),
        (["recommend", "model.csv", "--history", "train.csv"], "train.csv"),
        (["recommend", "model.csv", "--users", "ids.csv"], "ids.csv"),
        (["recommend", "model.csv", "--allow", "ids.csv"], "ids.csv"),
        (["recommend", "model.csv", "--deny", "ids.csv"], "ids.csv"),
        (["evaluate", "model.csv", "train.csv"], "model.csv"),
        (["evaluate", "model.csv", "train.csv"], "train.csv"),
    ],
)
def test_no_input_is_written_over(folder, tmp_path, monkeypatch, order, out):
    write(tmp_path / "train.csv", TRAIN)
    (tmp_path / "model.csv").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "ids.csv").write_text("10\n")
    (tmp_path / "link.csv").symlink_to("train.csv")
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = run(*order, "--out", out, code=2).stderr
    assert re.match(
        r"error: --out is '\S+', which is the file '\S+' that this command reads and would be lost; expected another name\n$",
        said,
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_earlier_output_is_written_over(folder, tmp_path):
    for _ in range(2):
        run("recommend", folder / "model.safetensors", "--k", 1, "--out", tmp_path / "lists.csv")
    assert len(pd.read_csv(tmp_path / "lists.csv")) == 5


# weights and events


def test_weights_and_events_of_a_file(tmp_path):
    from buir.data import log_counts

    path = tmp_path / "log.csv"
    rows = [f"{user},{item},buy,{1 + place % 5}" for place, (user, item) in enumerate(TRAIN)]
    path.write_text("\n".join(["user,item,event,plays", *rows, "ann,50,view,9", "ann,10,buy,1"]) + "\n")
    out = tmp_path / "m.safetensors"
    told = run("fit", path, "--out", out, *TINY, "--where", "event=buy", "--weight", "log").output
    assert "to weigh pairs" not in told
    columns = {"user": "user", "item": "item", "weight": "plays"}
    model, data = BUIR.load(out), read(path, columns=columns, where={"event": "buy"})
    expected = BUIR(embedding_dim=4, epochs=3, batch_size=5, device="cpu").fit(
        data, weights=log_counts, show_progress=False
    )
    np.testing.assert_array_equal(model.user_factors, expected.user_factors)
    np.testing.assert_array_equal(model.seen_.data, expected.seen_.data)
    assert model.weight_unit_ == pytest.approx(np.log1p(data.weights).mean())
    told = run("fit", path, "--out", out, *TINY, "--where", "event=buy", "--where", "event=view").output
    assert "to weigh pairs by them pass --weight values" in told
    assert BUIR.load(out).weight_unit_ is None
    assert BUIR.load(out).seen_.nnz == 13
    result = run("evaluate", out, path, "--where", "event=buy", "--k", "2", code=2)
    assert "12 that are in training" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight", "logs"], "--weight is 'logs'; expected one of values, log, bm25, half-life=DAYS"),
        (["--weight", "log"], "has no weights and no row repeats a pair"),
        (["--weight", "log"], "of a file with --column weight=COLUMN"),
        (["--weight", "half-life=7"], "a half-life needs times, and the data have none"),
        (["--where", "event"], "--where is 'event'; expected COLUMN=VALUE"),
        (["--where", "event=buy"], "--where names the column 'event'; it has user, item"),
        (["--where", "item=99"], "--where is item=99, which no row has"),
    ],
)
def test_mistakes_with_weights_and_events(tmp_path, options, message):
    path = write(tmp_path / "train.csv", TRAIN)
    result = CliRunner().invoke(app, ["fit", str(path), "--out", str(tmp_path / "m.safetensors"), *TINY, *options])
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


# checkpoints

ALONE = ["--set", "inner_validation=false"]


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C in the second epoch."""
    from buir.learning import BootstrapLearner

    step, n_steps = BootstrapLearner.step, 0

    def stops(learner, *batch):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 5:
            raise KeyboardInterrupt
        return step(learner, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(BootstrapLearner, "step", stops)
        yield patch


def test_ctrl_c_keeps_a_checkpoint_and_resume_goes_on_to_the_same_model(folder, model, tmp_path, interrupted):
    out, checkpoint = tmp_path / "m.safetensors", tmp_path / "c"
    command = ["fit", folder / "train.csv", "--out", out, "--checkpoint", checkpoint, *TINY, *ALONE]
    stopped = run(*command, code=130)
    assert stopped.stderr == (
        f"error: stopped; {checkpoint} keeps the best weights so far: the same command with --resume goes on from there\n"
    )
    assert not out.exists()
    interrupted.undo()
    said = run(*command, code=2).stderr
    assert said == (
        f"error: {checkpoint} is there already; expected a free name: delete it to begin anew, or go on from it with "
        "--resume\n"
    )
    said = run(*command, "--resume", "--set", "epochs=4", code=2).stderr
    assert said == (
        f"error: {checkpoint} was made with epochs=3, and this fit has epochs=4; expected the same settings: take those, "
        "or give another --checkpoint\n"
    )
    assert run(*command, "--resume").stderr == ""
    np.testing.assert_array_equal(BUIR.load(out).user_factors, model.user_factors)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_resume_begins_anew_where_there_is_no_checkpoint_and_says_so(folder, model, tmp_path):
    out, checkpoint = tmp_path / "m.safetensors", tmp_path / "c"
    command = ["fit", folder / "train.csv", "--out", out, *TINY, *ALONE, "--resume"]
    said = run(*command, "--checkpoint", checkpoint, "--checkpoint-minutes", 0).stderr
    assert said == f"{checkpoint} is not there: training begins anew\n"
    np.testing.assert_array_equal(BUIR.load(out).user_factors, model.user_factors)
    said = run(*command, code=2).stderr
    assert said == "error: --resume goes on from a file, and none is given; expected --checkpoint with its path\n"
    for other in (out, tmp_path / "x" / ".." / out.name):
        (tmp_path / "x").mkdir(exist_ok=True)
        said = run(*command, "--checkpoint", other, code=2).stderr
        assert said.startswith(f"error: --checkpoint is {str(other)!r}, which is --out as well; expected another name")


# update


def test_update_goes_on_with_new_pairs_users_and_items(folder, model, tmp_path):
    new = write(tmp_path / "new.csv", [("ann", 40), ("fay", 10), ("fay", 70)])
    out = tmp_path / "updated.safetensors"
    said = run("update", folder / "model.safetensors", new, "--out", out, "--epochs", 2).stdout
    assert said == (f"{out}: BUIR, encoder walk, 6 users, 7 items, 15 pairs; new are 1 user, 1 item, 3 pairs\n")
    same = model.partial_fit(read(new), epochs=2, show_progress=False)
    updated = BUIR.load(out)
    np.testing.assert_array_equal(updated.user_factors, same.user_factors)
    assert updated.user_ids_.tolist() == ["ann", "bob", "cat", "dan", "eve", "fay"]
    assert [record["epoch"] for record in updated.history] == [1, 2, 3, 4, 5]
    again = run("update", out, write(tmp_path / "more.csv", [("ann", 50)]), "--out", tmp_path / "b").stdout
    assert again.endswith("6 users, 7 items, 16 pairs; new are 0 users, 0 items, 1 pair\n")


def test_update_reads_files_as_fit_does(folder, tmp_path):
    new, out = tmp_path / "new.log", tmp_path / "m"
    new.write_text("fay|80|buy|3\nann|90|view|1\n")
    options = ["--separator", "|", "--no-header", "--column", "user=0", "--column", "item=1", "--where", "2=buy"]
    said = run("update", folder / "model.safetensors", new, "--out", out, *options).stdout
    assert said.endswith("new are 1 user, 1 item, 1 pair\n")
    assert BUIR.load(out).item_ids_.tolist()[-1] == 80


def test_update_takes_an_integer_and_its_spelling_for_one_id(folder, tmp_path):
    # texts in training, among them one that looks like a number; the new file has nothing else
    train = write(tmp_path / "train.csv", [*TRAIN, ("7", 10), ("007", 20)])
    run("fit", train, "--out", tmp_path / "m", *TINY)
    new = write(tmp_path / "new.csv", [(7, 20), (8, 10)])
    said = run("update", tmp_path / "m", new, "--out", tmp_path / "b").stdout
    assert said.endswith("8 users, 6 items, 16 pairs; new are 1 user, 0 items, 2 pairs\n")
    new = write(tmp_path / "new.csv", [("007", 30)])
    said = run("update", tmp_path / "m", new, "--out", tmp_path / "b").stdout
    assert said.endswith("7 users, 6 items, 15 pairs; new are 0 users, 0 items, 1 pair\n")
    # integers in training, and one text in the new file
    new = write(tmp_path / "new.csv", [("ann", "x9"), ("ann", 10)])
    said = run("update", folder / "model.safetensors", new, "--out", tmp_path / "b", code=2).stderr
    assert said == (
        f"error: {new} has the item id 'x9', and the model's are integers such as 10; expected integers: give a file with "
        "the items' ids as fit had them\n"
    )


def test_update_with_weights(tmp_path):
    path, out = tmp_path / "log.csv", tmp_path / "m"
    path.write_text("\n".join(["user,item,weight", *(f"{user},{item},2" for user, item in TRAIN)]) + "\n")
    run("fit", path, "--out", out, *TINY, "--weight", "values")
    new = tmp_path / "new.csv"
    new.write_text("user,item,weight\nann,10,6\n")
    run("update", out, new, "--out", tmp_path / "b", "--weight", "values")
    updated = BUIR.load(tmp_path / "b")
    assert updated.weight_unit_ == 2
    assert updated.seen_.toarray()[0, 0] == 4  # 2 and 6, in units of 2


def test_mistakes_of_update(folder, tmp_path):
    model = folder / "model.safetensors"
    for arguments, said in (
        ([model, tmp_path / "absent.csv", "--out", tmp_path / "b"], "absent.csv"),
        ([tmp_path / "absent", folder / "train.csv", "--out", tmp_path / "b"], "absent is no file; expected a model"),
        ([model, folder / "train.csv", "--out", model], "which is the file"),
    ):
        result = run("update", *arguments, code=1 if "absent" in said else 2)
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    bare = tmp_path / "bare"
    BUIR.load(model).save(bare, training_matrix=False)
    said = run("update", bare, folder / "train.csv", "--out", tmp_path / "b", code=2).stderr
    assert said.startswith("error: partial_fit needs the old training rows, and this model was saved without them")


# Spreadsheets


@pytest.mark.parametrize("name", ["lists.csv", "lists.tsv", "-"])
def test_cells_that_a_spreadsheet_would_run_are_escaped_on_request(tmp_path, name):
    users = ["=cmd", "+1", "-2+3", "@sum", " =x", "plain"]
    path = write(tmp_path / "train.csv", [(f'"{user}"', item) for user in users for item in (-10, 20)][:-1])
    run("fit", path, "--out", tmp_path / "m", *TINY, "--set", "batch_size=2", "--set", "inner_validation=false")
    separator = "\t" if name == "lists.tsv" else ","
    to = [] if name == "-" else ["--out", tmp_path / name]

    def listed(*options: str) -> list[str]:
        told = run("recommend", tmp_path / "m", "--include-seen", "--k", 1, *to, *options).stdout
        text = told if name == "-" else (tmp_path / name).read_text()
        rows = [line.split(separator) for line in text.splitlines()[1:]]
        assert all(row[1] in ("-10", "20") for row in rows)  # numbers are no text
        return [row[0] for row in rows]

    assert listed() == users
    assert listed("--excel") == [f"'{user}" for user in users[:-1]] + ["plain"]


def test_json_of_a_description(tmp_path):
    path = write(tmp_path / "train.csv", [*TRAIN, ("ann", 10)])
    found = json.loads(run("data", "describe", path, "--json").stdout)
    assert [found[name] for name in ("n_users", "n_items", "n_pairs", "per_user")] == [5, 6, 12, [2, 2, 3]]
    assert found["density"] == pytest.approx(12 / 30)
    assert found["first_time"] is None
    assert (found["report"]["rows_read"], found["report"]["merged"]) == (13, 1)


def test_json_of_an_evaluation(folder, tmp_path):
    path = write(tmp_path / "test.csv", [("ann", 40), ("bob", 20), ("nobody", 10), ("ann", 999), ("ann", 10)])
    shown = run("evaluate", folder / "model.safetensors", path, "--k", 2, "--json")
    found = json.loads(shown.stdout)
    assert [found[name] for name in ("n_pairs", "n_measured", "n_users", "out")] == [5, 2, 2, None]
    assert found["dropped"] == {"of_unknown_users": 1, "of_unknown_items": 1, "in_training": 1}
    text = run("evaluate", folder / "model.safetensors", path, "--k", 2).stdout
    for name in ("recall", "ndcg", "coverage"):
        assert f"{found['means'][f'{name}_at_2']:.4f}" in re.search(rf"^{name} .*$", text, re.MULTILINE)[0]

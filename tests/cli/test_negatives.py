"""The command about negatives prints the library's table, and draws it."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from baselines import assess_levels
from buir.cli.app import app
from buir.data.files.readers import read
from buir.data.synthetic import make_interactions
from buir.experiment.figures import false_negative_figure


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("negatives") / "pairs.csv"
    make_interactions(n_users=40, n_items=60, n_pairs=500, seed=1).to_frame()[["user", "item"]].to_csv(
        path, index=False
    )
    return path


def test_the_table_is_the_librarys(path, tmp_path):
    options = ["--level", "0.5", "--level", "1", "--n", "8", "--pairs", "100", "--seed", "3"]
    out, picture = tmp_path / "table.csv", tmp_path / "figure.svg"
    result = CliRunner().invoke(app, ["negatives", str(path), *options, "--out", str(out), "--figure", str(picture)])
    assert result.exit_code == 0, result.output
    table = assess_levels(read(path), [0.5, 1.0], n=8, pairs=100, seed=3)
    written = pd.read_csv(out)
    pd.testing.assert_frame_equal(written.drop(columns="seconds"), table.drop(columns="seconds"))
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: 40 users, 60 items"
    trained = table["train_pairs"].unique()
    assert lines[2] == f"level 0.5: {trained[0]} training pairs, {table['hidden_pairs'][0]} hidden pairs"
    assert lines[3].split() == ["sampler", *table.columns[4:]]
    assert lines[4].split()[:3] == ["uniform", *(f"{value:.4g}" for value in table.iloc[0, 4:6])]
    assert [line.split()[0] for line in lines[4:10]] == table["sampler"].unique().tolist()
    assert lines[-1].endswith("figure.svg: false negatives at 2 levels")
    assert picture.read_text().startswith("<?xml")


def test_json_is_one_document_with_the_same_table(path, tmp_path):
    out = tmp_path / "table.csv"
    options = ["--level", "0.5", "--level", "1", "--n", "8", "--pairs", "100", "--seed", "3", "--out", str(out)]
    result = CliRunner().invoke(app, ["negatives", str(path), *options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    rows = told.pop("table")
    assert told == {"path": str(path), "n_users": 40, "n_items": 60, "out": str(out), "figure": None}
    table = assess_levels(read(path), [0.5, 1.0], n=8, pairs=100, seed=3)
    assert [list(row) for row in rows] == [list(table.columns)] * len(table)
    pd.testing.assert_frame_equal(pd.DataFrame(rows).drop(columns="seconds"), table.drop(columns="seconds"))
    assert len(pd.read_csv(out)) == len(table)


def test_json_writes_null_where_a_number_is_missing(tmp_path):
    # only user 0 has a hidden pair, and the one pair looked at is another's: no rate of even draws to divide by
    path = tmp_path / "short.csv"
    pairs = [(user, (user + step) % 5) for user in range(5) for step in (0, 2)]
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in [(0, 4), *pairs]))
    result = CliRunner().invoke(app, ["negatives", str(path), "--n", "4", "--pairs", "1", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout, parse_constant=pytest.fail)["table"]  # NaN is no JSON
    assert {row["hidden_pairs"] for row in rows} == {1}
    assert {row["lift"] for row in rows} == {None}


def test_the_figure_shows_rate_and_lift_of_each_sampler():
    table = pd.DataFrame(
        {
            "level": [0.2, 0.2, 1.0, 1.0],
            "sampler": ["even", "odd", "even", "odd"],
            "false_negative_rate": [0.04, 0.08, 0.01, 0.03],
            "lift": [1.0, 2.0, 1.0, 3.0],
        }
    )
    figure = false_negative_figure(table, "mine")
    rates, lifts = figure.axes
    assert [line.get_label() for line in rates.lines] == ["even", "odd"]
    assert rates.lines[1].get_xydata().tolist() == [[20, 8], [100, 3]]
    assert lifts.lines[1].get_xydata().tolist() == [[20, 2], [100, 3]]
    assert [tick.get_text() for tick in rates.get_xticklabels()] == ["20", "100"]
    assert rates.get_ylim()[0] == 0

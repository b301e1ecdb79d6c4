"""The command about negatives prints the library's table, and draws it."""

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

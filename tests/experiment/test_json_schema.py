"""The schema for editors: it is the one that is shipped, takes what is shipped and finds what an editor should find."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from buir.cli.app import app
from buir.data import FORMATS
from buir.experiment.config import json_schema, models, read_yaml
from buir.recommend import parameters_of

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEMA = json_schema()


def mistakes(config: dict) -> list[str]:
    found = Draft202012Validator(json.loads(json.dumps(SCHEMA))).iter_errors(config)
    return sorted(".".join(map(str, error.absolute_path)) for error in found)


def test_what_is_shipped_is_what_the_command_prints():
    printed = CliRunner().invoke(app, ["config", "schema"]).stdout
    assert (CONFIGS / "schema.json").read_text("utf-8") == printed, "run: buir config schema > configs/schema.json"
    Draft202012Validator.check_schema(json.loads(printed))


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_shipped_names_the_schema_and_passes(file):
    assert file.read_text("utf-8").startswith("# yaml-language-server: $schema=schema.json\n")
    assert mistakes(read_yaml(file)) == []


def test_every_kind_has_its_parameters():
    kinds = {
        rule["if"]["properties"]["kind"]["const"]: rule["then"] for rule in SCHEMA["$defs"]["ModelConfig"]["allOf"]
    }
    assert list(kinds) == list(models.CLASSES)
    assert list(kinds["als"]["properties"]["params"]["properties"]) == [
        "factors",
        "alpha",
        "regularization",
        "iterations",
        "num_threads",
        "terms",
    ]
    assert SCHEMA["$defs"]["DataConfig"]["properties"]["format"]["anyOf"][0]["enum"] == list(FORMATS)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({}, []),
        ({"seed": 1}, [""]),
        ({"models": [{"kind": "buri"}]}, ["models.0.kind"]),
        ({"models": [{"kind": "als", "params": {"alhpa": 1.0}}]}, ["models.0.params"]),
        ({"models": [{"kind": "als", "params": {"alpha": 0}}]}, ["models.0.params.alpha"]),
        ({"models": [{"kind": "buir", "params": {"encoder": "walks"}}]}, ["models.0.params.encoder"]),
        ({"models": [{"kind": "buir", "params": {"embedding_dim": "auto", "terms": {"dial": -1}}}]}, []),
        ({"models": [{"kind": "buir", "params": {"terms": {"filter": -1}}}]}, ["models.0.params.terms"]),
        ({"protocol": {"levels": [0.1, 1.5]}}, ["protocol"]),
        ({"protocol": {"kind": "author", "levels": [0.1]}}, []),
    ],
)
def test_an_editor_sees_mistakes(change, where):
    config = {"data": [{"dataset": "synthetic"}], "models": [{"kind": "popularity"}]}
    assert mistakes(config | change) == where


def test_a_parameter_says_what_it_takes_and_what_it_is():
    (alpha,) = [one for one in parameters_of(models.estimator_class("als")) if one.name == "alpha"]
    assert (alpha.expected, alpha.default) == ("a number above 0", 10.0)
    assert alpha.about.startswith("Weight of an average training pair")
    assert alpha.schema == {"type": "number", "exclusiveMinimum": 0}
    inherited = {one.name: one for one in parameters_of(models.estimator_class("lightgcn"))}
    assert inherited["patience"].about.startswith("Validations")

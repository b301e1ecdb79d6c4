"""The code on the pages of the documentation runs, and what cannot run here names commands that exist."""

import contextlib
import io
import re
import shlex
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from buir.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MADE_ELSEWHERE = {DOCS / "files.md", DOCS / "from-implicit.md"}
"""Pages with tests of their own."""


def pages() -> list[Path]:
    written = [
        page for page in DOCS.rglob("*.md") if not {"results", "made", "api"} & set(page.relative_to(DOCS).parts)
    ]
    return sorted(set(written) - MADE_ELSEWHERE)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page", [p for p in pages() if any(kind != "text" for kind, _ in blocks(p))], ids=lambda p: p.stem
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names: dict = {}
    for kind, code in blocks(page):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as said, warnings.catch_warnings():
                exec(code, names)
            assert "print(" not in code or said.getvalue().strip()
        if kind == "console":
            for line in code.splitlines():
                done = CliRunner().invoke(app, shlex.split(line)[1:])
                assert done.exit_code == 0, f"{line}: {done.output}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *pages()], ids=lambda p: p.stem)
def test_what_a_page_shows_is_of_a_known_kind_and_its_commands_exist(page):
    kinds = {kind for kind, _ in blocks(page)}
    assert kinds <= {"python", "console", "text", "mermaid", "bibtex"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    group = typer.main.get_command(app)
    for kind, code in blocks(page):
        for line in code.splitlines() if kind in ("console", "text") else ():
            words = shlex.split(line.partition("#")[0])
            if words[:1] == ["make"]:
                assert words[1] in targets
            if words[:1] == ["buir"] and not words[1].startswith("-"):
                command = group.commands[words[1]]
                command = command.commands[words[2]] if hasattr(command, "commands") else command
                known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
                assert {word for word in words if word.startswith("--")} <= known, line


def test_every_page_is_in_the_documentation():
    listed = {DOCS / "index.md"}
    for page in pages():
        tables = re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for name in " ".join(tables).split():
            listed |= set(page.parent.resolve().glob(f"{name}.md")) if ".." not in name else {DOCS / f"{name[3:]}.md"}
    assert set(pages()) <= listed

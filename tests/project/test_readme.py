"""The README's code runs, its links lead somewhere, and its commands exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from buir.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "user" in lines[0]
    assert "score" in lines[0]
    assert 0 <= float(lines[-1]) <= 1


SMALL = ("seeds=[0]", "protocol.levels=[1.0]", "models=[{kind: popularity}, {kind: buir, params: {epochs: 1}}]")
SMALLER = {
    "quickstart": ("data.options={n_users: 120, n_items: 80, n_pairs: 1500, n_groups: 4}",),
    "sparsity": (),
    "tune": ("tuning.trials=1", "models=[{kind: als}]"),
}
"""What is changed of a benchmark, or of a search, so that it takes seconds."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_commands_run(tmp_path, monkeypatch):
    """Those that compare models, in their order, with small data and few models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(ROOT / "configs", "configs")
    liked = np.random.default_rng(0).random((80, 40)) < 0.3
    Path("ratings.txt").write_text("".join(f"{user} {item}\n" for user, item in np.argwhere(liked).tolist()))
    Path("movies.csv").write_text("movieId,title\n" + "".join(f"{item},Film {item}\n" for item in range(40)))
    sections = [README.split(f"## {title}\n")[1].split("\n## ")[0] for title in ("Comparing", "Serving")]
    blocks = [block for section in sections for block in re.findall(r"```text\n(.*?)```", section, flags=re.DOTALL)]
    lines = "".join(blocks).splitlines()
    said = {}
    for line in lines:
        program, *words = shlex.split(line.partition("#")[0])
        if program != "buir":  # a server, which the tests of the registry start
            continue
        changes = ()
        if words[0] in ("benchmark", "tune"):
            changes = SMALL + SMALLER[Path(words[1]).stem] + SMALLER.get(words[0], ())
        done = CliRunner().invoke(app, words + [word for change in changes for word in ("--set", change)])
        assert done.exit_code == 0, f"{line}: {done.output}"
        said[words[0]] = done.output
    assert len(said) == 9
    assert len(said["recommend"].splitlines()) == 11
    assert len(said["similar"].splitlines()) == 6
    assert "Film " in said["similar"]
    served = shlex.split(lines[-1])
    assert served[0] == "mlflow"
    assert shlex.join(served) in said["register"]
    assert Path("neg.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    file = ROOT / page
    targets = re.findall(r"\]\((?!https?:|data:|#)([^)#]+)", file.read_text(encoding="utf-8"))
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {
        word
        for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
        for word in re.findall(r"`make ([a-z-]+)", text)
    }
    assert named <= targets


def test_no_file_names_a_machine_or_a_registry():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # not a checkout: an unpacked archive
        return
    wrong = re.compile(
        r"/work/|/tmp/|/root/|/home/|pypi\.org|files\.pythonhosted|download\.pytorch\.org|registry\.npmjs"
    )
    skip = {"tests/project/test_readme.py"}
    files = [
        ROOT / name for name in listed.stdout.splitlines() if name not in skip and not name.endswith((".png", ".gz"))
    ]
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in files
        if file.is_file()
        for match in wrong.finditer(file.read_text("utf-8", errors="replace"))
    ]
    assert found == []

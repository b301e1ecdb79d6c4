"""The README's code runs, its links lead somewhere, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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

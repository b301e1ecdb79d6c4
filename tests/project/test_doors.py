"""Packages are entered through their doors, and the light ones stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENT = "buir.experiment"


def package_of(module: str) -> str:
    """The room whose door others use: ``buir.data`` of ``buir.data.files.formats``, one deeper within the experiment."""
    parts = module.split(".")
    return ".".join(parts[: 3 if module.startswith(EXPERIMENT + ".") else 2])


def imports_of(file: Path) -> list[tuple[str, str]]:
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "buir":
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.startswith("buir.")]
    return found


def named_by(package: str) -> set[str]:
    """What the ``__all__`` of a door names."""
    tree = ast.parse((ROOT / Path(*package.split(".")) / "__init__.py").read_text())
    (names,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return set(ast.literal_eval(names))


def test_across_packages_only_through_the_door():
    wrong = []
    for folder in ("buir", "baselines"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            here = package_of(file.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))
            for module, name in imports_of(file):
                there = package_of(module)
                if there in (here, "buir", "buir.errors") or module == EXPERIMENT:
                    continue
                is_package = (ROOT / Path(*there.split("."))).is_dir()
                if is_package and (module != there or name not in named_by(there)):
                    wrong.append(f"{file.relative_to(ROOT)}: from {module} import {name}")
    assert not wrong


def test_the_house_has_few_rooms():
    shown = [p for p in (ROOT / "buir").iterdir() if p.name not in ("__pycache__", "py.typed", "__main__.py")]
    assert len(shown) <= 11
    for package in (ROOT / "buir").rglob("__init__.py"):
        assert len(list(package.parent.glob("*.py"))) <= 12, package


@pytest.mark.parametrize("code", ["import buir.data", "import buir.cli", "import buir, buir.errors"])
def test_no_torch_before_it_is_needed(code):
    ask = f"import sys; {code}; print([m for m in ('torch', 'mlflow', 'matplotlib', 'optuna', 'implicit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_chart_of_packages_is_what_the_imports_are():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("```mermaid")[2].partition("```")[0]
    drawn = {}
    for line in text.strip().splitlines()[1:]:
        here, _, there = line.strip().partition(" --> ")
        drawn[here] = set(there.split(" & "))
    found: dict[str, set[str]] = {}
    for folder in ("buir", "baselines"):
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            here = parts[0] if folder == "baselines" else parts[1]
            for node in ast.walk(ast.parse(file.read_text())):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                for module in modules + [a.name for a in getattr(node, "names", []) if isinstance(node, ast.Import)]:
                    top, _, rest = module.partition(".")
                    there = top if top == "baselines" else rest.partition(".")[0] if top == "buir" else ""
                    if there and here not in ("__init__", "__main__", there):
                        found.setdefault(here, set()).add(there)
    assert found == drawn

"""The map in CONTRIBUTING.md, the files, the imports and the import contract tell the same story."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("buir", "baselines")


def mapped_modules() -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `((?:buir|baselines)\.[\w.]+)` \| \S", text, flags=re.MULTILINE)


def file_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def modules_on_disk() -> set[str]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if not file.name.startswith("_")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}


def imported_modules(module: str, known: set[str], source: str | None = None) -> set[str]:
    """Own modules named by any import statement of a file, also inside functions."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8") if source is None else source)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return names & known - {module}


def contracts() -> list[dict]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def test_the_map_lists_every_module_once():
    listed = mapped_modules()
    assert len(listed) == len(set(listed))
    assert set(listed) == modules_on_disk()


def test_imports_found_by_hand():
    source = "from buir import a\nimport buir.b\ndef f():\n    from .c import g\n    from . import d\n    from buir.e.h import x"
    known = {f"buir.{name}" for name in "abcdz"} | {"buir.e.h", "buir.e"}
    assert imported_modules("buir.z", known, source) == known - {"buir.e", "buir.z"}


@pytest.mark.parametrize("module", mapped_modules())
def test_a_module_imports_only_what_is_above_it(module):
    order = mapped_modules()
    above = set(order[: order.index(module)])
    assert imported_modules(module, set(order)) <= above


def test_the_import_contract_is_the_map_upside_down():
    layers = next(contract["layers"] for contract in contracts() if contract["type"] == "layers")
    order = mapped_modules()
    packages = list(dict.fromkeys("baselines" if module.startswith("baselines.") else module for module in order))
    assert layers == packages[::-1]


def test_the_library_contract_covers_every_module_of_the_library():
    guarded = next(contract["source_modules"] for contract in contracts() if contract["type"] == "forbidden")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^### `buir/`: the library$(.*?)^### ", text, flags=re.MULTILINE | re.DOTALL)
    library = re.findall(r"^\| `([\w.]+)` \|", section, flags=re.MULTILINE)
    assert sorted(guarded) == sorted(library)


@pytest.mark.parametrize("module", sorted(modules_on_disk()))
def test_a_module_has_at_most_300_lines(module):
    assert len(file_of(module).read_text(encoding="utf-8").splitlines()) <= 300

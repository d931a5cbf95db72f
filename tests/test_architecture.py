"""The floors of the house: who may import whom, and what importing the definitions may cost."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import NAMES

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "activation_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
HOMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "base", "misc", "manager"})
HEAVY = ("pandas", "pandera", "ibis", "scipy", "sqlglot", "deltalake", "pyarrow", "httpx", "starlette", "uvicorn")

each_module = pytest.mark.parametrize("module", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])


def imported_roots(module: Path) -> set[str]:
    """The top-level names of every absolute import in a module, those inside functions and TYPE_CHECKING too."""
    roots: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def is_clockwork(module: Path) -> bool:
    """Whether a module is definitions.py or stands in defs/."""
    place = module.relative_to(PACKAGE).parts
    return place[0] == "defs" or place == ("definitions.py",)


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    verdict = subprocess.run([linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@each_module
def test_only_the_clockwork_imports_dagster(module: Path) -> None:
    of_dagster = {root for root in imported_roots(module) if root == "dagster" or root.startswith("dagster_")}
    assert is_clockwork(module) or not of_dagster


@each_module
def test_a_module_starts_with_one_sentence_saying_what_it_is_for(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert docstring, "no docstring"
    first = " ".join(docstring.partition("\n\n")[0].split())
    assert first.endswith("."), f"no sentence: {first}"
    assert not re.search(r"[.!?] [A-Z]", first), f"more than one sentence: {first}"


@each_module
def test_no_module_has_a_name_that_says_nothing(module: Path) -> None:
    assert not HOMELESS & {part.removesuffix(".py").strip("_") for part in module.relative_to(PACKAGE).parts}


def test_importing_the_definitions_imports_nothing_heavy(tmp_path: Path) -> None:
    # Every run is a process of its own and pays for this import before its first step.
    program = f"""
import sys
import activation_dagster.definitions
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    environment |= {"ACTIVATION_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    imported = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.split() == []


def test_every_benchmark_runs_by_its_name() -> None:
    folder = REPOSITORY / "bench"
    assert sorted(NAMES) == sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    for name in NAMES:
        assert callable(getattr(importlib.import_module(f"bench.{name}"), "run", None)), f"bench/{name}.py has no run()"

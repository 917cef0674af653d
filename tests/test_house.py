"""What keeps the house in order that import-linter and ruff cannot see.

These tests read the source as syntax trees.
"""

import ast
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlp_bench

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p for p in (ROOT / "mlp_bench").glob("*.py") if p.stem not in ("__init__", "_modidx"))
NOTEBOOKS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))


def name(path):
    return path.stem


def code_cells(path):
    return [
        "".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"
    ]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_imports_another_by_its_name_in_a_string(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    hidden = [ast.unparse(c) for c in calls if ast.unparse(c.func).endswith(("import_module", "__import__"))]
    assert not [call for call in hidden if "mlp_bench" in call]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_takes_a_private_name_of_another(path):
    tree = ast.parse(path.read_text("utf-8"))
    own = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and (n.level or "mlp_bench" in (n.module or ""))
    ]
    taken = [alias.name for n in own for alias in n.names if alias.name.startswith("_")]
    modules = {
        alias.asname or alias.name for n in own for alias in n.names if alias.name in set(map(name, MODULES))
    }
    taken += [
        ast.unparse(n)
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute)
        and n.attr.startswith("_")
        and isinstance(n.value, ast.Name)
        and n.value.id in modules
    ]
    assert not taken


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_forwards_names_or_replaces_itself(path):
    text = path.read_text("utf-8")
    functions = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    assert not {"__getattr__", "__dir__"} & set(functions) and "sys.modules[__name__]" not in text


def test_a_notebook_has_the_name_of_its_module():
    modules = {p: re.search(r"#\| default_exp (\w+)", "\n".join(code_cells(p))) for p in NOTEBOOKS}
    found = {re.sub(r"^\d+[a-z]?_", "", p.stem): m[1] for p, m in modules.items() if m}
    assert {book: module for book, module in found.items() if book != module} == {"compare": "comparison"}


def test_no_module_has_the_name_of_a_public_function():
    assert not set(map(name, MODULES)) & set(mlp_bench.__all__) - {"bench"}


def test_public_names_are_what_they_were_after_every_module_was_imported():
    code = """if True:
        import importlib, mlp_bench
        before = {name: getattr(mlp_bench, name) for name in mlp_bench.__all__}
        for name in %r: importlib.import_module(f"mlp_bench.{name}")
        print([name for name in before if getattr(mlp_bench, name) is not before[name]])
    """ % [m.name for m in pkgutil.iter_modules(mlp_bench.__path__)]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_code_in_a_notebook_fits_the_page(path):
    lines = [line for cell in code_cells(path) for line in cell.splitlines() if not line.startswith("#|")]
    assert not [line for line in lines if len(line) > 110]

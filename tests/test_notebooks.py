"""The chapters are the source and the first tests.

Each runs from top to bottom, and the modules are what they export.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from forks import FORKS
from nbdev.export import nb_export

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(p.name for p in (ROOT / "nbs").glob("*.ipynb"))


def run_notebook(name, skip, log, environment):
    "In a process of its own: run one notebook as nbdev does; what it prints goes into a file"
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib_inline.config import InlineBackend
    from nbdev.test import test_nb

    os.environ.update(environment)
    # A figure is drawn once, for its file, and not twice more, for a window and to cut its edges off.
    FigureCanvasBase.draw_idle = lambda self, *args, **kwargs: None
    InlineBackend.print_figure_kwargs.default_args = ({"bbox_inches": None},)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    passed, _ = test_nb(ROOT / "nbs" / name, skip, basepath=ROOT)
    sys.exit(0 if passed else 1)


@pytest.mark.timeout(1800)  # the slow cells of the benchmark take some minutes
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, request, tmp_path):
    skip = [] if request.config.getoption("--slow") else ["slow"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # cells call mlp_bench itself
    environment = {"PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    process = FORKS.Process(target=run_notebook, args=(name, skip, tmp_path / "log", environment))
    process.start()
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text(errors="replace")[-4000:]


def without_paths(path):
    "A module's text without the relative paths that nbdev writes into its comments"
    return re.sub(r"(# %% |File to edit: )\S*nbs/", r"\1", path.read_text())


def test_modules_are_what_the_notebooks_export(tmp_path):
    out = tmp_path / "mlp_bench"
    out.mkdir()
    for name in NOTEBOOKS:
        nb_export(str(ROOT / "nbs" / name), lib_path=str(out))
    exported = {p.name for p in out.glob("*.py")}
    by_hand = {"__init__.py", "__main__.py", "_modidx.py"}
    assert {p.name for p in (ROOT / "mlp_bench").glob("*.py")} == exported | by_hand
    drifted = [n for n in sorted(exported) if without_paths(out / n) != without_paths(ROOT / "mlp_bench" / n)]
    assert not drifted, f"run nbdev_export: {drifted} differ from the notebooks"


def test_version_is_that_of_the_settings():
    declared = re.search(r"^version = (.+)$", (ROOT / "settings.ini").read_text(), re.M)[1]
    assert f'__version__ = "{declared}"' in (ROOT / "mlp_bench" / "__init__.py").read_text()


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["tensorflow", "keras", "mlflow", "sklearn", "scipy", "pandas", "matplotlib", "plotly", "numpy"]
    code = f"import sys, mlp_bench; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"

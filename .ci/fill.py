"""Run notebooks from top to bottom and store their outputs: `python .ci/fill.py [--slow] [NOTEBOOK ...]`.

`nbdev_test` runs them too, but saves nothing. Cells marked `#| slow` keep their output unless --slow is
given, `#| eval: false` always does. A notebook that fails is left as it was.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"


def skipped(cell, slow):
    return cell.cell_type == "code" and (
        "#| eval: false" in cell.source or ("#| slow" in cell.source and not slow)
    )


def fill(path, slow):
    nb, start = nbformat.read(path, 4), time.time()
    kept = [c for c in nb.cells if skipped(c, slow)]
    for cell in kept:
        cell.cell_type = "raw"  # the client runs code cells only
    with tempfile.TemporaryDirectory() as store:
        env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
        NotebookClient(
            nb,
            timeout=1800,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(path.parent)}},
        ).execute(env=env)
    for cell in kept:
        cell.cell_type = "code"
    for cell in nb.cells:  # a widget without its kernel is an empty box
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    nbformat.write(nb, path)
    nbdev_clean(str(path))
    print(f"{path.name}: {time.time() - start:.0f} s")


if __name__ == "__main__":
    names = [a for a in sys.argv[1:] if a != "--slow"]
    for name in names or sorted((ROOT / "nbs").glob("*.ipynb")):
        fill(Path(name).resolve(), "--slow" in sys.argv)

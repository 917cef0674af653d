"""Copy the notebook that is the dashboard into the package, without outputs: `python .ci/app.py`.

With `--check` it only compares.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, COPY = ROOT / "nbs" / "06_compare.ipynb", ROOT / "mlp_bench" / "app" / "06_compare.ipynb"


def stripped():
    nb = json.loads(SOURCE.read_text(encoding="utf-8"))
    nb["metadata"] = {"kernelspec": nb["metadata"]["kernelspec"]}
    for cell in nb["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        COPY.write_text(stripped(), encoding="utf-8")
    elif COPY.read_text(encoding="utf-8") != stripped():
        sys.exit("mlp_bench/app/06_compare.ipynb differs from nbs/06_compare.ipynb: run `python .ci/app.py`.")

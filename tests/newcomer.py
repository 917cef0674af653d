"""A newcomer's first ten minutes, timed: `python tests/newcomer.py [--json FILE]`.

A fresh clone, a fresh environment, and what the README and the guides would have them try, each command as
a person types it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, wait_for

ROOT = Path(__file__).resolve().parents[1]
TABLE = (
    "from sklearn.datasets import load_breast_cancer as b; d = b(as_frame=True); "
    "d.data.assign(diagnosis=d.target.map({0: 'malignant', 1: 'benign'})).to_csv('cancer.csv', "
    "index=False)"
)
ON_OWN = "cancer.csv --target diagnosis"


def steps(readme):
    "What is done, in order, and its command"
    install = re.search(r"^python3 -m venv \.venv .*$", readme, re.M)[0]
    example = re.search(r"```python\n(from sklearn.*?)```", readme, re.S)[1]
    Path("example.py").write_text(example)
    yield "from a clone to the table of both networks", install
    yield "the same again, from the store", "mlp_bench run"
    yield "the Python example of the README", "python example.py"
    subprocess.run(["bash", "-c", f'. .venv/bin/activate && python -c "{TABLE}"'], check=True)
    yield "an own table, looked over", f"mlp_bench audit {ON_OWN}"
    yield "an own table, trained with NumPy", f"mlp_bench run {ON_OWN} --backend numpy --preset tuned"
    yield (
        "the same with the baselines",
        f"mlp_bench run {ON_OWN} --backend numpy --preset tuned --baselines --json own.json",
    )
    yield (
        "new rows predicted",
        f"head -5 cancer.csv > new.csv && mlp_bench predict "
        f"{json.loads(Path('own.json').read_text())['runs'][0]['run_id']} new.csv",
    )
    yield (
        "a sweep of twelve configurations",
        f"mlp_bench sweep {ON_OWN} --hidden-layer-sizes 16,32-16 --learning-rate 1e-3,3e-3,1e-2 --dropout "
        f"0,0.2",
    )
    yield "all runs, ranked", "mlp_bench rank"
    yield "a report in one file", f"mlp_bench report {ON_OWN} --backend numpy --out report.html"


def timed(command, fresh):
    start = time.perf_counter()
    subprocess.run(
        ["bash", "-c", command if fresh else f". .venv/bin/activate && {command}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def dashboard():
    "Seconds until the page answers"
    start, port = time.perf_counter(), free_port()
    server = subprocess.Popen(
        [".venv/bin/mlp_bench", "dashboard", "--port", str(port), "--no-token"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/")
    finally:
        server.terminate()
    return time.perf_counter() - start


def main(file):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
        os.chdir(folder)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        taken = {}
        for i, (what, command) in enumerate(steps(Path("README.md").read_text(encoding="utf-8"))):
            taken[what] = timed(command, i == 0)
            print(f"{taken[what]:7.1f} s  {what}: {command}", flush=True)
        taken["the dashboard, until its page answers"] = dashboard()
        print(
            f"{taken['the dashboard, until its page answers']:7.1f} s  the dashboard, until its page "
            f"answers\n{sum(taken.values()):7.1f} s  in all"
        )
    if file:
        Path(file).write_text(json.dumps(taken, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    main(parser.parse_args().json)

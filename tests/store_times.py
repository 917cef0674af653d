"""How fast the commands are with a full store: `python tests/store_times.py [--runs 10000] [--rounds 3]`.

A process for each command, as a person at a terminal has it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from big_store import make

COMMANDS = {
    "run, found in the store": ["run", "--backend", "numpy", "--epochs", "3"],
    "rank": ["rank"],
    "rank by log loss": ["rank", "--metric", "log_loss"],
    "--help": ["--help"],
}


def seconds(command, folder):
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from mlp_bench.cli import app; app()", *command],
        cwd=folder,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main(runs, rounds):
    folder = Path(tempfile.mkdtemp())
    make(folder / "mlflow.db", runs)
    for command in COMMANDS.values():
        seconds(command, folder)  # trains what is to be found, and reads everything once
    taken = [{name: seconds(command, folder) for name, command in COMMANDS.items()} for _ in range(rounds)]
    print(
        json.dumps(
            {f"{name}, s": round(statistics.median(t[name] for t in taken), 2) for name in COMMANDS}
            | {"runs": runs},
            indent=1,
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    main(**vars(parser.parse_args()))

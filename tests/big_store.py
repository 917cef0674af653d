"""A store with thousands of believable runs, for measuring how the store's readers grow:

    python tests/big_store.py some/folder/mlflow.db 5000

Three small runs are really trained; the others are copies of their rows with ids, times, settings, keys and
slightly other metrics of their own.
A copy's files are hard links, so that figures can be drawn and `purge` meets what it would meet; its folds
and predictions are those of the original.
"""

import json
import os
import shutil
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import numpy as np

from mlp_bench.evaluation import key as key_of
from mlp_bench import evaluation
from mlp_bench.data import load
from mlp_bench.tracking import KEY
from mlp_bench.config import Config, preset
from mlp_bench.manager import run

ORIGINALS = (
    Config(plan="cv:5", epochs=60),
    preset("tuned", plan="cv:5"),
    Config(plan="cv:5", backend="logistic"),
)
OF_RUN = ("metrics", "latest_metrics", "params", "tags")  # tables with a column run_uuid
OF_MODEL = ("logged_model_metrics", "logged_model_params", "logged_model_tags")


def settings(config, i, rng):
    "The i-th variation of an original: never the same twice"
    if config.backend == "logistic":
        return replace(config, seed=i, plan=f"cv:5@{i}")
    return replace(
        config,
        seed=i,
        dropout=round(float(rng.uniform(0, 0.6)), 2),
        learning_rate=float(f"{10 ** rng.uniform(-4, -1.5):.2g}"),
        hidden_layer_sizes=tuple(int(n) for n in rng.choice([8, 16, 32, 64], rng.integers(1, 4))),
    )


def link(source, target):
    "A folder with the same files, each stored once"
    shutil.copytree(source, target, copy_function=os.link)


class Original:
    "The rows and folders of a run that was really trained"

    def __init__(self, db, run_id):
        self.run_id = run_id
        rows = lambda table, column, value: [
            dict(r) for r in db.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
        ]
        self.run, self.model = (
            rows("runs", "run_uuid", run_id)[0],
            rows("logged_models", "source_run_id", run_id)[0],
        )
        self.rows = {t: rows(t, "run_uuid", run_id) for t in OF_RUN} | {
            t: rows(t, "model_id", self.model["model_id"]) for t in OF_MODEL
        }
        self.rows["inputs"] = rows("inputs", "source_id", run_id)

    def copy(self, root, config, key, started, rng, extra):
        "The rows of a run like this one, by table, after making its folders"
        run_id, model_id = uuid4().hex, f"m-{uuid4().hex}"
        later, factor, values = (
            started - self.run["start_time"],
            {},
            {k: str(v) for k, v in asdict(config).items()},
        )
        tags = {
            "mlp_bench.config": json.dumps(asdict(config)),
            KEY: key,
            "mlflow.runName": f"heart {config.backend} {config.plan}",
        }
        new = dict(
            run_uuid=run_id,
            run_id=run_id,
            source_id=run_id,
            model_id=model_id,
            destination_id=model_id,
            input_uuid=uuid4().hex,
        )

        def changed(table, row):
            row, name = (
                row | {c: v for c, v in new.items() if c in row},
                next((row[c] for c in ("key", "metric_name", "param_key") if c in row), None),
            )
            for column in row.keys() & {"timestamp", "metric_timestamp_ms"}:
                row[column] += later
            for column in row.keys() & {"value", "metric_value", "param_value"}:
                if table.endswith("metrics"):
                    row[column] *= factor.setdefault(name, 1 + rng.normal(0, 0.01))
                else:
                    row[column] = (values if table.endswith("params") else tags).get(name, row[column])
            return row

        out = {t: [changed(t, r) for r in rows] for t, rows in self.rows.items()}
        out["tags"] += [dict(key=k, value=v, run_uuid=run_id) for k, v in extra.items()]
        folder, models = root / run_id, root / "models" / model_id
        link(root / self.run_id, folder)
        link(root / "models" / self.model["model_id"], models)
        about = models / "artifacts" / "MLmodel"
        text = about.read_text().replace(self.model["model_id"], model_id).replace(self.run_id, run_id)
        about.unlink()
        about.write_text(text)
        moved = {c: self.run[c] + later for c in ("start_time", "end_time")}
        out["runs"] = [
            self.run
            | moved
            | dict(run_uuid=run_id, name=tags["mlflow.runName"], artifact_uri=(folder / "artifacts").as_uri())
        ]
        out["logged_models"] = [
            self.model
            | dict(model_id=model_id, source_run_id=run_id, artifact_location=(models / "artifacts").as_uri())
        ]
        return out


def originals(path):
    "Train them, unless the store has them"
    with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": f"sqlite:///{path}"}):
        return [run(c).run_id for c in ORIGINALS]


def make(
    path,  # of the SQLite file; its folder is created
    count: int,  # runs in all, at least 3
    seed: int = 0,  # of settings and metrics
):  # the path
    "Fill a store with finished runs"
    path, rng, heart = Path(path).absolute(), np.random.default_rng(seed), load("heart")
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = originals(path)
    with closing(sqlite3.connect(path)) as db, patch.object(evaluation, "version", cache(evaluation.version)):
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = OFF")
        first, now, rows = [Original(db, i) for i in ids], int(time.time() * 1000), defaultdict(list)
        for i in range(1, count - len(ids) + 1):
            which = i % len(ids)
            config = settings(ORIGINALS[which], i, rng)
            extra = ({"mlp_bench.star": "1"} if i % 50 == 0 else {}) | (
                {"mlflow.note.content": f"Number {i}: *to be looked at*"} if i % 70 == 0 else {}
            )
            copied = first[which].copy(
                path.parent / "mlartifacts", config, key_of(config, heart), now - 90_000 * i, rng, extra
            )
            for table, new in copied.items():
                rows[table] += [tuple(r.values()) for r in new]
        for table, new in ((table, new) for table, new in rows.items() if new):
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in new[0])})", new)
        db.commit()
    return path


if __name__ == "__main__":
    start = time.perf_counter()
    make(sys.argv[1], int(sys.argv[2]))
    print(
        f"{sys.argv[2]} runs in {time.perf_counter() - start:.0f} s: MLFLOW_TRACKING_URI=sqlite:///{Path(sys.argv[1]).absolute()}"
    )

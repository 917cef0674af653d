"""Kills runs with SIGKILL at chosen points and looks at what they leave:

    python tests/killer.py some/folder run:2,create:0,purge:1

A *point* is the time just before or after one of the calls below, just before a commit to the database, or
just before a file of the store is opened for writing.
`run` kills while a configuration is trained into a store that exists (`run:2:regression` on another task
than two classes), `create` while an empty folder becomes a store, `purge` while a run is deleted. So many
points are tried, spread evenly over all there are (0: every one).
Everything is imported once, and each run is a forked child: a real process with a real end, but without
seconds of imports. A store that only has to be there is a copy of one that was made once.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from contextlib import closing
from pathlib import Path

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
import safetensors.numpy
from conftest import copy_store, small_config
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlp_bench.evaluation import key as key_of
from mlp_bench import manager, tracking
from mlp_bench.data import dataset_of, load
from mlp_bench.tracking import KEY, find, get_run, purge, runs
from mlp_bench.config import Config
from mlp_bench.manager import load_model, run

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
CALLS = [
    *(
        (mlflow.MlflowClient, name)
        for name in (
            "create_experiment",
            "create_run",
            "log_batch",
            "log_artifacts",
            "set_tag",
            "set_terminated",
        )
    ),
    (mlflow.pyfunc, "log_model"),
    (pd.DataFrame, "to_parquet"),
    (safetensors.numpy, "save_file"),
    (os, "replace"),
    (tracking, "_create_store"),
    *((manager, name) for name in ("evaluate", "final_model", "save_model", "stored_figures")),
    *((mlflow.MlflowClient, name) for name in ("delete_run", "delete_logged_model")),
    (shutil, "rmtree"),
]


def in_a_child(f, *args):
    "The exit code of a child that calls `f`; negative if a signal ended it"
    pid = os.fork()
    if pid == 0:
        try:
            f(*args)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def watched(call, place, last=None):
    "Do it, and die at the `last` point; without one, write down the points' names"
    seen = []

    def point(name):
        seen.append(name)
        if len(seen) - 1 == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name):
        f = getattr(owner, name)

        def wrapped(*args, **kwargs):
            point(f"before {name}")
            result = f(*args, **kwargs)
            point(f"after {name}")
            return result

        setattr(owner, name, wrapped)

    def opened(what, args):
        if what == "open" and set(str(args[1])) & set("wax+") and str(args[0]).startswith(str(place)):
            point(f"before opening {Path(os.fsdecode(args[0])).name}")

    for owner, name in CALLS:
        around(owner, name)
    event.listen(Engine, "commit", lambda con: point("before a commit"))
    sys.addaudithook(opened)
    call()
    if last is None:
        (place / "points.json").write_text(json.dumps(seen))


def files():
    return {str(p) for p in Path("mlartifacts").rglob("*") if p.is_file()}


def look(kept, before):
    "What the next command finds, and whether everything can be mended and removed"
    key = key_of(SMALL, dataset_of(SMALL))
    with closing(sqlite3.connect("mlflow.db")) as con:
        complete = con.execute(
            "SELECT count(*) FROM tags JOIN runs USING (run_uuid) WHERE key = ? AND value = ? AND status "
            "= 'FINISHED'",
            [KEY, key],
        ).fetchone()[0]
    found = find(key)
    assert (found is not None) == bool(complete) == (len(runs()) == 2), (
        "counted if and only if it was complete"
    )
    again = run(SMALL)
    assert again.cached == bool(complete) and len(get_run(again.run_id).folds) == 2
    load_model(again.run_id)
    gone = purge([again.run_id], broken=True)
    assert tracking.purgeable(broken=True) == [] and list(runs().run_id) == [kept] == [
        r.info.run_id for r in tracking.purgeable(all=True)
    ], gone
    assert files() == before, files() ^ before
    assert complete or not list(Path("mlflow.db.locks").iterdir()), (
        "who was killed after the last write left an empty lock file, that is all"
    )


def look_at_created():
    assert not Path("mlflow.db").exists() or tracking.query(tracking._our_experiments, lambda *_: None), (
        "no half store"
    )
    assert not run(SMALL).cached and len(runs()) == 1 and not list(Path().glob("*.new*"))


def stages(run_id):
    "Where the database still has a run or its models: a set of `active`, `deleted` (which is MLflow's bin)"
    found = (
        "SELECT lifecycle_stage FROM runs WHERE run_uuid = :id UNION "
        "SELECT lifecycle_stage FROM logged_models WHERE source_run_id = :id"
    )
    with closing(sqlite3.connect("mlflow.db")) as con:
        return {stage for (stage,) in con.execute(found, dict(id=run_id))}


def look_at_purged(gone, thrown, before):
    "A second purge finishes and leaves what a person threw away; rows in MLflow's bin stay there"
    listed = gone in set(runs().run_id)
    again = purge([gone]) if listed else purge(broken=True)
    client, _ = tracking.connect()
    assert files() == before and stages(gone) <= {"deleted"}, (again, stages(gone), files() ^ before)
    assert gone not in [r.info.run_id for r in tracking.purgeable(all=True)]
    assert purge(broken=True) == [] and not list(Path("mlartifacts").rglob(f"*{gone}*"))
    assert client.get_run(thrown).info.lifecycle_stage == "deleted"
    client.restore_run(thrown)
    assert len(load_model(thrown).predict(load("heart").X)) == 918
    client.delete_run(thrown)


def chosen(place, count):
    points = json.loads((place / "points.json").read_text())
    return points, np.unique(np.linspace(0, len(points) - 1, count or len(points)).astype(int)).tolist()


def kill_runs(place, count):
    in_a_child(lambda: Path("kept.txt").write_text(run(Config(plan="cv:2", backend="logistic")).run_id))
    kept = Path("kept.txt").read_text()
    assert in_a_child(watched, lambda: run(SMALL), place) == 0
    in_a_child(lambda: purge([find(key_of(SMALL, dataset_of(SMALL))).run_id]))
    before, (points, which) = files(), chosen(place, count)
    for n in which:
        yield points[n], in_a_child(watched, lambda: run(SMALL), place, n), in_a_child(look, kept, before)


def kill_purges(place, count):
    made = lambda name, **settings: (
        in_a_child(
            lambda: Path(name).write_text(
                run(Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,), **settings)).run_id
            )
        )
        or Path(name).read_text()
    )
    thrown = made("thrown.txt", seed=1)
    in_a_child(lambda: tracking.connect()[0].delete_run(thrown))
    before = files()
    gone = made("gone.txt")
    assert in_a_child(watched, lambda: purge([gone]), place) == 0
    points, which = chosen(place, count)
    for n in which:
        gone = made("gone.txt")
        yield (
            points[n],
            in_a_child(watched, lambda: purge([gone]), place, n),
            in_a_child(look_at_purged, gone, thrown, before),
        )


def kill_creations(place, count):
    assert in_a_child(watched, tracking.connect, place) == 0
    points, which = chosen(place, count)
    for n in which:
        for p in place.iterdir():
            shutil.rmtree(p) if p.is_dir() else p.unlink()
        yield points[n], in_a_child(watched, tracking.connect, place, n), in_a_child(look_at_created)


def warm_up(place):
    "One run, so that the children have nothing left to import, which leaves a store without runs"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
    purge([run(SMALL).run_id])


if __name__ == "__main__":
    folder, told = Path(sys.argv[1]).absolute(), []
    (folder / "warm").mkdir()
    warm_up(folder / "warm")
    for wanted in sys.argv[2].split(","):
        what, count, *task = wanted.split(":")
        place = folder / what
        place.mkdir()
        if what != "create":
            copy_store(folder / "warm", place)
        os.chdir(place)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        SMALL = small_config(*task or ["binary"])
        told += dict(run=kill_runs, create=kill_creations, purge=kill_purges)[what](place, int(count))
    print(json.dumps(told))

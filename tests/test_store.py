"""The store: read without MLflow where it is a local file, and with the same answers as through MLflow."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from big_store import make
from conftest import copy_store
from typer.testing import CliRunner

from mlp_bench.evaluation import key as key_of
from mlp_bench import tracking
from mlp_bench.cli import app
from mlp_bench.ranking import rank
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.config import Config
from mlp_bench.tracking import find, footprint, get_run, mark, purge, runs
from mlp_bench.manager import load_model, run
from mlp_bench.tracking import process_tag

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
LOGISTIC = Config(plan="cv:2", backend="logistic")


def through_mlflow(f, *args):
    "The answer where the file cannot be read directly"
    with patch("mlp_bench.tracking._database", side_effect=sqlite3.OperationalError("database is locked")):
        return f(*args)


def fresh(code):
    "What a process of its own prints"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\nfrom mlp_bench import Config, run, runs, get_run, load_model\nfrom "
            f"mlp_bench.tracking import find, footprint\n{code}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def same(a, b):
    assert (a.run_id, a.key, a.cached, a.config) == (b.run_id, b.key, b.cached, b.config)
    np.testing.assert_equal(a.metrics, b.metrics)  # one of them is NaN, which equals itself here
    assert a.folds.equals(b.folds) and a.oof.equals(b.oof) and list(a.curve) == list(b.curve)


@pytest.fixture(scope="module")
def three_once(trained_once, tmp_path_factory):
    "The folder of a store with three finished runs, and others that do not count; and the three ids"
    folder = copy_store(trained_once, tmp_path_factory.mktemp("three"))
    with pytest.MonkeyPatch.context() as here:
        here.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        ids = [run(c).run_id for c in (SMALL, replace(SMALL, seed=1), LOGISTIC)]
        client, experiment = tracking.connect()
        for exp in experiment, client.create_experiment("somebody else's"):
            client.set_tag(client.create_run(exp).info.run_id, tracking.KEY, "0" * 64)  # still running
        client.delete_run(run(replace(LOGISTIC, recipe="seed")).run_id)
        client.log_metric(ids[0], "brier_std", float("nan"))
        mark(ids[1], star=True, note="ein Stern ★")
    with closing(sqlite3.connect(folder / "mlflow.db")) as con, con:
        con.execute("UPDATE runs SET start_time = 1")  # so that ids decide the order
    return folder, ids


@pytest.fixture
def three(no_store, three_once):
    "The ids of these three runs, in a store of one's own"
    folder, ids = three_once
    copy_store(folder, no_store)
    return ids


def test_both_ways_give_the_same_answers(three):
    table = runs()
    pd.testing.assert_frame_equal(table, through_mlflow(runs))
    assert list(table.run_id) == sorted(three) and pd.isna(table.set_index("run_id").brier_std[three[0]])
    assert (
        table.star.dtype == bool
        and list(table[table.star].note) == ["ein Stern ★"]
        and set(table[~table.star].note) == {""}
    )
    for run_id in three[1:]:
        same(get_run(run_id), through_mlflow(get_run, run_id))
        same(get_run(run_id[:8]), through_mlflow(get_run, run_id[:8]))
        assert footprint([run_id]) == through_mlflow(footprint, [run_id])
        X = load("heart").X
        assert load_model(run_id).predict(X).equals(through_mlflow(load_model, run_id).predict(X))
    same(find(table.key[2]), through_mlflow(find, table.key[2]))
    assert find("0" * 64) is through_mlflow(find, "0" * 64) is None


def test_both_ways_make_the_same_mistakes_into_the_same_sentences(three):
    (unfinished,) = (r.info.run_id for r in tracking.purgeable(all=True) if r.info.status == "RUNNING")
    with closing(sqlite3.connect("mlflow.db")) as con:
        (deleted,) = con.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'").fetchone()
        (foreign,) = con.execute(
            "SELECT run_uuid FROM runs WHERE experiment_id <> (SELECT experiment_id FROM experiments "
            "WHERE name = 'mlp_bench')"
        ).fetchone()
        con.execute(
            "UPDATE runs SET run_uuid = 'abcd' || substr(run_uuid, 5) WHERE status = 'RUNNING' OR "
            "lifecycle_stage = 'deleted'"
        )
        con.execute(
            "UPDATE tags SET run_uuid = 'abcd' || substr(run_uuid, 5) WHERE run_uuid = ?", [unfinished]
        )
        con.execute("UPDATE runs SET run_uuid = 'abcd' || substr(run_uuid, 5) WHERE run_uuid = ?", [three[0]])
        con.commit()
    for wrong in (
        "abcd",
        "abc",
        "",
        "nonsense",
        "%" * 8,
        "ABCD",
        "0" * 32,
        "abcd" + deleted[4:],
        "abcd" + foreign[4:],
        "a" * 40,
        "' OR 1 --",
    ):
        with pytest.raises(InputError) as direct:
            get_run(wrong)
        with pytest.raises(InputError) as asked:
            through_mlflow(get_run, wrong)
        assert str(direct.value) == str(asked.value) and ("stands for 2 runs" in str(asked.value)) == (
            wrong == "abcd"
        ), wrong
    client, _ = tracking.connect()
    client.delete_tag("abcd" + unfinished[4:], tracking.KEY)
    for f in get_run, load_model:
        with pytest.raises(InputError, match="was not finished"):
            f("abcd" + unfinished[4:])


def test_whoever_only_reads_never_imports_mlflow_and_sees_the_store_as_it_was_before_a_write(
    three, no_store, monkeypatch
):
    place = copy_store(no_store, no_store / "mes données")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    look = """table = runs()
r = get_run(table.run_id[0][:10])
load_model(r.run_id), find(r.key), footprint(list(table.run_id))
network = Config(plan='cv:2', epochs=1, hidden_layer_sizes=(4,), seed=1)
for c in (network, Config(plan='cv:2', backend='logistic')): assert run(c).cached
print(len(table), 'mlflow' in sys.modules)"""
    with closing(sqlite3.connect(place / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM tags")
        assert fresh(look) == "3 False"
        writer.execute("ROLLBACK")


def test_no_store_yet_is_no_run_and_makes_no_file(no_store):
    assert runs().empty and find("0" * 64) is None and not list(no_store.iterdir())
    assert {"star", "note", "roc_auc"} <= set(runs())
    for f in (get_run, load_model, mark, lambda i: footprint([i])):
        with pytest.raises(InputError, match="has no mlp_bench run"):
            f("0" * 32)


@pytest.mark.parametrize("state", ["empty file", "no experiment", "half made"])
def test_a_store_that_is_only_just_being_made_is_left_to_mlflow(state, no_store):
    if state == "empty file":
        (no_store / "mlflow.db").touch()
    else:
        tracking.connect()
        with closing(sqlite3.connect("mlflow.db")) as con:
            con.execute(
                "DELETE FROM experiments WHERE name = 'mlp_bench'"
                if state == "no experiment"
                else "ALTER TABLE latest_metrics RENAME COLUMN is_nan TO nan"
            )
            con.commit()
    if state != "half made":
        assert runs().empty and not run(SMALL).cached and len(runs()) == 1
    else:
        with (
            patch("mlp_bench.tracking.connect", side_effect=InputError("asked MLflow")),
            pytest.raises(InputError, match="asked MLflow"),
        ):
            runs()


def test_a_file_that_is_no_database_is_one_sentence(no_store):
    (no_store / "mlflow.db").write_bytes(b"nothing that SQLite knows" * 100)
    with pytest.raises(InputError, match="cannot be opened"):
        runs()


def test_a_deleted_experiment_is_one_sentence(three):
    client, experiment = tracking.connect()
    client.delete_experiment(experiment)
    for f in runs, lambda: find("0" * 64), lambda: get_run(three[0]):
        with pytest.raises(InputError, match="mlflow experiments restore"):
            f()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("deleted", marks=pytest.mark.slow),
        "deleted with its files",
        pytest.param("made anew by another process", marks=pytest.mark.slow),
    ],
)
def test_a_store_that_was_deleted_is_begun_again_in_the_same_process(how, trained, no_store):
    first = run(SMALL)
    (no_store / "mlflow.db").unlink()
    if "files" in how:
        shutil.rmtree(no_store / "mlartifacts")
    if "another" in how:
        fresh("run(Config(plan='cv:2', backend='logistic'))")
    else:
        assert runs().empty
    again = run(SMALL)
    assert not again.cached and first.run_id != again.run_id and again.run_id in set(runs().run_id)
    assert len(runs()) == len(through_mlflow(runs)) == (2 if "another" in how else 1)
    assert run(SMALL).cached and load_model(again.run_id).predict(load("heart").X.head(2)).shape == (2, 2)
    assert purge([again.run_id]) == [again.run_id]


def test_marks_come_and_go_and_change_nothing_else(three):
    before = runs().set_index("run_id")
    mark(three[0], star=True)
    mark(three[0][:8], note="x" * 5000)
    mark(three[1], note="")
    mark(three[1])
    marked = runs().set_index("run_id")
    assert (marked.star[three[0]], len(marked.note[three[0]])) == (True, 5000)
    assert (marked.star[three[1]], marked.note[three[1]]) == (True, "")
    mark(three[1], star=False)
    assert list(runs().set_index("run_id").star[three]) == [True, False, False]
    assert (
        before.drop(columns=["star", "note"]).equals(marked.drop(columns=["star", "note"]))
        and run(SMALL).run_id == three[0]
    )
    with pytest.raises(InputError, match="5,001 characters"):
        mark(three[0], note="x" * 5001)
    with pytest.raises(InputError, match="no mlp_bench run"):
        mark("0" * 32, star=True)


def test_the_footprint_is_what_a_purge_deletes(three, no_store):
    def files():
        return {p: p.stat().st_size for p in (no_store / "mlartifacts").rglob("*") if p.is_file()}

    before, told = files(), footprint([three[0], three[2][:9], three[0]])
    assert [t["run_id"] for t in told] == [three[0], three[2]] and [t["name"] for t in told] == [
        "heart numpy cv:2",
        "heart logistic cv:2",
    ]
    models = {p.name for p in (no_store / "mlartifacts" / "models").iterdir()}
    purge([three[0], three[2]])
    gone = {p: n for p, n in before.items() if p not in files()}
    assert (sum(t["files"] for t in told), sum(t["bytes"] for t in told)) == (
        len(gone),
        sum(gone.values()),
    ) and len(gone) > 20
    assert {m for t in told for m in t["models"]} == models - {
        p.name for p in (no_store / "mlartifacts" / "models").iterdir()
    }
    with pytest.raises(InputError, match="no mlp_bench run"):
        footprint([three[1], three[0]])
    assert footprint([]) == []


def test_files_that_a_purge_leaves_alone_weigh_nothing(three, no_store):
    treasure = no_store / "elsewhere" / "artifacts"
    treasure.mkdir(parents=True)
    (treasure / "thesis.tex").write_text("all of it")
    (whole,) = footprint(three[:1])
    with closing(sqlite3.connect("mlflow.db")) as db, db:
        db.execute("UPDATE runs SET artifact_uri = ?", [treasure.as_uri()])
    (told,) = footprint(three[:1])
    assert told == whole and told["files"] > 0
    (no_store / "mlartifacts" / three[0]).rename(no_store / "moved away")
    (told,) = footprint(three[:1])
    assert 0 < told["files"] < whole["files"] and told["models"] == whole["models"]


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ann:s3cret@127.0.0.1:9/runs",
        "http://ann:s3c/r@t@127.0.0.1:9",
        "bogus://ann:s3c:r@t@host/x",
    ],
)
def test_no_message_says_the_password_of_a_store(uri, no_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for ask in (runs, lambda: run(SMALL), lambda: purge(broken=True)):
        with pytest.raises(InputError) as error:
            ask()
        assert "ann:***@" in str(error.value) and not any(part in str(error.value) for part in ("s3c", "r@t"))


def test_files_that_are_elsewhere_weigh_nothing(three, no_store):
    shutil.rmtree(no_store / "mlartifacts")
    with closing(sqlite3.connect("mlflow.db")) as con:
        con.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/1/' || run_uuid")
        con.execute("UPDATE logged_models SET artifact_location = 's3://bucket/' || model_id")
        con.commit()
    (told,) = footprint(three[:1])
    assert (told["files"], told["bytes"], len(told["models"])) == (0, 0, 1)


@pytest.mark.slow
def test_a_big_store_is_like_a_grown_one(no_store, monkeypatch):
    assert make(no_store / "mlflow.db", 12) == no_store / "mlflow.db"
    table = runs()
    assert len(table) == table.run_id.nunique() == table.key.nunique() == 12
    pd.testing.assert_frame_equal(table, through_mlflow(runs))
    for run_id, key in zip(table.run_id, table.key):
        r = get_run(run_id)
        assert (
            key_of(r.config, load("heart")) == key
            and find(key).run_id == run_id
            and 0.8 < r.metrics["roc_auc"] < 1
        )
    copy, original = table.run_id.iloc[[-1, 0]]
    purge([copy])
    assert load_model(original).predict(load("heart").X).p.between(0, 1).all() and len(runs()) == 11


def test_a_purge_that_meets_a_locked_file_says_so_and_the_next_one_finishes(three, no_store):
    def files():
        return {p for p in (no_store / "mlartifacts").rglob("*") if p.is_file()}

    before = files()
    with patch("shutil.rmtree", side_effect=PermissionError(13, "The file is in use", "oof.parquet")):
        with pytest.raises(InputError, match="in use.*next purge of what is broken ends it"):
            purge(three[:1])
    assert three[0] not in set(runs().run_id) and files() == before
    assert purge(broken=True) == three[:1] and set(runs().run_id) == set(three[1:])
    assert not [p for p in no_store.rglob("*") if three[0] in str(p)] and len(files()) < len(before)
    with pytest.raises(InputError, match="no mlp_bench run"):
        purge(three[:1])
    assert purge() == []


def test_a_number_that_another_process_has_now_keeps_no_run_alive(trained):
    run_id, (client, _) = run(SMALL).run_id, tracking.connect()
    client.delete_tag(run_id, tracking.KEY)
    client.set_tag(run_id, tracking.PROCESS, process_tag(os.getpid()))
    assert purge(broken=True) == [] and tracking.broken_runs_of(os.getpid()) == [run_id]
    host, pid, began = process_tag(os.getpid()).split(":")
    for other in f"{host}:{pid}{pid}:{began}", f"{host}:{pid[:-1] or 9}:{began}":
        client.set_tag(run_id, tracking.PROCESS, other)
        assert tracking.broken_runs_of(os.getpid()) == []
    client.set_tag(run_id, tracking.PROCESS, f"{host}:{pid}")  # as older versions wrote it
    assert purge(broken=True) == []
    client.set_tag(run_id, tracking.PROCESS, f"{host}:{pid}:{int(began or 2) - 1}")
    assert (
        tracking.broken_runs_of(os.getpid())
        == through_mlflow(tracking.broken_runs_of, os.getpid())
        == [run_id]
    )
    if began:
        assert purge(broken=True) == [run_id]


def test_a_long_loss_curve_is_stored_thinned_and_read_at_its_full_length(store):
    fresh = run(replace(SMALL, epochs=1000))
    again = run(replace(SMALL, epochs=1000))
    assert again.cached and len(fresh.curve) == len(again.curve) == 1000
    assert (
        again.curve[0] == fresh.curve[0]
        and again.curve[-1] == fresh.curve[-1]
        and np.abs(again.curve - fresh.curve).max() < 0.1
    )


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_project_that_was_copied_or_moved_works_on_its_own_files(how, trained_once, no_store, monkeypatch):
    first, second = no_store / "first", no_store / "second"
    copy_store(trained_once, first)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{first}/mlflow.db")
    stored = run(SMALL)
    shutil.copytree(first, second) if how == "copied" else first.rename(second)
    before = sorted(first.rglob("*"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{second}/mlflow.db")
    assert get_run(stored.run_id).oof.equals(stored.oof) and run(SMALL).cached
    new = run(replace(LOGISTIC, recipe="seed"))
    assert (
        not new.cached
        and len(load_model(new.run_id).predict(load("heart").X)) == 918
        and list(second.glob(f"mlartifacts/{new.run_id}/**/oof.parquet"))
    )
    purge(all=True)
    assert (
        runs().empty
        and not [p for p in second.glob("mlartifacts/**/*") if p.is_file()]
        and sorted(first.rglob("*")) == before
    )


WRITTEN = {
    "address": Path.as_uri,
    "path": str,
    "with a host": lambda p: f"file://localhost{p}",
    "relative": lambda p: os.path.relpath(p),
}


@pytest.mark.parametrize(
    "table, column, written",
    [("runs", "artifact_uri", w) for w in WRITTEN]
    + [(t, "artifact_location", w) for t in ("logged_models", "experiments") for w in ("address", "path")],
)
def test_a_purge_deletes_nothing_where_the_store_does_not_keep_its_runs(table, column, written, trained):
    treasure = trained / "elsewhere" / "artifacts"
    treasure.mkdir(parents=True)
    (treasure / "thesis.tex").touch()
    with closing(sqlite3.connect(trained / "mlflow.db")) as db, db:
        db.execute(f"UPDATE {table} SET {column} = ?", [WRITTEN[written](treasure)])
    purge(all=True)
    assert runs().empty and (treasure / "thesis.tex").exists()


def test_a_purge_takes_no_path_for_the_name_of_a_model(trained):
    run_id, treasure = run(SMALL).run_id, trained / "important"
    treasure.mkdir()
    with closing(sqlite3.connect(trained / "mlflow.db")) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(
            "UPDATE logged_models SET model_id = '../../important', artifact_location = ? "
            "WHERE source_run_id = ?",
            [treasure.as_uri(), run_id],
        )
    assert footprint([run_id])[0]["models"] == []
    assert purge([run_id]) == [run_id] and treasure.exists()


def test_tags_that_name_no_process_stop_no_purge(trained):
    run_id, (client, _) = run(SMALL).run_id, tracking.connect()
    client.delete_tag(run_id, tracking.KEY)
    for odd in (f"{socket.gethostname()}:{10**20}:1", f"{socket.gethostname()}:²:1", ":::", ""):
        client.set_tag(run_id, tracking.PROCESS, odd)
        assert purge(broken=True) == []


def test_a_run_without_scores_is_ranked_and_printed(store):
    client, experiment = tracking.connect()
    bare = client.create_run(
        experiment,
        tags={
            "mlp_bench.config": json.dumps(dict(hidden_layer_sizes=[4], epochs=3)),
            "mlp_bench.dataset": "of old",
        },
    ).info.run_id
    client.set_terminated(bare, "FINISHED")
    client.set_tag(bare, tracking.KEY, "0" * 64)
    (only,) = rank(top=None).itertuples()
    assert only.run_id == bare and np.isnan(only.roc_auc) and runs().dropout[0] == Config().dropout
    assert "nan" not in (told := CliRunner().invoke(app, ["rank"])).output and told.exit_code == 0, (
        told.output
    )


def test_a_purge_follows_no_link_out_of_the_store(trained):
    made = run(SMALL)
    kept = trained / "kept"
    shutil.move(trained / "mlartifacts" / made.run_id, kept)
    (trained / "mlartifacts" / made.run_id).symlink_to(kept)
    before = sorted(kept.rglob("*"))
    purge([made.run_id])
    assert sorted(kept.rglob("*")) == before


@pytest.mark.parametrize("what", ["pipe", "link to nothing"])
def test_a_store_that_is_no_file_is_one_sentence_and_stays_as_it_is(what, no_store):
    db = no_store / "mlflow.db"
    os.mkfifo(db) if what == "pipe" else db.symlink_to("nowhere")
    for ask in (runs, lambda: run(SMALL)):
        with pytest.raises(InputError, match="a device, a pipe or a link to nothing"):
            ask()
    assert db.is_fifo() or db.is_symlink()


@pytest.mark.parametrize(
    "tag, value", [("mlp_bench.config", "junk"), ("mlp_bench.config", "{}"), ("mlp_bench.dataset", None)]
)
def test_a_run_whose_tags_others_spoiled_is_left_out_by_name(tag, value, trained):
    spoiled, *good = (run(c).run_id for c in (SMALL, replace(SMALL, seed=1), LOGISTIC))
    with closing(sqlite3.connect(trained / "mlflow.db")) as db, db:
        if value is None:
            db.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", [spoiled, tag])
        else:
            db.execute("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", [value, spoiled, tag])
    with pytest.warns(UserWarning, match=spoiled):
        assert set(runs().run_id) == set(good)


def test_a_label_that_looks_like_mathematics_is_text(store):
    frame = load("heart").X.assign(t=np.where(load("heart").y == 1, r"$\frac$", "$"))
    frame.to_csv("t.csv", index=False)
    assert run(replace(SMALL, data="t.csv", target="t")).run_id


ODD = ["C#", "100%", "100%25", "was?", "mes données"]


@pytest.mark.parametrize("name", [" ".join(ODD), *(pytest.param(n, marks=pytest.mark.slow) for n in ODD)])
def test_a_folder_may_have_any_name(name, no_store, monkeypatch):
    (no_store / name).mkdir()
    monkeypatch.chdir(no_store / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    load("heart").X.head(3).to_csv("rows.csv", index=False)
    commands = [["run", "--backend", "logistic", "--plan", "cv:2"], ["rank"]]
    done = [CliRunner().invoke(app, command) for command in commands]
    (run_id,) = runs().run_id
    commands = [["predict", run_id, "rows.csv"], ["purge", "--run", run_id, "--yes"]]
    done += [CliRunner().invoke(app, command) for command in commands]
    assert [d.exit_code for d in done] == [0] * 4, [d.output for d in done]
    assert len(done[2].stdout.splitlines()) == 4 and runs().empty
    assert [p.name for p in no_store.iterdir()] == [name] and not list(Path("mlartifacts").rglob("*.*"))

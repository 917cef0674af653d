"""The way from a file, or from Kaggle, to a data set."""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forks import answer_of
from kaggle_server import KaggleServer, kaggle_environment
from mlp_bench.kaggle import HEART_SHA256
from mlp_bench.reading import read_table
from mlp_bench.data import Dataset, load
from mlp_bench.core import InputError

ROOT = Path(__file__).resolve().parents[1]
HEART = (ROOT / "mlp_bench/data/heart.csv").read_bytes()
HEART_SOURCE = "kaggle:fedesoriano/heart-failure-prediction"


def written(folder, content, name="t.csv"):
    path = Path(folder) / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- the bundled table


def test_the_bundled_table_is_the_known_one():
    assert hashlib.sha256(HEART).hexdigest() == HEART_SHA256
    data = load()
    assert data.X.shape == (918, 11)
    assert data.y.sum() == 508
    assert data.target == "HeartDisease"
    assert data.classes == (0, 1)
    assert "918 rows × 11 columns (6 numeric, 5 categorical)" in repr(data)


def test_reading_agrees_with_pandas():
    theirs = pd.read_csv(ROOT / "mlp_bench/data/heart.csv").drop(columns="HeartDisease")
    pd.testing.assert_frame_equal(load().X, theirs, check_dtype=False)


# ---- bad input: content, target, and what the sentence must contain

BAD = {
    "empty": (b"", "t", "empty"),
    "blank lines": (b"\n\n", "t", "empty"),
    "header only": (b"a,t\n", "t", "no rows"),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0", "t", "NUL"),
    "latin-1": ("a,t\né,0\n".encode("latin-1"), "t", "line 2: byte 0xe9 is not UTF-8; it looks like cp1252"),
    "web page": (b"<html>hello</html>", "t", "web page"),
    "short row": (b"a,b,t\n1,2,0\n1,0\n", "t", "missing in line 3"),
    "every row too long": (b"a,t\n1,2,0\n1,2,1\n", "t", "line 1: 2 names, where most rows have 3 cells"),
    "one row too long": (b"a,t\n1,0\n2,1\n3,0,1\n", "t", "line 4: 3 fields where the header has 2"),
    "no header": (b"5.1,a\n6.2,b\n5.1,a\n", "1", "line 1: is there a header? 5.1, a look like cells"),
    "open quote": (b'a,t\n"1,0\n2,1\n', "t", "not readable as CSV"),
    "a line without end": (b"a,t\n" + b"x" * 2**24 + b",1\n", "t", "line of 16,777,216 characters or more"),
    "doubled target": (b't,"t ",a\n1,2,0\n3,4,1\n', "t", "column name t occurs more than once"),
    "no target given": (b"a,t\n1,0\n2,1\n", None, "one of a, t"),
    "unknown target": (b"a,t\n1,0\n2,1\n", "T", "no column T: its columns are a, t"),
    "target with a gap": (b"a,t\n1,0\n\n2,\n3,1\n", "t", "line 4"),
    "one class": (b"a,t\n1,0\n2,0\n", "t", "the target t is 0 in every row"),
    "too many classes": (
        b"a,t\n" + b"".join(b"1,x%d\n" % i for i in range(101)),
        "t",
        "101 different values (x0, x1, x10, x100, x11, …), and 100 classes are the most",
    ),
    "target only": (b"t\n0\n1\n", "t", "besides the target"),
    "empty column": (b"a,b,t\n1,,0\n2,NA,1\n", "t", "column b is missing in every row"),
    "infinite": (b"a,t\n1,0\n-inf,1\n", "t", "column a holds an infinite or absurdly large number in line 3"),
    "overflow": (b"a,t\n1e400,0\n2,1\n", "t", "column a holds an infinite"),
    "digits without end": (b"a,t\n" + b"9" * 9000 + b",0\n2,1\n", "t", "column a holds an infinite"),
    "newline in a name": (b'"a\nb",t\n1,0\n1e400,1\n', "t", "column a b holds"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_gets_one_sentence(case, tmp_path):
    content, target, expected = BAD[case]
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, content), target=target)
    message = str(caught.value)
    assert expected in message
    assert message.startswith("t.csv")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "source, expected",
    [
        ("nowhere.csv", "does not exist"),
        (".", "is a directory"),
        ("x\0.csv", r"x\?.csv (does not exist|cannot be read)"),
        ("y" * 5000 + ".csv", "cannot be read"),
        ("", "data source must be"),
        (None, "data source must be"),
        (7, "data source must be"),
        ("/dev/null", "null is not read as a table"),
        (__file__, "test_data.py is not read as a table"),
        ("https://example.org/t.csv", "is an address, and addresses are not read: download"),
        ("s3://bucket/t.csv", "is an address"),
        ("DataFrame", "does not exist"),
    ],
)
def test_a_bad_path_gets_one_sentence(source, expected):
    with pytest.raises(InputError, match=expected):
        load(source, target="t")


def load_as_nobody(path):
    "Root may read everything, so the rights go once everything is imported"
    os.setuid(65534)
    with pytest.raises(InputError) as caught:
        load(path, target="t")
    return str(caught.value)


def test_a_file_that_may_not_be_read_gets_one_sentence():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        path = written(folder, "a,t\n1,0\n2,1\n")
        path.chmod(0)
        if os.geteuid():
            with pytest.raises(InputError, match="cannot be read .Permission denied"):
                load(path, target="t")
            return
        assert "cannot be read (Permission denied)" in answer_of(load_as_nobody, path)


@pytest.mark.parametrize(
    "raw, expected",
    [
        (b"not parquet", "not a readable Parquet"),
        (b"PAR1" + b"\7" * 99 + b"PAR1", "not a readable Parquet"),
        (b"", "not a readable Parquet"),
    ],
)
def test_a_broken_parquet_file_gets_one_sentence(raw, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        load(written(tmp_path, raw, "t.parquet"), target="t")


@pytest.mark.parametrize("values", [[[1], [2]], [{"x": 1}, {"x": 2}], [b"a", b"b"]])
def test_nested_parquet_columns_are_refused(values, tmp_path):
    pd.DataFrame({"a": values, "t": [0, 1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column a holds lists, records or bytes"):
        load(tmp_path / "t.parquet", target="t")


# ---- labels


@pytest.mark.parametrize(
    "labels, positive, classes",
    [
        (["no", "yes"], None, ("no", "yes")),
        (["no", "yes"], "no", ("yes", "no")),
        ([0, 1], "0", (1, 0)),
        ([0, 1], 1, (0, 1)),
        ([-1, 1], "1", (-1, 1)),
        ([0.0, 1.0], "1", (0, 1)),
        ([0.5, 1.5], "0.5", (1.5, 0.5)),
        ([True, False], None, ("False", "True")),
        ([True, False], "False", ("True", "False")),
        ([True, False], True, ("False", "True")),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_any_two_labels_will_do(labels, positive, classes, suffix, tmp_path):
    frame, path = pd.DataFrame({"a": [1, 2, 3], "t": [*labels, labels[0]]}), tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    data = load(path, target="t", positive=positive)
    assert data.classes == classes
    expected = [f"{label:g}" if isinstance(label, float) else str(label) for label in frame.t]
    assert [str(data.classes[i]) for i in data.y] == expected


def test_an_unknown_positive_label_is_refused(tmp_path):
    message = "positive label maybe does not occur in t, whose labels are no, yes"
    with pytest.raises(InputError, match=message):
        load(written(tmp_path, "a,t\n1,no\n2,yes\n"), target="t", positive="maybe")


# ---- fingerprints


def test_the_fingerprint_is_pinned():
    """A change of this number makes every stored result unfindable."""
    assert load().fingerprint == "b64d670584fb82c6431168e654109c6f2a7493eaff6a045547849ec6f582433b"


def table():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "i": rng.integers(0, 9, 40),
            "x": rng.normal(size=40),
            "c": rng.choice(["a", "b", "é"], 40),
            "t": rng.integers(0, 2, 40),
        }
    )


def fingerprint(frame, folder, suffix="csv"):
    path = Path(folder) / f"f.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    return load(path, target="t").fingerprint


@pytest.mark.parametrize(
    "same",
    [
        lambda f: f,
        lambda f: f.astype({"i": "int32"}),
        lambda f: f.astype({"i": "int8", "t": "float64"}),
        lambda f: f.astype({"i": "float64"}),
        lambda f: f.astype({"i": "Int64"}),
        lambda f: f.astype({"c": "category"}),
        lambda f: f.set_axis(range(5, 45)),
        lambda f: f[["t", "i", "x", "c"]],
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_fingerprint_ignores_how_the_table_is_stored(same, suffix, tmp_path):
    assert fingerprint(same(table()), tmp_path, suffix) == fingerprint(table(), tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        lambda f: f.assign(x=f.x.where(f.index != 3, np.nextafter(f.x, 9))),
        lambda f: f[::-1],
        lambda f: f.rename(columns={"x": "X"}),
        lambda f: f[["x", "i", "c", "t"]],
        lambda f: f.assign(c=f.c.replace("a", "A")),
        lambda f: f.assign(t=1 - f.t),
        lambda f: f.iloc[:-1],
        lambda f: f.assign(i=f.i.where(f.index != 3)),
        lambda f: f.assign(i="n" + f.i.astype(str)),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_fingerprint_notices_every_change_that_matters(other, suffix, tmp_path):
    assert fingerprint(other(table()), tmp_path, suffix) != fingerprint(table(), tmp_path)


def test_the_fingerprint_does_not_depend_on_which_label_is_positive(tmp_path):
    path = written(tmp_path, "a,t\n1,no\n2,yes\n")
    assert load(path, "t", "no").fingerprint == load(path, "t").fingerprint


def test_groups_enter_the_fingerprint():
    data = load()
    assert (
        Dataset(data.name, data.X, data.y, data.target, data.classes, np.arange(918)).fingerprint
        != data.fingerprint
    )


def test_a_table_of_new_patients_may_have_gaps_and_needs_no_target(tmp_path):
    frame = read_table(written(tmp_path, "a,b\n1,\n,\n")).frame.reset_index(drop=True)
    assert frame.shape == (2, 2) and frame.b.isna().all() and list(frame.index) == [0, 1]


# ---- Kaggle, through the real client


def load_for(environment, source, target):
    "In a process of its own, whose environment nobody else sees"
    os.environ.clear()
    os.environ.update(environment)
    start = time.time()
    try:
        data = load(source, target)
        out = dict(rows=len(data.X), fingerprint=data.fingerprint, target=data.target)
    except InputError as error:
        out = dict(error=str(error))
    return out | dict(seconds=time.time() - start)


def kaggle_load(environment, source=HEART_SOURCE, target=None):
    return answer_of(load_for, environment, source, target)


@pytest.fixture
def server():
    pytest.importorskip("kagglehub")
    with KaggleServer({"heart.csv": HEART}) as running:
        yield running


@pytest.fixture(scope="module")
def heart_fingerprint():
    return load().fingerprint


def test_kaggle_downloads_once_and_then_works_without_a_network(server, tmp_path, heart_fingerprint):
    first = kaggle_load(server.environment(tmp_path))
    assert first["fingerprint"] == heart_fingerprint
    assert first["target"] == "HeartDisease"
    assert server.requests == ["DownloadDataset", "all.zip"]  # pinned, so the newest is not asked for
    second = kaggle_load(server.environment(tmp_path))
    assert second["fingerprint"] == heart_fingerprint and len(server.requests) == 2
    assert kaggle_load(kaggle_environment(tmp_path, "http://127.0.0.1:9"))["fingerprint"] == heart_fingerprint


def test_kaggle_without_a_network_names_the_bundled_copy(tmp_path):
    pytest.importorskip("kagglehub")
    answer = kaggle_load(kaggle_environment(tmp_path, "http://127.0.0.1:9"))
    assert "could not be downloaded" in answer["error"]
    assert "use heart, the same table, which is bundled" in answer["error"]
    assert "\n" not in answer["error"]


def test_a_server_that_never_answers_is_given_up_after_the_deadline(server, tmp_path):
    server.behaviour = "hang"
    answer = kaggle_load(server.environment(tmp_path, MLP_BENCH_KAGGLE_DEADLINE="2"))
    assert "no answer within 2 s" in answer["error"] and 2 <= answer["seconds"] < 30 and server.requests


@pytest.mark.parametrize("behaviour, requests", [("corrupt", 4), ("html", 4), (404, 1), (500, 1), (403, 1)])
def test_a_bad_answer_is_one_sentence_and_leaves_nothing_that_spoils_the_next(
    server, tmp_path, heart_fingerprint, behaviour, requests
):
    server.behaviour = behaviour
    answer = kaggle_load(server.environment(tmp_path))
    assert "could not be downloaded" in answer["error"]
    assert "\n" not in answer["error"]
    assert len(server.requests) == requests
    server.behaviour = "ok"
    assert kaggle_load(server.environment(tmp_path))["fingerprint"] == heart_fingerprint


def test_one_login_page_is_survived(server, tmp_path, heart_fingerprint):
    server.behaviour = "html once"
    assert kaggle_load(server.environment(tmp_path))["fingerprint"] == heart_fingerprint


def test_a_damaged_cached_copy_is_fetched_again(server, tmp_path, heart_fingerprint):
    kaggle_load(server.environment(tmp_path))
    cached = next((tmp_path / "cache").rglob("heart.csv"))
    cached.write_bytes(HEART[:-5] + b"Up,1\n")
    assert kaggle_load(server.environment(tmp_path))["fingerprint"] == heart_fingerprint
    cached.write_bytes(HEART[:-5] + b"Up,1\n")
    offline = kaggle_environment(tmp_path, "http://127.0.0.1:9")
    assert "could not be downloaded" in kaggle_load(offline)["error"]


def test_another_file_under_the_known_name_is_refused(server, tmp_path):
    server.files = {"heart.csv": HEART.replace(b"M", b"F")}
    assert "not the expected file" in kaggle_load(server.environment(tmp_path))["error"]
    assert len(server.requests) == 4


def test_other_data_sets_versions_and_files(server, tmp_path):
    small = b"a,t\n1,no\n2,yes\n"
    server.files, server.version = {"one.csv": small, "two.csv": small + b"3,no\n", "notes.txt": b"x"}, 7
    environment = server.environment(tmp_path)
    hint = "holds 2 tables: one.csv, two.csv, so name one as in kaggle:me/set/one.csv"
    assert hint in kaggle_load(environment, "kaggle:me/set", "t")["error"]
    asked = len(server.requests)
    assert kaggle_load(environment, "kaggle:me/set/two.csv", "t")["rows"] == 3
    assert kaggle_load(environment, "kaggle:me/set/versions/7/one.csv", "t")["rows"] == 2
    assert "needs a target" in kaggle_load(environment, "kaggle:me/set/one.csv")["error"]
    assert len(server.requests) == asked  # all from the newest complete copy
    assert kaggle_load(environment, "kaggle:me/set/versions/6/one.csv", "t")["rows"] == 2
    assert server.requests[-1] == "one.csv"  # a single file
    asked = len(server.requests)
    assert kaggle_load(environment, "kaggle:me/set/versions/6/one.csv", "t")["rows"] == 2
    assert len(server.requests) == asked
    answer = kaggle_load(environment, "kaggle:me/set/versions/6/three.csv", "t")
    assert "could not be downloaded" in answer["error"]


def test_a_login_page_saved_as_a_table_is_not_believed(server, tmp_path):
    server.behaviour, server.files = "html once", {"one.csv": b"a,t\n1,no\n2,yes\n"}
    assert kaggle_load(server.environment(tmp_path), "kaggle:me/set/versions/1/one.csv", "t")["rows"] == 2


@pytest.mark.parametrize(
    "make, expected",
    [(Path.mkdir, "is a directory"), (os.mkfifo, "is not read as a table")],
    ids=["directory", "pipe"],
)
def test_what_stands_in_the_cache_is_looked_at_before_it_is_opened(make, expected, tmp_path):
    folder = tmp_path / "datasets/me/set"
    (folder / "versions/1").mkdir(parents=True), (folder / "1.complete").touch()
    make(folder / "versions/1/data.csv")
    for source in "kaggle:me/set", "kaggle:me/set/data.csv":
        answer = kaggle_load({**os.environ, "KAGGLEHUB_CACHE": str(tmp_path)}, source, "t")
        assert expected in answer["error"] and "\n" not in answer["error"]


@pytest.mark.parametrize(
    "source",
    [
        "kaggle:",
        "kaggle:me",
        "kaggle:../../etc/x.csv",
        "kaggle:me/set/../../x.csv",
        "kaggle:me/set/versions/x",
        "kaggle:me/set/a.pdf",
        "kaggle:me/..",
    ],
)
def test_a_malformed_handle_asks_nobody(source, server, tmp_path):
    assert "is not a Kaggle handle" in kaggle_load(server.environment(tmp_path), source)["error"]
    assert not server.requests


def test_a_deadline_must_be_a_number(monkeypatch, tmp_path):
    pytest.importorskip("kagglehub")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("MLP_BENCH_KAGGLE_DEADLINE", "soon")
    with pytest.raises(InputError, match="MLP_BENCH_KAGGLE_DEADLINE must be"):
        load(HEART_SOURCE)


def test_without_kagglehub_the_sentence_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"pip install 'mlp_bench\[kaggle\]'"):
        load(HEART_SOURCE)

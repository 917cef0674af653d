"""A table, a model, a handle or a run id from an attacker runs no code and leaves its folder alone."""

import ast
import functools
import io
import json
import operator
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("skops")
import skops.io
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from mlp_bench import manager, evaluation, tracking
from mlp_bench.data import Dataset, load
from mlp_bench.core import InputError
from mlp_bench.reading import read_table
from mlp_bench.config import Config
from mlp_bench.models import final_model, read_model, save_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fired(tmp_path):
    "The file that a payload would write: it must not be there in the end"
    marker = tmp_path / "fired"
    yield marker
    assert not marker.exists(), "the payload ran"


class Payload:
    "Unpickled, it writes a file"

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def sentence(error):
    assert isinstance(error, InputError), f"{type(error).__name__}: {error}"
    text = str(error)
    assert text.endswith(".") and len(text) < 500 and len(text.splitlines()) == 1, repr(text)
    return text


def test_the_payload_would_work(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "it")))
    assert (tmp_path / "it").exists()


# ---- tables


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_by_another_name_is_not_a_table(name, protocol, fired, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps(Payload(fired), protocol))
    with pytest.raises(InputError) as caught:
        load(tmp_path / name, "t")
    assert name in sentence(caught.value)
    try:
        assert len(read_table(tmp_path / name).kinds) == 1  # protocol 0 is a column of plain words
    except InputError as error:
        assert name in sentence(error)


@pytest.mark.parametrize("name", ["table.pkl", "table.joblib", "table.npy", "table.h5", "table.yaml"])
def test_formats_that_may_carry_code_are_not_opened(name, fired, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps(Payload(fired)))
    with pytest.raises(InputError, match="is not read as a table"):
        load(tmp_path / name, "t")


def test_an_object_array_within_parquet_stays_bytes(fired, tmp_path):
    pd.DataFrame({"a": [pickle.dumps(Payload(fired))] * 2, "t": [0, 1]}).to_parquet(
        tmp_path / "table.parquet"
    )
    with pytest.raises(InputError, match="column a holds lists, records or bytes"):
        load(tmp_path / "table.parquet", "t")


def test_parquet_metadata_is_not_believed(fired, tmp_path):
    import pyarrow as pa, pyarrow.parquet as pq

    evil = {
        b"pandas": b'{"index_columns": ["a"], "columns": [{"name": "a",'
        b' "numpy_type": "object", "metadata": null, "pandas_type": "python_object"}]}',
        b"PANDAS_ATTRS": b"not json",
        b"ARROW:schema": b"\0" * 40,
        b"arrow_py_extension_type": pickle.dumps(Payload(fired)),
    }
    field = pa.field(
        "a",
        pa.int64(),
        metadata={
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickle.dumps(Payload(fired)),
        },
    )
    pq.write_table(
        pa.table([[1, 2], [0, 1]], schema=pa.schema([field, pa.field("t", pa.int64())], metadata=evil)),
        tmp_path / "table.parquet",
    )
    try:
        assert list(load(tmp_path / "table.parquet", "t").X.a) == [1, 2]
    except InputError as error:
        sentence(error)


def test_cells_and_names_are_text_and_nothing_more(fired, tmp_path):
    code = f"__import__('os').system('touch {fired}')"
    rows = "\n".join(f'"{code}",{i % 2}' for i in range(8))
    (tmp_path / "table.csv").write_text(f'"{code}; {{0.__class__}} @{code} `{code}`",t\n{rows}\n')
    data = load(tmp_path / "table.csv", "t")
    for recipe in "standard", "robust", "rich", "seed":
        evaluation.evaluate(Config(recipe=recipe, plan="cv:2", epochs=1), data)
    assert data.X.iloc[0, 0] == code


# ---- model folders


def table():
    rng = np.random.default_rng(0)
    return Dataset(
        "table",
        pd.DataFrame({"x": rng.normal(size=40), "c": ["a", "b"] * 20}),
        np.arange(40) % 2,
        "t",
        (0, 1),
    )


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folders = {}
    for backend in "numpy", "logistic":
        folders[backend] = tmp_path_factory.mktemp(backend)
        save_model(
            final_model(Config(backend=backend, epochs=1, hidden_layer_sizes=(4,)), table()), folders[backend]
        )
    return folders


@pytest.fixture
def folder(originals, tmp_path):
    return Path(shutil.copytree(originals["numpy"], tmp_path / "model"))


@pytest.fixture
def sklearn_folder(originals, tmp_path):
    return Path(shutil.copytree(originals["logistic"], tmp_path / "model"))


def refused(folder):
    "The exception with which a folder is refused: each of them means that nothing was run"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(Exception) as caught:
        read_model(folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    return caught.value


@pytest.mark.parametrize("backend", ["numpy", "logistic"])
def test_an_honest_folder_is_read(backend, originals):
    assert read_model(originals[backend]).predict(table().X).p.between(0, 1).all()


def reduced(marker):
    "A file as an attacker would write it: a function's name and arguments put into skops's own schema"
    args = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "__id__": 2,
        "content": [
            {
                "__class__": "str",
                "__module__": "builtins",
                "__loader__": "JsonNode",
                "content": json.dumps(f"touch '{marker}'"),
                "is_json": True,
                "__id__": 3,
            }
        ],
    }
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ReduceNode",
        "__id__": 1,
        "content": {},
        "__reduce__": {"args": args},
        "protocol": 2,
        "_skops_version": "0.13",
    }
    return zipped({"schema.json": json.dumps(schema)})


def zipped(files):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w") as z:
        for name, content in files.items():
            z.writestr(name, content)
    return box.getvalue()


def bomb(raw, replaced, size):
    "An honest skops file, one part replaced by what takes a thousandth of its size in the archive"
    box = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as old,
        zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        name = next(n for n in old.namelist() if n.endswith(replaced))
        for n in old.namelist():
            if n != name:
                new.writestr(n, old.read(n))
        with new.open(name, "w", force_zip64=True) as part:
            for _ in range(size // 2**20):
                part.write((b"[" if replaced == "schema.json" else b"\0") * 2**20)
    return box.getvalue()


def with_absurd_shapes(raw):
    "An honest skops file, each array within it replaced by one that says it has 2**60 numbers"
    box = io.BytesIO()
    np.lib.format.write_array_header_1_0(box, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        return zipped({n: box.getvalue() if n.endswith(".npy") else z.read(n) for n in z.namelist()})


def with_pickled_arrays(raw, marker):
    "An honest skops file, each array within it replaced by one that needs unpickling"
    box = io.BytesIO()
    np.save(box, np.array([Payload(marker)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        files = {n: z.read(n) for n in z.namelist()}
    assert any(n.endswith(".npy") for n in files)
    return zipped({n: box.getvalue() if n.endswith(".npy") else content for n, content in files.items()})


SKOPS = {
    "partial of os.system": lambda m, raw: skops.io.dumps(functools.partial(os.system, f"touch '{m}'")),
    "methodcaller": lambda m, raw: skops.io.dumps(operator.methodcaller("system", f"touch '{m}'")),
    "FunctionTransformer": lambda m, raw: skops.io.dumps(
        Pipeline(
            [("clean", FunctionTransformer(os.system, kw_args={})), ("columns", FunctionTransformer(eval))]
        )
    ),
    "a class of ours that is not on the list": lambda m, raw: skops.io.dumps(Payload(str(m))),
    "a type by name": lambda m, raw: skops.io.dumps(subprocess.Popen),
    "reduce by hand": lambda m, raw: reduced(m),
    "pickled arrays": lambda m, raw: with_pickled_arrays(raw, m),
    "a pickle": lambda m, raw: pickle.dumps(Payload(m)),
    "a schema that unfolds to many times what any has": lambda m, raw: bomb(raw, "schema.json", 2**25),
    "arrays of absurd shapes": lambda m, raw: with_absurd_shapes(raw),
    "a zip without a schema": lambda m, raw: zipped({"../../fired": "x", "/etc/fired": "x"}),
    "cut short": lambda m, raw: raw[: len(raw) // 2],
    "empty": lambda m, raw: b"",
}


@pytest.mark.parametrize("case", SKOPS)
@pytest.mark.parametrize("file", ["preprocess.skops", "estimator.skops"])
def test_a_poisoned_skops_file_runs_nothing(case, file, sklearn_folder, fired):
    path = sklearn_folder / file
    path.write_bytes(SKOPS[case](fired, path.read_bytes()))
    assert not isinstance(refused(sklearn_folder), (AssertionError, SystemExit))


def test_an_archive_is_measured_before_it_is_unfolded(folder):
    path = folder / "preprocess.skops"
    path.write_bytes(bomb(path.read_bytes(), ".npy", 2**30))
    tracemalloc.start()
    try:
        assert "unfold" in str(refused(folder)) and tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def lengthy(n):
    return struct.pack("<Q", n)


SAFETENSORS = {
    "absurd header length": lambda raw: lengthy(2**63) + raw[8:],
    "header of a gigabyte": lambda raw: lengthy(2**30) + raw[8:],
    "header not JSON": lambda raw: lengthy(4) + b"junk" + raw,
    "offsets outside": lambda raw: (
        lengthy(
            len(
                h := json.dumps(
                    {
                        "member_0/layer_0/kernel": {
                            "dtype": "F32",
                            "shape": [2**40, 2**20],
                            "data_offsets": [0, 2**62],
                        }
                    }
                ).encode()
            )
        )
        + h
    ),
    "other names": lambda raw: (
        lengthy(
            len(h := json.dumps({"../../x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode())
        )
        + h
        + b"\0" * 4
    ),
    "a pickle": lambda raw: pickle.dumps(Payload("/nowhere/fired")),
    "cut short": lambda raw: raw[:-3],
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_an_absurd_safetensors_file_is_refused(case, folder):
    path = folder / "weights.safetensors"
    path.write_bytes(SAFETENSORS[case](path.read_bytes()))
    assert not isinstance(refused(folder), MemoryError)


def poke(folder, **changes):
    path = folder / "config.json"
    facts = json.loads(path.read_text())
    for name, value in changes.items():
        (facts["config"] if name in facts["config"] or name.startswith("new_") else facts)[name] = value
    path.write_text(json.dumps(facts))


CONFIGS = {
    "unknown setting": dict(new_hook="os.system"),
    "unknown fact": dict(hook="os.system"),
    "layers as text": dict(hidden_layer_sizes="__import__('os')"),
    "no such backend": dict(backend="pickle"),
    "backend as a path": dict(backend="../../evil"),
    "members without end": dict(ensemble=10**12),
    "no such activation": dict(activation="eval"),
    "columns as text": dict(columns="x"),
    "classes as a number": dict(classes=3),
    "more layers than weights": dict(hidden_layer_sizes=[4, 4]),
}


def test_a_path_in_a_config_is_only_a_string(folder, monkeypatch):
    poke(folder, data="../../etc/passwd")
    opened = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    model = read_model(folder)
    assert (
        model.config.data == "../../etc/passwd"
        and not any("passwd" in path for path in opened)
        and model.predict(table().X).p.between(0, 1).all()
    )


def test_a_keras_file_with_a_lambda_is_no_model(folder, fired):
    for path in folder.iterdir():
        path.unlink()
    layer = {
        "class_name": "Lambda",
        "config": {"function": ["marshalled code", None, None], "name": "lambda"},
    }
    (folder / "model.keras").write_bytes(zipped({"config.json": json.dumps(layer), "metadata.json": "{}"}))
    assert isinstance(refused(folder), (FileNotFoundError, InputError))
    sources = [p.read_text() for p in (ROOT / "mlp_bench").glob("*.py")]
    assert not any(
        word in text
        for text in sources
        for word in ("keras.models.load", "saving.load_model", "enable_unsafe_deserialization")
    )


def test_other_files_beside_a_model_are_not_looked_at(folder, fired):
    shutil.copy(folder / "config.json", folder / "model.keras")
    (folder / "model.pkl").write_bytes(pickle.dumps(Payload(fired)))
    (folder / "preprocess.pkl").write_bytes(pickle.dumps(Payload(fired)))
    assert read_model(folder).predict(table().X).p.between(0, 1).all()


# ---- handles and ids


@pytest.mark.parametrize(
    "source",
    [
        "kaggle:../../x",
        "kaggle:..",
        "kaggle:a/..",
        "kaggle:a/b/../../../etc/passwd",
        "kaggle:a/b/versions/1/../../x.csv",
        "kaggle:/etc/passwd",
        "kaggle:a/b/%2e%2e/x.exe",
        "kaggle:a/b\0/x.csv",
        "kaggle:a/b//etc/x.csv",
        "kaggle:a\\..\\b/c",
        "kaggle:a/b/.hidden.csv",
        "kaggle:a/b/x.csv\n",
        "kaggle:$(touch fired)/b",
        "kaggle:a/b;touch fired",
        "kaggle:а/b",
    ],
)
def test_a_handle_cannot_leave_its_folder(source, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mlp_bench.kaggle._call_kagglehub", lambda *_: pytest.fail("Kaggle was asked"))
    with pytest.raises(InputError, match="is not a Kaggle handle"):
        load(source, "t")
    assert not list(tmp_path.iterdir())


IDS = [
    "../..",
    "../../etc",
    "/etc/passwd",
    "' OR '1'='1",
    "%",
    "%%%%%%",
    "____",
    "a' UNION SELECT * FROM tags --",
    '"; DROP TABLE runs; --',
    "*",
    "0" * 32 + "'",
    "g" * 32,
    "\0" * 8,
    "x" * 100_000,
    "runs:/../..",
    "é" * 8,
]


def test_a_run_id_is_nothing_but_a_run_id(store):
    tracking.connect()
    kept = store / "kept.txt"
    kept.write_text("mine")
    for run_id in IDS:
        for ask in (
            tracking.get_run,
            manager.load_model,
            lambda i: tracking.purge([i]),
            lambda i: tracking.mark(i, star=True),
            lambda i: tracking.footprint([i]),
        ):
            with pytest.raises(InputError):
                ask(run_id)
    assert kept.exists() and tracking.runs().empty


# ---- the source

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "joblib.load",
    "joblib.dump",
    "yaml.load",
    "yaml.unsafe_load",
    "pd.read_pickle",
    "pd.eval",
    "torch.load",
}
ALLOWED_CALLS = {"re.compile"}
FORBIDDEN_ARGUMENTS = {"shell": True, "verify": False, "allow_pickle": True, "safe_mode": False}


def dotted(node):
    return (
        f"{dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Attribute)
        else node.id
        if isinstance(node, ast.Name)
        else "?"
    )


def misdeeds(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"import {n}" for n in names if n.split(".")[0] in FORBIDDEN_IMPORTS)
        if isinstance(node, ast.Call):
            if (name := dotted(node.func)) in FORBIDDEN_CALLS - ALLOWED_CALLS:
                yield f"{name}()"
            for k in node.keywords:
                if (
                    isinstance(k.value, ast.Constant)
                    and k.arg in FORBIDDEN_ARGUMENTS
                    and k.value.value is FORBIDDEN_ARGUMENTS[k.arg]
                ):
                    yield f"{k.arg}={k.value.value}"


def test_the_watch_sees_what_it_looks_for():
    assert list(
        misdeeds(
            "import pickle\nfrom yaml import load\neval('1')\nos.system(x)\nrun(x, shell=True)\nget(u, "
            "verify=False)\nre.compile('x')\nnp.load(f, allow_pickle=True)"
        )
    ) == [
        "import pickle",
        "import yaml",
        "eval()",
        "os.system()",
        "shell=True",
        "verify=False",
        "allow_pickle=True",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "mlp_bench").glob("*.py")), ids=lambda p: p.name)
def test_no_module_can_run_what_it_reads(path):
    assert not list(misdeeds(path.read_text()))


def test_import_module_takes_fixed_names_only():
    "`import_module` is called with a literal or a name out of our table, never with text from a file"
    called = {
        (p.name, ast.unparse(n.args[0]))
        for p in (ROOT / "mlp_bench").glob("*.py")
        for n in ast.walk(ast.parse(p.read_text()))
        if isinstance(n, ast.Call)
        and dotted(n.func).endswith("import_module")
        and not isinstance(n.args[0], ast.Constant)
    }
    reasons = {
        ("evaluation.py", "library"): "a key of BOOSTERS",
        ("__init__.py", "f'mlp_bench.{_HOMES[name]}'"): "a module of ours",
    }
    assert called <= set(reasons), called - set(reasons)


ALL = {
    **{f"skops: {k}": ("skops", v) for k, v in SKOPS.items()},
    **{f"safetensors: {k}": ("safetensors", v) for k, v in SAFETENSORS.items()},
    **{f"config: {k}": ("config", v) for k, v in CONFIGS.items()},
}


def poisoned(case, folder, marker):
    kind, change = ALL[case]
    if kind == "config":
        return poke(folder, **change)
    path = folder / ("preprocess.skops" if kind == "skops" else "weights.safetensors")
    path.write_bytes(change(marker, path.read_bytes()) if kind == "skops" else change(path.read_bytes()))


@pytest.mark.parametrize("case", ALL)
def test_a_poisoned_model_gets_one_sentence(case, folder, fired):
    poisoned(case, folder, fired)
    sentence(refused(folder))

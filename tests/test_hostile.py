"""Whatever file it is given, the way from a file to a judged network ends in a result or in one sentence."""

import gzip
import io
import os
import subprocess
import sys
import zipfile
from collections import Counter
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("hypothesis")
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st

from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.reading import safe_csv
from mlp_bench.config import Config
from mlp_bench.evaluation import evaluate

pytestmark = pytest.mark.timeout(300)  # a hang is a failure
LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


def examples(n):
    "The short run is the same every time, the long one never"
    return settings(
        max_examples=n,
        deadline=timedelta(seconds=60),
        derandomize=n < 1000,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


BYTES, TABLES = [examples(75), examples(1500)], [examples(40), examples(1000)]
LENGTHS = pytest.mark.parametrize("slow", [False, pytest.param(True, marks=LONG)], ids=["few", "many"])


def sentence(error, name):
    text = str(error)
    one_line = len(text.splitlines()) == 1 and text.isprintable()
    assert one_line and name in text and text.endswith(".") and len(text) < 500, repr(text)
    return text


@contextmanager
def file_of(content, name):
    "A file in a folder of its own, beside which nothing may appear"
    with TemporaryDirectory() as folder:
        path, before = Path(folder, name), os.getcwd()
        path.write_bytes(content)
        os.chdir(folder)
        try:
            yield path
        finally:
            os.chdir(before)
        assert os.listdir(folder) == [name] and path.read_bytes() == content


def outcome(content, name="table.csv", target="t", recipe="standard"):
    "`result`, or the sentence; anything else is raised"
    config = Config(recipe=recipe, plan="cv:2", epochs=2, hidden_layer_sizes=(4,))
    with file_of(content, name) as path:
        try:
            p = evaluate(config, load(path, target))[1].p.to_numpy()
        except InputError as error:
            return sentence(error, name)
    assert np.isfinite(p).all() and (0 <= p).all() and (p <= 1).all()
    return "result"


# ---- tables, as text

NASTY = [
    "",
    " ",
    "NA",
    "nan",
    "NaN",
    "-inf",
    "inf",
    "1e308",
    "-1e308",
    "1e-320",
    "1e100",
    "1e400",
    "9" * 30,
    "9" * 400,
    str(2**53 + 1),
    str(2**64),
    "-0",
    "+7",
    "1_000",
    "0x10",
    "٣",
    "1,5",
    "1;2",
    "True",
    "false",
    "=cmd()",
    "@SUM(A1)",
    "-1+1",
    "'",
    '"',
    '""',
    "a\nb",
    "a\rb",
    "\t",
    "é",
    "😀",
    "\u2028",
    "\ufeff",
    "\x85",
    "\x1c",
    "2024-01-31",
    "None",
    "<b>",
    "{x}",
    "%s",
    "__import__('os')",
    "../../etc/passwd",
    "x" * 300,
]
KINDS = {
    "whole": st.integers(-(10**20), 10**20).map(str),
    "small": st.integers(-3, 3).map(str),
    "real": st.floats(width=64).map(repr),
    "unit": st.floats(-5, 5).map(repr),
    "constant": st.just("7"),
    "word": st.sampled_from(["a", "b", "c"]),
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
    "nasty": st.sampled_from(NASTY),
    "gap": st.sampled_from(["", "NA", "1"]),
}
CELLS = st.sampled_from(sorted(KINDS)).map(KINDS.get)
NAMES = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "Age",
        "Cholesterol",
        "MaxHR",
        "Sex",
        "FastingBS",
        "a_missing",
        "0",
        "é",
        "x y",
        "=1+1",
        "missing",
        "a\nb",
    ]
)


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


@st.composite
def sound_tables(draw):
    "A well-formed table with two labels, whatever else its cells hold; as lists"
    n, names = draw(st.integers(8, 24)), draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    columns = [draw(st.lists(draw(CELLS), min_size=n, max_size=n)) for _ in names]
    pair = draw(st.sampled_from(["01", "ny", "-+"]))
    labels = [pair[i % 2] for i in range(n)]
    return [*names, "t"], [list(row) for row in zip(*columns, labels)]


@st.composite
def texts(draw):
    "A table as text, perhaps with a torn line, a doubled or missing name, an open quote"
    names, rows = draw(sound_tables())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [",".join(map(quoted, row)) for row in [names, *rows[: draw(st.sampled_from([99] * 9 + [1, 0]))]]]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        i = draw(st.integers(0, len(lines) - 1))
        lines[i] = draw(
            st.sampled_from(
                [
                    ",",
                    '"',
                    lines[0],
                    "",
                    lines[i] + ",",
                    lines[i].replace(",", ";"),
                    '"' + lines[i],
                    lines[i] + "\r",
                    lines[i] + '"x',
                    "," + lines[i],
                    lines[i][:-1],
                ]
            )
        )
    return end.join(lines) + draw(st.sampled_from(["", end, end * 3, "\r\n\n\r"]))


def packed(raw, name="table.csv"):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, raw)
    return box.getvalue()


def cut(raw, draw):
    return raw[: draw(st.integers(0, len(raw)))]


def flipped(raw, draw):
    raw = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


@st.composite
def csv_files(draw):
    text = draw(texts())
    how = draw(
        st.sampled_from(
            ["utf-8"] * 6
            + [
                "utf-8-sig",
                "utf-16",
                "utf-16-le",
                "utf-32",
                "latin-1",
                "cut",
                "flipped",
                "nul",
                "gzip",
                "zip",
                "noise",
            ]
        )
    )
    event(how)
    raw = text.encode(how if how.startswith("utf") else "utf-8")
    return {
        "latin-1": lambda: text.encode("latin-1", "replace"),
        "cut": lambda: cut(raw, draw),
        "flipped": lambda: flipped(raw, draw),
        "nul": lambda: raw.replace(b"a", b"\0"),
        "gzip": lambda: gzip.compress(raw),
        "zip": lambda: packed(raw),
        "noise": lambda: draw(st.binary(max_size=300)),
    }.get(how, lambda: raw)()


RECIPE = st.sampled_from(["standard", "robust", "rich", "seed"])


@LENGTHS
def test_any_csv_ends_in_a_result_or_one_sentence(slow):
    seen = Counter()

    @BYTES[slow]
    @given(csv_files(), RECIPE)
    def check(raw, recipe):
        seen[outcome(raw, recipe=recipe) == "result"] += 1

    check()
    assert seen[True] > 10 and seen[False] > 10, seen


@LENGTHS
def test_a_sound_table_is_trained_on_or_names_what_is_wrong(slow):
    seen = Counter()

    @TABLES[slow]
    @given(sound_tables(), RECIPE)
    def check(table, recipe):
        names, rows = table
        text = "\n".join(",".join(map(quoted, row)) for row in [names, *rows])
        result = outcome(text.encode(), recipe=recipe)
        expected = "result", "absurdly large", "missing in every row"
        assert any(words in result for words in expected), result
        seen[result == "result"] += 1

    check()
    assert seen[True] > 10, seen


# ---- Parquet: types and bytes


def arrow_columns(n):
    "Columns of n rows of every type a writer may think of"
    plain = [
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.booleans(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.dates(),
        st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),
        st.times(),
        st.timedeltas(timedelta(-9999), timedelta(9999)),
        st.decimals(-(10**9), 10**9, places=3),
        st.binary(max_size=4),
        st.lists(st.integers(0, 3), max_size=2),
        st.fixed_dictionaries({"x": st.integers(0, 3)}),
        st.none(),
    ]

    def cells(cell):
        return st.lists(cell if cell is plain[0] else cell | st.none(), min_size=n, max_size=n)

    column = st.sampled_from(plain).flatmap(cells).map(pa.array)
    typed = st.sampled_from(
        [
            pa.uint64(),
            pa.int8(),
            pa.float16(),
            pa.float32(),
            pa.timestamp("s", "UTC"),
            pa.date32(),
            pa.string_view(),
            pa.large_string(),
        ]
    )

    def cast(column, kind):
        try:
            return column.cast(kind)
        except pa.ArrowException:
            return column

    return st.one_of(
        column,
        st.builds(cast, column, typed),
        column.map(lambda c: c.dictionary_encode() if pa.types.is_string(c.type) else c),
    )


@st.composite
def parquet_files(draw):
    n = draw(st.sampled_from([8, 9, 16, 12, 8, 16, 1, 0]))
    names = draw(
        st.lists(NAMES | st.just("__index_level_0__"), min_size=0, max_size=4, unique=draw(st.booleans()))
    )
    columns = [draw(arrow_columns(n)) for _ in names] + [pa.array([i % 2 for i in range(n)])]
    box = io.BytesIO()
    compression = draw(st.sampled_from(["none", "snappy", "zstd"]))
    try:
        pq.write_table(pa.table(columns, names=[*names, "t"]), box, compression=compression)
    except pa.ArrowInvalid:
        reject()  # a time in seconds that milliseconds cannot hold has no file
    how = draw(st.sampled_from(["whole"] * 4 + ["cut", "flipped"]))
    return {"whole": lambda raw, draw: raw, "cut": cut, "flipped": flipped}[how](box.getvalue(), draw)


@LENGTHS
def test_any_parquet_file_ends_in_a_result_or_one_sentence(slow):
    seen = Counter()

    @TABLES[slow]
    @given(parquet_files(), RECIPE)
    def check(raw, recipe):
        seen[outcome(raw, "table.parquet", recipe=recipe) == "result"] += 1

    check()
    assert seen[True] > 0 and seen[False] > 0, seen


def parquet(table, **options):
    box = io.BytesIO()
    pq.write_table(table, box, **options)
    return box.getvalue()


def not_utf8():
    ends = np.array([0, 1, 2], "int32")
    return pa.StringArray.from_buffers(2, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"\xff\xfe"))


@pytest.mark.parametrize(
    "column, expected",
    [
        (not_utf8(), "not a readable Parquet file"),
        (pa.array([b"a", b"b"], pa.binary(1)), "bytes"),
        (pa.array([[{"x": [1]}], None]), "lists, records"),
        (pa.array([None, None]), "missing in every row"),
        (pa.array([10**35, 2], pa.decimal128(38, 0)), "result"),
        (pa.array([date(1, 1, 1), date(9999, 12, 31)]), "result"),
        (pa.array([datetime(1, 1, 1), datetime(9999, 12, 31)], pa.timestamp("us")), "result"),
        (pa.array([time(1), None]), "result"),
        (pa.array(["a\rb", "a\r\nb"]), "result"),
        (pa.array(["a", "\0"]), "result"),
        (pa.array([Decimal("1e-9"), None]), "result"),
        (pa.array([2**63 - 1, None]), "result"),
        (pa.array(["x" * 200_000, "y"]), "result"),
    ],
)
def test_odd_parquet_columns(column, expected):
    assert expected in outcome(
        parquet(pa.table({"a": pa.chunked_array([column] * 2), "t": [0, 0, 1, 1]})), "table.parquet"
    )


def test_a_parquet_file_of_few_bytes_and_many_cells_is_refused_unread():
    zeros = pa.array(np.zeros(6 * 10**7, bool))
    raw = parquet(pa.table({"a": zeros, "t": zeros}), compression="zstd")
    assert len(raw) < 10**6 and "120,000,000 cells" in outcome(raw, "table.parquet")


def test_a_parquet_file_whose_text_unfolds_is_refused_unread():
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, "int32")), pa.array(["x" * 100_000]))
    raw = parquet(pa.table({"a": text, "t": pa.array(np.arange(10**6) % 2)}), compression="zstd")
    assert len(raw) < 10**6 and "bytes, and 1,000,000,000 are the most" in outcome(raw, "table.parquet")


# ---- cases worth a name

HEAD = "a,t\n"
SMALL = HEAD + "".join(f"{i},{i % 2}\n" for i in range(12))
CASES = {
    "UTF-16": (SMALL.encode("utf-16"), "result"),
    "BOM": (SMALL.encode("utf-8-sig"), "result"),
    "NUL": (SMALL.replace("3", "\0").encode(), "NUL"),
    "UTF-16 without its mark": (SMALL.encode("utf-16-le"), "--encoding utf-16-le"),
    "a few NULs for gaps": ((SMALL + '"\0",1\n' + "7,0\n" * 99).encode(), "result"),
    "picture": (b"\x89PNG" + bytes(range(256)) * 9, "binary file"),
    "gzip": (gzip.compress(SMALL.encode()), "result"),
    "half of a gzip": (gzip.compress(SMALL.encode())[:30], "cannot be unpacked"),
    "zip": (packed(SMALL.encode()), "result"),
    "zip with a page": (packed(b"<html>"), "web page"),
    "zip within a zip": (packed(packed(SMALL.encode())), "NUL"),
    "zip bomb": (packed(b"0" * 10**8), "line of 16,777,216 characters"),
    "gzip bomb": (gzip.compress(b"0" * 10**8), "line of 16,777,216 characters"),
    "damaged workbook": (packed(b"", "xl/workbook.xml"), "not a readable Excel workbook"),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"\1" * 40, "compressed"),
    "parquet by another name": (parquet(pa.table({"a": [1, 2, 3, 4], "t": [0, 1, 0, 1]})), "result"),
    "one row": (b"a,t\n1,0\n", "is 0 in every row"),
    "CR only": (SMALL.replace("\n", "\r").encode(), "result"),
    "mixed ends": (SMALL.replace("3,1\n", "3,1\r\n").replace("5,1\n", "5,1\r").encode(), "result"),
    "formulas": (SMALL.replace("3,", "=cmd(),").encode(), "result"),
    "open quote": ((HEAD + '"' + SMALL).encode(), "not readable as CSV"),
    "a row too short": ((SMALL + "1\n").encode(), "missing in line 14"),
    "a row too long": ((SMALL + "1,0,1\n").encode(), "line 14: 3 fields where the header has 2"),
    "no such column": (b"a,b\n1,0\n2,1\n", "no column t"),
    "doubled": (b"a,a,t\n" + b"1,1,0\n2,2,1\n" * 2, "result"),
    "doubled target": (b"a,t,t\n1,1,0\n2,2,1\n", "more than once"),
    "only an index": (b",t\n1,0\n2,1\n", "no column besides the target"),
    "huge whole numbers": ((SMALL + f"{2**70},0\n").encode(), "result"),
    "1e308": ((SMALL + "1e308,0\n").encode(), "absurdly large"),
    "line separators in cells": (SMALL.replace(",1", "\u2028\x85\x0b\x0c,1").encode(), "result"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_told_what_it_is(case):
    raw, expected = CASES[case]
    assert expected in outcome(raw)


@pytest.mark.parametrize("name", ["table.csv.bz2", "table.pkl", "table.h5", "table", "table.csv.exe"])
def test_another_extension_is_not_opened(name):
    assert "result" not in outcome(SMALL.encode(), name)


def test_a_file_larger_than_the_memory_is_refused_unread(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("wb") as f:
        f.truncate(10**12)  # sparse
    with pytest.raises(InputError) as caught:
        load(path, "t")
    assert "1,000,000,000,000 bytes" in sentence(caught.value, "table.csv")


@pytest.mark.parametrize(
    "parts, expected",
    [
        ([b"a,t\n1,"] + [b"bb," * 10**6] * 6, "line of 16,777,216 characters or more"),
        ([b"a,t\n"] + [b'"\n",' * 10**5], "100001 fields where the header has 2"),
        pytest.param(
            [b"a,t\n"] + [b'"\n",' * 10**6] * 5,
            "5000001 fields where the header has 2",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_row_without_end_is_cut_off(parts, expected):
    assert expected in outcome(b"".join(parts))


def test_more_columns_than_a_table_has_are_refused():
    assert "100,001 columns" in outcome(b"c," * 100_000 + b"t\n" + b"1," * 100_000 + b"0\n")


PEAK = """
import resource, sys
from mlp_bench.core import InputError
from mlp_bench.data import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try: load(sys.argv[1], "t")
except InputError as error: print(error)
peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(peak / len(open(sys.argv[1], "rb").read()))
"""


def test_one_emoji_does_not_make_a_file_four_times_as_large(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,t\n" + "".join(f"{i:01000d},{i % 2}\n" for i in range(20_000)) + "😀,1\n", "utf-8")
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
    # bytes held at the worst for each byte of the file, most of them the texts of column a
    assert float(done.stdout) < 7, done.stdout


def test_a_torn_row_at_the_end_of_a_long_file_is_found(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" + (b"1," + b"x" * 100_000 + b"\n") * 200 + b"1,2,torn\n")
    with pytest.raises(InputError, match="line 202: 3 fields where the header has 2"):
        load(path, "b")


@pytest.mark.parametrize(
    "cell, recipe",
    [
        ("", "seed"),
        pytest.param("{i}", "standard", marks=LONG),
        pytest.param("{k}", "robust", marks=LONG),
        pytest.param("w{k}", "standard", marks=LONG),
    ],
)
def test_ten_thousand_columns_are_read_and_trained_on(cell, recipe):
    names = [f"c{i}" for i in range(10_000)]

    def row(k):
        return [cell.format(i=i, k=k) if i % 3 else str(k) if k % 5 else "" for i in range(10_000)]

    lines = [",".join([*names, "t"]), *(",".join([*row(k), str(k % 2)]) for k in range(16))]
    result = outcome("\n".join(lines).encode(), recipe=recipe)
    assert result == "result" if cell else "missing in every row" in result


@pytest.mark.parametrize("columns", [1000, pytest.param(10_000, marks=LONG)])
def test_thousands_of_columns_with_gaps_are_trained_on(columns):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(20, columns)).round(2)).rename(columns="c{}".format)
    frame = frame.mask(rng.random(frame.shape) < 0.4).assign(t=np.arange(20) % 2)
    assert outcome(frame.to_csv(index=False).encode()) == "result"


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1+1", "@x", "\tx", "\rx"])
def test_what_is_written_is_no_formula_to_a_spreadsheet(text):
    written = pd.read_csv(io.StringIO(safe_csv(pd.DataFrame({text: [text, "x"], "n": [-1.5, 2]}))), dtype=str)
    assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in [*written.columns, *written.iloc[:, 0]])
    assert list(written.n) == ["-1.5", "2.0"]

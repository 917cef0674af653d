"""Tables as people have them are read for what they mean, and what was assumed is said."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlp_bench.columns import Kind
from mlp_bench.config import Config
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.eda import audit
from mlp_bench.evaluation import evaluate, key
from mlp_bench.features import recipe
from mlp_bench.models import final_model, read_model, save_model
from mlp_bench.reading import read_table

TABLES = Path(__file__).parent / "tables"
RNG = np.random.default_rng(5)
SICK = RNG.permutation(np.arange(60) % 2)
CLEAN = pd.DataFrame(
    {
        "age": (40 + 30 * RNG.random(60) + 8 * SICK).round(1),
        "cost": (1000 * np.exp(RNG.normal(size=60) + SICK)).round(2),
        "group": RNG.choice(["a", "b", "c"], 60),
        "outcome": np.where(SICK, "ill", "well"),
    }
)
PLAIN = CLEAN.to_csv(index=False)


def read(content, name="table.csv", folder=None, **how):
    path = Path(folder) / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(path, how.pop("target", "outcome"), **how)


def lines(change):
    "The plain table with its lines changed"
    return "\n".join(change(PLAIN.splitlines())) + "\n"


def cells(frame=CLEAN, **columns):
    "The plain table with columns written in another way"
    return frame.assign(**{c: frame[c].map(write) for c, write in columns.items()}).to_csv(index=False)


def zipped(raw):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/table.csv", raw)
        archive.writestr("__MACOSX/folder/._table.csv", "x")
    return box.getvalue()


def workbook(frame, above=()):
    box = io.BytesIO()
    with pd.ExcelWriter(box) as writer:
        frame.to_excel(writer, index=False, startrow=len(above), sheet_name="data")
        for i, title in enumerate(above):
            writer.sheets["data"].cell(i + 1, 1, title)
        pd.DataFrame({"x": [1]}).to_excel(writer, sheet_name="notes")
    return box.getvalue()


# ---- the layout: what stands around the cells makes no difference

LAYOUTS = {
    "semicolons, quoted header": (CLEAN.to_csv(sep=";", index=False, quoting=2), "separated by semicolons"),
    "semicolons, decimal comma": (
        CLEAN.to_csv(sep=";", index=False, decimal=","),
        "separated by semicolons; age, cost: decimal comma",
    ),
    "tabs": (CLEAN.to_csv(sep="\t", index=False), "separated by tabs"),
    "vertical bars": (CLEAN.to_csv(sep="|", index=False), "separated by vertical bars"),
    "blanks": (CLEAN.to_string(index=False), "separated by blanks"),
    "a word for Excel": ("sep=;\n" + CLEAN.to_csv(sep=";", index=False), "names in line 2"),
    "a comment": ("# made by export 1.2\n" + PLAIN, "names in line 2"),
    "a comment with commas": ("# made, by, export, 1.2\n" + PLAIN, "names in line 2"),
    "a comment that is the header": ("#" + PLAIN, ""),
    "comments below the header": (
        lines(lambda x: [x[0], "# age in years", "# cost in dollars", *x[1:]]),
        "",
    ),
    "titles": ("Report of May\n\nall wards\n" + PLAIN, "names in line 4"),
    "titles with commas": ("Report of May,,,\n,,,\n" + PLAIN, "names in line 3"),
    "blanks around names": (lines(lambda x: [x[0].replace(",", " , ") + "\t", *x[1:]]), ""),
    "no-break spaces around names": (lines(lambda x: [x[0].replace("age", "\u00a0age\u00a0"), *x[1:]]), ""),
    "blanks after commas": (PLAIN.replace(",", ", "), ""),
    "a tab after labels": (PLAIN.replace("ill\n", "ill\t\n"), ""),
    "a comma too many in the header": (lines(lambda x: [x[0] + ",", *x[1:]]), ""),
    "a comma too many in each row": (lines(lambda x: [x[0], *(row + "," for row in x[1:])]), ""),
    "commas too many everywhere": (lines(lambda x: [row + ",,," for row in x]), ""),
    "an index": (CLEAN.to_csv(), "the first column, which has no name, left out as an index"),
    "an index saved twice": (
        pd.read_csv(io.StringIO(CLEAN.to_csv())).to_csv(index=False),
        "the first column, which has no name, left out as an index",
    ),
    "names of rows": (
        CLEAN.set_index("person " + CLEAN.index.astype(str)).to_csv(),
        "the first column, which has no name, left out as an index",
    ),
    "names of rows, as R writes them": (
        CLEAN.set_index("person " + CLEAN.index.astype(str)).to_csv()[1:],
        "the first column, which has no name, left out as an index",
    ),
    "rows of commas": (
        lines(lambda x: [*x[:20], ",,,", *x[20:], ",,,"]),
        "2 empty rows left out",
    ),
    "the header again": (
        lines(lambda x: [*x[:20], x[0], *x[20:]]),
        "names that stand again (line 21) left out",
    ),
    "old Mac line ends": (PLAIN.replace("\n", "\r"), ""),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_what_stands_around_the_cells_makes_no_difference(kind, tmp_path):
    content, assumed = LAYOUTS[kind]
    data = read(content, folder=tmp_path)
    assert data.fingerprint == read(PLAIN, "plain.csv", folder=tmp_path).fingerprint
    assert assumed in "; ".join(data.assumed) and (assumed or not data.assumed)


ACCENTS = PLAIN.replace("age", "Größe").replace("ill", "très malade")
CONTAINERS = {
    "table.tsv": CLEAN.to_csv(sep="\t", index=False).encode(),
    "table.txt": CLEAN.to_csv(sep=";", index=False).encode(),
    "table.data": CLEAN.to_string(index=False).encode(),
    "TABLE.CSV": PLAIN.encode(),
    "table.csv.gz": gzip.compress(PLAIN.encode()),
    "table.zip": zipped(PLAIN),
    "table.xlsx": workbook(CLEAN),
    "w[1].csv": PLAIN.encode(),
    "what?.csv": PLAIN.encode(),
    "utf16.csv": PLAIN.encode("utf-16"),
    "bom.csv": PLAIN.encode("utf-8-sig"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_container_makes_no_difference(name, tmp_path):
    data = read(CONTAINERS[name], name, folder=tmp_path)
    assert data.fingerprint == read(PLAIN, "plain.csv", folder=tmp_path).fingerprint


def test_a_workbook_may_have_titles_and_other_sheets(tmp_path):
    data = read(workbook(CLEAN, ["Report of May", ""]), "table.xlsx", folder=tmp_path)
    assert data.fingerprint == read(PLAIN, folder=tmp_path).fingerprint
    assert data.assumed == ("sheet 1 of 2", "names in line 3")


@pytest.mark.parametrize("make", ["frame", "arrow", "protocol"])
def test_a_frame_is_a_source(make, tmp_path):
    import pyarrow as pa

    class Protocol:
        def __dataframe__(self, **options):
            return pa.table(CLEAN).__dataframe__()

    frame = CLEAN.set_index(CLEAN.index + 7)
    source = {"frame": frame, "arrow": pa.table(CLEAN), "protocol": Protocol()}
    assert load(source[make], "outcome").fingerprint == read(PLAIN, folder=tmp_path).fingerprint


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    read(PLAIN, folder=tmp_path)
    assert load("~/table.csv", "outcome").name == "table.csv"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac_roman"])
def test_an_encoding_is_named_by_the_reader_and_guessed_in_the_message(encoding, tmp_path):
    raw = ACCENTS.replace("well", "bien portant").encode(encoding)
    message = r"table.csv, line 1: byte 0x.. is not UTF-8; it looks like \w+, so try --encoding"
    with pytest.raises(InputError, match=message):
        read(raw, folder=tmp_path)
    data = read(raw, folder=tmp_path, encoding=encoding)
    assert list(data.X)[0] == "Größe" and "très malade" in data.classes


def test_the_guess_is_right_for_alphabets_that_differ(tmp_path):
    russian = "Прогноз,исход\nхолодно,да\nтепло,нет\n" * 5
    for text, encoding in (russian, "cp1251"), (ACCENTS * 2, "cp1252"):
        with pytest.raises(InputError, match=f"--encoding {encoding}"):
            read(text.encode(encoding), folder=tmp_path)


def test_an_unknown_encoding_is_named(tmp_path):
    with pytest.raises(InputError, match="Python knows no encoding klingon"):
        read(PLAIN, folder=tmp_path, encoding="klingon")


def test_a_table_without_names_is_asked_for_and_read_if_told(tmp_path):
    bare = "\n".join(PLAIN.splitlines()[1:])
    with pytest.raises(InputError, match="line 1: is there a header.*add --no-header"):
        read(bare, folder=tmp_path, target="column_4")
    data = read(bare, folder=tmp_path, target="column_4", header=False)
    assert len(data.y) == 60 and list(data.X) == ["column_1", "column_2", "column_3"]


@pytest.mark.parametrize("names", ["0,1,2,3", "1,2,3,4", "2019,2020,2021,outcome", "Q1,Q2,3.Q,outcome"])
def test_names_may_be_numbers_that_are_no_cells(names, tmp_path):
    rest = PLAIN.split("\n", 1)[1]
    assert len(read(f"{names}\n{rest}", folder=tmp_path, target=names.split(",")[-1]).y) == 60


def test_names_that_stand_twice_are_told_apart(tmp_path):
    data = read(PLAIN.replace("cost", "age", 1), folder=tmp_path)
    assert list(data.X) == ["age", "age.1", "group"] and data.assumed == ("column 2 called age.1",)


def test_a_row_that_ends_early_is_said(tmp_path):
    data = read(lines(lambda x: [*x[:8], "3", *x[8:]]), folder=tmp_path, drop_unlabelled=True)
    assert data.assumed[0] == "1 row ending early filled up with gaps (line 9)"


# ---- numbers in disguise

NUMBERS = {
    "question mark": dict(age=lambda v: "?" if v == CLEAN.age[3] else v),
    "dash": dict(age=lambda v: "-" if v == CLEAN.age[3] else v),
    "error of Excel": dict(age=lambda v: "#DIV/0!" if v == CLEAN.age[3] else v),
    "a rare word": dict(age=lambda v: "zero" if v == CLEAN.age[3] else v),
    "not available": dict(age=lambda v: "N.A." if v == CLEAN.age[3] else v),
    "currency": dict(cost=lambda v: f"${v:,.2f} "),
    "currency behind": dict(cost=lambda v: f"{v:.2f} €"),
    "percent": dict(age=lambda v: f"{v} %"),
    "thousands": dict(cost=lambda v: f"{v:,.2f}"),
    "thousands, Swiss": dict(cost=lambda v: f"{v:,.2f}".replace(",", "'")),
    "thousands, French": dict(cost=lambda v: f"{v:,.2f}".replace(",", "\u202f").replace(".", ",")),
    "thousands, German": dict(cost=lambda v: f"{v:,.2f}".translate({44: ".", 46: ","})),
    "decimal comma": dict(age=lambda v: str(v).replace(".", ",")),
    "typographic minus": dict(cost=lambda v: f"{v - 2000:.2f}".replace("-", "\u2212")),
    "ledger": dict(cost=lambda v: f"({2000 - v:.2f})" if v < 2000 else f"{v - 2000:.2f}"),
    "blanks": dict(age=lambda v: f" {v}\t"),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_numbers_however_they_are_written(kind, tmp_path):
    data = read(cells(**NUMBERS[kind]), folder=tmp_path)
    (column,) = NUMBERS[kind]
    expected = CLEAN[column] - 2000 * (kind in ("typographic minus", "ledger"))
    gaps = data.X[column].isna()
    assert gaps.sum() == (kind in list(NUMBERS)[:5])
    assert np.allclose(data.X[column][~gaps], expected[~gaps])
    assert data.assumed or kind in ("blanks", "typographic minus", "ledger")


@pytest.mark.parametrize(
    "column",
    [
        ["1", "2", "3", "crew"] * 15,
        ["$5", "€5", "$6"] * 20,
        ["5 %", "0.05", "7 %"] * 20,
        ["250", "428", "V45"] * 20,
        ["1.2.3", "1.2.4", "10.0"] * 20,
        ["?", "x", "-"] * 20,
        ["01", "2A", "2A", "2B", "2B", *map(str, range(3, 58))],
        [f"{i} - {i + 9}" for i in range(60)],
    ],
    ids=str,
)
def test_words_stay_words(column, tmp_path):
    data = read(CLEAN.assign(x=(column * 2)[:60]).to_csv(index=False), folder=tmp_path)
    assert data.kinds["x"].text


def test_a_comma_is_what_the_column_or_the_file_says(tmp_path):
    ambiguous = cells(cost=lambda v: f"{int(v) + 1000:,}")
    assert read(ambiguous, folder=tmp_path).X.cost.min() >= 1000
    settled = cells(CLEAN.assign(cost=[1.234, 12.5] * 30), cost=lambda v: str(v).replace(".", ","))
    assert read(settled, folder=tmp_path).X.cost.max() == 12.5
    semicolons = CLEAN.assign(cost=[1.234, 12.345] * 30).to_csv(sep=";", decimal=",", index=False)
    assert read(semicolons, folder=tmp_path).X.cost.max() == 12.345


def test_a_gap_costs_no_more_than_a_gap(tmp_path):
    "The AUC of a table whose numbers hold a few question marks is that of the clean one, nearly"
    marked = cells(age=lambda v: "?" if int(10 * v) % 20 == 0 else v, cost=lambda v: f"${v:,.2f}")
    config = Config(backend="logistic", plan="cv:5")
    clean, odd = (evaluate(config, read(t, folder=tmp_path))[0].roc_auc.mean() for t in (PLAIN, marked))
    assert clean > 0.6 and abs(clean - odd) < 0.05


def test_audit_names_a_doubtful_column_and_calls_no_quantity_a_record_number(tmp_path):
    areas = [str(900 + i) for i in range(50)] + [f"{i} - {i + 9}" for i in range(10)]
    money = [f"${1000 * v:,.0f}" for v in CLEAN.cost]
    days = pd.date_range("2024-01-01", periods=60).strftime("%d/%m/%Y")
    table = CLEAN.assign(area=areas, money=money, day=days).to_csv(index=False)
    findings = audit(read(table, folder=tmp_path))
    assert list(findings[findings.column == "area"].check) == ["doubtful kind"]
    assert "'0 - 9'" in findings[findings.column == "area"].finding.item()
    assert not findings.column.isin(["money", "day"]).any()


# ---- dates


FORMS = "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%d-%b-%Y", "%Y-%m-%dT%H:%M:%SZ", "%m/%d/%Y %I:%M %p"


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_numbers_to_a_model_and_one_text_to_everybody(form, tmp_path):
    days = pd.date_range("2023-12-20", periods=60)
    data = read(CLEAN.assign(seen=days.strftime(form)).to_csv(index=False), folder=tmp_path)
    assert data.X.seen[:2].tolist() == ["2023-12-20", "2023-12-21"] and "seen: dates" in data.assumed[0]
    names = recipe("robust").fit(data.X).get_feature_names_out()
    parts = ["seen_days", "seen_year", "seen_month", "seen_weekday"]
    assert [n.split("__")[1] for n in names if "seen" in n] == parts


def test_dates_are_learnt_from_training_rows_and_may_be_missing():
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d").to_series(index=CLEAN.index)
    X = CLEAN.drop(columns="outcome").assign(seen=days.where(days.index % 9 != 0))
    for name in "standard", "robust", "rich", "seed":
        spoilt = X.assign(seen=X.seen.where(X.index < 30, "2199-01-01"))
        one, two = recipe(name).fit(X[:30]), recipe(name).fit(spoilt[:30])
        assert (one.transform(X) == two.transform(X)).all() and np.isfinite(one.transform(spoilt)).all()


def test_a_frame_has_its_dates_too():
    days = pd.date_range("2024-01-01", periods=60)
    X = CLEAN.drop(columns="outcome")
    one, two = (recipe().fit_transform(X.assign(seen=d)) for d in (days, days.strftime("%Y-%m-%d")))
    assert (one == two).all()


def test_only_tables_with_dates_get_another_key(tmp_path):
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    data = read(CLEAN.assign(seen=days).to_csv(index=False), folder=tmp_path)
    config = Config(plan="cv:3")
    before = key(config, load(CLEAN.assign(seen="x" + days), "outcome"))
    assert len({key(config, data), before}) == 2


# ---- the target


def test_a_word_for_missing_may_be_one_of_two_labels(tmp_path):
    data = read(PLAIN.replace(",well", ",None"), folder=tmp_path)
    assert data.classes == ("None", "ill")


def test_a_word_for_missing_beside_two_labels_is_named(tmp_path):
    text = lines(lambda x: [*x[:4], x[4].rsplit(",", 1)[0] + ",NA", *x[5:]])
    message = r"missing in line 5 \(the word NA is read as that\): fill it in, or leave"
    with pytest.raises(InputError, match=message):
        read(text, folder=tmp_path)


def test_rows_without_a_label_are_left_out_if_asked_for(tmp_path):
    text = lines(lambda x: [*x[:4], x[4].rsplit(",", 1)[0] + ",", *x[5:], "Total,99,,"])
    data = read(text, folder=tmp_path, drop_unlabelled=True)
    assert len(data.y) == 59 and "2 rows without outcome left out" in data.assumed


# ---- traps: inputs that would be read, and wrongly


def rows_of(*columns, names, sep=","):
    "Sixty rows as text; a column is a function of the row's number"
    lines = [sep.join(column(i) for column in columns) for i in range(60)]
    return "\n".join([names, *lines]) + "\n"


def label(i):
    return ["ill", "well"][i % 2]


def test_a_fraction_below_one_is_no_thousand(tmp_path):
    text = rows_of(lambda i: f'"0,{100 + i}"', label, names="x,outcome")
    assert read(text, folder=tmp_path).X.x.max() == 0.159


def test_one_file_has_one_notation(tmp_path):
    text = rows_of(lambda i: f"{i},5", lambda i: f"1.{100 + i}", label, names="a;b;outcome", sep=";")
    data = read(text, folder=tmp_path)
    assert data.X.a[1] == 1.5 and data.X.b[1] == 1101 and "b: digits in groups of three" in data.assumed
    tabs = rows_of(lambda i: f"{i},5", lambda i: f"{i},{100 + i}", label, names="a\tb\toutcome", sep="\t")
    assert read(tabs, folder=tmp_path).X.b[1] == 1.101


def test_rows_that_an_open_quote_swallows_are_said(tmp_path):
    text = rows_of(label, lambda i: '"' * (i in (7, 31)) + f"hello {i}", str, names="outcome,text,z")
    data = read(text, folder=tmp_path)
    assert "rows within quotes taken for text (up to line 33)" in data.assumed


@pytest.mark.parametrize("odd", ["0000-00-00", "not yet"])
def test_a_rare_word_among_dates_is_a_gap_and_said(odd, tmp_path):
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d").to_list()
    data = read(CLEAN.assign(seen=[*days[:59], odd]).to_csv(index=False), folder=tmp_path)
    assert data.kinds["seen"].date and f"seen: 1 × '{odd}' read as missing" in data.assumed


def test_a_clock_is_read_as_it_stands(tmp_path):
    days = pd.date_range("2024-01-01", periods=60, tz="Europe/Berlin")
    frame = CLEAN.assign(seen=days)
    text = CLEAN.assign(seen=days.map(lambda day: day.isoformat())).to_csv(index=False)
    for data in load(frame, "outcome"), read(text, folder=tmp_path):
        assert data.X.seen[0] == "2024-01-01"


def test_a_shuffled_index_is_an_index(tmp_path):
    data = read(CLEAN.sample(frac=1, random_state=1).to_csv(), folder=tmp_path)
    assert list(data.X) == ["age", "cost", "group"] and "left out as an index" in data.assumed[0]


def test_an_empty_column_that_pandas_has_named_is_left_out():
    assert "Unnamed: 3" not in load(CLEAN.assign(**{"Unnamed: 3": np.nan}), "outcome").X


def test_blanks_around_the_name_of_the_target_do_not_matter():
    assert load(CLEAN.rename(columns={"outcome": "outcome "}), "outcome ").target == "outcome"


@pytest.mark.parametrize(
    "title", ["Station Berlin\n", "", "when the station, was asked\n"], ids=["two words", "none", "comma"]
)
def test_the_target_shows_which_separator_is_right(title, tmp_path):
    when = rows_of(lambda i: f"2024-01-01 {i % 24:02d}:00", str, label, names="when,temp,outcome")
    data = read(title + when + "\nEnd Report\n", folder=tmp_path, drop_unlabelled=True)
    assert list(data.X) == ["when", "temp"] and len(data.y) == 60


def test_names_may_be_wave_lengths_if_the_target_is_among_them(tmp_path):
    text = rows_of(str, str, label, names="1100.5,1101.0,outcome")
    assert list(read(text, folder=tmp_path).X) == ["1100.5", "1101.0"]


def test_blanks_cannot_say_which_cell_is_missing(tmp_path):
    text = rows_of(str, str, label, names="a b outcome", sep="  ").replace("\n7  7", "\n   7")
    with pytest.raises(InputError, match="line 9: fewer cells than names, and blanks do not show which"):
        read(text, folder=tmp_path)


def test_an_encoding_that_was_given_does_not_spoil_what_has_its_own(tmp_path):
    frame = CLEAN.assign(group="été")
    for content, name in (workbook(frame), "t.xlsx"), (frame.to_csv(index=False).encode("utf-16"), "t.csv"):
        assert set(read(content, name, folder=tmp_path, encoding="cp1252").X.group) == {"été"}
    assert list(read("\ufeff" + PLAIN, folder=tmp_path, encoding="utf-8").X) == ["age", "cost", "group"]


MARKS, OLD_EXCEL = (b"\xef\xbb\xbf", b"\xff\xfe"), b"\xd0\xcf\x11\xe0x"


@pytest.mark.parametrize(
    "source",
    [CLEAN[:0], CLEAN.outcome, CLEAN[[]], *MARKS, b'"', b",,,\n,,,\n", OLD_EXCEL],
    ids=["no rows", "a Series", "nothing", "a mark", "another mark", "a quote", "commas", "old Excel"],
)
def test_what_is_no_table_gets_one_sentence(source, tmp_path):
    with pytest.raises(InputError) as caught:
        read(source, folder=tmp_path) if isinstance(source, bytes) else load(source, "outcome")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["rot13", "base64", "utf-16", "idna", "undefined", "a\0b"])
def test_an_encoding_that_cannot_be_gets_one_sentence(encoding, tmp_path):
    with pytest.raises(InputError):
        read(PLAIN, folder=tmp_path, encoding=encoding)


# ---- new rows are read as the rows of training were


def model_of(table, folder):
    model = final_model(Config(epochs=2, backend="logistic"), read(table, folder=folder))
    save_model(model, Path(folder))
    return read_model(Path(folder))


def test_new_rows_are_read_as_the_rows_of_training_were(tmp_path):
    german = CLEAN.to_csv(sep=";", decimal=",", index=False)
    model = model_of(german, tmp_path)
    assert model.kinds["cost"] == Kind(False, ",", False, amount=True)
    one = "age;cost;group\n50;1.234;a\n"  # a thousand, since a comma stands before fractions
    table = read_table(written(tmp_path, one), kinds=model.kinds)
    assert table.frame.cost.tolist() == [1234]


def written(folder, text):
    path = Path(folder) / "new.csv"
    path.write_text(text, "utf-8")
    return path


def test_a_cell_that_cannot_be_read_is_missing_only_where_training_had_gaps(tmp_path):
    model = model_of(cells(age=lambda v: "?" if v == CLEAN.age[3] else v), tmp_path)
    table = read_table(written(tmp_path, "age , cost, group\nmany,5,a\n"), kinds=model.kinds)
    assert table.frame.age.isna().all() and np.isfinite(model.predict(table.frame).p).all()
    with pytest.raises(InputError, match="new.csv: column cost is 'lots' in line 3, which is no number as"):
        read_table(written(tmp_path, "age,cost,group\n50,5,a\n50,lots,a\n"), kinds=model.kinds)


@pytest.mark.parametrize(
    "cells, said",
    [("20,512;50", "cost is .20,512. in line 2, which is no number as"), ("$5;50", "no number as")],
)
def test_a_notation_that_training_did_not_have_is_refused(cells, said, tmp_path):
    model = model_of(PLAIN, tmp_path)
    with pytest.raises(InputError, match=said.replace("$", r"\$")):
        read_table(written(tmp_path, f"cost;age;group\n{cells};a\n"), kinds=model.kinds)


def test_what_is_missing_in_new_rows_is_said_and_other_columns_are_not_looked_at(tmp_path):
    model = model_of(cells(age=lambda v: "" if v == CLEAN.age[3] else v), tmp_path)
    table = read_table(written(tmp_path, "age,cost,group,score\ntall,5,a,inf\n"), kinds=model.kinds)
    assert table.notes == ["age: 1 × 'tall' read as missing"] and "score" not in table.frame


def test_a_model_takes_dates_as_they_were_written_or_read(tmp_path):
    days = pd.date_range("2024-01-01", periods=60)
    frame = CLEAN.assign(seen=days.strftime("%d/%m/%Y"))
    model = model_of(frame.to_csv(index=False), tmp_path)
    asked = [frame, frame.assign(seen=days), frame.assign(seen=days.strftime("%Y-%m-%d"))]
    p = [model.predict(X.drop(columns="outcome")).p for X in asked]
    assert p[0].std() > 0.01 and (p[0] == p[1]).all() and (p[0] == p[2]).all()
    with pytest.raises(InputError, match="column seen is 'soon' in row 0, which is no date as in training"):
        model.predict(frame.assign(seen="soon"))


def test_a_model_of_the_first_edition_is_read_without_kinds(tmp_path):
    model_of(PLAIN, tmp_path)
    facts = json.loads((tmp_path / "config.json").read_text())
    del facts["kinds"]
    (tmp_path / "config.json").write_text(json.dumps(facts))
    model = read_model(tmp_path)
    assert model.kinds == {"age": Kind(), "cost": Kind(), "group": Kind(True)}


# ---- nobody's cache is lost

GOLDEN = json.loads((TABLES / "first_edition.json").read_text())


@pytest.mark.parametrize("name", GOLDEN)
def test_what_the_first_edition_read_cleanly_keeps_its_fingerprint(name):
    golden = GOLDEN[name]
    data = load(TABLES / name, golden["target"])
    assert data.fingerprint == golden["fingerprint"] and [str(c) for c in data.classes] == golden["classes"]
    assert all(": text" in note for note in data.assumed)  # one code may have been meant as a number


def test_numbers_are_the_nearest_doubles():
    text = [repr(float(x)) for x in RNG.normal(size=2000) * 10.0 ** RNG.integers(-300, 90, 2000)]
    text += [f"{x:.25f}" for x in RNG.random(2000)]
    table = read_table(pd.DataFrame({"x": text}))
    assert table.frame.x.tolist() == list(map(float, text))

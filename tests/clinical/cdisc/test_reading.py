"""One dataset, five formats; files that are not what they say."""

from __future__ import annotations

import datetime as dt
import json
import re

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from cdisc_files import CREATED, FORMATS, PEOPLE, domain, write

from pdbiomarker.clinical.cdisc import (
    dataset_of,
    date_flag,
    date_text,
    read_dataset,
    read_datasets,
    write_dataset_json,
    write_xpt,
)
from pdbiomarker.errors import InputError, Problems

IDS = ["007", "NA", "1E5", "TRUE", "00.10"]


def sample():
    frame = pd.DataFrame(
        {
            "USUBJID": IDS,
            "AVAL": [0.1, np.nan, -1 / 3, 1e70, 0.0],
            "AVALC": [None, "x", "a" * 200, "None", "-"],
            "ADT": [
                dt.date(1955, 3, 1),
                None,
                dt.date(1960, 1, 1),
                dt.date(2024, 2, 29),
                dt.date(1959, 12, 31),
            ],
            "ADTM": [dt.datetime(1959, 12, 31, 23, 59, 59), None, None, dt.datetime(2024, 1, 1), None],
        }
    )
    labels = {"USUBJID": "Unique Subject Identifier", "AVAL": "Analysis Value", "ADT": "Analysis Date"}
    return dataset_of("ADX", frame, label="A label", labels=labels)


@pytest.mark.parametrize("form", ["xpt", "json", "parquet"])
def test_values_labels_and_dates_come_back(tmp_path, form):
    made = sample()
    full = {**{v.name: v.label or v.name for v in made.variables}}
    made = dataset_of("ADX", made.frame, label="A label", labels=full)
    read = read_dataset(write(tmp_path, made, form))
    assert list(read.frame.columns) == list(made.frame.columns)
    for name in ("USUBJID", "AVALC", "ADT", "ADTM"):
        assert read[name].tolist() == made[name].tolist()
    np.testing.assert_array_equal(read["AVAL"], made["AVAL"])  # every bit, and NaN
    assert read.labels == full
    assert [v.kind for v in read.variables] == ["text", "number", "text", "date", "datetime"]
    assert (read.name, read.label) == ("ADX", "A label")


def test_a_text_table_keeps_ids_as_typed(tmp_path):
    read = read_dataset(write(tmp_path, sample(), "csv", name="adx"))
    assert read["USUBJID"].tolist() == IDS
    assert read.name == "ADX"
    assert read.frame.index.tolist() == [2, 3, 4, 5, 6]  # lines, as an editor counts them


def test_sas7bdat_made_by_readstat(golden):
    """Golden: tests/golden/cdisc/make_sas7bdat.py wrote the same rows."""
    read = read_dataset(golden / "cdisc" / "pc.sas7bdat")
    assert read.name == "PC"
    assert read["USUBJID"].tolist() == ["007"] * 3 + ["NA"] * 3
    assert read["PCSTRESC"].tolist() == ["<BLQ", "12.5", "<BLQ", "0.1", "1E5", "3.25"]
    np.testing.assert_array_equal(read["PCSTRESN"], [0.0, 12.5, np.nan, 0.1, 1e5, 3.25])
    assert read["PCRFDT"].tolist() == [dt.date(1959, 12, 31)] * 3 + [dt.date(2025, 1, 10)] * 2 + [None]
    assert read.labels["PCLLOQ"] == "Lower Limit of Quantitation"
    assert {v.name: v.length for v in read.variables}["PCDTC"] == 16


def test_a_transport_file_of_version_8(tmp_path):
    frame = pd.DataFrame({"USUBJID": ["1", "2"], "A_LONGER_NAME": [1.5, 2.0]})
    pyreadstat.write_xport(frame, str(tmp_path / "dm.xpt"), file_format_version=8, table_name="DM")
    read = read_dataset(tmp_path / "dm.xpt")
    assert (read.name, read["A_LONGER_NAME"].tolist()) == ("DM", [1.5, 2.0])


def test_doubles_survive_a_transport_file_to_the_last_bit(tmp_path):
    draw = np.random.default_rng(0)
    values = draw.normal(size=5000) * 10.0 ** draw.integers(-70, 70, 5000)
    made = dataset_of("ADX", pd.DataFrame({"AVAL": values}), labels={"AVAL": "Analysis Value"})
    write_xpt(made, tmp_path / "x.xpt", created=CREATED)
    np.testing.assert_array_equal(read_dataset(tmp_path / "x.xpt")["AVAL"], values)


def test_empty_text_is_missing_in_a_transport_file_and_not_in_json(tmp_path):
    made = domain("DM", [{"USUBJID": "1", "X": ""}, {"USUBJID": "2", "X": None}])
    assert read_dataset(write(tmp_path, made, "xpt"))["X"].tolist() == [None, None]
    assert read_dataset(write(tmp_path, made, "json"))["X"].tolist() == ["", None]


def test_dataset_json_holds_every_text(tmp_path):
    made = domain("DM", [{"USUBJID": "患者-1", "X": "µ≥\n\"'\\" + "é" * 500}])
    assert read_dataset(write(tmp_path, made, "json"))["X"].tolist() == made["X"].tolist()


def test_numeric_dates_of_other_writers_are_dates(tmp_path):
    """Dataset-JSON may carry SAS numbers: 23751 is 2025-01-10 by its format, or by the name ADT."""
    columns = [
        {"itemOID": "a", "name": "USUBJID", "label": "", "dataType": "string"},
        {"itemOID": "b", "name": "ADT", "label": "", "dataType": "integer"},
        {
            "itemOID": "c",
            "name": "SVSTART",
            "label": "",
            "dataType": "integer",
            "displayFormat": "E8601DA10.",
        },
        {"itemOID": "d", "name": "TIME", "label": "", "dataType": "float", "displayFormat": "TIME8."},
        {"itemOID": "e", "name": "AVAL", "label": "", "dataType": "decimal", "targetDataType": "decimal"},
    ]
    document = {"datasetJSONVersion": "1.1.0", "itemGroupOID": "x", "name": "ADX", "records": 1}
    document |= {"columns": columns, "rows": [["1", 23751, -1, 3661.0, "0.1"]]}
    (tmp_path / "x.json").write_text(json.dumps(document))
    frame = read_dataset(tmp_path / "x.json").frame
    assert frame.loc[1, "ADT"] == dt.date(2025, 1, 10)
    assert frame.loc[1, "SVSTART"] == dt.date(1959, 12, 31)
    assert frame.loc[1, "TIME"] == dt.time(1, 1, 1)
    assert frame.loc[1, "AVAL"] == 0.1


def codes(error):
    return [p.code for p in error.value.problems if p.severity == "error"]


def test_a_transport_file_that_is_cut_short_is_refused(tmp_path):
    path = write(tmp_path, sample(), "xpt")
    whole = path.read_bytes()
    for cut in (len(whole) - 80, len(whole) - 7, 700, 90):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cut short") as error:
            read_dataset(path)
        assert codes(error) == ["E-CDISC-001"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_wrong_extension_is_named(tmp_path, form):
    path = write(tmp_path, PEOPLE, form)
    other = path.with_suffix(".sas7bdat")
    path.rename(other)
    with pytest.raises(InputError, match="by its first bytes it is") as error:
        read_dataset(other)
    assert codes(error) == ["E-CDISC-001"]
    assert error.value.problems[0].file == other.name


@pytest.mark.parametrize("suffix", [".parquet", ".sas7bdat"])
def test_a_damaged_file_is_named(tmp_path, suffix, golden):
    path = tmp_path / f"pc{suffix}"
    good = golden / "cdisc" / "pc.sas7bdat" if suffix == ".sas7bdat" else write(tmp_path, PEOPLE, "parquet")
    path.write_bytes(good.read_bytes()[:600])
    with pytest.raises(InputError) as error:
        read_dataset(path)
    assert codes(error) == ["E-CDISC-001"]


def test_dataset_json_with_mismatched_columns_tells_everything(tmp_path):
    path = write(tmp_path, PEOPLE, "json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["rows"][0].pop()
    document["columns"][1]["name"] = "STUDYID"
    document["columns"][2]["dataType"] = "word"
    document["records"] = 3
    document["datasetJSONVersion"] = "1.0.0"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_dataset(path)
    assert codes(error) == ["E-CDISC-002"] * 5
    told = str(error.value)
    for word in ("11 values, there are 12 columns", "same name", "dataType", "says 3 records", "version 1.1"):
        assert word in told


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [("integer", 1.5, False), ("integer", 2.0, True), ("double", 10**400, False), ("double", 1.5, True)],
)
def test_dataset_json_with_numbers_that_do_not_fit(tmp_path, kind, value, good):
    path = write(tmp_path, PEOPLE, "json")
    document = json.loads(path.read_text(encoding="utf-8"))
    place = [c["name"] for c in document["columns"]].index("AGE")
    document["columns"][place]["dataType"] = kind
    document["rows"][1][place] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    if good:
        assert read_dataset(path)["AGE"].iloc[1] == value
        return
    with pytest.raises(InputError) as error:
        read_dataset(path)
    (problem,) = error.value.problems
    assert (problem.code, problem.row, problem.column) == ("E-CDISC-002", 2, "AGE")


def test_dataset_json_whose_number_of_records_is_no_number(tmp_path):
    path = write(tmp_path, PEOPLE, "json")
    document = json.loads(path.read_text(encoding="utf-8")) | {"records": "many"}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_dataset(path)
    assert [(p.code, p.column, p.value) for p in error.value.problems] == [("E-CDISC-002", "records", "many")]


def test_dataset_json_with_a_value_of_another_type(tmp_path):
    path = write(tmp_path, PEOPLE, "json")
    document = json.loads(path.read_text(encoding="utf-8"))
    place = [c["name"] for c in document["columns"]].index("AGE")
    document["rows"][1][place] = "old"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_dataset(path)
    (problem,) = error.value.problems
    assert (problem.code, problem.row, problem.column, problem.value) == ("E-CDISC-002", 2, "AGE", "old")


def test_several_datasets_in_one_transport_file_are_refused(tmp_path):
    path = write(tmp_path, PEOPLE, "xpt")
    data = path.read_bytes()
    path.write_bytes(data + data[240:])
    with pytest.raises(InputError, match="2 datasets"):
        read_dataset(path)


def test_files_of_one_dataset_that_share_records_are_refused(tmp_path):
    write(tmp_path, PEOPLE, "json", name="dm")
    write(tmp_path, PEOPLE, "json", name="demography")
    with pytest.raises(InputError, match="share records") as error:
        read_datasets(tmp_path)
    assert codes(error) == ["E-CDISC-003"]
    chosen = read_datasets(tmp_path, use={"DM": "dm.json"})
    assert chosen["DM"].file == "dm.json"


def test_files_of_a_split_dataset_are_joined(tmp_path):
    one = domain("RS", [{"USUBJID": "1", "RSSEQ": 1.0, "A": "x"}])
    two = domain("RS", [{"USUBJID": "1", "RSSEQ": 2.0, "B": "y"}])
    write(tmp_path, one, "xpt", name="rsa")
    write(tmp_path, two, "json", name="rsb")
    joined = read_datasets(tmp_path)["RS"]
    assert joined["RSSEQ"].tolist() == [1.0, 2.0]
    assert joined["B"].tolist() == [None, "y"]


def test_what_is_not_a_dataset_is_told(tmp_path):
    write(tmp_path, PEOPLE, "xpt")
    (tmp_path / "table.xlsx").write_bytes(b"x")
    write(tmp_path, domain("ZZ", [{"USUBJID": "1"}]), "json")
    problems = Problems()
    assert list(read_datasets(tmp_path, problems=problems)) == ["DM"]
    assert sorted(p.file for p in problems.warnings) == ["table.xlsx", "zz.json"]


@pytest.mark.parametrize(
    ("given", "text", "flag"),
    [
        ("2014-02-03T10:15", "2014-02-03T10:15", None),
        ("2014-02-03T10", "2014-02-03", None),
        ("2014-02", "2014-02", "D"),
        ("2014", "2014", "M"),
        ("2014---03", "2014", "M"),
        ("2014-02--", "2014-02", "D"),
        ("02FEB2014", "2014-02-02", None),
        (dt.datetime(2014, 2, 3, 4), "2014-02-03T04:00:00", None),
        ("2014-13", None, None),
        ("2014-02-30", None, None),
        ("03/02/2014", None, None),
    ],
)
def test_trap_11_a_partial_date_is_kept_as_far_as_it_is_known(given, text, flag):
    assert (date_text(given), date_flag(text)) == (text, flag)


@pytest.mark.parametrize("form", ["xpt", "json"])
def test_documents_carry_the_cut_off_and_not_the_clock(tmp_path, form):
    data = write(tmp_path, sample_ascii(), form).read_bytes()
    stamps = re.findall(
        rb"[0-9]{2}[A-Z]{3}[0-9]{2}:[0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}", data[:600]
    )
    assert set(stamps) == ({b"30JUN25:00:00:00"} if form == "xpt" else {b"2025-06-30T00:00:00"})
    assert len(stamps) == (4 if form == "xpt" else 1)
    assert write(tmp_path / "again", sample_ascii(), form).read_bytes() == data


def sample_ascii():
    made = sample()
    return dataset_of("ADX", made.frame, labels={v.name: v.name for v in made.variables})


def test_what_a_transport_file_cannot_hold_is_refused_at_once(tmp_path):
    frame = pd.DataFrame(
        {
            "USUBJID": ["Müller-1"],
            "TOOLONGNAME": ["x"],
            "TXT": ["a" * 201],
            "CJK": ["患者"],
            "AVAL": [1e300],
            "TINY": [1e-200],
            "BLANK": ["a "],
        }
    )
    made = dataset_of("ADX", frame, labels={"TXT": "L" * 41})
    with pytest.raises(InputError) as error:
        write_xpt(made, tmp_path / "x.xpt", created=CREATED)
    columns = {p.column for p in error.value.problems}
    assert columns == {"USUBJID", "TOOLONGNAME", "TXT", "the label of TXT", "CJK", "AVAL", "TINY", "BLANK"}
    assert not (tmp_path / "x.xpt").exists()


def test_typographic_characters_are_written_in_ascii_and_told(tmp_path):
    made = dataset_of(
        "ADX", pd.DataFrame({"PARAM": ["CD8 (cells/mm²) ≥ 5 µm"]}), labels={"PARAM": "Parameter"}
    )
    (told,) = write_xpt(made, tmp_path / "x.xpt", created=CREATED)
    assert told.severity == "warning"
    assert read_dataset(tmp_path / "x.xpt")["PARAM"].tolist() == ["CD8 (cells/mm2) >= 5 um"]


def test_a_dataset_without_records(tmp_path):
    made = dataset_of("ADX", pd.DataFrame({"USUBJID": pd.Series([], dtype=object), "AVAL": np.array([])}))
    write_dataset_json(made, tmp_path / "x.json", created=CREATED)
    assert len(read_dataset(tmp_path / "x.json")) == 0

"""NPX files in long form: limits of detection, warnings, plates, and what is refused with its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import study_folder

from pdbiomarker.errors import AssayError, StudyError
from pdbiomarker.expression import problems_of, read_olink, read_value_file
from pdbiomarker.pairing import usable
from pdbiomarker.run.assays import count_assays, expression_tables
from pdbiomarker.study import FORMATS, read_study

BIOPSIES = "participant_id,biopsy_id,visit\nP1,B1,screening\nP1,B2,C2D1\nP2,B3,screening\nP2,B4,C2D1\n"
HEAD = "SampleID;OlinkID;UniProt;Assay;Panel;PlateID;QC_Warning;LOD;NPX\n"
#: Four biopsies, two proteins, two plates; B1's IL6 and B3's IL6 lie below the limit of their plates.
ROWS = (
    "B1;OID1;P05231;IL6;IO;plate1;PASS;1.5;1.0\n"
    "B1;OID2;P10144;GZMB;IO;plate1;PASS;0.5;3.0\n"
    "B2;OID1;P05231;IL6;IO;plate1;PASS;1.5;2.0\n"
    "B2;OID2;P10144;GZMB;IO;plate1;PASS;0.5;5.0\n"
    "B4;OID1;P05231;IL6;IO;plate2;PASS;1.0;4.0\n"
    "B4;OID2;P10144;GZMB;IO;plate2;PASS;0.5;NA\n"
    "B3;OID1;P05231;IL6;IO;plate2;PASS;1.0;0.25\n"
    "B3;OID2;P10144;GZMB;IO;plate2;PASS;0.5;2.5\n"
)


def study_of(tmp_path, table=HEAD + ROWS, *, spec="format: olink"):
    study = f"id: T\nvisits: {{screening: {{}}, C2D1: {{}}}}\nassays: {{npx: {{{spec}, file: npx.csv}}}}\n"
    return read_study(study_folder(tmp_path, biopsies=BIOPSIES, study=study, files={"npx.csv": table}))


def read(tmp_path, table=HEAD + ROWS, *, spec="format: olink"):
    study = study_of(tmp_path, table, spec=spec)
    return read_olink(study.path / "npx.csv", study=study, spec=study.spec.assays[0])


def test_values_below_the_limit_of_their_plate_are_censored_at_it(tmp_path):
    study = study_of(tmp_path)
    found = read_value_file(study, study.spec.assays[0])
    assert found.obs_names.tolist() == ["B1", "B2", "B3", "B4"]
    assert found.var_names.tolist() == ["GZMB", "IL6"]
    # log2 of X is NPX itself, or the plate's limit.
    np.testing.assert_allclose(np.log2(found.X), [[3, 1.5], [5, 2], [2.5, 1], [np.nan, 4]], rtol=1e-15)
    np.testing.assert_array_equal(found.layers["censored"], [[0, -1], [0, 0], [0, -1], [0, 0]])
    assert found.var["kind"].tolist() == ["intensity"] * 2
    assert found.var["uniprot"].tolist() == ["P10144", "P05231"]
    assert found.obs["batch"].tolist() == ["plate1", "plate1", "plate2", "plate2"]
    assert found.obs["below_lod"].tolist() == [0.5, 0, 0.5, 0]
    assert problems_of(found) == ()


def test_values_below_the_limit_may_count_as_missing(tmp_path):
    found = read(tmp_path, spec="format: olink, limits: missing")
    assert "censored" not in found.layers
    row = found[["B1", "B3"], ["IL6"]]
    assert np.isnan(row.X).all()
    told = "below the limit of detection"
    assert json.loads(found.var.at["IL6", "unmeasured"]) == {"B1": told, "B3": told}


def test_without_limits_values_are_as_given_and_that_is_told(tmp_path):
    lines = [line.split(";") for line in (HEAD + ROWS).splitlines()]
    found = read(tmp_path, "\n".join(";".join([*cells[:7], cells[8]]) for cells in lines) + "\n")
    assert np.log2(found["B1", "IL6"].X.item()) == 1.0
    assert "censored" not in found.layers
    assert [(p.code, p.severity) for p in problems_of(found)] == [("E-VALUE-281", "warning")]


@pytest.mark.parametrize(("warned", "severity"), [("", "quarantine"), (", warned: kept", "warning")])
def test_what_quality_control_warned_of_is_left_out_unless_kept(tmp_path, warned, severity):
    table = (HEAD + ROWS).replace("B2;OID2;P10144;GZMB;IO;plate1;PASS", "B2;OID2;P10144;GZMB;IO;plate1;WARN")
    found = read(tmp_path, table, spec=f"format: olink{warned}")
    (told,) = problems_of(found)
    assert (told.code, told.severity, told.item, told.value) == ("E-VALUE-280", severity, "B2", "WARN")
    assert np.isnan(found["B2", "GZMB"].X.item()) == (severity == "quarantine")
    assert np.log2(found["B2", "IL6"].X.item()) == 2.0
    assert found.obs["qc_warning"].to_dict() == {"B1": "", "B2": "IO", "B4": "", "B3": ""}


def test_a_biopsy_without_any_value_has_the_laboratorys_warning_as_its_reason(tmp_path):
    table = "\n".join(
        line.replace("PASS", "WARN") if line.startswith("B1") else line for line in (HEAD + ROWS).splitlines()
    )
    study = study_of(tmp_path, table + "\n")
    told = []
    study = study.with_assay("npx", count_assays(study, told)["npx"])
    object.__setattr__(study, "problems", tuple(told))
    row = usable(study, "npx", visits=["screening", "C2D1"]).loc["B1"]
    assert (row["used"], row["code"]) == (False, "E-PAIR-008")
    assert "E-VALUE-280 The laboratory's quality control warns of sample 'B1' (IO): 2 values" in row["reason"]


def test_a_warning_of_a_protein_is_told(tmp_path):
    table = "".join(
        line + (";Assay_Warning" if k == 0 else ";WARN" if "IL6" in line else ";PASS") + "\n"
        for k, line in enumerate((HEAD + ROWS).splitlines())
    )
    found = read(tmp_path, table)
    (told,) = problems_of(found)
    assert (told.code, told.severity, told.value) == ("E-VALUE-280", "warning", "IL6")
    assert np.log2(found["B2", "IL6"].X.item()) == 2.0


def test_a_protein_of_two_panels_has_two_names(tmp_path):
    more = "B1;OID9;P05231;IL6;Neuro;plate1;PASS;1.5;7.0\n"
    found = read(tmp_path, HEAD + ROWS + more)
    assert sorted(found.var_names) == ["GZMB", "IL6_OID1", "IL6_OID9"]
    assert np.log2(found["B1", "IL6_OID9"].X.item()) == 7.0


def test_controls_are_passed_over_and_strangers_quarantined(tmp_path):
    rest = "OID1;P05231;IL6;IO;plate1;PASS;1.5;7.0\n"
    more = f"CONTROL_SAMPLE_1;{rest}B11;{rest}"
    found = read(tmp_path, HEAD + ROWS + more)
    (told,) = problems_of(found)
    assert (told.code, told.severity, told.item) == ("E-SHEET-006", "quarantine", "B11")
    assert found.n_obs == 4


def test_plates_that_hold_one_visit_each_are_told(tmp_path):
    lines = (HEAD + ROWS).replace("plate2", "plate1").splitlines()
    table = "\n".join(x.replace("plate1", "plate2") if x[:2] in {"B2", "B4"} else x for x in lines) + "\n"
    study, told = study_of(tmp_path, table), []
    assays = count_assays(study, told)
    assert [(p.code, p.file) for p in told] == [("E-STUDY-005", "npx.csv")]
    facts = expression_tables(study, assays)["values"]
    assert facts[["biopsy_id", "assay", "batch"]].to_numpy().tolist()[:2] == [
        ["B1", "npx", "plate1"],
        ["B2", "npx", "plate2"],
    ]


@pytest.mark.parametrize(
    ("table", "code", "row"),
    [
        (HEAD.replace("NPX", "Quant") + ROWS, "E-SHEET-001", None),
        (HEAD + ROWS + ROWS.splitlines()[0] + "\n", "E-SHEET-016", 10),
        (HEAD + ROWS.replace("3.0", "3,0", 1), "E-SHEET-007", 3),
        (HEAD + ";OID1;P05231;IL6;IO;plate1;PASS;1.5;1.0\n", "E-SHEET-004", 2),
        (HEAD + ROWS.replace("B", "X"), "E-SHEET-006", 1),
    ],
)
def test_faults_have_their_place(tmp_path, table, code, row):
    with pytest.raises(AssayError) as caught:
        read(tmp_path, table)
    assert (code, row) in [(p.code, p.row) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("format: olinc", "Allowed: 'table'.*'nsolver' or 'olink'"),
        ("kind: score, format: olink", "no assay of kind score.*kind: intensity"),
        ("format: olink, features: npx.csv", "has no features"),
    ],
)
def test_a_format_and_its_keys_are_checked(tmp_path, spec, said):
    with pytest.raises(StudyError, match=said):
        study_of(tmp_path, spec=spec)


@pytest.mark.parametrize("name", FORMATS)
def test_the_reader_of_every_format_is_there(name):
    assert callable(FORMATS[name].function())

"""Tables of values: cells, limits, features, and what is refused with its place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import study_folder

from pdbiomarker.errors import AssayError, Problems, StudyError
from pdbiomarker.expression import problems_of, read_values
from pdbiomarker.expression.values import _Cells, _tell_logarithms
from pdbiomarker.normalize import normalize
from pdbiomarker.study import read_study

BIOPSIES = "participant_id,biopsy_id,visit\nP1,B1,screening\nP1,B2,C2D1\nP2,B3,screening\n"


def read(tmp_path, table, *, spec="kind: intensity", features=None):
    files = {"v.csv": table} | ({} if features is None else {"f.csv": features})
    more = "" if features is None else ", features: f.csv"
    study = (
        f"id: T\nvisits: {{screening: {{}}, C2D1: {{}}}}\nassays: {{lab: {{{spec}, file: v.csv{more}}}}}\n"
    )
    folder = study_folder(tmp_path, biopsies=BIOPSIES, study=study, files=files)
    study = read_study(folder)
    return read_values(folder / "v.csv", study=study, spec=study.spec.assays[0])


def test_a_table_becomes_biopsies_by_features(tmp_path):
    features = "feature,label,unit,lloq,uloq,expected_direction\nil6,IL-6,pg/mL,0.5,90,1\n"
    found = read(tmp_path, "id,B2,B1\nil6,2.5,1\ncrp,,4e1\n", features=features)
    assert found.obs_names.tolist() == ["B1", "B2"]  # as in the sheet
    np.testing.assert_array_equal(found.X, [[1.0, 40.0], [2.5, np.nan]])
    assert found.var.loc["il6", ["label", "unit", "lloq", "uloq", "expected_direction"]].tolist() == [
        "IL-6",
        "pg/mL",
        0.5,
        90.0,
        1,
    ]
    assert found.var.loc["crp", "label"] == "crp"
    assert found.var["kind"].tolist() == ["intensity", "intensity"]
    assert "censored" not in found.layers


def test_limits_are_censored_or_missing_as_declared_and_refused_otherwise(tmp_path):
    table = "id,B1,B2\nil6,<0.5,> 90\n"
    found = read(tmp_path / "a", table, spec="kind: intensity, limits: censored")
    np.testing.assert_array_equal(found.X, [[0.5], [90.0]])
    np.testing.assert_array_equal(found.layers["censored"], [[-1.0], [1.0]])
    found = read(tmp_path / "b", table, spec="kind: intensity, limits: missing")
    assert np.isnan(found.X).all()
    assert "censored" not in found.layers
    assert found.var["unmeasured"].tolist() == ['{"B1": "beyond a limit", "B2": "beyond a limit"}']
    with pytest.raises(AssayError) as caught:
        read(tmp_path / "c", table)
    first, second = caught.value.problems
    assert (first.code, first.file, first.row, first.column, first.value) == (
        "E-SHEET-007",
        "v.csv",
        2,
        "B1",
        "<0.5",
    )
    assert "limits: censored" in first.remedy
    assert second.column == "B2"


@pytest.mark.parametrize(
    ("table", "spec", "code", "place"),
    [
        ("id,B1\na,1\na,2\n", "kind: score", "E-SHEET-005", (3, "id")),
        ("id,B1\na,1\n,2\n", "kind: score", "E-SHEET-004", (3, "id")),
        ("id,B1\na,x\n", "kind: score", "E-SHEET-007", (2, "B1")),
        ("id,B1\na,<x\n", "kind: score, limits: censored", "E-SHEET-007", (2, "B1")),
        ("id,B1\na,<0\n", "kind: intensity, limits: censored", "E-SHEET-007", (2, "B1")),
        ("id,B1\na,35\n", "kind: proportion", "E-SHEET-008", (2, "B1")),
        ("id,B1\na,-1\n", "kind: density", "E-SHEET-008", (2, "B1")),
        ("id,X1\na,1\n", "kind: score", "E-SHEET-006", (1, None)),
    ],
)
def test_faults_have_their_place(tmp_path, table, spec, code, place):
    with pytest.raises(AssayError) as caught:
        read(tmp_path, table, spec=spec)
    assert (code, *place) in [
        (p.code, p.row, p.column) for p in caught.value.problems if p.severity == "error"
    ]


def test_a_feature_given_twice_is_named_and_many_faults_are_counted(tmp_path):
    with pytest.raises(AssayError) as caught:
        read(tmp_path, "id,B1\na,1\na,2\n", spec="kind: score")
    assert [p.value for p in caught.value.problems if p.code == "E-SHEET-005"] == ["a"]
    rows = "".join(f"f{k},x\n" for k in range(27))
    with pytest.raises(AssayError) as caught:
        read(tmp_path / "many", f"id,B1\n{rows}", spec="kind: score")
    told = [p for p in caught.value.problems if p.code == "E-SHEET-007"]
    assert [p.row for p in told] == [*range(2, 22), None]
    assert told[-1].message == "7 more cells are not numbers."


def test_a_column_that_no_biopsy_claims_is_left_out_and_told(tmp_path):
    found = read(tmp_path, "id,B1,B9\na,1,2\n", spec="kind: score")
    assert found.obs_names.tolist() == ["B1"]
    (problem,) = problems_of(found)
    assert (problem.code, problem.severity, problem.item) == ("E-SHEET-006", "quarantine", "B9")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("feature,kind\na,counts\n", "E-SHEET-008"),
        ("feature,lloq\na,low\n", "E-SHEET-007"),
        ("feature,expected_direction\na,2\n", "E-SHEET-008"),
        ("feature,unit\na,u\na,v\n", "E-SHEET-005"),
    ],
)
def test_faults_of_the_features(tmp_path, features, message):
    with pytest.raises(AssayError, match=message):
        read(tmp_path, "id,B1\na,1\n", spec="kind: score", features=features)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("kind: intensity, genes: g.csv", "has no genes"),
        ("kind: count, limits: censored", "has no limits"),
        ("kind: intensity, limits: half", "E-STUDY-001"),
        ("kind: ratio", "E-STUDY-001"),
        ("kind: score, scale: log2", "has no scale"),
        ("kind: intensity, scale: log10", "E-STUDY-001"),
    ],
)
def test_keys_that_do_not_fit_the_kind_are_refused(tmp_path, spec, message):
    with pytest.raises(StudyError, match=message):
        read(tmp_path, "id,B1\na,1\n", spec=spec)


# --- logarithms ---------------------------------------------------------------------------------------


def looks_logged(values):
    problems = Problems()
    features = [f"f{k}" for k in range(len(values))]
    _tell_logarithms(
        _Cells(values, np.zeros_like(values)),
        pd.DataFrame({"kind": "intensity"}, index=features),
        "v.csv",
        "lab",
        problems,
    )
    assert {(p.code, p.severity) for p in problems} <= {("E-SHEET-290", "warning")}
    return len(problems) > 0


def test_log2_values_are_brought_back_to_their_own_scale_with_their_limits(tmp_path):
    """Declared, a table of log2 is the same assay as the table that it was made of."""
    features = "feature,lloq,uloq\nil6,{},{}\n"
    logged = read(
        tmp_path / "a",
        "id,B1,B2,B3\nil6,-1,<-2,>6\ncrp,3,,4\n",
        spec="kind: intensity, scale: log2, limits: censored",
        features=features.format(-2, 6),
    )
    raw = read(
        tmp_path / "b",
        "id,B1,B2,B3\nil6,0.5,<0.25,>64\ncrp,8,,16\n",
        spec="kind: intensity, limits: censored",
        features=features.format(0.25, 64),
    )
    np.testing.assert_array_equal(logged.X, raw.X)
    np.testing.assert_array_equal(logged.layers["censored"], raw.layers["censored"])
    pd.testing.assert_frame_equal(logged.var, raw.var)
    assert not problems_of(logged)
    # What the model sees is what was typed.
    np.testing.assert_allclose(normalize(logged).layers["y"][:, 1], [3.0, np.nan, 4.0], rtol=1e-15)


def test_no_log2_of_an_intensity_is_15845(tmp_path):
    with pytest.raises(AssayError) as caught:
        read(tmp_path, "id,B1,B2\nil6,7.5,15845\n", spec="kind: intensity, scale: log2")
    (problem,) = caught.value.problems
    assert (problem.code, problem.row, problem.column, problem.value) == ("E-SHEET-008", 2, "B2", "15845")


def test_only_intensities_of_a_log2_table_are_brought_back(tmp_path):
    features = "feature,kind\nrisk,score\n"
    found = read(tmp_path, "id,B1\nil6,3\nrisk,3\n", spec="kind: intensity, scale: log2", features=features)
    assert found.X.tolist() == [[8.0, 3.0]]


def test_what_looks_like_logarithms_is_told_and_not_refused(tmp_path):
    found = read(tmp_path, "id,B1,B2,B3\nil6,-1.5,2,3\n")
    (problem,) = problems_of(found)
    assert (problem.code, problem.severity, problem.file) == ("E-SHEET-290", "warning", "v.csv")
    assert "lab: {..., scale: log2}" in problem.remedy
    # Below zero, but far beyond any logarithm: an intensity whose background was taken off.
    assert not problems_of(read(tmp_path / "b", "id,B1,B2,B3\nil6,-15,200,3500\n"))


@pytest.mark.parametrize("n_features", [5, 20])
def test_log2_is_told_and_raw_is_not_in_simulated_tables(n_features):
    """Of 200 tables of 24 biopsies: log2 of microarrays and of NPX; raw of few units, .8 wide on log2."""
    random = np.random.default_rng(1)

    def tables(low, high, sd):
        for _ in range(200):
            yield random.uniform(low, high, (n_features, 1)) + sd * random.normal(size=(n_features, 24))

    arrays = [looks_logged(table) for table in tables(4, 14, 1.0)]
    npx = [looks_logged(table) for table in tables(-1, 10, 1.0)]
    raw = [looks_logged(np.exp2(table)) for table in tables(-2, 3, 0.8)]
    assert np.mean(arrays) >= 0.98
    assert np.mean(npx) >= 0.97
    assert not any(raw)

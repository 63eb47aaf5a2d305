"""A result as analysis dataset and as workbook: every value is that of the result, cell by cell."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib

import anndata as ad
import numpy as np
import openpyxl
import pandas as pd
import pytest
from builders import assay, study_folder

from pdbiomarker.change import adam_parameters, pd_change, to_adam
from pdbiomarker.clinical.cdisc import check_adam, read_dataset
from pdbiomarker.errors import InputError
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

STUDY = """
id: ADAM-1
data_cutoff: 2025-06-30
visits: {screening: [-28, -1], C1D15: {day: 15, window: 3}, C2D1: {day: 29, window: 7}}
adequacy: {viable_tumor_cells: 100}
"""
PLAN = 'formula: "~ visit + (1|participant)"\ncontrasts: {early: C1D15 - screening, late: C2D1 - screening}\n'
FEATURES = {
    "CD8_density_nest": "density",
    "KI67": "proportion",
    "H": "score",
    "SIG": "signature",
    "OD": "intensity",
}


def folder(path, *, extra=(), replicates="select"):
    """Five participants: 004 has no C2D1, 003 no screening; the C2D1 biopsy of 002 is not adequate."""
    header = "participant_id,biopsy_id,visit,study_day,lesion_id,collection_date,viable_tumor_cells"
    rows = [header]
    for i in range(5):
        for visit, letter, day, date in (
            ("screening", "a", -7, "2025-01-04"),
            ("C1D15", "b", 15, "2025-01-25"),
            ("C2D1", "c", 29, "2025-02-08"),
        ):
            if (i, letter) in {(3, "a"), (4, "c")}:
                continue
            cells = 50 if (i, letter) == (2, "c") else 500
            lesion = "T02" if (i, letter) == (0, "c") else "T01"
            rows.append(f"00{i},B{i}{letter},{visit},{day},{lesion},{date},{cells}")
    people = "participant_id,first_dose_datetime\n" + "".join(f"00{i},2025-01-11\n" for i in range(5))
    rows = [*rows, *extra]
    plan = PLAN + (f"replicates: {replicates}\n" if replicates != "select" else "")
    if replicates == "all":
        plan = plan.replace("(1|participant)", "(1|participant) + (1|participant:visit)")
    study = STUDY
    return study_folder(path, biopsies="\n".join(rows) + "\n", participants=people, study=study, plan=plan)


def measured(study) -> ad.AnnData:
    draw = np.random.default_rng(4)
    values, top, bottom = {}, {}, {}
    for biopsy in study.biopsies.index:
        cells, positive = int(draw.poisson(60)), int(draw.binomial(300, 0.2))
        cells = 0 if biopsy == "B0a" else cells
        top[biopsy] = [cells, positive, np.nan, np.nan, np.nan]
        bottom[biopsy] = [2.0, 300, np.nan, np.nan, np.nan]
        values[biopsy] = [cells / 2.0, positive / 300, draw.uniform(0, 300), draw.normal(), draw.lognormal()]
    names = list(FEATURES)
    return assay(values, names, kind=list(FEATURES.values()), numerator=top, denominator=bottom)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = folder(tmp_path_factory.mktemp("adam"))
    study = read_study(path)
    draw, genes = np.random.default_rng(5), [f"GENE{k}" for k in range(12)]
    counts = {b: draw.poisson(300, 12).astype(float) for b in study.biopsies.index}
    study = study.with_assay("ihc", measured(study)).with_assay("rna", assay(counts, genes, kind="count"))
    return pd_change(study, Plan.read(path / "plan.yaml", study))


@pytest.fixture(scope="module")
def exported(result):
    return to_adam(result)


def test_it_keeps_the_rules_of_the_structure(exported):
    assert [str(p) for p in check_adam(exported)] == []


def test_every_change_of_the_result_is_there_bit_for_bit(result, exported):
    codes = adam_parameters(result).set_index(["assay", "feature"])["paramcd"]
    contrasts = {"early": "C1D15", "late": "C2D1"}
    frame = exported.frame.set_index(["USUBJID", "PARAMCD", "BASETYPE", "SRCID"])
    seen = 0
    for row in result.changes.itertuples():
        key = (row.participant_id, codes[(row.assay, row.feature)], f"{row.set.upper()}: screening")
        on, base = frame.loc[(*key, row.on_biopsy)], frame.loc[(*key, row.baseline_biopsy)]
        assert on["AVISIT"] == contrasts[row.contrast]
        np.testing.assert_array_equal(
            [on["AVAL"], on["BASE"], on["CHG"], base["AVAL"], base["BASE"]],
            [row.on_value, row.baseline_value, row.change, row.baseline_value, row.baseline_value],
        )
        ratio = on["OR2BASE"] if on["LINK"] == "LOGIT" else on["R2BASE"]
        np.testing.assert_array_equal(ratio, row.ratio)
        assert (base["ABLFL"], on["ANL01FL"]) == ("Y", "Y")
        seen += 1
    assert seen == len(result.changes) > 100
    own = ~exported["BASETYPE"].str.startswith("SAME_LESION_PAIRS")
    assert exported["CHG"][own].notna().sum() == result.changes["change"].notna().sum()


def test_pairs_of_one_lesion_have_the_changes_of_the_strict_set(result, exported):
    assert list(check_adam(exported)) == []
    key = ["USUBJID", "PARAMCD", "SRCID"]
    frame = exported.frame[exported["AVISIT"] != "screening"]
    strict, one = (
        frame[frame["BASETYPE"] == f"{name}: screening"].set_index(key)["CHG"]
        for name in ("STRICT", "SAME_LESION_PAIRS")
    )
    used = result.biopsies.query("set == 'same_lesion_pairs' and used")["biopsy_id"]
    inside = one[one.index.get_level_values("SRCID").isin(used)]
    assert inside.notna().sum() > 10
    pd.testing.assert_series_equal(inside, strict.reindex(inside.index))
    assert one.drop(inside.index).isna().all()  # 000 has another lesion on day 29


def test_biopsies_that_are_not_used_keep_their_rows_with_the_reason(exported):
    frame = exported.frame[(exported["BASETYPE"] == "STRICT: screening") & (exported["PARAMCD"] == "H")]
    rows = frame.set_index("SRCID")
    assert len(rows) == 13  # every biopsy of the study
    assert rows.loc["B2c", "ANL01FL"] is None
    assert rows.loc["B2c", "ANLRSN"].startswith("Not adequate: viable_tumor_cells 50")
    assert np.isfinite(rows.loc["B2c", "AVAL"])
    assert np.isnan(rows.loc["B2c", "CHG"])
    assert rows.loc["B3b", "ANLRSN"].endswith("no usable baseline at 'screening'.")
    assert rows.loc["B3b", "ANL01FL"] == "Y"  # it contributes to the model
    everything = exported.frame[
        (exported["BASETYPE"] == "ALL_BIOPSIED: screening") & (exported["PARAMCD"] == "H")
    ]
    assert everything.set_index("SRCID").loc["B2c", "ANL01FL"] == "Y"


def test_trap_05_percent_of_a_zero_baseline_is_empty_with_its_reason(exported):
    frame = exported.frame[(exported["SRCID"] == "B0b") & (exported["BASE"] == 0)]
    assert len(frame) == 3  # three analysis sets
    assert frame["PCHG"].isna().all()
    assert set(frame["PCHGRSN"]) == {"The baseline is 0."}
    assert frame["CHG"].notna().all()
    signature = exported.frame[(exported["PARAMCD"] == "SIG") & exported["CHG"].notna()]
    assert set(signature["PCHGRSN"]) == {"The scale has no zero."}


def test_percent_is_of_the_natural_scale(exported):
    frame = exported.frame[exported["PCHG"].notna()]
    np.testing.assert_allclose(
        frame["PCHG"], 100 * (frame["AVAL"] - frame["BASE"]) / frame["BASE"], rtol=1e-12
    )
    assert len(frame) > 50


def test_lesions_dates_and_days(exported):
    frame = exported.frame[exported["PARAMCD"] == "H"].drop_duplicates("SRCID").set_index("SRCID")
    assert (frame.loc["B0c", "LNKID"], frame.loc["B0c", "SAMELESF"]) == ("T02", "N")
    assert frame.loc["B1c", "SAMELESF"] == "Y"
    assert frame.loc["B3b", "SAMELESF"] is None
    assert frame.loc["B1a", "ADT"] == dt.date(2025, 1, 4)
    assert (frame.loc["B1a", "ADY"], frame.loc["B1a", "AVISITN"]) == (-7.0, 0.0)


def test_criteria_follow_the_expected_direction_and_the_limit_of_noise(result):
    study = result.study
    data = study.assays["ihc"].copy()
    data.var["expected_direction"] = [-1, 0, 0, 0, 0]
    turned = dataclasses.replace(result, study=study.with_assay("ihc", data))
    frame = to_adam(turned, features=["ihc"], limits={"ihc:H": 40.0}).frame
    code = adam_parameters(turned).set_index("feature")["paramcd"]["CD8_density_nest"]
    down = frame[(frame["PARAMCD"] == code) & frame["CHG"].notna()]
    assert set(down["CRIT1"]) == {"<=1/2-fold"}
    assert [f == "Y" for f in down["CRIT1FL"]] == (down["R2BASE"] <= 0.5).tolist()
    score = frame[(frame["PARAMCD"] == "H") & frame["CHG"].notna()]
    assert set(score["CRIT2"]) == {"|CHG| > 40, the limit of noise"}
    assert [f == "Y" for f in score["CRIT2FL"]] == (score["CHG"].abs() > 40).tolist()
    assert score["CRIT1"].isna().all()  # points have no folds
    assert set(frame.loc[frame["CHG"].isna(), "CRIT2FL"]) == {None}


def test_several_biopsies_of_a_visit_are_averaged_in_a_record_of_their_own(tmp_path):
    extra = ["001,B1x,C2D1,30,T01,2025-02-09,500"]
    path = folder(tmp_path, extra=extra, replicates="all")
    study = read_study(path)
    study = study.with_assay("ihc", measured(study))
    found = pd_change(study, Plan.read(path / "plan.yaml", study))
    data = to_adam(found)
    assert [str(p) for p in check_adam(data)] == []
    rows = data.frame[
        (data["USUBJID"] == "001") & (data["PARAMCD"] == "H") & (data["BASETYPE"] == "STRICT: screening")
    ].set_index("SRCID")
    average = rows.loc["B1c;B1x"]
    assert (average["DTYPE"], average["ANL01FL"]) == ("AVERAGE", "Y")
    change = found.changes
    one = change[
        (change["participant_id"] == "001")
        & (change["feature"] == "H")
        & (change["set"] == "strict")
        & (change["contrast"] == "late")
    ].iloc[0]
    assert (average["AVAL"], average["CHG"]) == (one["on_value"], one["change"])
    assert rows.loc["B1c", "ANLRSN"] == "Averaged with the other biopsies of the visit."
    assert rows.loc["B1c", "ANL01FL"] is None


def test_values_beyond_a_limit_carry_the_limit_and_no_change(tmp_path):
    rows, values = ["participant_id,biopsy_id,visit"], {}
    pairs = [(0.4, 3.0), (2.0, 5.0), (4.0, 9.0), (1.5, 2.5), (3.0, 4.0), (2.2, 6.0)]
    for i, pair in enumerate(pairs):
        for visit, letter, value in zip(("Pre", "On"), "ab", pair, strict=True):
            rows.append(f"P{i},P{i}{letter},{visit}")
            values[f"P{i}{letter}"] = [value]
    path = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan="contrasts: {on: On - Pre}\n",
    )
    data = assay(values, ["il6"], kind="intensity")
    data.var["lloq"], data.var["uloq"] = [1.0], [8.0]
    study = read_study(path).with_assay("serum", data)
    exported = to_adam(pd_change(study, Plan.default(study)))
    assert [str(p) for p in check_adam(exported)] == []
    strict = exported.frame[exported["BASETYPE"] == "STRICT: Pre"].set_index("SRCID")
    assert (strict.loc["P0a", "AVALC"], strict.loc["P0a", "CENSFL"], strict.loc["P0a", "AVAL"]) == (
        "<1.0",
        "Y",
        0.4,
    )
    assert (strict.loc["P2b", "AVALC"], strict.loc["P1b", "AVALC"]) == (">8.0", None)
    assert np.isnan(strict.loc["P0b", "CHG"])
    assert strict.loc["P0b", "ANLRSN"] == "In the model, without a change of its own: beyond a limit."
    assert strict.loc["P1b", "CHG"] == np.log2(5.0) - np.log2(2.0)


def test_codes_do_not_depend_on_what_else_is_exported(result):
    every = adam_parameters(result).set_index(["assay", "feature"])["paramcd"]
    assert every.is_unique
    assert every.str.fullmatch(r"[A-Z][A-Z0-9]{0,7}").all()
    for key, code in every.items():
        (alone,) = adam_parameters(result, features=[":".join(key)])["paramcd"]
        assert alone == code
    assert every[("ihc", "KI67")] == "KI67"
    assert adam_parameters(result)["param"].is_unique


def test_a_feature_that_does_not_exist_is_refused(result):
    with pytest.raises(InputError, match="no feature 'ihc:KI76'") as error:
        to_adam(result, features=["ihc:KI76", "ihd"])
    assert len(error.value.problems) == 2


def test_round_trip_through_both_formats_and_the_same_bytes(result, exported, tmp_path):
    result.to_adam(tmp_path / "a")
    result.to_adam(tmp_path / "b")
    for name in ("adpd.xpt", "adpd.json", "adpd_parameters.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for name in ("adpd.xpt", "adpd.json"):
        again = read_dataset(tmp_path / "a" / name)
        assert (again.name, again.label, again.labels) == ("ADPD", exported.label, exported.labels)
        pd.testing.assert_frame_equal(again.frame, exported.frame)  # values, dates, NaN and None
        assert [str(p) for p in check_adam(again)] == []


def test_an_id_that_is_not_ascii_is_refused_for_transport_and_nothing_is_written(result, tmp_path):
    study = result.study
    renamed = {name: f"Ü-{name}" for name in study.participants.index}
    changed = dataclasses.replace(
        result, biopsies=result.biopsies.replace({"participant_id": renamed}), changes=result.changes.iloc[:0]
    )
    with pytest.raises(InputError, match="not ASCII") as error:
        changed.to_adam(tmp_path)
    assert {p.column for p in error.value.problems if p.severity == "error"} == {"USUBJID"}
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_holds_every_table_cell_by_cell(result, tmp_path):
    path = result.to_excel(tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(path)
    tables = {"pd_change": result.table, "changes": result.changes, "biopsies": result.biopsies}
    for name, table in tables.items():
        rows = list(book[name].iter_rows(values_only=True))
        assert list(rows[0]) == list(table.columns)
        assert len(rows) == len(table) + 1
        for given, row in zip(rows[1:], table.itertuples(index=False), strict=True):
            for cell, value in zip(given, row, strict=True):
                if pd.isna(value) or value == "":
                    assert cell in {None, ""}
                else:
                    assert cell == value
    again = result.to_excel(tmp_path / "again.xlsx")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
    assert str(book.properties.created.date()) == "2025-06-30"


def test_a_workbook_runs_nothing_and_turns_no_id_into_a_number(result, tmp_path):
    biopsies = result.biopsies.copy()
    biopsies["reason"] = "=1+1"
    changed = dataclasses.replace(result, biopsies=biopsies)
    sheet = openpyxl.load_workbook(changed.to_excel(tmp_path / "r.xlsx"))["biopsies"]
    header = [c.value for c in sheet[1]]
    cell = sheet.cell(2, header.index("reason") + 1)
    assert (cell.value, cell.data_type) == ("=1+1", "s")
    person = sheet.cell(2, header.index("participant_id") + 1)
    assert (person.value, person.data_type) == ("000", "s")

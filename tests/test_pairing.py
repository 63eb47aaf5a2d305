"""Visits, adequacy, the choice of one biopsy, pairs and accountability."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from builders import assay, study_folder

from pdbiomarker.errors import PlanError
from pdbiomarker.pairing import accountability, adequacy, assign_visits, pairs, usable
from pdbiomarker.pairing.specimens import own_samples
from pdbiomarker.study import read_study

WINDOWS = """
    id: T
    visits:
      screening: [-28, -1]
      C2D1: {day: 29, window: 7}
    """


def visits_of(tmp_path: Path, biopsies: str, **kwargs: str):
    return assign_visits(read_study(study_folder(tmp_path, biopsies=biopsies, study=WINDOWS, **kwargs)))


@pytest.mark.parametrize(
    ("visit", "day", "assigned", "source", "code"),
    [
        ("screening", "-7", "screening", "both", ""),
        ("", "-1", "screening", "window", ""),
        ("", "-28", "screening", "window", ""),
        ("", "-29", None, "", "E-PAIR-002"),
        ("C2D1", "29", "C2D1", "both", ""),
        ("", "22", "C2D1", "window", ""),
        ("", "36", "C2D1", "window", ""),
        ("", "37", None, "", "E-PAIR-002"),
        ("C2D1", "37", None, "", "E-PAIR-002"),
        ("C2D1", "", "C2D1", "label", ""),
        ("", "", None, "", "E-PAIR-009"),
        ("screening", "29", None, "", "E-PAIR-004"),
        ("C2D1", "-3", None, "", "E-PAIR-001"),
        ("", "1", None, "", "E-PAIR-003"),
        ("screening", "1", "screening", "label", "E-PAIR-003"),
    ],
)
def test_visit_from_label_day_or_both(tmp_path, visit, day, assigned, source, code):
    found = visits_of(tmp_path, f"participant_id,biopsy_id,visit,study_day\nP1,B1,{visit},{day}\n").loc["B1"]
    assert (found["visit"], found["visit_source"], found["code"]) == (assigned, source, code)
    assert bool(found["reason"]) == bool(code)


def test_a_baseline_without_a_window_lies_before_treatment(tmp_path):
    biopsies = "participant_id,biopsy_id,visit,study_day\nP1,B1,Pre,29\nP1,B2,On,29\n"
    study = study_folder(tmp_path, biopsies=biopsies, study="id: T\nvisits: {Pre: {}, On: {}}\n")
    found = assign_visits(read_study(study))
    assert found["code"].to_dict() == {"B1": "E-PAIR-004", "B2": ""}
    assert found["reason"]["B1"] == "Labelled 'Pre', a visit before treatment, but taken on study day 29."


def test_an_on_treatment_biopsy_before_the_first_dose_is_quarantined(tmp_path):
    found = visits_of(tmp_path, "participant_id,biopsy_id,visit,study_day\nP1,B1,C2D1,-3\n").loc["B1"]
    assert found["status"] == "quarantined"
    assert "study day -3" in found["reason"]


@pytest.mark.parametrize(
    ("taken", "visit", "code"),
    [
        ("2025-01-10T07:30", "screening", ""),  # day 1, before the dose
        ("2025-01-10T10:30", None, "E-PAIR-004"),  # day 1, after the dose, labelled screening
    ],
)
def test_a_day_1_biopsy_counts_as_screening_only_before_the_dose(tmp_path, taken, visit, code):
    found = visits_of(
        tmp_path,
        f"participant_id,biopsy_id,visit,collection_date\nP1,B1,screening,{taken}\n",
        participants="participant_id,first_dose_datetime\nP1,2025-01-10T09:00\n",
    ).loc["B1"]
    assert found["study_day"] == 1
    assert found["visit"] == visit
    assert found["code"] in {code, "E-PAIR-002"} if code else found["code"] == ""


def test_a_visit_without_a_window_is_placed_by_its_label_and_windows_are_named(tmp_path):
    study = "id: T\nvisits: {screening: [-28, -1], C2D1: {day: 29, window: 7}, surgery: {}}\n"
    biopsies = "participant_id,biopsy_id,visit,study_day\nP1,B1,surgery,60\nP1,B2,,60\n"
    found = assign_visits(read_study(study_folder(tmp_path, biopsies=biopsies, study=study)))
    assert found.loc["B1", ["visit", "visit_source", "code"]].tolist() == ["surgery", "label", ""]
    assert found.loc["B2", "code"] == "E-PAIR-002"
    assert "screening: " in found.loc["B2", "reason"]
    assert "C2D1: " in found.loc["B2", "reason"]
    assert "surgery" not in found.loc["B2", "reason"]


def test_blood_samples_are_of_assays_of_blood_alone(tmp_path):
    study = (
        "id: T\nvisits: {pre: {}, on: {}}\nassays: {serum: {kind: intensity, file: s.csv, specimen: blood}}\n"
    )
    rows = ["P1,T1,pre,liver", "P1,B1,pre,Plasma ", "P1,T2,on,skin", "P1,B2,on,PBMC"]
    biopsies = "\n".join(["participant_id,biopsy_id,visit,site", *rows]) + "\n"
    values = {"s.csv": "feature,B1,B2\nIL6,1,2\n"}
    found = read_study(study_folder(tmp_path, biopsies=biopsies, study=study, files=values))
    ids = found.biopsies.index
    for assay_, own in (("serum", ["B1", "B2"]), ("ihc", ["T1", "T2"]), (None, ["T1", "T2"])):
        assert sorted(ids[own_samples(found, assay_)]) == own
    plain = dataclasses.replace(found, biopsies=found.biopsies.drop(columns="site"))
    assert own_samples(plain, "serum").tolist() == [True] * 4


def test_labels_alone(tmp_path):
    study = read_study(
        study_folder(
            tmp_path,
            biopsies="participant_id,biopsy_id,visit\nPt1,a,Pre\nPt1,b,On\n",
            study="id: T\nvisits: {Pre: {}, On: {}}\n",
        )
    )
    assert assign_visits(study)["visit"].tolist() == ["Pre", "On"]
    assert pairs(study, "Pre", "On")["evaluable"].tolist() == [True]


REPLICATES = """
participant_id,biopsy_id,visit,study_day,viable_tumor_cells
P1,old,screening,-20,500
P1,new,screening,-5,500
P1,poor,screening,-2,10
P1,late,C2D1,33,500
P1,near,C2D1,28,500
P2,only,screening,-3,500
P3,pre,screening,-3,500
P3,scant,C2D1,29,40
P4,pre4,screening,-3,500
P4,post4,C2D1,29,
"""
STRICT = WINDOWS + "\n    adequacy: {viable_tumor_cells: 100}\n"


@pytest.fixture
def study(tmp_path):
    return read_study(study_folder(tmp_path, biopsies=REPLICATES, study=STRICT))


def test_adequacy_names_the_rule_and_what_was_not_recorded(study):
    table = adequacy(study)
    assert table.loc["poor", "reason"] == "viable_tumor_cells 10, at least 100 needed"
    assert table.loc["post4", "reason"] == "viable_tumor_cells not recorded, at least 100 needed"
    assert table["adequate"].sum() == 7


def test_one_biopsy_of_a_visit_by_the_stated_rule(study):
    table = usable(study, None, visits=("screening", "C2D1"))
    assert table.index[table["used"]].tolist() == ["new", "near", "only", "pre", "pre4"]
    assert table.loc["old", "code"] == "E-PAIR-006"
    assert "'new' was chosen" in table.loc["old", "reason"]
    assert "latest" in table.loc["old", "reason"]
    assert table.loc["poor", "code"] == "E-PAIR-005"
    assert (table.loc[~table["used"], "reason"] != "").all()


def test_all_biopsied_takes_inadequate_ones_but_prefers_adequate(study):
    table = usable(study, None, visits=("screening", "C2D1"), set_="all_biopsied")
    assert set(table.index[table["used"]]) == {"new", "near", "only", "pre", "scant", "pre4", "post4"}


def test_strict_pairs_drops_the_unpaired(study):
    table = usable(study, None, visits=("screening", "C2D1"), set_="strict_pairs")
    assert table.index[table["used"]].tolist() == ["new", "near"]
    assert table.loc["only", "code"] == "E-PAIR-007"


def test_pairs_has_a_row_for_every_participant(study):
    table = pairs(study, "screening", "C2D1").set_index("participant_id")
    assert table["evaluable"].to_dict() == {"P1": True, "P2": False, "P3": False, "P4": False}
    assert (table.loc["P1", "baseline_biopsy"], table.loc["P1", "on_biopsy"]) == ("new", "near")
    assert table.loc["P1", "days_between"] == 32  # day -5 to day 28, without a day 0
    assert "scant" in table.loc["P3", "reason"]
    assert table.loc["P2", "code"] == "E-PAIR-007"
    assert table.loc["P2", ["same_lesion", "node"]].tolist() == ["", ""]
    nobody = dataclasses.replace(
        study, **{t: getattr(study, t).iloc[:0] for t in ("participants", "biopsies", "libraries")}
    )
    none = pairs(nobody, "screening", "C2D1")
    assert (len(none), list(none.columns)) == (0, ["participant_id", *table.columns])


def test_pairs_refuses_an_unknown_visit(study):
    with pytest.raises(PlanError, match=r"E-PLAN-002.*C3D1.*Use one of screening, C2D1") as caught:
        pairs(study, "screening", "C3D1")
    assert [(p.file, p.column, p.value) for p in caught.value.problems] == [("study.yaml", "visits", "C3D1")]


def test_a_biopsy_that_the_assay_lacks_is_named(study):
    values = {b: [1.0] for b in ("new", "near", "only", "pre")} | {"pre4": [float("nan")]}
    with_assay = study.with_assay("ihc", assay(values, ["CD8_hscore_tissue"]))
    table = usable(with_assay, "ihc", visits=("screening", "C2D1"))
    assert table.loc["pre4", "code"] == "E-PAIR-008"
    assert table["used"].sum() == 4


def test_the_choice_is_made_among_measured_biopsies(study):
    with_assay = study.with_assay("ihc", assay({"old": [1.0], "late": [2.0]}, ["CD8_hscore_tissue"]))
    assert pairs(with_assay, "screening", "C2D1", assay="ihc")["evaluable"].sum() == 1


def test_accountability_counts_every_step_and_loses_nobody(study):
    table = accountability(study, {"on": ("screening", "C2D1")}, sets=("strict",))
    assert table["n_participants"].tolist() == [4, 4, 4, 4, 3, 1, 1, 1]
    assert (table["n_participants"].diff().fillna(0) == -table["n_lost"]).all()
    assert "P2 (no C2D1 biopsy)" in table.loc[table["step"] == "C2D1 biopsy taken", "reason"].item()
    assert "at least 100 needed" in table.loc[table["step"] == "C2D1 biopsy adequate", "reason"].item()


def test_trap_32_row_order_of_the_sheet_does_not_matter(tmp_path, study):
    header, *rows = REPLICATES.strip().splitlines()
    turned = "\n".join([header, *reversed(rows)]) + "\n"
    other = read_study(study_folder(tmp_path / "turned", biopsies=turned, study=STRICT))
    first = usable(study, None, visits=("screening", "C2D1")).sort_index()
    second = usable(other, None, visits=("screening", "C2D1")).sort_index()
    assert first["used"].equals(second["used"])
    assert first["reason"].equals(second["reason"])

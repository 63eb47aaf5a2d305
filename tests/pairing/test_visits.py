"""Visits of a schedule: cycles, follow-up, archival tissue, partial dates, lesions, the data cut-off."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import study_folder
from visit_faults import VISIT_FAULTS, plant_visit_faults

from pdbiomarker.errors import StudyError
from pdbiomarker.pairing import Chooser, assign_visits, pair_table, sets_of_study, usable
from pdbiomarker.plan import Plan
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import DATA_CUTOFF, draw_trial
from pdbiomarker.study import read_study
from pdbiomarker.tables import write_table

VISITS = """
id: T
data_cutoff: 2025-12-31
visits:
  screening: default
  C1D15: {window: 3}
  C2D1: {window: 7}
  follow_up: default
"""
DOSED = "participant_id,first_dose_datetime\nP1,2025-01-10T09:00\n"
VISIT_PAIR = ("screening", "C2D1")


def study_of(path: Path, biopsies: str, *, study: str = VISITS, participants: str = DOSED):
    return read_study(study_folder(path, biopsies=biopsies, study=study, participants=participants))


@pytest.mark.parametrize(
    ("schedule", "visit", "window"),
    [
        ("", "C1D15", (12, 18, 15)),
        ("", "C2D1", (22, 36, 29)),  # 28 (2 - 1) + 1
        ("schedule: {cycle_days: 21}", "C2D1", (15, 29, 22)),
        ("", "screening", (-28, -1, None)),
        ("schedule: {screening_days: 42}", "screening", (-42, -1, None)),
    ],
)
def test_a_visit_knows_its_day_by_its_name(tmp_path, schedule, visit, window):
    text = VISITS.replace("  C1D15: {window: 3}\n", "") if "21" in schedule else VISITS
    study = study_of(
        tmp_path, "participant_id,biopsy_id,visit\nP1,B1,screening\n", study=f"{text}{schedule}\n"
    )
    found = next(v for v in study.spec.visits if v.name == visit)
    assert (found.low, found.high, found.target) == window
    assert study.spec == read_study(study.write(tmp_path / "copy")).spec


def test_a_name_and_a_day_that_contradict_each_other_are_told(tmp_path):
    study = study_of(
        tmp_path,
        "participant_id,biopsy_id,visit\nP1,B1,screening\n",
        study="id: T\nvisits: {screening: default, C1D15: {day: 12, window: 2}}\n",
    )
    assert [(p.code, p.severity, p.value) for p in study.problems] == [("E-STUDY-010", "warning", "12")]


def test_trap_11_dates_on_the_wrong_side_of_the_first_dose_partial_and_unscheduled(tmp_path):
    """No day 0, on treatment before the first dose, unscheduled visits, partial dates."""
    study = study_of(
        tmp_path,
        """
            participant_id,biopsy_id,visit,collection_date
            P1,before,C2D1,2025-01-09
            P1,same_day,,2025-01-10
            P1,unscheduled,Unscheduled 1,2025-02-08
            P1,month_inside,screening,2024-12
            P1,month_open,C2D1,2025-02
            P1,year,C2D1,2025
            """,
    )
    assert [p.value for p in study.problems if p.code == "E-STUDY-013"] == ["Unscheduled 1"]
    found = assign_visits(study)
    codes = found["code"].to_dict()
    assert codes == {
        "before": "E-PAIR-001",
        "same_day": "E-PAIR-003",
        "unscheduled": "",
        "month_inside": "E-PAIR-012",  # day -40 to -10: not every day is in [-28, -1]
        "month_open": "E-PAIR-012",
        "year": "E-PAIR-012",
    }
    assert found.loc["unscheduled", ["visit", "visit_source"]].tolist() == ["C2D1", "window"]
    assert found.loc["before", "study_day"] == -1
    with pytest.raises(StudyError, match="There is no study day 0"):
        study_of(tmp_path / "0", "participant_id,biopsy_id,study_day\nP1,B1,0\n")


@pytest.mark.parametrize(
    ("first_dose", "date", "visit"),
    [
        ("2025-03-01", "2025-02", "screening"),  # 2025-02-01 is day -28, 2025-02-28 day -1
        ("2025-03-02", "2025-02", None),  # 2025-02-01 would be day -29
        ("2025-01-20", "2025-02", None),  # day 13 to 40
    ],
)
def test_a_partial_date_places_a_biopsy_only_if_every_day_does(tmp_path, first_dose, date, visit):
    people = f"participant_id,first_dose_datetime\nP1,{first_dose}\n"
    study = study_of(
        tmp_path, f"participant_id,biopsy_id,collection_date\nP1,B1,{date}\n", participants=people
    )
    row = study.biopsies.loc["B1"]
    assert (row["collection_date"], row["collection_date_imputed"]) == (date, "day")
    told = [p for p in study.problems if p.code == "E-STUDY-011"]
    assert [(p.row, p.value, p.severity) for p in told] == [(2, date, "warning")]
    found = assign_visits(study).loc["B1"]
    assert (None if found["visit"] != found["visit"] else found["visit"]) == visit
    assert (found["code"] == "") == (visit is not None)


def test_a_follow_up_counts_from_the_last_dose(tmp_path):
    study = study_of(
        tmp_path,
        "participant_id,biopsy_id,visit,study_day\nP1,in,,119\nP1,late,follow_up,140\nP1,label,follow_up,\n",
    )
    doses = pd.DataFrame({"participant_id": ["P1"] * 2, "start": ["2025-01-10", "2025-02-07"], "amount": 1.0})
    found = assign_visits(dataclasses.replace(study, clinical={"doses": doses}))
    # The last dose is day 29; 90 days later is day 119, and the window of 7 days ends on day 126.
    assert found["visit"].fillna("").tolist() == ["follow_up", "", "follow_up"]
    assert found["code"].tolist() == ["", "E-PAIR-002", ""]


ARCHIVAL = """
participant_id,biopsy_id,visit,study_day,archival
P1,old,screening,-400,yes
P1,fresh,screening,-7,no
P1,on1,C2D1,29,
P2,block,screening,-90,yes
P2,on2,C2D1,29,
P3,older,,-900,
P3,on3,C2D1,29,
"""


@pytest.mark.parametrize("replicates", ["select", "all"])
def test_trap_10_archival_and_fresh_are_never_both_the_baseline(tmp_path, replicates):
    """Never both as baseline, old tissue flagged, the rule stated."""
    people = "participant_id\nP1\nP2\nP3\n"
    never = study_of(tmp_path / "never", ARCHIVAL, participants=people)
    table = usable(never, None, visits=VISIT_PAIR, replicates=replicates)
    assert table.loc[["old", "block"], "code"].tolist() == ["E-PAIR-010", "E-PAIR-010"]
    assert table.loc["older", "code"] == "E-PAIR-002"
    assert "archival" in table.loc["older", "reason"]
    assert pair_table(Chooser(never), VISIT_PAIR)["evaluable"].tolist() == [True, False, False]

    text = f"{VISITS}archival: {{as_baseline: when_no_fresh, oldest_days: 365}}\n"
    study = study_of(tmp_path / "some", ARCHIVAL, participants=people, study=text)
    table = usable(study, None, visits=VISIT_PAIR, replicates=replicates)
    assert table.index[table["used"]].tolist() == ["fresh", "on1", "block", "on2", "older", "on3"]
    assert table.loc["old", "code"] == "E-PAIR-010"
    assert "'fresh'" in table.loc["old", "reason"]
    assert table.loc["older", "code"] == "E-PAIR-011"
    assert "900 days" in table.loc["older", "reason"]
    pairs = pair_table(Chooser(study), VISIT_PAIR)
    assert pairs["archival_baseline"].tolist() == [False, True, True]
    assert table["baseline_biopsy"].tolist() == ["fresh"] * 3 + ["block"] * 2 + ["older"] * 2
    assert table.loc["on2", "baseline_rule"].endswith("(archival)")


LESIONS = """
participant_id,biopsy_id,visit,study_day,lesion_id,site
P1,a1,screening,-7,L1,liver
P1,a2,C2D1,29,L1,liver
P2,b1,screening,-7,L1,liver
P2,b2,C2D1,29,L2,lung
P3,c1,screening,-7,L1,axillary lymph node
P3,c2,C2D1,29,L1,axillary LN
P4,d1,screening,-7,L1,skin nodule
P4,d2,C2D1,29,L1,skin nodule
P5,e1,screening,-7,,liver
P5,e2,C2D1,29,L2,lymph node
P6,f1,screening,-7,L9,nodal
P6,f2,C2D1,29,L9,nodal
"""


def test_trap_12_other_lesions_and_lymph_nodes_stand_apart(tmp_path):
    """Another lesion, and nodes full of lymphocytes, are told from the rest."""
    people = "participant_id\n" + "".join(f"P{k}\n" for k in range(1, 7))
    study = study_of(tmp_path, LESIONS, participants=people)
    pairs = pair_table(Chooser(study), VISIT_PAIR).set_index("participant_id")
    assert pairs["same_lesion"].tolist() == ["yes", "no", "yes", "yes", "unknown", "yes"]
    assert pairs["node"].tolist() == ["none", "none", "both", "none", "one", "both"]
    for first, second, node in (
        ("lymph node", "", "one"),
        ("", "nodal", "one"),
        ("liver", "", "unknown"),
        ("liver", "nodal", "one"),
    ):
        rows = f"participant_id,biopsy_id,visit,site\nP1,a,screening,{first}\nP1,b,C2D1,{second}\n"
        rows += "P2,c,screening,liver\nP2,d,C2D1,liver\n"
        sites = study_of(tmp_path / f"{first}-{second}", rows, participants="participant_id\nP1\nP2\n")
        assert pair_table(Chooser(sites), VISIT_PAIR)["node"].tolist() == [node, "none"]
    sets = sets_of_study(study)
    assert {"same_lesion_pairs", "node_pairs"} <= set(sets)
    same = usable(study, None, visits=VISIT_PAIR, set_="same_lesion_pairs")
    assert same.index[same["used"]].tolist() == ["a1", "a2", "d1", "d2"]
    assert (same.loc[~same["used"], "code"] == "E-PAIR-015").all()
    nodes = usable(study, None, visits=VISIT_PAIR, set_="node_pairs")
    assert nodes.index[nodes["used"]].tolist() == ["c1", "c2", "f1", "f2"]
    plain = study_of(
        tmp_path / "plain",
        "participant_id,biopsy_id,visit,lesion_id\nP1,a,screening,L1\nP1,b,C2D1,L1\n",
    )
    assert sets_of_study(plain) == ("strict", "strict_pairs", "all_biopsied")


def test_trap_34_two_visits_in_one_window_an_id_twice_a_slide_of_two_participants(tmp_path):
    """A specimen whose biopsy is unknown is the orphan."""
    with pytest.raises(StudyError, match="overlap"):
        study_of(
            tmp_path / "windows",
            "participant_id,biopsy_id,study_day\nP1,B1,29\n",
            study="id: T\nvisits: {screening: default, C2D1: {window: 7}, D30: {day: 30, window: 3}}\n",
        )
    two = study_of(
        tmp_path / "two", "participant_id,biopsy_id,visit,study_day\nP1,B1,C2D1,29\nP1,B2,C2D1,31\n"
    )
    assert usable(two, None, visits=VISIT_PAIR)["code"].tolist() == ["", "E-PAIR-006"]
    with pytest.raises(StudyError, match="E-SHEET-005"):
        study_of(tmp_path / "id", "participant_id,biopsy_id,study_day\nP1,B1,29\nP1,B1,-7\n")
    sheets = {
        "slides.csv": "slide_id,biopsy_id,path\nS1,B1,a.tiff\nS1,B2,b.tiff\nS2,B1,c.tiff\nS3,B2,c.tiff\n",
        "libraries.csv": "library_id,biopsy_id\nL1,B9\n",
    }
    folder = study_folder(
        tmp_path / "slides", biopsies="participant_id,biopsy_id,visit\nP1,B1,Pre\nP2,B2,Pre\n",
        study="id: T\nvisits: {Pre: {}}\n", files=sheets,
    )  # fmt: skip
    with pytest.raises(StudyError) as caught:
        read_study(folder)
    told = {(p.code, p.file, p.column) for p in caught.value.problems}
    assert {
        ("E-SHEET-005", "slides.csv", "slide_id"),  # one slide, two participants
        ("E-SHEET-005", "slides.csv", "path"),  # one file, two participants
        ("E-SHEET-006", "libraries.csv", "biopsy_id"),  # an orphan
    } <= told


def test_trap_35_nothing_from_after_the_data_cutoff_is_used(tmp_path):
    """With an earlier cut-off the later biopsy is not used."""
    text = VISITS.replace("2025-12-31", "2025-02-07")
    study = study_of(
        tmp_path,
        "participant_id,biopsy_id,visit,collection_date\nP1,a,screening,2025-01-05\n"
        "P1,b,C2D1,2025-02-07\nP1,c,C2D1,2025-02-08\nP1,d,C2D1,2025-03\n",
        study=text,
    )
    table = usable(study, None, visits=VISIT_PAIR, set_="all_biopsied")
    assert table["used"].tolist() == [True, True, False, False]
    assert table["code"].tolist() == ["", "", "E-PAIR-014", "E-PAIR-014"]
    assert sum(p.code == "E-SHEET-014" for p in study.problems) == 2


CHOICES = """
participant_id,biopsy_id,visit,study_day,viable_tumor_cells
P1,s1,screening,-20,900
P1,s2,screening,-5,200
P1,t1,C2D1,25,300
P1,t2,C2D1,29,100
P1,t3,C2D1,33,700
"""


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (("adequate", "closest", "latest_earliest"), ["s2", "t2"]),
        (("earliest",), ["s1", "t1"]),
        (("latest",), ["s2", "t3"]),
        (("most_tumor",), ["s1", "t3"]),
    ],
)
def test_the_choice_among_several_is_the_plans(tmp_path, choice, chosen):
    study = study_of(tmp_path, CHOICES)
    table = usable(study, None, visits=VISIT_PAIR, choice=choice)
    assert table.index[table["used"]].tolist() == chosen
    assert table.loc[chosen[0], "rule"].startswith("chosen of 2: ")
    assert "then id" in table.loc[chosen[1], "rule"]


def test_the_choice_of_a_plan_is_hashed_and_written_back(tmp_path):
    study = study_of(tmp_path, CHOICES)
    path = tmp_path / "plan.yaml"
    hashes = []
    for text in ("{}", "{choice: [adequate, closest, latest_earliest]}", "{choice: [latest]}"):
        path.write_text(text)
        plan = Plan.read(path, study)
        hashes.append(plan.hash)
        path.write_text(plan.to_yaml())
        assert Plan.read(path, study) == plan
    assert hashes[0] == hashes[1] != hashes[2]


def test_every_planted_fault_of_time_is_found_and_nothing_else(tmp_path):
    """Simulated trials: biopsies in wrong windows, at wrong visits, before the first dose, entered twice."""
    clean = TrialDesign(missing=0, inadequate=0, out_of_window=0, repeated=0)
    for seed in range(6):
        trial = draw_trial(clean, 24, np.random.SeedSequence(seed))
        columns = [
            "participant_id",
            "biopsy_id",
            "visit",
            "collection_date",
            "study_day",
            "lesion_id",
            "core",
        ]
        sheet, truth = plant_visit_faults(
            trial.biopsies[columns], trial.participants, DATA_CUTOFF, rng=np.random.default_rng(seed)
        )
        folder = tmp_path / str(seed)
        study_folder(folder, biopsies="participant_id,biopsy_id\n", study=SIMULATED)
        write_table(sheet, folder / "biopsies.csv")
        write_table(
            trial.participants[["participant_id", "first_dose_datetime"]], folder / "participants.csv"
        )
        study = read_study(folder)
        table = usable(study, None, visits=VISIT_PAIR)
        twins = {p.value for p in study.problems if p.code == "E-STUDY-012"}
        planted = truth.set_index("biopsy_id")
        assert list(truth["fault"]) == list(VISIT_FAULTS)
        assert twins == set(planted.index[planted["fault"] == "entered_twice"])
        of_rows = planted[planted["fault"] != "entered_twice"]
        assert table.loc[of_rows.index, "code"].to_dict() == of_rows["code"].to_dict()
        assert not table.loc[of_rows.index, "used"].any()
        others = table.index.difference(planted.index)
        assert set(table.loc[others, "code"]) <= {""}


SIMULATED = f"""
id: SIM
data_cutoff: {DATA_CUTOFF.isoformat()}
visits:
  screening: default
  C2D1: {{window: 7}}
"""

"""Nobody and nothing leaves without a row: counts that add up, reasons that are named."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from builders import assay, study_folder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from riaz import build_riaz_study

from pdbiomarker.pairing import Chooser, account, accountability, pair_table, sets_of_study, usable
from pdbiomarker.run.assays import count_assays
from pdbiomarker.study import read_study

VISITS = """
id: T
data_cutoff: 2025-12-31
visits: {screening: [-28, -1], C2D1: {window: 7}}
adequacy: {viable_tumor_cells: 100}
archival: {as_baseline: when_no_fresh}
"""
PAIR = ("screening", "C2D1")
REASONS = ["", "disease progression", "patient refused", "lesion not visible any more: gone", "AE", "odd"]

ACTIONS = ["exclude", "include", "inadequate", "assign_visit=screening"]

people = st.lists(
    st.tuples(st.sampled_from(["yes", "no", ""]), st.sampled_from(REASONS)), min_size=1, max_size=6
)
biopsies = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["", "screening", "C2D1"]),
        st.sampled_from(["", "-400", "-20", "-1", "1", "25", "29", "60"]),
        st.sampled_from(["", "10", "500"]),
        st.sampled_from(["", "yes", "no"]),
        st.sampled_from([",", "yes,yes", "yes,no", "no,yes"]),
        st.sampled_from(["L1", "L2", ""]),
        st.sampled_from(["liver", "lymph node", ""]),
        st.booleans(),
    ),
    max_size=12,
)
decisions = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(ACTIONS)),
    max_size=3,
    unique_by=lambda one: one[0],
)


# Without shrinking: a failing example is short enough as it is.
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(people, biopsies, decisions, st.sampled_from(["select", "all"]))
def test_every_participant_and_biopsy_ends_in_one_place(persons, specimens, overrides, replicates):
    ids = [f"P{k}" for k in range(len(persons))]
    rows, values = [], {}
    for k, (person, visit, day, cells, old, bed, lesion, site, measured) in enumerate(specimens):
        rows.append(f"{ids[person % len(ids)]},B{k},{visit},{day},{cells},{old},{bed},{lesion},{site}")
        if measured:
            values[f"B{k}"] = [float(k)]
    if not rows:
        rows, values = [f"{ids[0]},B0,screening,-5,500,,,,,"], {"B0": [1.0]}
    header = "participant_id,biopsy_id,visit,study_day,viable_tumor_cells,archival,regression_bed,"
    header += "bed_reader_blinded,lesion_id,site"
    said = [f"B{k},{action},why,AB,2025-07-01" for k, action in overrides if k < len(rows)]
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(
            study_folder(
                Path(folder),
                biopsies="\n".join([header, *rows]) + "\n",
                participants="participant_id,biopsy_consent,missing_biopsy_reason\n"
                + "".join(f"{p},{c},{r}\n" for p, (c, r) in zip(ids, persons, strict=True)),
                study=VISITS,
                files={"overrides.csv": "\n".join(["item,action,reason,who,date", *said]) + "\n"},
            )
        )
    if values:
        study = study.with_assay("ihc", assay(values, ["X_tissue"]))
    sets = sets_of_study(study)
    for name in list(study.assays) or [None]:
        for set_ in sets:
            table = usable(study, name, visits=PAIR, set_=set_, replicates=replicates)
            _check_biopsies(table, study, said)
    flow = accountability(study, {"on": PAIR}, sets=sets)
    ended = account(Chooser(study), {"on": PAIR}, sets=sets)[1]
    for key, steps in flow.groupby(["set", "assay"]):
        mine = ended[(ended["set"] == key[0]) & (ended["assay"] == key[1])]
        assert sorted(mine["participant_id"]) == sorted(ids)  # each once
        lost = mine[mine["outcome"] == "lost"]
        assert (lost["reason"] != "").all()
        assert (lost["group"] != "").all()
        counts = steps["n_participants"].tolist()
        assert counts[0] == len(ids)
        assert counts[-1] == (mine["outcome"] == "evaluable").sum()
        assert [a - b for a, b in itertools.pairwise(counts)] == steps["n_lost"].tolist()[1:]
        assert lost["step"].value_counts().to_dict() == {
            s: n for s, n in zip(steps["step"], steps["n_lost"], strict=True) if n
        }
        pairs = pair_table(Chooser(study), PAIR, assay=key[1] or None, set_=key[0]).set_index(
            "participant_id"
        )
        assert pairs["evaluable"].to_dict() == dict(
            zip(mine["participant_id"], mine["outcome"] == "evaluable", strict=True)
        )


def _check_biopsies(table: pd.DataFrame, study, said) -> None:
    assert list(table.index) == list(study.biopsies.index)
    left = table[~table["used"]]
    assert (left["reason"] != "").all()
    assert (left["code"] != "").all()
    assert (left["rule"] == "").all()
    assert (table.loc[table["used"], "rule"] != "").all()
    for biopsy in {row.split(",")[0] for row in said}:
        assert "override: " in table.loc[biopsy, "reason"]
    baseline = table[table["used"] & (table["visit"] == "screening")]
    assert (baseline.groupby("participant_id")["archival"].nunique() <= 1).all()  # never archival and fresh


CONSORT = """
participant_id,biopsy_id,visit,study_day,viable_tumor_cells
P1,a1,screening,-7,500
P1,a2,C2D1,29,500
P2,b1,screening,-7,500
P2,b2,C2D1,29,10
P3,c1,screening,-7,500
P4,d1,screening,-7,500
P5,e1,screening,-7,500
P7,g1,screening,-7,20
P8,h1,screening,-7,500
P8,h2,C2D1,60,500
"""
PEOPLE = """
participant_id,biopsy_consent,missing_biopsy_reason
P1,yes,
P2,yes,
P3,yes,PD
P4,yes,target lesion gone
P5,yes,
P6,no,
P7,yes,
P8,yes,
"""


def test_every_step_counts_its_losses_by_reason(tmp_path):
    study = read_study(study_folder(tmp_path, biopsies=CONSORT, participants=PEOPLE, study=VISITS))
    flow = accountability(study, {"on": PAIR}, sets=("strict",)).set_index("step")
    assert flow["n_participants"].to_dict() == {
        "enrolled": 8,
        "consented": 7,
        "screening biopsy taken": 7,
        "screening biopsy adequate": 6,
        "screening biopsy measured": 6,
        "C2D1 biopsy taken": 2,
        "C2D1 biopsy adequate": 1,
        "C2D1 biopsy measured": 1,
        "evaluable pair": 1,
    }
    assert flow.loc["consented", "reasons"] == "1 no consent"
    ended = account(Chooser(study), {"on": PAIR}, sets=("strict",))[1]
    assert ended.loc[ended["reason"] == "no consent to biopsies", "code"].tolist() == ["E-PAIR-016"]
    assert set(ended["set"]) == {"strict"}
    paired = ended[ended["outcome"] == "evaluable"]
    assert len(paired) == 1
    assert paired[["step", "group", "code", "reason"]].to_numpy().tolist() == [[""] * 4]
    # A contrast of one visit has a baseline, and nothing on treatment.
    alone = account(Chooser(study), {"before": ("screening",)}, sets=("strict",))[1]
    assert (alone["baseline_biopsy"] != "").sum() == 6
    assert alone["on_biopsy"].tolist() == [""] * 8
    assert flow.loc["screening biopsy adequate", "reasons"] == "1 not adequate"
    assert flow.loc["C2D1 biopsy taken", "reasons"] == (
        "1 disease progression, 1 lesion gone (response), 1 no biopsy, reason not recorded, "
        "1 outside the window"
    )


def test_a_regression_bed_of_which_more_is_to_be_said_is_no_loss(tmp_path):
    """On day 1 without a time, so there is a query: evaluable in the set of beds, in flow and pairs alike."""
    rows = "participant_id,biopsy_id,visit,study_day,viable_tumor_cells,regression_bed,bed_reader_blinded\n"
    rows += "P1,a,screening,-5,500,,\nP1,b,C2D1,1,10,yes,yes\n"
    study = read_study(study_folder(tmp_path, biopsies=rows, study=VISITS))
    study = study.with_assay("ihc", assay({"a": [1.0], "b": [2.0]}, ["X_tissue"]))
    assert usable(study, "ihc", visits=PAIR, set_="immune_evaluable").loc["b", "code"] == "E-PAIR-003"
    flow = accountability(study, {"on": PAIR}, sets=("immune_evaluable",))
    assert flow["n_lost"].sum() == 0
    assert pair_table(Chooser(study), PAIR, assay="ihc", set_="immune_evaluable")["evaluable"].all()


@pytest.mark.data
def test_riaz_65_participants_become_43_pairs_each_loss_with_its_reason(shared_data, tmp_path):
    """Oracle: counted from the sheet of the samples by itself; 42 of the pairs have a known response."""
    study = read_study(build_riaz_study(shared_data, tmp_path / "riaz"))
    samples = pd.read_csv(shared_data("riaz2017/samples.csv"), dtype=str, keep_default_na=False)
    visits = samples.groupby("participant")["timepoint"].agg(set)
    both = sorted(visits.index[[v == {"Pre", "On"} for v in visits]])
    for name, adata in count_assays(study, []).items():
        study = study.with_assay(name, adata)
    flow = accountability(study, {"on": ("Pre", "On")}, sets=("strict",))
    flow = flow[flow["assay"] == "rna"].set_index("step")
    assert flow["n_participants"].tolist() == [65, 51, 51, 51, 43, 43, 43, 43]
    assert flow["n_lost"].sum() == 22
    ended = account(Chooser(study), {"on": ("Pre", "On")}, sets=("strict",))[1]
    ended = ended[ended["assay"] == "rna"].set_index("participant_id")
    assert sorted(ended.index[ended["outcome"] == "evaluable"]) == both
    assert len(both) == 43
    lost = ended[ended["outcome"] == "lost"]
    lacking = {p: ("Pre" if "Pre" not in visits[p] else "On") for p in lost.index}
    assert lost["reason"].to_dict() == {p: f"no {v} biopsy" for p, v in lacking.items()}
    response = study.biopsies.groupby("participant_id")["response3"].first()
    assert response[both].isin(["PD", "SD", "PRCR"]).sum() == 42

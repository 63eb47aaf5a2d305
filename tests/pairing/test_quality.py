"""Adequacy, regression beds and the analysis sets side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.errors import StudyError
from pdbiomarker.pairing import adequacy, in_tumour, sets_of_study, usable
from pdbiomarker.pairing.quality import regression_bed
from pdbiomarker.plan import Plan
from pdbiomarker.study import Study, read_study

VISITS = "id: T\nvisits: {screening: [-28, -1], C2D1: {window: 7}}\n"
PAIR = ("screening", "C2D1")


def study_of(path: Path, biopsies: str, rules: str, **kwargs: str) -> Study:
    return read_study(study_folder(path, biopsies=biopsies, study=VISITS + rules, **kwargs))


RULES = """
adequacy:
  viable_tumor_cells: 100
  tumor_content_pct: {min: 10, at_risk_below: 20}
  necrosis_pct: {max: 50, at_risk_above: 30}
  qc_status: {allowed: [Pass, Pass at Risk], at_risk: [Pass at Risk]}
"""
#: Cells, content, necrosis, QC; what they come to.
JUDGED = [
    ("500,40,10,Pass", "Pass", ""),
    ("100,20,30,pass", "Pass", ""),
    ("99,40,10,Pass", "Fail", "viable_tumor_cells 99, at least 100 needed"),
    ("500,9.5,10,Pass", "Fail", "tumor_content_pct 9.5, at least 10 needed"),
    ("500,15,10,Pass", "Pass at Risk", "tumor_content_pct 15, below 20"),
    ("500,40,51,Pass", "Fail", "necrosis_pct 51, at most 50 needed"),
    ("500,40,40,Pass", "Pass at Risk", "necrosis_pct 40, above 30"),
    ("500,40,10,PASS AT_RISK", "Pass at Risk", "qc_status PASS AT_RISK"),
    ("500,40,10,Fail", "Fail", "qc_status Fail, one of Pass, Pass at Risk needed"),
    ("500,40,,Pass", "Fail", "necrosis_pct not recorded, at most 50 needed"),
    (
        "20,15,60,Pass",
        "Fail",
        "viable_tumor_cells 20, at least 100 needed; necrosis_pct 60, at most 50 needed",
    ),
]


def test_every_rule_passes_passes_at_risk_or_fails(tmp_path):
    rows = "".join(f"P1,B{k},screening,-7,{text}\n" for k, (text, *_) in enumerate(JUDGED))
    header = (
        "participant_id,biopsy_id,visit,study_day,viable_tumor_cells,tumor_content_pct,necrosis_pct,qc_status"
    )
    study = study_of(tmp_path, f"{header}\n{rows}", RULES)
    table = adequacy(study)
    assert list(zip(table["quality"], table["reason"], strict=True)) == [tuple(j[1:]) for j in JUDGED]
    assert table["adequate"].tolist() == [j[1] != "Fail" for j in JUDGED]
    assert table["tumour_lost"].tolist() == [
        k in (2, 3) for k in range(len(JUDGED))
    ]  # the last fails necrosis too
    assert usable(study, None, visits=PAIR, replicates="all").loc["B4", "reason"].startswith("Pass at Risk")
    again = read_study(study.write(tmp_path / "copy"))
    assert again.spec.adequacy == study.spec.adequacy


def test_a_rule_may_ask_libraries_in_their_assays_only(tmp_path):
    study = study_of(
        tmp_path,
        "participant_id,biopsy_id,visit\nP1,B1,screening\nP1,B2,C2D1\n",
        "assays: {rna: {kind: count, file: c.csv}, serum: {kind: score, file: s.csv}}\n"
        "adequacy:\n  dv200: {min: 30, assays: [rna]}\n",
        files={
            "libraries.csv": "library_id,biopsy_id,dv200\nL1,B1,60\nL2,B2,60\nL3,B2,20\n",
            "c.csv": "gene,L1,L2,L3\nA,1,2,3\n",
            "s.csv": "feature,B1,B2\nX,1,2\n",
        },
    )
    assert adequacy(study, "rna")["quality"].tolist() == ["Pass", "Fail"]  # the poorer library decides
    assert adequacy(study, "rna_signatures")["quality"].tolist() == ["Pass", "Fail"]
    assert adequacy(study, "serum")["quality"].tolist() == ["Pass", "Pass"]
    assert adequacy(study)["quality"].tolist() == ["Pass", "Pass"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("viable_tumor_cells: {}", "neither a bound nor words"),
        ("viable_tumor_cells: {min: 10, max: 5}", "least value is above"),
        ("viable_tumor_cells: {min: 10, allowed: [a]}", "or both"),
        ("viable_tumor_cells: {allowed: [a], at_risk: [b]}", "not allowed at all"),
        ("viable_tumor_cells: {least: 10}", "unknown"),
        ("viable_tumor_cells: {min: 10, assays: [rma]}", "the study has none"),
        ("qc: {min: 10}", "numeric column 'qc'"),
        ("qcs: {allowed: [a]}", "column 'qcs'"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path, rule, said):
    biopsies = "participant_id,biopsy_id,visit,viable_tumor_cells,qc\nP1,B1,screening,1,a\n"
    with pytest.raises(StudyError, match=said):
        study_of(tmp_path, biopsies, f"adequacy:\n  {rule}\n")


BEDS = """
participant_id,biopsy_id,visit,study_day,viable_tumor_cells,necrosis_pct,regression_bed,bed_reader_blinded
P1,a1,screening,-7,500,0,,
P1,a2,C2D1,29,0,0,yes,yes
P2,b1,screening,-7,500,0,,
P2,b2,C2D1,29,0,0,yes,no
P3,c1,screening,-7,500,0,,
P3,c2,C2D1,29,0,0,no,yes
P4,d1,screening,-7,0,0,yes,yes
P4,d2,C2D1,29,500,0,,
P5,e1,screening,-7,500,0,,
P5,e2,C2D1,29,0,90,yes,yes
"""
BED_RULES = "adequacy:\n  viable_tumor_cells: 100\n  necrosis_pct: {max: 50}\n"


def test_only_a_blindly_documented_bed_on_treatment_counts(tmp_path):
    study = study_of(tmp_path, BEDS, BED_RULES)
    words = ["blinded", "not blinded", "no", "not documented"]
    assert regression_bed(study)[["a2", "b2", "c2", "a1"]].tolist() == words
    assert sets_of_study(study) == ("strict", "immune_evaluable", "strict_pairs", "all_biopsied")
    used = {
        name: set(table.index[table["used"]])
        for name in sets_of_study(study)
        for table in [usable(study, None, visits=PAIR, set_=name)]
    }
    assert used["strict"] == {"a1", "b1", "c1", "d2", "e1"}
    assert used["immune_evaluable"] == used["strict"] | {"a2"}
    assert used["strict_pairs"] == set()
    assert used["all_biopsied"] == set(study.biopsies.index)
    table = usable(study, None, visits=PAIR, set_="immune_evaluable")
    assert table.loc["a2", "code"] == "E-PAIR-013"
    assert "not blinded" in table.loc["b2", "reason"]
    assert "No regression bed is documented" in table.loc["c2", "reason"]
    assert "before treatment" in table.loc["d1", "reason"]
    assert "necrosis_pct 90" in table.loc["e2", "reason"]  # crushed and necrotic is a failure of quality


def test_what_is_measured_in_tumour():
    names = ["CD8_density_nest", "CD8_density_stroma", "CD8_density_tissue", "PDL1_tps", "PDL1_cps", "CYT"]
    assert in_tumour(names).tolist() == [True, False, False, True, True, False]


def responders_lose_their_tumour(path: Path) -> Study:
    """400 participants, 40 % of them responders, whose CD8 rises fourfold; 38 % of these lose the tumour.

    Of the others 6 % do.
    Shares in the manner of Tapia et al. 2020, doi:10.1136/jitc-2020-000665.
    A bed is documented in responders.
    """
    rng = np.random.default_rng(16)
    n, responders = 400, 160
    change = np.where(np.arange(n) < responders, 2.0, 0.0) + rng.normal(0, 0.5, n)
    lost = np.r_[
        np.arange(responders) < round(0.38 * responders), np.arange(n - responders) < round(0.06 * 240)
    ]
    before = 7.0 + rng.normal(0, 1.0, n)
    rows, values = [], {}
    for k in range(n):
        bed = "yes,yes" if lost[k] and k < responders else "no,yes" if lost[k] else ","
        rows += [f"P{k},s{k},screening,-7,500,,", f"P{k},t{k},C2D1,29,{0 if lost[k] else 500},{bed}"]
        values |= {f"s{k}": [before[k]] * 2, f"t{k}": [before[k] + change[k]] * 2}
    header = "participant_id,biopsy_id,visit,study_day,viable_tumor_cells,regression_bed,bed_reader_blinded"
    study = study_of(path, "\n".join([header, *rows]) + "\n", "adequacy: {viable_tumor_cells: 100}\n")
    features = ["CD8_score_tissue", "CD8_score_nest"]
    return study.with_assay("ihc", assay(values, features, kind="score"))


def test_trap_16_excluding_low_tumour_content_removes_responders(tmp_path):
    """The true mean change is .4 x 2 = .8; with tumour left, 99 of 325 are responders."""
    study = responders_lose_their_tumour(tmp_path)
    table = pd_change(study, Plan.default(study)).table
    whole = table[table["feature"] == "CD8_score_tissue"].set_index("set")
    assert list(whole.index) == ["strict", "immune_evaluable", "strict_pairs", "all_biopsied"]
    assert whole["n_pairs"].tolist() == [325, 386, 325, 400]
    # Standard errors are about .055; the expected values are 2 x the share of responders among the pairs.
    for name, share in {"strict_pairs": 99 / 325, "immune_evaluable": 160 / 386, "all_biopsied": 0.4}.items():
        assert whole.loc[name, "estimate"] == pytest.approx(2 * share, abs=0.1), name
    assert whole.loc["strict", "estimate"] < whole.loc["all_biopsied", "estimate"] - 0.1
    # Only the primary set has an adjusted p.
    assert whole["q"].notna().tolist() == [True, False, False, False]
    assert set(whole["adjustment"][1:]) == {"none: sensitivity"}
    # In a bed, nests are undefined: the row falls back on the pairs that have tumour.
    nest = table[table["feature"] == "CD8_score_nest"].set_index("set")
    assert nest.loc["immune_evaluable", "n_pairs"] == 325
    assert "undefined in nests" in nest.loc["immune_evaluable", "note"]


#: Extra hours of sleep of ten patients under two drugs (Student 1908; R's `sleep`).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_trap_04_incomplete_pairs_are_shown_used_and_dropped(tmp_path):
    """Both analyses stand side by side, each by its name and numbers.

    Oracle of the strict set: lme4 and pbkrtest in R on `sleep` without drug 2 of patients 3 and 7 and drug 1
    of patient 9: 1.1673035, Kenward-Roger SE .27307920, p .0049047857. Pairs only: the mean of
    the seven changes, 8.1 / 7.
    """
    rows, values = [], {}
    for k, (one, two) in enumerate(zip(DRUG_1, DRUG_2, strict=True), start=1):
        if k != 9:
            rows.append(f"P{k},s{k},screening,-7")
            values[f"s{k}"] = [one]
        if k not in (3, 7):
            rows.append(f"P{k},t{k},C2D1,29")
            values[f"t{k}"] = [two]
    study = study_of(tmp_path, "participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n", "")
    study = study.with_assay("s", assay(values, ["X"]))
    table = pd_change(study, Plan.default(study)).table.set_index("set")
    assert table.loc["strict", "estimate"] == pytest.approx(1.1673035, rel=1e-6)
    assert table.loc["strict", "se"] == pytest.approx(0.27307920, rel=1e-5)
    assert table.loc["strict", "p"] == pytest.approx(0.0049047857, rel=1e-4)
    assert table.loc["strict_pairs", "estimate"] == pytest.approx(8.1 / 7, abs=1e-9)
    assert table.loc["strict", ["n_participants", "n_pairs", "n_biopsies"]].tolist() == [10, 7, 17]
    assert table.loc["strict_pairs", ["n_participants", "n_pairs", "n_biopsies"]].tolist() == [7, 7, 14]

"""The analysis plan: what is read, completed, refused, and its hash."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from builders import assay, study_folder
from riaz import build_riaz_study

from pdbiomarker.errors import PlanError
from pdbiomarker.formula import parse
from pdbiomarker.plan import DEFAULT_FORMULA, Plan, estimand_of
from pdbiomarker.plan.columns import formula_levels
from pdbiomarker.study import Study, read_study

BIOPSIES = "participant_id,biopsy_id,visit,batch\nP1,B1,screening,a\nP1,B2,C2D1,a\n"
STUDY = """
id: T
visits: {screening: [-28, -1], C1D15: {day: 15, window: 3}, C2D1: {day: 29, window: 7}}
assays:
  rna: {kind: count, file: counts.csv, signatures: [CYT]}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = study_folder(tmp_path / "s", biopsies=BIOPSIES, study=STUDY, files={"counts.csv": "gene,B1\n"})
    return read_study(folder).with_assay("ihc", assay({"B1": [1.0]}, ["CD8_density_tissue"]))


def plan_of(path: Path, text: str, study: Study | None = None) -> Plan:
    (path / "plan.yaml").write_text(text, encoding="utf-8")
    return Plan.read(path / "plan.yaml", study)


FULL = """\
formula: "~ visit * batch + (1|participant)"
contrasts: {on_treatment: C2D1 - screening, early: C1D15 - screening}
families: {primary: [ihc:CD8_density], genes: rna, sig: [rna_signatures:CYT]}
adjust: {sig: holm, ihc: bh}
replicates: select
ddf: satterthwaite
seed: 7
allow_negative_icc: false
"""


def test_the_plan_as_read(tmp_path, study):
    plan = plan_of(tmp_path, FULL, study)
    assert plan == Plan(
        formula="~ visit * batch + (1|participant)",
        contrasts={"on_treatment": "C2D1 - screening", "early": "C1D15 - screening"},
        families={"primary": ("ihc:CD8_density",), "genes": ("rna",), "sig": ("rna_signatures:CYT",)},
        replicates="select",
        ddf="satterthwaite",
        seed=7,
        allow_negative_icc=False,
        adjust={"primary": "holm", "genes": "bh", "sig": "holm", "ihc": "bh"},
        baseline="screening",
    )


def test_a_plan_that_says_nothing_is_completed_from_the_study(tmp_path, study):
    plan = plan_of(tmp_path, "seed: 1\n", study)
    assert plan == Plan.default(study)
    assert plan.formula == DEFAULT_FORMULA == "~ visit + (1|participant)"
    assert plan.contrasts == {"C1D15": "C1D15 - screening", "C2D1": "C2D1 - screening"}
    assert plan.families == {name: (name,) for name in ("ihc", "rna", "rna_signatures")}
    assert set(plan.adjust.values()) == {"bh"}
    assert (plan.ddf, plan.replicates, plan.seed, plan.baseline) == (
        "kenward-roger",
        "select",
        1,
        "screening",
    )


def test_the_plan_written_out_reads_back_the_same(tmp_path, study):
    plan = plan_of(tmp_path, FULL, study)
    again = plan_of(tmp_path, plan.to_yaml(), study)
    assert again == plan
    assert again.hash == plan.hash
    assert copy.deepcopy(plan) == plan


def test_looks_are_completed_and_read_back(tmp_path, study):
    plan = plan_of(tmp_path, "looks: {look: 2, of: 3, information: [0.3, 0.6, 1]}\n", study)
    assert plan.looks == {"look": 2, "of": 3, "boundary": "bonferroni", "information": [0.3, 0.6, 1.0]}
    assert plan_of(tmp_path, plan.to_yaml(), study) == plan
    assert "looks" not in plan_of(tmp_path, "seed: 1\n", study).to_yaml()


def test_the_hash_is_of_the_content(tmp_path, study):
    plan = plan_of(tmp_path, FULL, study)
    shuffled = "\n".join(reversed(FULL.strip().splitlines())) + "\n# a comment\n"
    assert plan_of(tmp_path, shuffled, study).hash == plan.hash
    assert len(plan.hash) == 64
    changes = {
        "formula": "~ visit + (1|participant)",
        "contrasts": {"on_treatment": "C2D1 - screening"},
        "families": {"genes": ("rna",)},
        "ddf": "residual",
        "seed": 8,
        "allow_negative_icc": True,
        "adjust": {"sig": "bh"},
        "replicates": "all",
        "baseline": "C1D15",
        "looks": {"look": 1, "of": 2},
    }
    hashes = {dataclasses.replace(plan, **{name: value}).hash for name, value in changes.items()}
    assert len(hashes | {plan.hash}) == len(changes) + 1
    # a fixed value: the hash may not change between versions without a word in the changelog
    fixed = Plan("~ visit + (1|participant)", {"on": "On - Pre"}, {"genes": ("rna",)}, baseline="Pre")
    assert fixed.hash == "13637c98f19011d78ec10d7a283eb4f7d222f11c23f6d2e657e94d226f8a2497"


REFUSED = [
    ("contrast: {a: C2D1 - screening}\n", "E-PLAN-001", 1, "contrast", "unknown", "'contrasts'"),
    ("seed: 1\nddf: kr\n", "E-PLAN-001", 2, "ddf", "allowed", "'kenward-roger'"),
    ("replicates: mean\n", "E-PLAN-001", 1, "replicates", "allowed", "'select'"),
    ("looks: {look: 3, of: 2}\n", "E-PLAN-001", 1, "looks.look", "do not fit together", "1 to 20"),
    ("looks: {look: 0, of: 2}\n", "E-PLAN-001", 1, "looks.look", "greater", "docs"),
    ("looks: {look: 1, of: 2, boundary: x}\n", "E-PLAN-001", 1, "looks.boundary", "allowed", "'pocock'"),
    (
        "looks: {look: 1, of: 2, information: [1, 0.5]}\n",
        "E-PLAN-001",
        1,
        "looks.information",
        "do not fit together",
        "increase to 1",
    ),
    ("looks: {of: 2}\n", "E-PLAN-001", 1, "looks.look", "missing", "docs"),
    ("adjust: {ihc: bonferroni}\n", "E-PLAN-001", 1, "adjust.ihc", "allowed", "'holm'"),
    ("seed: 1.5\n", "E-PLAN-001", 1, "seed", "whole number", "docs"),
    ("seed: -1\n", "E-PLAN-001", 1, "seed", "greater", "docs"),
    ("allow_negative_icc: no\n", "E-PLAN-001", 1, "allow_negative_icc", "true or false", "docs"),
    ("contrasts: [C2D1 - screening]\n", "E-PLAN-001", 1, "contrasts", "mapping", "docs"),
    ("families: {a: {b: c}}\n", "E-PLAN-001", 1, "families.a", "list", "docs"),
    ("contrasts: {a: C2D2 - screening}\n", "E-PLAN-002", 1, "contrasts.a", "cannot be read", "C2D1"),
    ("contrasts:\n  a: C2D1 - screening\n  b: C2D1\n", "E-PLAN-002", 3, "contrasts.b", "cannot be read", ""),
    ("baseline: Screening\n", "E-PLAN-002", 1, "baseline", "not a visit", "'screening'"),
    ("families: {a: [rma]}\n", "E-PLAN-003", 1, "families.a", "no assay 'rma'", "'rna'"),
    ("families: {a: ['ihc:']}\n", "E-PLAN-003", 1, "families.a", "assay:feature", "ihc:CD8"),
    ("families: {a: []}\n", "E-PLAN-003", 1, "families.a", "empty", "Name"),
    ("families: {a: [rna], b: [rna]}\n", "E-PLAN-003", 1, "families.b", "both name", "one family"),
    ("families: {a: [rna]}\nadjust: {aa: bh}\n", "E-PLAN-003", 2, "adjust.aa", "no family", "'a'"),
    ("replicates: all\n", "E-PLAN-004", 1, "replicates", "below the participant", "(1|participant:visit)"),
    ("formula: '~ visit + btach + (1|participant)'\n", "E-FORMULA-003", 1, "formula", "'btach'", "'batch'"),
    ("formula: '~ visit +'\n", "E-FORMULA-001", 1, "formula, position 10", "", ""),
    ("formula: ~ I(x)\n", "E-FORMULA-002", 1, "formula, position 3", "not allowed", "log2"),
    ("formula: ~ os.system('id')\n", "E-FORMULA-002", 1, "formula, position 3", "not allowed", "log2"),
    ("formula: ~ x[0]\n", "E-FORMULA-001", 1, "formula, position 4", "not part", ""),
    ("seed: 1\nseed: 2\n", "E-STUDY-002", 2, "1", "lines 1 and 2", "Keep"),
    ("seed: !!python/name:os.system 1\n", "E-STUDY-002", 1, "7", "tag", "Remove"),
]


DOSE = "formula: '~ visit * dose_mg + cohort + (1|participant)'\n"
BAD_CONTRASTS = [
    (DOSE, "C2D1 - screening at dose = 100", "'dose'", "'dose_mg'"),
    (DOSE, "C2D1 - screening at cohort = NIV3-NAIV", "no such level", "'NIV3-NAIVE'"),
    (DOSE, "C2D1 - screening at dose_mg = high", "finite number", "dose_mg = 1"),
    (DOSE, "C2D1 - screening at batch = a", "not in the fixed part", "Add it to the formula"),
    ("", "C2D1 - screening at dose_mg = 100", "not in the fixed part", "Add it to the formula"),
    (DOSE, "dose: 100 - 10 at C2D1", "cannot be read", "'dose_mg'"),
    (
        DOSE,
        "(C2D1 - screening at dose_mg = 10) - (C1D15 - screening at dose_mg = 3)",
        "different visits in different participants",
        "Split it",
    ),
]


@pytest.fixture
def dosed(tmp_path: Path) -> Study:
    people = "participant_id,dose_mg,cohort\nP1,10,NIV3-NAIVE\n"
    files = {"counts.csv": "gene,B1\n", "participants.csv": people}
    return read_study(study_folder(tmp_path / "d", biopsies=BIOPSIES, study=STUDY, files=files))


@pytest.mark.parametrize(("formula", "text", "said", "remedy"), BAD_CONTRASTS)
def test_contrasts_that_cannot_be_fitted(tmp_path, dosed, formula, text, said, remedy):
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path, f"{formula}contrasts: {{on: '{text}'}}\n", dosed)
    (problem,) = caught.value.problems
    assert (problem.code, problem.column, problem.value) == ("E-PLAN-002", "contrasts.on", text)
    assert said in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "held", ["dose_mg = 55.5", "cohort = NIV3-NAIVE", "dose_mg = 10, cohort = NIV3-NAIVE"]
)
def test_contrasts_may_hold_columns_of_the_formula(tmp_path, dosed, held):
    text = f"C2D1 - screening at {held}"
    assert plan_of(tmp_path, f"{DOSE}contrasts: {{on: '{text}'}}\n", dosed).contrasts == {"on": text}
    factor = "formula: '~ visit * C(dose_mg) + (1|participant)'\n"
    plan_of(tmp_path, f"{factor}contrasts: {{on: C2D1 - screening at dose_mg = 10}}\n", dosed)
    with pytest.raises(PlanError, match="no such level"):
        plan_of(tmp_path, f"{factor}contrasts: {{on: C2D1 - screening at dose_mg = 11}}\n", dosed)


@pytest.mark.parametrize(("text", "code", "row", "column", "said", "remedy"), REFUSED)
def test_refused_plans(tmp_path, study, text, code, row, column, said, remedy):
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path, text, study)
    found = [p for p in caught.value.problems if (p.code, p.row, p.column) == (code, row, column)]
    assert found, caught.value.problems
    assert found[0].file == "plan.yaml"
    assert said in found[0].message
    assert remedy in found[0].remedy


def test_all_faults_at_once(tmp_path, study):
    text = "formula: '~ visit + (1|'\ncontrasts: {a: X - Y}\nfamilies: {p: [pk]}\nbaseline: Z\n"
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path, text, study)
    codes = {p.code for p in caught.value.problems}
    assert codes == {"E-FORMULA-001", "E-PLAN-002", "E-PLAN-003"}


def test_all_biopsies_with_a_term_for_them(tmp_path, study):
    text = "replicates: all\nformula: '~ visit + (1|participant/visit)'\n"
    assert plan_of(tmp_path, text, study).replicates == "all"


def test_a_plan_made_in_memory_is_checked():
    with pytest.raises(PlanError, match="'satterthwaite'"):
        Plan("~ visit", {}, {}, ddf="wald")
    with pytest.raises(PlanError, match="'select'"):
        Plan("~ visit", {}, {}, replicates="any")
    with pytest.raises(PlanError, match="'bh'"):
        Plan("~ visit", {}, {"a": ("b",)}, adjust={"a": "fdr"})
    with pytest.raises(PlanError) as caught:
        Plan("~ visit", {}, {}, looks={"look": 1, "of": 2, "boundary": "peto"})
    (problem,) = caught.value.problems
    assert (problem.code, problem.column, problem.value) == ("E-PLAN-001", "looks.boundary", "peto")
    assert "'pocock'" in problem.remedy


def test_a_column_that_a_formula_refuses_has_no_levels(study):
    """Days are neither numbers nor labels; batches have two levels."""
    data = assay({"B1": [1.0], "B2": [2.0]}, ["X"])
    data.obs["when"] = pd.to_datetime(["2025-01-01", "2025-02-01"])
    data.obs["run"] = ["r2", "r1"]
    formula = parse("~ visit + when + run")
    assert formula_levels(formula, study.with_assay("ihc", data)) == {"when": (), "run": ("r1", "r2")}


def test_many_tumour_types_are_named_up_to_eight(tmp_path):
    types = [f"type {k}" for k in range(10)]
    biopsies = "participant_id,biopsy_id,visit\n" + "".join(f"P{k},B{k},screening\n" for k in range(10))
    people = "participant_id,tumor_type\n" + "".join(f"P{k},{t}\n" for k, t in enumerate(types))
    for n, said in ((10, ", type 7 and 2 more"), (8, ", type 7")):
        folder = study_folder(
            tmp_path / str(n),
            biopsies="\n".join(biopsies.splitlines()[: n + 1]) + "\n",
            participants="\n".join(people.splitlines()[: n + 1]) + "\n",
        )
        study_ = read_study(folder)
        told = estimand_of(study_, Plan.read(folder / "plan.yaml", study_))["population"]
        assert f"type 0, type 1, type 2, type 3, type 4, type 5, type 6{said}" in told
        assert ("more" in told) is (n > 8)


def test_without_a_study_only_the_plan_itself_is_checked(tmp_path):
    plan = plan_of(tmp_path, "contrasts: {a: X - Y}\nfamilies: {p: [pk:AUC]}\n")
    assert (plan.baseline, plan.contrasts) == ("", {"a": "X - Y"})
    with pytest.raises(PlanError, match="E-FILE-001"):
        Plan.read(tmp_path / "none.yaml")


@pytest.mark.data
def test_the_plan_of_riaz(tmp_path, shared_data):
    folder = build_riaz_study(shared_data, tmp_path / "riaz")
    plan = Plan.read(folder / "plan.yaml", read_study(folder))
    assert plan.contrasts == {"on_treatment": "On - Pre"}
    assert plan.adjust == {"primary": "holm", "genes": "bh"}
    assert plan.baseline == "Pre"


def test_a_single_cell_file_is_no_assay_of_the_default_plan(tmp_path):
    """Its cell types are assays once they are read; the file's own name never is one."""
    text = STUDY + "  sc: {kind: count, h5ad: cells.h5ad}\n"
    folder = study_folder(
        tmp_path / "s", biopsies=BIOPSIES, study=text, files={"counts.csv": "gene,B1\n", "cells.h5ad": ""}
    )
    study = read_study(folder)
    assert "sc" not in Plan.default(study).families
    made = study.with_assay("sc_CD8_T", assay({"B1": [1.0]}, ["GZMB"]))
    assert Plan.default(made).families["sc_CD8_T"] == ("sc_CD8_T",)

"""Influx: sensitivity rows with libraries scaled by stable genes (composition). Oracle: planted truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.change.composition import COMPOSITION
from pdbiomarker.report.methods import methods_text
from pdbiomarker.study import read_study
from tests.builders import study_folder

N_GENES, RISEN = 400, 340


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Ten participants before and on treatment: 340 of 400 genes rise twofold, the rest stays."""
    rng = np.random.default_rng(21)
    mean = rng.gamma(2, 300, N_GENES) + 100
    columns = {}
    biopsies = "participant_id,biopsy_id,visit\n"
    for k in range(10):
        own = mean * 2 ** rng.normal(0, 0.3, N_GENES)
        for visit in ("screening", "C2D1"):
            rise = np.where((np.arange(N_GENES) < RISEN) & (visit == "C2D1"), 2.0, 1.0)
            mu = own * rise * rng.lognormal(0, 0.3)
            columns[f"P{k}_{visit}"] = rng.negative_binomial(50, 50 / (50 + mu))
            biopsies += f"P{k},P{k}_{visit},{visit}\n"
    root = tmp_path_factory.mktemp("influx")
    table = pd.DataFrame(columns, index=[f"G{k:03d}" for k in range(N_GENES)])
    yaml = "id: I\nvisits: {screening: {}, C2D1: {}}\nassays: {rna: {kind: count, file: counts.csv}}\n"
    study_folder(root, biopsies=biopsies, study=yaml, files={"counts.csv": table.to_csv(index_label="gene")})
    found = read_study(root)
    return found.with_assay("rna", pb.expression.read_assay(found, found.spec.assays[0]))


def plan(**keys):
    return pb.Plan(
        "~ visit + (1|participant)",
        {"on": "C2D1 - screening"},
        {"rna": ("rna",)},
        baseline="screening",
        **keys,
    )


def test_trap_20_the_two_readings_of_an_influx_stand_side_by_side(study):
    """Primary rows: risen genes seem still, the rest halved. Composition rows: +1 and 0, as planted."""
    stable = tuple(f"G{k:03d}" for k in range(RISEN, RISEN + 40))
    result = pb.pd_change(study, plan(stable_genes=stable))
    table = result.table
    assert set(table["set"]) == {"strict", COMPOSITION}
    for name, risen, rest in (("strict", 0.0, -1.0), (COMPOSITION, 1.0, 0.0)):
        rows = table[table["set"] == name].set_index("feature")["estimate"]
        assert rows.iloc[:RISEN].mean() == pytest.approx(risen, abs=0.15)
        assert rows.iloc[RISEN:].mean() == pytest.approx(rest, abs=0.15)
    sensitivity = table[table["set"] == COMPOSITION]
    assert sensitivity["q"].isna().all()
    assert set(sensitivity["adjustment"]) == {"none: sensitivity"}
    assert sensitivity["note"].str.contains("composition: libraries scaled by 40 genes named as stable").all()
    primary = pb.pd_change(study, plan()).table
    pd.testing.assert_frame_equal(table[table["set"] == "strict"].reset_index(drop=True), primary)
    told = " ".join(methods_text(result))
    assert "one of composition" in told
    assert "TMM" in told


def test_the_rule_chooses_where_no_genes_are_named(study):
    table = pb.pd_change(study, plan(stable_genes=("auto",))).table
    notes = table.loc[table["set"] == COMPOSITION, "note"]
    assert notes.str.contains("most stable genes").all()


def test_genes_that_cannot_serve_leave_rows_that_say_so(study):
    table = pb.pd_change(study, plan(stable_genes=("NOT_A_GENE",))).table
    rows = table[table["set"] == COMPOSITION]
    assert set(rows["status"]) == {"not_estimable"}
    assert rows["p"].isna().all()
    assert rows["note"].str.contains("there is none").all()


def test_the_scaling_of_the_plan_is_used_and_told(study):
    for method, words in (("deseq", "DESeq2"), ("none", "nothing but their total reads")):
        result = pb.pd_change(study, plan(normalization=method, quality_weights=True))
        assert result.study.assays["rna"].uns["normalization"]["method"] == method
        told = " ".join(methods_text(result))
        assert words in told
        assert "weighed by their quality" in told


def test_keys_of_the_plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("normalization: rle\nquality_weights: true\nstable_genes: auto\n")
    read = pb.Plan.read(path)
    assert (read.normalization, read.quality_weights, read.stable_genes) == ("rle", True, ("auto",))
    assert pb.Plan.read(write(tmp_path, read.to_yaml())) == read
    with pytest.raises(pb.errors.PlanError, match="normalization"):
        pb.Plan.read(write(tmp_path, "normalization: tpm\n"))


def write(folder, text):
    path = folder / "again.yaml"
    path.write_text(text)
    return path

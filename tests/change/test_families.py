"""Families of tests: who belongs to which, and adjusted p-values by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder

from pdbiomarker.change.families import adjust, resolve_families
from pdbiomarker.errors import PlanError
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study


@pytest.fixture
def plan(tmp_path):
    folder = study_folder(tmp_path, biopsies="participant_id,biopsy_id,visit\nP1,a,screening\nP1,b,C2D1\n")
    return Plan.read(folder / "plan.yaml", read_study(folder))


ASSAYS = {
    "ihc": assay(
        {"a": [1, 2, 3, 4]}, ["CD8_density_nest", "CD8_density_tissue", "CD8_pct_nest", "KI67_pct_tissue"]
    ),
    "rna": assay({"a": [1, 2]}, ["925", "3001"]),
}


def test_references_resolve(plan):
    plan = dataclasses.replace(
        plan, families={"primary": ("ihc:CD8_density",), "panel": ("ihc",), "x": ("ihc",)}
    )
    found = resolve_families(plan, ASSAYS)
    assert found["ihc", "CD8_density_tissue"] == "primary"
    assert found["ihc", "CD8_density_nest"] == "panel"
    assert found["rna", "925"] == "rna"
    assert len(found) == 6


def test_a_compartment_may_be_left_out_where_one_fits(plan):
    plan = dataclasses.replace(plan, families={"primary": ("ihc:CD8_pct",)})
    assert resolve_families(plan, ASSAYS)["ihc", "CD8_pct_nest"] == "primary"


def test_every_bad_reference_is_told_at_once(plan):
    plan = dataclasses.replace(plan, families={"primary": ("ihc:CD8_densty", "rma", "ihc:CD8")})
    with pytest.raises(PlanError) as caught:
        resolve_families(plan, ASSAYS)
    text = str(caught.value)
    assert "3 problems" in text
    assert "CD8_density" in text
    assert "Did you mean rna?" in text
    assert "fits 3 features" in text


def test_holm_and_bh_by_hand(plan):
    p = [0.01, 0.04, 0.03, np.nan, 0.02, 0.02]
    table = pd.DataFrame(
        {
            "set": ["strict"] * 5 + ["all_biopsied"],
            "family": ["primary"] * 4 + ["genes", "primary"],
            "contrast": ["a", "a", "b", "b", "a", "a"],
            "p": p,
        }
    )
    out = adjust(table, dataclasses.replace(plan, adjust={}))
    np.testing.assert_allclose(out["q"], [0.03, 0.06, 0.06, np.nan, 0.02, np.nan])
    assert out["n_tests"].tolist() == [3, 3, 3, 3, 1, 0]
    assert out["adjustment"].tolist() == ["holm"] * 4 + ["bh", "none: sensitivity"]
    bh = adjust(table.assign(family="genes", contrast="a", set="strict").head(3), plan)
    np.testing.assert_allclose(bh["q"], [0.03, 0.04, 0.04])

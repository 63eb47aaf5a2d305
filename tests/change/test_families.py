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


def test_trap_18_one_primary_family_over_features_and_contrasts_by_hand(plan):
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


def family_table(p, *, features=("f0", "f1"), contrasts=("a", "b")):
    """One strict row for each feature and contrast, features first."""
    rows = [(f, c) for f in features for c in contrasts]
    return pd.DataFrame(
        {
            "assay": "ihc",
            "feature": [f for f, _ in rows],
            "label": [f for f, _ in rows],
            "set": "strict",
            "family": "primary",
            "contrast": [c for _, c in rows],
            "p": p,
        }
    )


def test_a_fixed_sequence_follows_the_plan(plan):
    """f1 before f0, contrast a before b: .01, .2, then the gate is closed for .001 and .03."""
    plan = dataclasses.replace(
        plan,
        contrasts={"a": "x", "b": "y"},
        families={"primary": ("ihc:f1", "ihc:f0")},
        adjust={"primary": "fixed-sequence"},
    )
    table = family_table([0.001, 0.03, 0.01, 0.2])
    out = adjust(table, plan)
    np.testing.assert_allclose(out["q"], [0.2, 0.2, 0.01, 0.2])
    assert out["adjustment"].tolist() == ["fixed-sequence"] * 4
    shuffled = adjust(table.iloc[[2, 0, 3, 1]].reset_index(drop=True), plan)
    np.testing.assert_allclose(shuffled["q"], out["q"].to_numpy()[[2, 0, 3, 1]])
    # what could not be tested was not rejected: nothing after it is
    untested = adjust(family_table([0.001, 0.03, np.nan, 0.2]), plan)
    np.testing.assert_allclose(untested["q"], [1, 1, np.nan, 1])
    assert untested["n_tests"].tolist() == [3] * 4


def test_by_and_none_by_hand(plan):
    table = family_table([0.01, 0.02, 0.03, 0.04]).assign(family="panel", contrast="a")
    by = adjust(table, dataclasses.replace(plan, adjust={"panel": "by"}))
    np.testing.assert_allclose(by["q"], [0.04 * (1 + 1 / 2 + 1 / 3 + 1 / 4)] * 4)
    none = adjust(table, dataclasses.replace(plan, adjust={"panel": "none"}))
    np.testing.assert_allclose(none["q"], table["p"])
    assert none["adjustment"].tolist() == ["none"] * 4


@pytest.mark.parametrize(
    ("looks", "told", "published"),
    [
        ({"look": 1, "of": 4}, "1 of 4, bonferroni", 0.0125),
        ({"look": 2, "of": 2, "boundary": "pocock"}, "2 of 2, pocock", 0.0294),
        ({"look": 1, "of": 2, "boundary": "obrien-fleming"}, "1 of 2, obrien-fleming", 0.00517),
    ],
)
def test_declared_looks_come_before_holm(plan, looks, told, published):
    """Two looks: Pocock .0294, O'Brien-Fleming .00517 (Jennison and Turnbull 2000, tables 2.1, 2.3)."""
    plan = dataclasses.replace(plan, looks=looks, adjust={})
    genes = family_table([0.001, 0.004, 0.01, 0.2]).assign(family="genes", contrast="a")
    for share, called in ((0.99, True), (1.01, False)):
        one = family_table([share * published], features=("f0",), contrasts=("a",))
        out = adjust(pd.concat([one, genes], ignore_index=True), plan)
        assert (out["q"][0] <= 0.05) == called
        head, _, level = out["look"][0].partition(", alpha ")
        assert head == told
        assert float(level) == pytest.approx(published, rel=2e-3)
        assert out["look"][1:].tolist() == [""] * 4
        np.testing.assert_allclose(out["q"][1:], [0.004, 0.008, 0.04 / 3, 0.2])  # BH knows no looks


def test_holm_is_of_p_adjusted_for_looks(plan):
    plan = dataclasses.replace(plan, looks={"look": 1, "of": 4}, adjust={})
    out = adjust(family_table([0.001, 0.004, 0.01, 0.2]), plan)
    np.testing.assert_allclose(out["q"], [0.016, 0.048, 0.08, 0.8])


def test_a_fixed_sequence_tests_what_a_short_name_means_not_what_begins_with_it(plan):
    """CD8_density means CD8_density_tissue: the nest keeps its place, the last."""
    plan = dataclasses.replace(
        plan,
        contrasts={"a": "x"},
        families={"primary": ("ihc:CD8_density", "ihc:KI67_pct", "ihc:CD8_density_nest")},
        adjust={"primary": "fixed-sequence"},
    )
    features = ("CD8_density_nest", "CD8_density_tissue", "KI67_pct_tissue")
    out = adjust(family_table([0.3, 0.01, 0.02], features=features, contrasts=("a",)), plan)
    np.testing.assert_allclose(out["q"], [0.3, 0.01, 0.02])

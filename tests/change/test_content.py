"""Sensitivity rows adjusted for tumour content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import PLAN_YAML, assay, study_folder
from statsmodels.regression.mixed_linear_model import MixedLM

from pdbiomarker import PDResult, Plan, pd_change, read_study
from pdbiomarker.change.content import ADJUSTED


def analysed(
    path: Path, *, effect: float, by_content: float, known: bool = True, formula: str = ""
) -> PDResult:
    """24 pairs; tumour content falls by 20 points; a score moves by `effect`, and by content."""
    draw = np.random.default_rng(11)
    rows, values = "participant_id,biopsy_id,visit,study_day,tumor_content_pct\n", {}
    for k in range(24):
        level, before = draw.normal(5, 1), draw.uniform(50, 80)
        for letter, visit, day in (("S", "screening", -7), ("T", "C2D1", 29)):
            content = before if letter == "S" else before - 20 + draw.normal(0, 15)
            content = round(float(np.clip(content, 5, 95)))
            told = f"{content}" if known and not (k == 3 and letter == "T") else ""
            rows += f"P{k:02d},P{k:02d}-{letter},{visit},{day},{told}\n"
            moved = level + (effect if letter == "T" else 0.0) - by_content * content
            values[f"P{k:02d}-{letter}"] = [moved + draw.normal(0, 0.2)]
    plan = PLAN_YAML.replace("~ visit + (1|participant)", formula or "~ visit + (1|participant)")
    study = read_study(study_folder(path, biopsies=rows, plan=plan))
    study = study.with_assay("ihc", assay(values, ["score"]))
    return pd_change(study, Plan.read(path / "plan.yaml", study))


def test_a_change_that_is_composition_alone_vanishes(tmp_path: Path) -> None:
    """Planted: nothing but .05 a point of content, 20 points down: 1.0 unadjusted, 0 adjusted."""
    table = analysed(tmp_path / "s", effect=0.0, by_content=0.05).table.set_index("set")
    assert table.at["strict", "ci_low"] < 1.0 < table.at["strict", "ci_high"]
    assert table.at[ADJUSTED, "estimate"] == pytest.approx(0.0, abs=0.25)
    assert table.at[ADJUSTED, "ci_low"] < 0 < table.at[ADJUSTED, "ci_high"]


def test_an_effect_beside_composition_stays(tmp_path: Path) -> None:
    """Planted: .8 beside content; the row is a sensitivity row, without an adjusted p."""
    table = analysed(tmp_path / "s", effect=0.8, by_content=0.05).table.set_index("set")
    row = table.loc[ADJUSTED]
    assert row["ci_low"] < 0.8 < row["ci_high"]
    assert row["status"] == "ok"
    assert np.isnan(row["q"])
    assert "measured after treatment: sensitivity only" in row["note"]
    assert "1 biopsies without tumour content left out" in row["note"]


def test_it_is_the_mixed_model_with_the_covariate(tmp_path: Path) -> None:
    """Oracle: statsmodels MixedLM by REML, estimate and its standard error (ours is Kenward and Roger's)."""
    result = analysed(tmp_path / "s", effect=0.8, by_content=0.05)
    data = result.study.assays["ihc"]
    y = np.asarray(data.layers["y"], dtype=float)[:, 0]
    content = result.study.biopsies.loc[data.obs_names, "tumor_content_pct"].to_numpy(dtype=float)
    on = np.array([b.endswith("T") for b in data.obs_names], dtype=float)
    people = np.array([b.partition("-")[0] for b in data.obs_names])
    good = np.isfinite(content)
    design = np.column_stack([np.ones(good.sum()), on[good], content[good]])
    theirs = MixedLM(y[good], design, people[good]).fit(reml=True)
    row = result.table.set_index("set").loc[ADJUSTED]
    assert row["estimate"] == pytest.approx(theirs.params[1], abs=2e-4)
    assert row["se"] == pytest.approx(theirs.bse[1], rel=0.05)
    assert row["n_biopsies"] == 47


def test_no_rows_without_content_or_where_the_plan_has_it(tmp_path: Path) -> None:
    none = analysed(tmp_path / "a", effect=0.8, by_content=0.05, known=False)
    assert ADJUSTED not in set(none.table["set"])
    formula = "~ visit + tumor_content_pct + (1|participant)"
    own = analysed(tmp_path / "b", effect=0.8, by_content=0.05, formula=formula)
    assert ADJUSTED not in set(own.table["set"])

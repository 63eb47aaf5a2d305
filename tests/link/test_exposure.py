"""Change against exposure, on a small trial with a planted slope."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linked import changes_of, trial
from scipy import stats

from pdbiomarker import PDResult, link
from pdbiomarker.errors import InputError
from pdbiomarker.link.values import find_measured


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("exposure") / "study")


def test_slope_and_correlation_are_those_of_the_changes(result: PDResult) -> None:
    """Planted: 1.2 log2 per tenfold dose; the numbers are those of scipy on the result's changes."""
    found = link.exposure_pd(result, "CD8_density", "dose_mg")
    y = changes_of(result, "CD8_density")
    x = result.study.participants.loc[y.index, "dose_mg"].to_numpy(dtype=float)
    line = stats.linregress(np.log10(x), y)
    row = found.row("change per tenfold exposure")
    assert row["estimate"] == pytest.approx(2**line.slope, rel=1e-10)
    assert row["p"] == pytest.approx(line.pvalue, rel=1e-8)
    assert row["low"] < 2**1.2 < row["high"]
    assert row["unit"] == "ratio"
    rho = found.row("Spearman correlation")
    assert rho["estimate"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert rho["n"] == 23
    assert found.row("any of five shapes")["p"] < 0.001


def test_who_has_no_pair_keeps_a_row_with_the_reason(result: PDResult) -> None:
    found = link.exposure_pd(result, "CD8_density", "dose_mg")
    assert len(found.points) == len(result.study.participants)
    lost = found.points[~found.points["used"]]
    assert lost["participant_id"].tolist() == ["P01"]
    assert lost["why"].iloc[0].startswith("no usable biopsy at C2D1")
    assert "1 left out" in found.note


def test_curves_are_fitted_where_they_are_allowed(result: PDResult) -> None:
    found = link.exposure_pd(result, "CD8_density", "dose_mg")
    weights = found.table[found.table["quantity"] == "weight by AICc"].set_index("group")
    assert weights.loc[weights["status"] == "ok", "estimate"].sum() == pytest.approx(1.0)
    assert weights.at["sigmoid Emax", "status"] == "not_asked"
    assert "4 different exposures, at least 5 needed" in weights.at["sigmoid Emax", "note"]
    assert found.row("ED50", "Emax")["unit"] == "exposure"
    ends = found.row("largest against least exposure, shapes averaged")
    log2 = found.curve["mean"].iloc[-1] - found.curve["mean"].iloc[0]
    assert ends["estimate"] == pytest.approx(2**log2, rel=1e-10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: np.where(np.arange(len(x)) < 11, x, np.nan), "at least 12 needed"),
        (lambda x: 10 + x / 3, "decades (log10), at least 1 needed"),
        (lambda x: np.where(x > 5, 30.0, 1.0), "2 different exposures, at least 4 needed"),
    ],
)
def test_curves_are_refused_with_the_reason(result: PDResult, change, said: str) -> None:
    dose = result.study.participants["dose_mg"].astype(float)
    exposure = pd.Series(change(dose.to_numpy()), dose.index, name="AUC").dropna()
    found = link.exposure_pd(result, "CD8_density", exposure)
    row = found.row("curves")
    assert row["status"] == "not_asked"
    assert said in row["note"]
    assert found.curve.empty
    assert np.isfinite(found.row("Spearman correlation")["estimate"])


def test_exposure_of_the_biopsy_is_that_of_the_on_treatment_biopsy(result: PDResult) -> None:
    by_biopsy = pd.Series({b: float(k + 1) for k, b in enumerate(result.study.biopsies.index)}, name="AUC")
    found = link.exposure_pd(result, "CD8_density", by_biopsy, unit="ug h/mL")
    used = found.points[found.points["used"]]
    assert used["exposure"].tolist() == [by_biopsy[b] for b in used["on_biopsy"]]
    assert used["on_biopsy"].str.endswith("-T").all()
    assert found.other_label == "AUC ug h/mL"


def test_exposure_0_counts_where_there_is_no_logarithm(result: PDResult) -> None:
    dose = result.study.participants["dose_mg"].astype(float)
    found = link.exposure_pd(result, "CD8_density", dose.where(dose > 1, 0.0).rename("dose"))
    slope = found.row("change per tenfold exposure")
    assert "5 with exposure 0" in slope["note"]
    assert slope["n"] == 18
    assert found.row("Spearman correlation")["n"] == 23
    assert "no logarithm" in found.row("weight by AICc", "bell")["note"]
    assert found.curve["exposure"].iloc[0] == 0.0


def test_unknown_exposures_are_left_out_and_counted(result: PDResult) -> None:
    dose = result.study.participants["dose_mg"].astype(float)
    found = link.exposure_pd(result, "CD8_density", dose.drop(["P02", "P03"]).rename("dose"))
    assert found.row("Spearman correlation")["n"] == 21
    assert "2 dose not known" in found.note


@pytest.mark.parametrize(
    ("exposure", "code"),
    [
        ("no_such", "E-LINK-002"),
        ("best_response", "E-LINK-002"),
        (pd.Series({"X1": 1.0}, name="AUC"), "E-LINK-002"),
        (pd.Series({"P02": -1.0, "P03": 2.0}, name="AUC"), "E-LINK-002"),
    ],
)
def test_what_is_no_exposure_is_refused(result: PDResult, exposure, code: str) -> None:
    with pytest.raises(InputError, match=code):
        link.exposure_pd(result, "CD8_density", exposure)


def test_a_short_name_means_what_it_means_in_a_plan(result: PDResult) -> None:
    data = result.study.assays["ihc"].copy()
    data.var_names = [f"{name}_tissue" for name in data.var_names]
    renamed = dataclasses.replace(result, study=result.study.with_assay("ihc", data))
    for asked in ("ihc:CD8_density", "CD8_density"):
        assert find_measured(renamed, asked).reference == "ihc:CD8_density_tissue"
    data.var_names = ["CD8_density_nest", "CD8_density_stroma", *data.var_names[2:]][: data.n_vars]
    two = dataclasses.replace(result, study=result.study.with_assay("ihc", data))
    if data.n_vars > 1:
        with pytest.raises(InputError, match="fits 2 features"):
            find_measured(two, "ihc:CD8_density")


def test_unknown_features_and_contrasts_are_told_together(result: PDResult) -> None:
    with pytest.raises(InputError) as told:
        link.exposure_pd(result, "CD8_densty", "dose_mg", contrast="on")
    assert [p.code for p in told.value.problems] == ["E-LINK-001", "E-LINK-001"]
    assert "CD8_density" in told.value.problems[0].remedy


def test_no_effect_gives_small_p_no_more_often_than_stated(tmp_path: Path) -> None:
    """A permuted dose: the correlation's p is at or below .05 in about one of twenty."""
    result, draw = trial(tmp_path / "study", n=11, blood=False), np.random.default_rng(9)
    dose = result.study.participants["dose_mg"].astype(float)
    small = 0
    for _ in range(80):
        shuffled = pd.Series(draw.permutation(dose.to_numpy()), dose.index, name="dose")
        found = link.exposure_pd(result, "CD8_density", shuffled)
        small += found.row("change per tenfold exposure")["p"] <= 0.05
    assert small <= 10  # binomial SD 1.9


def test_the_result_does_not_depend_on_the_order_of_rows(tmp_path: Path, result: PDResult) -> None:
    dose = result.study.participants["dose_mg"].astype(float).rename("dose")
    one = link.exposure_pd(result, "CD8_density", dose)
    two = link.exposure_pd(result, "CD8_density", dose.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)
    assert "Link (exposure)" in repr(one)
    assert "<table" in one._repr_html_()

"""Calibration of DAB: one slide on two scanners, and made-up cells with a known line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import paint, write_tiff

from pdbiomarker.errors import AssayError, ItemError
from pdbiomarker.ihc import (
    CELL_COLUMNS,
    Panel,
    SlideOptions,
    calibrate,
    match_cells,
    quantify,
    quantify_slide,
    read_panel,
)

QUICK = SlideOptions(overlay=False)
OD = "dab_od_mean" if "dab_od_mean" in CELL_COLUMNS else "dab_od"


def cells(n: int = 600, *, seed: int = 1, share: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    grid = np.array([(x, y) for y in range(25) for x in range(24)], dtype=float)[:n] * 12
    place = grid + rng.uniform(-2, 2, (n, 2))
    dab = np.where(rng.random(n) < share, rng.uniform(0.1, 1.0, n), rng.normal(0, 0.02, n))
    return pd.DataFrame({"x_um": place[:, 0], "y_um": place[:, 1], "dab_od": dab})


def scanned(
    frame: pd.DataFrame, *, slope: float, intercept: float, shift: tuple[float, float]
) -> pd.DataFrame:
    """The same cells as another scanner would give them: in another order, with its own small errors."""
    rng = np.random.default_rng(7)
    other = frame.assign(
        x_um=frame["x_um"] + shift[0] + rng.normal(0, 0.3, len(frame)),
        y_um=frame["y_um"] + shift[1] + rng.normal(0, 0.3, len(frame)),
        dab_od=(frame["dab_od"] - intercept) / slope + rng.normal(0, 0.005, len(frame)),
    )
    return other.sample(frac=0.9, random_state=3).reset_index(drop=True)


@pytest.mark.parametrize("method", ["matched", "quantiles"])
@pytest.mark.parametrize(("slope", "intercept"), [(2.1, 0.03), (0.5, -0.02), (1.0, 0.0)])
def test_a_known_line_is_found(method: str, slope: float, intercept: float) -> None:
    reference = cells()
    other = scanned(reference, slope=slope, intercept=intercept, shift=(11.0, -17.0))
    found = calibrate(reference, other, method=method)
    # quantiles of 90 % of the cells are those of all but for chance: sd of a quantile near 0.02
    assert found.slope == pytest.approx(slope, rel=0.01 if method == "matched" else 0.06)
    assert found.intercept == pytest.approx(intercept, abs=0.005 if method == "matched" else 0.03)
    if method == "matched":
        assert found.offset_um == pytest.approx((11.0, -17.0), abs=0.1)
        assert found.n_cells == len(other)
        assert found.pct_after == pytest.approx(found.pct_reference, abs=0.5)


def test_cells_that_are_other_cells_do_not_tilt_the_line() -> None:
    reference = cells()
    other = scanned(reference, slope=2.0, intercept=0.0, shift=(0.0, 0.0))
    wrong = np.random.default_rng(2).choice(len(other), 25, replace=False)
    other.loc[wrong, "dab_od"] = 0.45
    assert calibrate(reference, other).slope == pytest.approx(2.0, rel=0.02)


def test_matching_is_mutual_and_within_the_radius() -> None:
    a = pd.DataFrame({"x_um": [0.0, 10.0, 20.0, 50.0], "y_um": [0.0, 0.0, 0.0, 0.0]})
    b = pd.DataFrame({"x_um": [21.0, 1.0, 11.0, 12.0], "y_um": [0.0, 0.0, 0.0, 0.0]})
    pairs, offset = match_cells(a, b, radius_um=2.0)
    assert offset == pytest.approx((1.0, 0.0))
    assert pairs.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert len(match_cells(a[:0], b)[0]) == 0


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (cells(60), "60 cells of both are matched"),
        (cells().assign(dab_od=0.01), "0 stained cells|do not follow one line"),
        (cells().assign(dab_od=np.random.default_rng(5).uniform(0, 1, 600)), "do not follow one line"),
        (cells().drop(columns="dab_od"), "no column 'dab_od_mean'"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(other: pd.DataFrame, told: str) -> None:
    with pytest.raises(AssayError, match=told) as caught:
        calibrate(cells(), other)
    assert caught.value.problems[0].code == "E-SLIDE-023"


# -- one slide on two scanners -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scanners(shared_data: Callable[[str], Path]) -> dict[str, pd.DataFrame]:
    paths = {name: shared_data(f"ihc/os2_two_scanners/OS-2-{name}.ome.tif") for name in ("ndpi", "vsi")}
    found = {name: quantify_slide(path, "ki67", options=QUICK).cells for name, path in paths.items()}
    return {name: frame.rename(columns={OD: "dab_od"}) for name, frame in found.items()}


def side(frame: pd.DataFrame, which: int, how: str) -> pd.DataFrame:
    """One half of a field of 500 um: left or right, or the black or white squares (62.5 um) of a board."""
    if how == "halves":
        return frame[(frame["x_um"] >= 250).to_numpy() == bool(which)]
    squares = (frame["x_um"] // 62.5 + frame["y_um"] // 62.5).to_numpy() % 2
    return frame[squares == which]


def percent(frame: pd.DataFrame, threshold: float = 0.2) -> float:
    return 100 * float((frame["dab_od"] >= threshold).mean())


@pytest.mark.data
@pytest.mark.parametrize("how", ["halves", "board"])
@pytest.mark.parametrize("which", [0, 1])
def test_two_scanners_agree_where_they_were_not_fitted(
    scanners: dict[str, pd.DataFrame], how: str, which: int
) -> None:
    """Fitted on one half of the field, judged on the other: percent positive, slope of nuclear DAB."""
    here = [side(scanners[name], which, how) for name in ("ndpi", "vsi")]
    there = [side(scanners[name], 1 - which, how) for name in ("ndpi", "vsi")]
    fitted = calibrate(*here)
    assert 1.8 < fitted.slope < 2.4  # the two differ about two-fold
    assert fitted.r > 0.9
    pairs, _ = match_cells(*there)
    y = there[0]["dab_od"].to_numpy()[pairs[:, 0]]
    x = there[1]["dab_od"].to_numpy()[pairs[:, 1]]
    assert 100 * abs((x >= 0.2).mean() - (y >= 0.2).mean()) > 3  # before
    after = fitted.apply(x)
    assert 100 * abs((after >= 0.2).mean() - (y >= 0.2).mean()) < 2  # the same cells
    calibrated = there[1].assign(dab_od=fitted.apply(there[1]["dab_od"]))
    assert abs(percent(calibrated) - percent(there[0])) < 2  # every cell that either found
    stained = (after + y) / 2 > 0.1
    assert y[stained].std() / after[stained].std() == pytest.approx(1, abs=0.1)


@pytest.mark.data
def test_quantiles_come_near_the_matched_line(scanners: dict[str, pd.DataFrame]) -> None:
    matched = calibrate(scanners["ndpi"], scanners["vsi"])
    quantiles = calibrate(scanners["ndpi"], scanners["vsi"], method="quantiles")
    assert quantiles.slope == pytest.approx(matched.slope, rel=0.1)
    assert abs(quantiles.pct_after - quantiles.pct_reference) < 2


# -- the panel's key -----------------------------------------------------------------------------------------


def calibrated_panel() -> Panel:
    table = {"by": "scanner", "reference": "A", "scales": {"B": {"slope": 2.0, "intercept": 0.05}}}
    return Panel.model_validate(read_panel("ki67").model_dump() | {"calibration": table})


def test_a_scanner_is_put_on_the_scale_of_the_panel(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", paint(side=500, seed=4).image)
    plain = quantify_slide(path, "ki67", options=QUICK)
    own = quantify_slide(path, calibrated_panel(), origin={"scanner": "A"}, options=QUICK)
    other = quantify_slide(path, calibrated_panel(), origin={"scanner": "B"}, options=QUICK)
    pd.testing.assert_frame_equal(own.cells, plain.cells)
    np.testing.assert_allclose(other.cells[OD], 0.05 + 2 * plain.cells[OD])
    expected = np.searchsorted([0.2, 0.4, 0.6], other.cells[OD], side="right")
    np.testing.assert_array_equal(other.cells["class"], expected)
    np.testing.assert_array_equal(other.cells["positive"], expected > 0)
    assert (other.qc["dab_slope"], other.qc["dab_intercept"]) == (2.0, 0.05)
    assert own.qc["dab_slope"] == 1.0


@pytest.mark.parametrize("scanner", ["C", None])
def test_an_unknown_scanner_is_refused(tmp_path: Path, scanner: str | None) -> None:
    path = write_tiff(tmp_path / "a.tif", paint(side=300).image)
    with pytest.raises(ItemError, match="not among A, B") as caught:
        quantify_slide(path, calibrated_panel(), origin={"scanner": scanner}, options=QUICK)
    assert caught.value.problem.code == "E-SLIDE-021"


def test_the_sheet_names_the_scanner(tmp_path: Path) -> None:
    panel = calibrated_panel()
    assert read_panel(panel.to_yaml(tmp_path / "mine.yaml")) == panel
    for name in ("a", "b"):
        write_tiff(tmp_path / f"{name}.tif", paint(side=500, seed=ord(name)).image)
    sheet = pd.DataFrame(
        {
            "slide_id": ["s1", "s2"],
            "biopsy_id": ["b1", "b2"],
            "path": ["a.tif", "b.tif"],
            "scanner": ["A", "B"],
        }
    )
    sheet.to_csv(tmp_path / "slides.csv", index=False)
    made = quantify(tmp_path / "slides.csv", panel=tmp_path / "mine.yaml", out=tmp_path / "out")
    assert list(made.obs_names) == ["b1", "b2"]
    slopes = [float(pd.read_csv(tmp_path / "out" / s / "qc.csv").at[0, "dab_slope"]) for s in ("s1", "s2")]
    assert slopes == [1.0, 2.0]


def test_the_reference_has_no_scale() -> None:
    table = {"by": "batch", "reference": "A", "scales": {"A": {"slope": 2.0}}}
    with pytest.raises(ValueError, match="must not hold the reference"):
        Panel.model_validate(read_panel("ki67").model_dump() | {"calibration": table})

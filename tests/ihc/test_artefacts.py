"""Artefacts planted on a simulated slide, with their area; and clean real fields, which must stay whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from pictures import write_tiff

from pdbiomarker.errors import ItemError
from pdbiomarker.ihc import (
    Panel,
    SlideOptions,
    Tissue,
    White,
    find_tissue,
    flag_artefacts,
    measure_white,
    open_slide,
    quantify_slide,
    read_panel,
    stain_matrix,
)
from pdbiomarker.ihc.panel import Detectors
from pdbiomarker.simulate import draw_layout, place_cells, render_image

WHITE = 243.0
SHAPE = (1000, 1600)
NUMBERS = {"cd8_stroma": 120, "cd8_nest": 60, "lymphocyte": 250, "tumor": 800, "fibroblast": 250}
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]] * 0.5  # um


@dataclasses.dataclass(frozen=True)
class Drawn:
    image: np.ndarray
    tissue: np.ndarray


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """A simulated CD8 slide of 800 x 500 um, and where its tissue is."""
    rng = np.random.default_rng(3)
    layout = draw_layout(rng, SHAPE, area_mm2=0.24)
    cells = place_cells(rng, layout, NUMBERS)
    return Drawn(render_image(cells, layout, rng=rng), layout.tissue)


def searched(path: Path, image: np.ndarray, *, detectors: Detectors | None = None) -> Tissue:
    with open_slide(write_tiff(path, image, compression=None)) as slide:
        um = 2.0
        thumbnail, nodata = slide.thumbnail_masked(um)
        white = measure_white(thumbnail)
        tissue = find_tissue(thumbnail, nodata, um, white=white)
        return flag_artefacts(slide, thumbnail, tissue, white=white, detectors=detectors)


def on_slide(tissue: Tissue, mask: np.ndarray) -> np.ndarray:
    """A mask of the tissue's grid at every pixel of the slide."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * 0.5 / tissue.mpp).astype(int), mask.shape[axis] - 1)
        for axis, n in enumerate(SHAPE)
    )
    return mask[np.ix_(rows, columns)]


def mm2(mask: np.ndarray) -> float:
    return float(mask.sum()) * 0.25e-6


# -- clean tissue --------------------------------------------------------------------------------------------

REAL = (
    ("bcdata_ki67/ihc/22_2.png", 0.5),
    ("bcdata_ki67/ihc/34_3.png", 0.5),
    ("bcdata_ki67/ihc/6_2.png", 0.5),
    ("bcdata_ki67/ihc/799_2.png", 0.5),
    ("skimage_ihc/ihc.png", 0.5),
    ("os2_two_scanners/OS-2-ndpi.ome.tif", None),
    ("os2_two_scanners/OS-2-vsi.ome.tif", None),
    ("lymphoid_cytoplasmic/ROI_127.png", 0.5),
)


@pytest.mark.data
@pytest.mark.parametrize("um", [2.0, 4.0, 8.0])
def test_clean_real_fields_lose_nothing(shared_data: Callable[[str], Path], um: float) -> None:
    """1.1 mm2 of tissue, eight fields, five tissues and four scanners, at each resolution of the search."""
    whole = 0.0
    for name, mpp in REAL:
        with open_slide(shared_data(f"ihc/{name}"), mpp=mpp) as slide:
            thumbnail, nodata = slide.thumbnail_masked(um)
            white = measure_white(slide.thumbnail(2.0))
            tissue = find_tissue(thumbnail, nodata, um, white=white)
            clean = flag_artefacts(slide if um == 2.0 else None, thumbnail, tissue, white=white)
        assert clean.lost_mm2 == dict.fromkeys(clean.causes, 0.0), name
        np.testing.assert_array_equal(clean.mask, tissue.mask)
        whole += clean.area_mm2
    assert whole > 1.1


def test_a_clean_simulated_slide_loses_nothing(tmp_path: Path, drawn: Drawn) -> None:
    tissue = searched(tmp_path / "a.tif", drawn.image)
    assert tissue.lost_mm2 == {"pen": 0.0, "fold": 0.0, "edge": 0.0, "blur": 0.0}
    assert tissue.area_mm2 == pytest.approx(mm2(drawn.tissue), rel=0.015)


def test_strong_staining_is_no_artefact(tmp_path: Path) -> None:
    """Sheets of strong DAB (mean density 1.0) over haematoxylin, as PD-L1 can look: no flag."""
    rng = np.random.default_rng(1)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (600, 600)), (0, 0), 1.2)
    dab = np.clip(1.0 + 1.5 * texture, 0.5, None)
    hematoxylin = np.clip(0.15 + 0.4 * texture, 0.05, None)
    for vectors in (stain_matrix(), stain_matrix((0.82, 0.50, 0.28), (0.35, 0.58, 0.74))):
        density = hematoxylin[..., None] * vectors[0] + dab[..., None] * vectors[1]
        image = np.full((600, 600, 3), WHITE)
        image[60:-60, 60:-60] = (WHITE * 10**-density)[60:-60, 60:-60]
        image = np.clip(np.rint(image + rng.normal(0, 1.2, image.shape)), 0, 255).astype(np.uint8)
        assert sum(searched(tmp_path / "a.tif", image).lost_mm2.values()) == 0


# -- planted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("um", [1.0, 2.0, 4.0, 8.0])
def test_the_area_is_that_of_the_tissue_at_any_resolution(tmp_path: Path, drawn: Drawn, um: float) -> None:
    """Smoothing spreads tissue over the glass; a threshold near the glass's density is 3 to 5 % too large."""
    with open_slide(write_tiff(tmp_path / "a.tif", drawn.image, compression=None)) as slide:
        thumbnail, nodata = slide.thumbnail_masked(um)
    white = measure_white(thumbnail)
    assert find_tissue(thumbnail, nodata, um, white=white).area_mm2 == pytest.approx(
        mm2(drawn.tissue), rel=0.015
    )


def test_the_edge_is_at_half_the_density_and_thin_strands_stay() -> None:
    """A square of 200 um (0.04 mm2) on glass, as pale or dense; a strand of 8 um; a border without data."""
    white = White((243.0, 243.0, 241.0), True, 0.3)
    for share in (0.9, 0.75, 0.4):
        image = np.full((300, 300, 3), (243, 243, 241), np.uint8)
        image[50:250, 50:250] = (np.array([243, 243, 241]) * share).astype(np.uint8)
        nodata = np.zeros((300, 300), bool)
        assert find_tissue(image, nodata, 1.0, white=white).area_mm2 == pytest.approx(0.04, rel=0.01)
        strand = image.copy()
        strand[100:108, 250:] = strand[100, 100]
        gain = find_tissue(strand, nodata, 1.0, white=white).area_mm2 - 0.04
        assert gain >= 0.9 * 8 * 50e-6  # the strand, all along
        nodata[:, :100] = True
        assert find_tissue(image, nodata, 1.0, white=white).area_mm2 == pytest.approx(0.03, rel=0.01)


@pytest.mark.parametrize("over", [False, True], ids=["opaque", "over tissue"])
@pytest.mark.parametrize(
    "rgb", [(40, 60, 160), (30, 120, 70), (200, 40, 50), (40, 40, 45)], ids=["blue", "green", "red", "black"]
)
def test_ink_is_left_out(tmp_path: Path, drawn: Drawn, rgb: tuple[int, int, int], over: bool) -> None:
    """A stroke 100 um wide across glass and tissue; with its rim of 8 um and a pixel or two."""
    stroke = (X > 300) & (X < 400)
    image = drawn.image.astype(float)
    noise = np.random.default_rng(2).normal(0, 2, (*SHAPE, 3))
    ink = image * np.array(rgb) / WHITE if over else np.array(rgb) + noise
    image = np.where(stroke[..., None], ink, image)
    tissue = searched(tmp_path / "a.tif", np.clip(image, 0, 255).astype(np.uint8))
    found = on_slide(tissue, tissue.artefact)
    assert (found | ~drawn.tissue)[stroke].mean() > 0.97
    beyond = found & ~stroke
    assert mm2(beyond & drawn.tissue) < 2 * 0.012 * 0.5  # 12 um on both sides of 500 um
    assert tissue.lost_mm2["pen"] + tissue.lost_mm2["fold"] > 0.9 * mm2(stroke & drawn.tissue)
    assert tissue.area_mm2 == pytest.approx(mm2(drawn.tissue & ~stroke), rel=0.07)


@pytest.mark.parametrize(("layers", "least", "most"), [(2, 0.2, 0.8), (3, 0.8, 1.0), (5, 0.9, 1.0)])
def test_thick_folds_are_left_out(
    tmp_path: Path, drawn: Drawn, layers: int, least: float, most: float
) -> None:
    """Tissue 90 um wide lying `layers`-fold. Half of a double layer is told from dense tissue: a limit."""
    strip = (X > 350) & (X < 440)
    density = -np.log10(np.maximum(drawn.image, 1) / WHITE)
    folded = sum(np.roll(density, 37 * k, axis=0) for k in range(layers))
    image = np.where(strip[..., None], WHITE * 10**-folded, drawn.image)
    tissue = searched(tmp_path / "a.tif", np.clip(image, 0, 255).astype(np.uint8))
    share = on_slide(tissue, tissue.causes["fold"])[strip & drawn.tissue].mean()
    assert least <= share <= most
    assert mm2(on_slide(tissue, tissue.artefact) & ~strip & drawn.tissue) < 2 * 0.012 * 0.5


@pytest.mark.parametrize("sigma_um", [1.5, 3.0])
@pytest.mark.parametrize("radius_um", [80.0, 120.0])
def test_a_blurred_part_is_left_out(tmp_path: Path, drawn: Drawn, sigma_um: float, radius_um: float) -> None:
    away = np.hypot(X - 400, Y - 250)
    disc = away < radius_um
    soft = cv2.GaussianBlur(drawn.image, (0, 0), sigma_um / 0.5)
    tissue = searched(tmp_path / "a.tif", np.where(disc[..., None], soft, drawn.image))
    found = on_slide(tissue, tissue.causes["blur"]) & drawn.tissue
    assert found[(away < radius_um - 16) & drawn.tissue].mean() > 0.97  # 16 um: a cell of the map
    assert not found[away > radius_um + 32].any()
    assert tissue.lost_mm2["blur"] == pytest.approx(
        mm2(disc & drawn.tissue), abs=2 * np.pi * radius_um * 12e-6
    )


def test_a_bubble_and_the_cover_slip_are_no_tissue(tmp_path: Path, drawn: Drawn) -> None:
    whole = searched(tmp_path / "w.tif", drawn.image).area_mm2
    image = drawn.image.copy()
    image[: int(10 / 0.5)] = 70  # a line along the upper border
    ring = np.abs(np.hypot(X - 45, Y - 455) - 30) < 4
    assert not (drawn.tissue & (np.hypot(X - 45, Y - 455) < 50)).any()
    image[ring] = 90
    tissue = searched(tmp_path / "a.tif", image)
    assert tissue.lost_mm2["edge"] > mm2(ring) + 0.8 * 0.01
    assert tissue.area_mm2 == pytest.approx(whole, rel=0.01)
    off = searched(tmp_path / "a.tif", image, detectors=Detectors(edge=False))
    assert off.area_mm2 > whole + 0.01  # what it would cost


def test_tissue_without_nuclei_is_looked_for_only_when_asked(tmp_path: Path, drawn: Drawn) -> None:
    """Necrosis: off by default, because mucin, collagen and fat look like it."""
    disc = np.hypot(X - 400, Y - 250) < 150
    ghost = WHITE * 10 ** -(0.12 * stain_matrix()[0]) + np.random.default_rng(4).normal(0, 1.3, (*SHAPE, 3))
    image = np.where((disc & drawn.tissue)[..., None], ghost, drawn.image)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    assert "necrosis" not in searched(tmp_path / "a.tif", image).causes
    tissue = searched(tmp_path / "a.tif", image, detectors=Detectors(necrosis=True))
    found = on_slide(tissue, tissue.causes["necrosis"])
    assert found[disc & drawn.tissue].mean() > 0.5
    assert mm2(found & ~disc & drawn.tissue) < 0.01


# -- what it means for the slide -----------------------------------------------------------------------------

QUICK = SlideOptions(overlay=False)


def test_cells_and_area_under_ink_are_both_left_out(tmp_path: Path, drawn: Drawn) -> None:
    panel = read_panel("cd8")
    plain = quantify_slide(write_tiff(tmp_path / "w.tif", drawn.image), panel, options=QUICK)
    image = drawn.image.copy()
    image[:, 600:800] = np.array((30, 120, 70)) + np.random.default_rng(6).normal(0, 2, (SHAPE[0], 200, 3))
    result = quantify_slide(write_tiff(tmp_path / "a.tif", image), panel, options=QUICK)
    assert ((result.cells["x_um"] < 300) | (result.cells["x_um"] > 400)).all()
    assert result.qc["lost_pen_mm2"] == pytest.approx(0.116 * 0.5, rel=0.2)
    assert result.qc["tissue_mm2"] < 0.85 * float(plain.qc["tissue_mm2"])
    (told,) = (p for p in result.problems if p.code == "E-SLIDE-022")
    assert "pen" in told.message
    assert plain.problems == ()
    outside = plain.cells[(plain.cells["x_um"] < 250) | (plain.cells["x_um"] > 450)]
    same = result.cells[(result.cells["x_um"] < 250) | (result.cells["x_um"] > 450)]
    pd.testing.assert_frame_equal(
        outside.drop(columns="cell").reset_index(drop=True), same.drop(columns="cell").reset_index(drop=True)
    )


def test_a_blurred_slide_is_refused(tmp_path: Path, drawn: Drawn) -> None:
    soft = cv2.GaussianBlur(drawn.image, (0, 0), 4)
    with pytest.raises(ItemError, match="out of focus: 100 %") as caught:
        quantify_slide(write_tiff(tmp_path / "a.tif", soft), "cd8", options=QUICK)
    assert caught.value.problem.code == "E-SLIDE-014"
    off = Panel.model_validate(read_panel("cd8").model_dump() | {"artefacts": {"blur": False}})
    result = quantify_slide(tmp_path / "a.tif", off, options=QUICK)
    assert [p.code for p in result.problems] == ["E-SLIDE-014"]


def test_a_slide_under_ink_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    image = np.full((400, 400, 3), WHITE) + rng.normal(0, 1, (400, 400, 3))
    image[80:-80, 80:-80] = np.array((30, 120, 70)) + rng.normal(0, 2, (240, 240, 3))
    with pytest.raises(ItemError, match="all of it is taken for pen"):
        quantify_slide(write_tiff(tmp_path / "a.tif", image.astype(np.uint8)), "cd8", options=QUICK)

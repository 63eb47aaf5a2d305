"""Cells of whole slides: tile by tile without seams, tissue, scores of painted slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from pictures import GLASS, paint, write_tiff
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from pdbiomarker.errors import AssayError, ItemError
from pdbiomarker.ihc import (
    CELL_COLUMNS,
    CellFinder,
    SlideOptions,
    White,
    find_tissue,
    open_slide,
    optical_density,
    quantify_slide,
    read_panel,
    segment,
    unmix,
)
from pdbiomarker.simulate.layout import draw_layout, place_cells
from pdbiomarker.simulate.slides import render_slide

QUICK = SlideOptions(overlay=False)


def test_a_painted_slide_is_recovered(tmp_path: Path) -> None:
    painting = paint(side=900, seed=11)
    result = quantify_slide(write_tiff(tmp_path / "a.tif", painting.image), "ki67")
    cells, truth = result.cells, painting.centres_um[:, ::-1]
    assert abs(len(cells) / len(truth) - 1) < 0.03
    distance, nearest = cKDTree(cells[["x_um", "y_um"]].to_numpy()).query(truth)
    assert (distance < 1.0).mean() > 0.97
    assert (cells["positive"].to_numpy()[nearest] == painting.positive).mean() > 0.99
    scores = result.scores.set_index("feature")
    assert abs(scores.at["Ki67_pct_tissue", "value"] - painting.positive.mean()) < 0.02
    area = ((900 * 0.5 - 60) / 1000) ** 2  # mm2 inside the rim of glass
    assert result.qc["tissue_mm2"] == pytest.approx(area, rel=0.05)
    assert scores.at["Ki67_density_tissue", "value"] == pytest.approx(painting.positive.sum() / area, rel=0.1)
    # painted: 0.7 inside, 0.61 on average over the ellipse with its soft rim
    assert cells.loc[cells["positive"], "dab_od_mean"].median() == pytest.approx(0.61, abs=0.05)
    np.testing.assert_allclose([result.qc[f"white_{c}"] for c in ("red", "green", "blue")], GLASS, atol=1)
    assert result.qc["white_measured"] is True


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_cd8_cells_are_found_and_called(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = draw_layout(rng, (900, 1300))
    wanted = {"cd8_stroma": 130, "cd8_nest": 50, "lymphocyte": 200, "tumor": 300, "fibroblast": 120}
    truth = place_cells(rng, layout, wanted)
    path = render_slide(tmp_path / "a.ome.tiff", truth, layout, seed=seed)  # JPEG inside
    result = quantify_slide(path, "cd8", options=QUICK)
    places, cells = truth[["x_um", "y_um"]].to_numpy(), result.cells[["x_um", "y_um"]].to_numpy()
    distance = cdist(places, cells)
    rows, columns = linear_sum_assignment(np.where(distance <= 6, distance, 1e6))
    near = distance[rows, columns] <= 6
    assert 2 * near.sum() / (len(places) + len(cells)) >= 0.95
    called = result.cells["positive"].to_numpy()
    positive = truth["positive"].to_numpy()
    assert (called[columns[near]] == positive[rows[near]]).mean() >= 0.99
    area = layout.tissue.sum() * layout.mpp**2 * 1e-6  # as drawn
    assert called.sum() / area == pytest.approx(positive.sum() / area, rel=0.03)


def test_measures_are_means_over_the_nucleus(tmp_path: Path) -> None:
    painting = paint(side=300, seed=2)
    path = write_tiff(tmp_path / "a.tif", painting.image)
    white = White((243.0, 243.0, 241.0), True, 0.3)
    with open_slide(path) as slide:
        tissue = find_tissue(painting.image, np.zeros((300, 300), bool), 0.5, white=white)
        cells = CellFinder(slide, tissue, read_panel("ki67"), white=white).find()
    density = optical_density(painting.image, white.rgb)
    labels = segment(density, 0.5, read_panel("ki67").options)
    hematoxylin, dab = unmix(density, None, (0, 1))
    for row in cells.iloc[::7].itertuples():
        mask = (
            labels == labels[int(row.y_um / 0.5), int(row.x_um / 0.5)]
        )  # brute force, one nucleus at a time
        assert row.area_um2 == mask.sum() * 0.25
        assert row.dab_od_mean == pytest.approx(dab[mask].mean(dtype=np.float64), abs=1e-6)
        assert row.haematoxylin_od_mean == pytest.approx(hematoxylin[mask].mean(dtype=np.float64), abs=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(("name", "panel"), [("os2_ki67.svs", "ki67"), ("os2_ki67.ome.tif", "cd8")])
def test_the_tile_size_does_not_matter(shared_data: Callable[[str], Path], name: str, panel: str) -> None:
    path = shared_data(f"ihc/wsi/{name}")
    results = [
        quantify_slide(path, panel, options=SlideOptions(tile=tile, threads=threads, overlay=False))
        for tile, threads in ((512, 1), (1024, 2), (2048, 1))
    ]
    for other in results[1:]:
        pd.testing.assert_frame_equal(results[0].cells, other.cells, check_exact=True)
        pd.testing.assert_frame_equal(results[0].scores, other.scores, check_exact=True)
        assert results[0].qc == other.qc


def test_painted_tiles_have_no_seams(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", paint(side=700, seed=4).image)
    whole = quantify_slide(path, "ki67", options=SlideOptions(tile=4096, overlay=False)).cells
    for tile, threads in ((97, 2), (256, 1), (256, 2)):
        options = SlideOptions(tile=tile, threads=threads, overlay=False)
        parts = quantify_slide(path, "ki67", options=options).cells
        pd.testing.assert_frame_equal(whole, parts, check_exact=True)
    with pytest.raises(AssayError):
        quantify_slide(path, "ki67", options=SlideOptions(tile=10))


def test_another_segmenter_may_be_given(tmp_path: Path) -> None:
    def one_square(density: np.ndarray, pixel_um: float) -> np.ndarray:
        assert density.dtype == np.float32
        assert pixel_um == 0.5
        labels = np.zeros(density.shape[:2], np.int32)
        labels[100:110, 200:220] = 1
        return labels

    path = write_tiff(tmp_path / "a.tif", paint(side=300).image)
    cells = quantify_slide(path, "ki67", options=SlideOptions(segmenter=one_square, overlay=False)).cells
    assert len(cells) == 1
    assert (cells.at[0, "x_um"], cells.at[0, "y_um"], cells.at[0, "area_um2"]) == (105.0, 52.5, 50.0)


def test_a_nuclear_marker_has_no_other_compartments(tmp_path: Path) -> None:
    cells = quantify_slide(write_tiff(tmp_path / "a.tif", paint(side=300).image), "ki67", options=QUICK).cells
    assert list(cells) == list(CELL_COLUMNS)
    np.testing.assert_array_equal(cells["dab_od_mean"], cells["dab_od_nucleus"])
    assert cells[["dab_od_cytoplasm", "dab_od_membrane", "dab_od_membrane_p90"]].isna().all(axis=None)


@pytest.mark.data
def test_lymphocytes_are_judged_round_their_nuclei(shared_data: Callable[[str], Path]) -> None:
    cd8 = read_panel("cd8")
    path = shared_data("ihc/lymphoid_cytoplasmic/ROI_127.png")
    cells = quantify_slide(path, cd8, mpp=0.25, options=QUICK).cells
    positive = cells["positive"].to_numpy()
    # No ground truth: by eye about a fifth of the cells in the field are brown.
    assert 0.15 < positive.mean() < 0.27
    membrane = cd8.model_copy(update={"measure": "membrane"})
    cells = quantify_slide(path, membrane, mpp=0.25, options=QUICK).cells
    positive = cells["positive"].to_numpy()
    assert cells.loc[positive, "membrane_stained"].median() > 0.5
    assert cells.loc[~positive, "membrane_stained"].median() < 0.05
    assert (cells["dab_od_membrane_p90"] >= cells["dab_od_membrane"]).mean() > 0.99


@pytest.mark.parametrize("statistic", ["mean", "p90"])
def test_a_membrane_thinner_than_a_pixel_is_the_rim_of_the_nucleus(tmp_path: Path, statistic: str) -> None:
    """No cell is 3+ because nothing was measured: an expansion below a pixel leaves the nucleus' own rim."""
    path = write_tiff(tmp_path / "a.tif", paint(side=300, share=0.0).image)
    update = {"measure": "membrane", "expansion_um": 0.3, "statistic": statistic}
    panel = read_panel("cd8").model_copy(update=update)
    result = quantify_slide(path, panel, options=QUICK)
    assert len(result.cells) > 10
    assert not result.cells["positive"].any()
    assert result.cells[["dab_od_membrane", "dab_od_membrane_p90"]].notna().all(axis=None)
    own = result.sensitivity.query("factor == 1").set_index("feature")["value"]
    assert own.to_dict() == pytest.approx(result.scores.set_index("feature")["value"].to_dict(), nan_ok=True)


def test_a_ring_marker_is_measured_round_the_nucleus(tmp_path: Path) -> None:
    painting = paint(side=400, share=0.0, seed=9)
    image = painting.image.astype(np.float64)
    y, x = (np.mgrid[:400, :400] + 0.5) * 0.5
    stained = np.zeros(len(painting.centres_um), bool)
    stained[::4] = True
    for cy, cx in painting.centres_um[stained]:
        ring = np.abs(np.hypot(y - cy, x - cx) - 4.6) < 0.9
        image[ring] *= 10 ** -(0.6 * np.array([0.27, 0.57, 0.78]) / np.linalg.norm([0.27, 0.57, 0.78]))
    path = write_tiff(tmp_path / "a.tif", np.rint(image).astype(np.uint8))
    cd8 = read_panel("cd8")
    panels = [
        cd8,
        cd8.model_copy(update={"measure": "ring", "expansion_um": 2.0}),
        cd8.model_copy(update={"measure": "membrane", "expansion_um": 2.0}),
        cd8.model_copy(update={"measure": "membrane", "expansion_um": 2.0, "statistic": "p90"}),
    ]
    for panel in panels:
        cells = quantify_slide(path, panel, options=QUICK).cells
        _, nearest = cKDTree(cells[["x_um", "y_um"]].to_numpy()).query(painting.centres_um[:, ::-1])
        assert (cells["positive"].to_numpy()[nearest] == stained).mean() > 0.95
        mine = cells.iloc[nearest].reset_index(drop=True)
        # the compartment that the panel names is the one that is judged; the stain lies outside the nucleus
        decides = {"ring": "dab_od_cytoplasm", "membrane": "dab_od_membrane"}.get(panel.measure)
        if decides is not None:
            np.testing.assert_array_equal(cells["dab_od_mean"], cells[decides])
            judged = "dab_od_membrane_p90" if panel.statistic == "p90" else decides
            np.testing.assert_array_equal(cells["positive"], cells[judged] >= 0.2)
            assert mine.loc[stained, decides].median() > 0.3 > mine.loc[stained, "dab_od_nucleus"].median()
            assert mine.loc[stained, "membrane_stained"].median() > 0.4
            assert mine.loc[~stained, "membrane_stained"].median() < 0.05


# -- tissue --------------------------------------------------------------------------------------------------


def test_tissue_needs_no_glass() -> None:
    rng = np.random.default_rng(1)
    pale = rng.normal((215, 205, 222), 9, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    tissue = find_tissue(
        pale, np.zeros((128, 128), bool), 1.0, white=White((255.0, 255.0, 255.0), False, 0.0)
    )
    assert tissue.mask.mean() > 0.99
    assert tissue.area_mm2 == pytest.approx(128 * 128 * 1e-6, rel=0.01)


def test_pen_and_gaps_are_no_tissue() -> None:
    image = np.full((200, 200, 3), 242, np.uint8)
    image[40:160, 40:160] = (205, 190, 215)
    image[100:130, 60:140] = (40, 170, 90)  # green pen
    nodata = np.zeros((200, 200), bool)
    nodata[40:70, 40:160] = True
    tissue = find_tissue(image, nodata, 8.0, white=White((242.0, 242.0, 242.0), True, 0.5))
    assert not tissue.mask[105:125, 65:135].any()
    assert tissue.artefact[105:125, 65:135].all()
    assert not (tissue.mask & nodata).any()
    assert tissue.mask[75:95, 45:155].all()
    assert tissue.nodata_share == pytest.approx(30 * 120 / 200**2)
    assert 0.15 < tissue.artefact_share < 0.35


@pytest.mark.data
def test_stain_is_no_artefact(shared_data: Callable[[str], Path]) -> None:
    result = quantify_slide(shared_data("ihc/os2_two_scanners/OS-2-ndpi.ome.tif"), "ki67")
    assert result.qc["artefact_share"] == 0
    assert 0.19 < float(result.qc["tissue_mm2"]) < 0.25  # of a field of 0.25 mm2 with two lumens
    assert result.overview is not None
    assert result.field is not None
    assert result.field.dtype == np.uint8


# -- what gives no number ------------------------------------------------------------------------------------


def test_a_dark_glass_is_refused(tmp_path: Path) -> None:
    image = (paint(side=400).image * 0.6).astype(np.uint8)
    with pytest.raises(ItemError) as caught:
        quantify_slide(write_tiff(tmp_path / "a.tif", image), "ki67")
    assert caught.value.problem.code == "E-SLIDE-008"


@pytest.mark.data
def test_an_eosin_slide_is_refused(shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(ItemError) as caught:
        quantify_slide(shared_data("ihc/wsi/cmu_small_region.svs"), "ki67")
    assert caught.value.problem.code == "E-SLIDE-013"


def test_a_coarse_slide_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", paint(side=300).image, mpp=2.0)
    with pytest.raises(ItemError) as caught:
        quantify_slide(path, "ki67")
    assert caught.value.problem.code == "E-SLIDE-010"


def test_a_field_without_glass_says_so(tmp_path: Path) -> None:
    image = paint(side=600).image[80:520, 80:520].copy()
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(image))
    result = quantify_slide(path, "ki67", mpp=0.5, options=QUICK)
    # pale even tissue may pass for glass; either way it is told or the white is near the truth
    told = [p.code for p in result.problems]
    assert told == ["E-SLIDE-008"] or result.qc["white_measured"]
    assert len(result.cells) > 100


def test_few_cells_give_no_percentage(tmp_path: Path) -> None:
    result = quantify_slide(write_tiff(tmp_path / "a.tif", paint(side=300).image), "ki67", options=QUICK)
    scores = result.scores.set_index("feature")
    assert len(result.cells) < 100
    assert np.isnan(scores.at["Ki67_pct_tissue", "value"])
    assert "fewer than 100" in scores.at["Ki67_pct_tissue", "note"]
    assert scores.at["Ki67_pct_tissue", "denominator"] == len(result.cells)
    assert scores.at["Ki67_density_tissue", "value"] > 0


def test_missing_tiles_are_told_and_hold_no_cells(tmp_path: Path) -> None:
    image = paint(side=768, seed=6).image
    path = write_tiff(tmp_path / "a.tif", image)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tags = [tiff.pages[0].tags[name] for name in ("TileOffsets", "TileByteCounts")]
        places = [(tag.valueoffset, {3: 2, 4: 4, 16: 8}[int(tag.dtype)]) for tag in tags]
    for offset, width in places:
        data[offset + 4 * width : offset + 5 * width] = bytes(width)  # the tile in the middle
    path.write_bytes(bytes(data))
    result = quantify_slide(path, "ki67", options=QUICK)
    assert "E-SLIDE-012" in [p.code for p in result.problems]
    assert result.qc["nodata_share"] == pytest.approx(1 / 9, rel=0.1)
    middle = result.cells[["x_um", "y_um"]].to_numpy() / 0.5
    assert not ((middle > 260) & (middle < 508)).all(axis=1).any()

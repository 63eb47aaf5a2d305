"""Compartments from polygons, masks, a margin and the simple classifier, against brute force."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from pictures import paint, write_tiff

from pdbiomarker.errors import Problems
from pdbiomarker.ihc import (
    MaskRegions,
    SlideOptions,
    Tissue,
    compartments_in,
    find_regions,
    place_cells,
    quantify_slide,
    read_mask,
    read_panel,
    read_regions,
    score_cells,
    tumour_by_nuclei,
    write_regions,
)
from pdbiomarker.ihc.panel import TumourClassifier

SHAPE = (400, 600)


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def written(path: Path, *parts: tuple[str, list[object]]) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {"classification": {"name": name}},
        }
        for name, rings in parts
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def regions_of(path: Path) -> tuple[object, list[str]]:
    problems = Problems()
    return read_regions(path, shape=SHAPE, problems=problems), [p.code for p in problems]


def whole_tissue(mpp: float = 1.0) -> Tissue:
    mask = np.ones(SHAPE, bool)
    return Tissue(mask, np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), mpp)


def some_cells(n: int = 3000, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x_um": rng.uniform(0, SHAPE[1], n), "y_um": rng.uniform(0, SHAPE[0], n)})
    return frame.assign(area_um2=50.0, compartment="tissue", **{"class": np.int8(0)})


def test_margin_and_distance_by_brute_force(tmp_path: Path) -> None:
    """A square nest of 200 um: the band of 20 um, and every distance, from the geometry of a square."""
    regions, _ = regions_of(written(tmp_path / "s.geojson", ("Tumor", [square(100, 100, 200)])))
    panel = read_panel("cd8").model_copy(update={"margin_um": 20.0})
    cells = some_cells()
    placed = place_cells(cells, whole_tissue(), regions, panel=panel, shape=SHAPE, mpp=1.0)
    x, y = cells["x_um"].to_numpy(), cells["y_um"].to_numpy()
    dx, dy = np.maximum(100 - x, x - 300), np.maximum(100 - y, y - 300)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    depth = np.where((dx <= 0) & (dy <= 0), np.maximum(dx, dy), outside)
    np.testing.assert_allclose(placed.cells["border_um"], depth, atol=1e-9)
    expected = np.where(np.abs(depth) <= 20, "margin", np.where(depth < 0, "nest", "tissue"))
    found = placed.cells["compartment"].to_numpy()
    sure = np.abs(np.abs(depth) - 20) > 0.1  # round corners are polygons
    assert (found[sure] == expected[sure]).all()
    assert placed.areas_mm2["nest"] == pytest.approx(160**2 * 1e-6, rel=1e-3)
    band = 200**2 - 160**2 + 4 * 200 * 20 + np.pi * 20**2
    assert placed.areas_mm2["margin"] == pytest.approx(band * 1e-6, rel=0.02)
    assert placed.areas_mm2["tissue"] == pytest.approx(SHAPE[0] * SHAPE[1] * 1e-6)
    for name, area in placed.areas_mm2.items():
        assert placed.tiles.areas_mm2[name].sum() == pytest.approx(area, rel=1e-9)


def test_the_distance_of_positive_cells_by_brute_force(tmp_path: Path) -> None:
    """Mean distance to the border of a square nest, inside and outside, over positive cells only."""
    path = written(
        tmp_path / "s.geojson", ("Tumor", [square(100, 100, 200)]), ("Stroma", [square(300, 100, 100)])
    )
    regions, _ = regions_of(path)
    rng = np.random.default_rng(6)
    cells = some_cells()
    cells["class"] = (rng.random(len(cells)) < 0.3).astype(np.int8)
    panel = read_panel("cd8").model_copy(update={"features": {"distance": read_panel("cd8").features["pct"]}})
    placed = place_cells(cells, whole_tissue(), regions, panel=panel, shape=SHAPE, mpp=1.0)
    scores = score_cells(placed.cells, placed.areas_mm2, panel).set_index("feature")
    x, y = (cells.loc[cells["class"] > 0, name].to_numpy() for name in ("x_um", "y_um"))
    inside = (np.abs(x - 200) < 100) & (np.abs(y - 200) < 100)
    depth = 100 - np.maximum(np.abs(x - 200), np.abs(y - 200))
    beside = (np.abs(x - 350) < 50) & (np.abs(y - 150) < 50)
    for name, own, distance in (("nest", inside, depth), ("stroma", beside, x - 300)):
        row = scores.loc[f"CD8_distance_{name}"]
        assert row["denominator"] == own.sum()
        assert row["value"] == pytest.approx(distance[own].mean(), rel=1e-9)
        assert row["numerator"] == pytest.approx(distance[own].sum(), rel=1e-9)
    none = score_cells(placed.cells.assign(**{"class": np.int8(0)}), placed.areas_mm2, panel)
    assert set(none["note"]) == {"no positive cells"}


def test_a_margin_is_counted_only_where_there_is_tissue(tmp_path: Path) -> None:
    regions, _ = regions_of(written(tmp_path / "s.geojson", ("Tumor", [square(100, 100, 200)])))
    mask = np.zeros(SHAPE, bool)
    mask[100:300, 100:300] = True  # glass begins at the border of the tumour
    tissue = Tissue(mask, np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), 1.0)
    panel = read_panel("cd8").model_copy(update={"margin_um": 20.0})
    placed = place_cells(some_cells(10), tissue, regions, panel=panel, shape=SHAPE, mpp=1.0)
    assert placed.areas_mm2["margin"] == pytest.approx((200**2 - 160**2) * 1e-6, rel=0.02)


def test_trap_07_excluded_places_count_neither_as_cells_nor_as_area(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.geojson", ("Tumor", [square(100, 100, 200)]), ("Necrosis", [square(150, 150, 50)])
    )
    regions, _ = regions_of(path)
    placed = place_cells(some_cells(), whole_tissue(), regions, panel=read_panel("cd8"), shape=SHAPE, mpp=1.0)
    assert placed.areas_mm2["nest"] == pytest.approx((200**2 - 50**2) * 1e-6)
    assert placed.excluded_mm2 == pytest.approx(50**2 * 1e-6)
    inside = placed.cells["x_um"].between(150, 200) & placed.cells["y_um"].between(150, 200)
    assert not inside.any()


def test_stroma_drawn_inside_a_nest_is_stroma(tmp_path: Path) -> None:
    """QuPath's reading of a region on top of another; a nest inside that stroma is nest again."""
    path = written(
        tmp_path / "s.geojson",
        ("Tumor", [square(50, 50, 300)]),
        ("Stroma", [square(100, 100, 200)]),
        ("Tumor", [square(150, 150, 50)]),
    )
    regions, codes = regions_of(path)
    assert set(codes) == {"E-REGION-004"}
    areas = regions.areas_mm2(1.0)
    assert areas == pytest.approx(
        {"nest": (300**2 - 200**2 + 50**2) * 1e-6, "stroma": (200**2 - 50**2) * 1e-6}
    )
    where = regions.locate(np.array([60.0, 110.0, 160.0]), np.array([60.0, 110.0, 160.0]))
    assert where.tolist() == ["nest", "stroma", "nest"]


@pytest.mark.parametrize("value", [1e9, 1e300, -5e8])
def test_huge_coordinates_are_quarantined(tmp_path: Path, value: float) -> None:
    ring = [[0, 0], [value, 0], [value, 100], [0, 100], [0, 0]]
    regions, codes = regions_of(
        written(tmp_path / "s.geojson", ("Tumor", [ring]), ("Tumor", [square(0, 0, 10)]))
    )
    assert codes == ["E-REGION-002"]
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx(1e-4)


def test_thirty_thousand_nested_regions(tmp_path: Path) -> None:
    """One inside the other, 30,000 deep: the area counts once, and it ends."""
    n = 30_000
    parts = [("Tumor", [square(i * 0.005, i * 0.005, 390 - i * 0.01)]) for i in range(n)]
    regions, codes = regions_of(written(tmp_path / "s.geojson", *parts))
    assert codes == ["E-REGION-004"]
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx(390**2 * 1e-6)


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    text = '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon",'
    deep = "[" * 30_000 + "]" * 30_000
    text += f'"coordinates":{deep}}},"properties":{{"classification":{{"name":"Tumor"}}}}}}]}}'
    path = tmp_path / "s.geojson"
    path.write_text(text, encoding="utf-8")
    problems = Problems()
    read_regions(path, problems=problems)
    assert [p.code for p in problems] in (["E-REGION-001"], ["E-REGION-002"])


def test_regions_go_out_and_come_back(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.geojson",
        ("Tumor", [square(50, 50, 300), square(100, 100, 40)]),
        ("Stroma", [square(400, 50, 100)]),
        ("Ignore*", [square(60, 200, 30)]),
    )
    regions, _ = regions_of(path)
    out = write_regions(regions, tmp_path / "o.geojson", name="s")
    back, codes = regions_of(out)
    assert codes == []
    assert back.areas_mm2(0.5) == pytest.approx(regions.areas_mm2(0.5))
    assert back.excluded.equals(regions.excluded)
    first = json.loads(out.read_text(encoding="utf-8"))["features"][0]
    assert first["properties"]["objectType"] == "annotation"
    assert write_regions(regions, tmp_path / "o2.geojson", name="s").read_bytes() == out.read_bytes()


# -- masks ---------------------------------------------------------------------------------------------------


def nest_mask() -> np.ndarray:
    mask = np.zeros((200, 300), np.uint8)
    mask[50:150, 50:150] = 255
    return mask


def read(path: Path, mpp: float = 1.0) -> tuple[MaskRegions | None, list[str]]:
    problems = Problems()
    return read_mask(path, shape=SHAPE, mpp=mpp, problems=problems), [p.message for p in problems]


def test_a_mask_is_the_polygon_it_shows(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "s.mask.png"), nest_mask())
    mask, told = read(tmp_path / "s.mask.png")
    assert told == []
    polygon, _ = regions_of(written(tmp_path / "s.geojson", ("Tumor", [square(100, 100, 200)])))
    cells = some_cells()
    panel = read_panel("cd8").model_copy(update={"margin_um": 20.0})
    a, b = (place_cells(cells, whole_tissue(), r, panel=panel, shape=SHAPE, mpp=1.0) for r in (mask, polygon))
    sure = np.abs(np.abs(b.cells["border_um"]) - 20) > 3
    assert (a.cells["compartment"] == b.cells["compartment"].replace("tissue", "stroma"))[sure].all()
    assert np.abs(a.cells["border_um"] - b.cells["border_um"]).max() < 3  # pixels of 2 um
    assert a.areas_mm2["nest"] == pytest.approx(b.areas_mm2["nest"], rel=0.05)
    assert a.areas_mm2["margin"] == pytest.approx(b.areas_mm2["margin"], rel=0.06)
    parts = a.areas_mm2["nest"] + a.areas_mm2["stroma"] + a.areas_mm2["margin"]
    assert parts == pytest.approx(a.areas_mm2["tissue"])  # every place once


def test_a_mask_of_four_values(tmp_path: Path) -> None:
    codes = np.zeros((200, 300), np.uint8)
    codes[:, :100], codes[:, 100:200], codes[:50] = 1, 2, 3
    tifffile.imwrite(tmp_path / "s.mask.tif", codes, resolution=(5000, 5000), resolutionunit="CENTIMETER")
    mask, told = read(tmp_path / "s.mask.tif")
    assert told == []
    assert mask is not None
    where = mask.locate(np.array([100.0, 300.0, 500.0, 100.0]), np.array([300.0, 300.0, 300.0, 20.0]))
    assert where.tolist() == ["nest", "stroma", "tissue", "excluded"]


@pytest.mark.parametrize(
    ("image", "name", "resolution", "word"),
    [
        (np.zeros((200, 400), np.uint8), "s.mask.png", None, "another shape"),
        (np.zeros((200, 300, 3), np.uint8), "s.mask.png", None, "one channel"),
        (np.zeros((200, 300), np.uint16), "s.mask.tif", None, "8 bits"),
        (np.arange(60_000).reshape(200, 300).astype(np.uint8), "s.mask.png", None, "values"),
        (np.zeros((200, 300), np.uint8), "s.mask.tif", 10_000, "um per pixel"),
        (None, "s.mask.png", None, "no PNG"),
        (None, "s.mask.tif", None, "cannot be read"),
    ],
)
def test_a_mask_that_does_not_fit_is_quarantined(
    tmp_path: Path, image: np.ndarray | None, name: str, resolution: float | None, word: str
) -> None:
    path = tmp_path / name
    if image is None:
        path.write_text("no image", encoding="utf-8")
    elif name.endswith("png"):
        cv2.imwrite(str(path), image)
    else:
        options = (
            {} if resolution is None else {"resolution": (resolution,) * 2, "resolutionunit": "CENTIMETER"}
        )
        tifffile.imwrite(path, image, **options)
    mask, told = read(path)
    assert mask is None
    assert word in told[0]


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "s.mask.png"
    cv2.imwrite(str(path), nest_mask())
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))
    mask, told = read(path)
    assert mask is None
    assert "too many" in told[0]


def test_which_file_is_a_slides(tmp_path: Path) -> None:
    assert find_regions(tmp_path, "S1") is None
    cv2.imwrite(str(tmp_path / "S1.mask.png"), nest_mask())
    assert find_regions(tmp_path, "S1") == tmp_path / "S1.mask.png"
    assert compartments_in(tmp_path / "S1.mask.png", read_panel("cd8")) == ("nest", "stroma")
    written(tmp_path / "S1.geojson", ("Tumor", [square(0, 0, 10)]))
    assert find_regions(tmp_path, "S1") == tmp_path / "S1.geojson"
    banded = read_panel("cd8").model_copy(update={"margin_um": 50.0})
    assert compartments_in(tmp_path / "S1.geojson", banded) == ("nest", "margin")


def test_a_slide_with_a_mask_and_a_margin(tmp_path: Path) -> None:
    painting = paint(side=800, seed=8)
    slide = write_tiff(tmp_path / "s.tif", painting.image)
    mask = np.zeros((200, 200), np.uint8)
    mask[:, :100] = 1
    cv2.imwrite(str(tmp_path / "s.mask.png"), mask)
    panel = read_panel("ki67").model_copy(update={"margin_um": 30.0})
    result = quantify_slide(
        slide, panel, regions=tmp_path / "s.mask.png", options=SlideOptions(overlay=False)
    )
    scores = result.scores.set_index("feature")
    x = painting.centres_um[:, 1]
    for name, inside in (("nest", x < 170), ("margin", (x > 170) & (x < 230)), ("stroma", x > 230)):
        row = scores.loc[f"Ki67_pct_{name}"]
        assert row["denominator"] == pytest.approx(inside.sum(), rel=0.05)
        assert row["numerator"] == pytest.approx(painting.positive[inside].sum(), rel=0.08, abs=3)
    total = sum(scores.at[f"Ki67_density_{n}", "area_mm2"] for n in ("nest", "margin", "stroma"))
    assert total == pytest.approx(scores.at["Ki67_density_tissue", "area_mm2"], rel=1e-9)
    moved = result.sensitivity
    assert set(moved["factor"]) == {0.8, 0.9, 1.0, 1.1, 1.2}
    assert scores.at["Ki67_pct_tissue", "n_tiles"] == 4  # too few to draw from
    assert np.isnan(scores.at["Ki67_pct_tissue", "within_se"])


# -- the simple classifier -----------------------------------------------------------------------------------


def mixed(nest_area: float, stroma_area: float) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(5)
    n = 4000
    frame = pd.DataFrame({"x_um": rng.uniform(0, 1000, n), "y_um": rng.uniform(0, 1000, n)})
    nest = np.hypot(frame["x_um"] - 500, frame["y_um"] - 500) < 300
    area = np.where(nest, nest_area, stroma_area) * rng.lognormal(0, 0.25, n)
    return frame.assign(area_um2=area), nest.to_numpy()


def test_the_classifier_finds_large_nuclei_in_nests() -> None:
    frame, nest = mixed(75, 40)
    found = tumour_by_nuclei(frame, shape=(2000, 2000), mpp=0.5, rule=TumourClassifier())
    called = found.locate(frame["x_um"].to_numpy() / 0.5, frame["y_um"].to_numpy() / 0.5) == "nest"
    assert (called == nest).mean() > 0.95


def test_the_classifier_is_blind_to_small_tumour_nuclei() -> None:
    """Its stated limit: tumour nuclei as small as those around them are not found."""
    frame, _ = mixed(40, 40)
    found = tumour_by_nuclei(frame, shape=(2000, 2000), mpp=0.5, rule=TumourClassifier())
    assert found.names == ("stroma",)


def test_the_classifier_is_off_unless_asked(tmp_path: Path) -> None:
    cells = some_cells().assign(area_um2=90.0)
    kinds = {"panel": read_panel("cd8"), "shape": SHAPE, "mpp": 1.0}
    assert set(place_cells(cells, whole_tissue(), None, **kinds).areas_mm2) == {"tissue"}
    kinds["panel"] = read_panel("cd8").model_copy(update={"tumour": TumourClassifier(min_density_mm2=0)})
    assert "nest" in place_cells(cells, whole_tissue(), None, **kinds).areas_mm2


def test_pdl1_scores_without_tumour_are_told(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "s.tif", paint(side=300, seed=2).image)
    result = quantify_slide(slide, "pdl1", options=SlideOptions(overlay=False))
    (told,) = [p for p in result.problems if p.code == "E-SLIDE-009"]
    assert "PDL1_tps, PDL1_cps" in told.message
    assert told.severity == "warning"

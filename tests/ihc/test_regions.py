"""Regions: QuPath's GeoJSON, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import paint, write_tiff

from pdbiomarker.errors import Problems
from pdbiomarker.ihc import Regions, SlideOptions, check_regions, quantify_slide, read_regions

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]


def feature(name: str | None, rings: object, kind: str = "Polygon") -> dict[str, object]:
    properties = {} if name is None else {"classification": {"name": name, "color": [200, 0, 0]}}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": properties}


def written(path: Path, *features: object) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
    return path


def read(path: Path, shape: tuple[int, int] = (1000, 1000)) -> tuple[Regions | None, list[str]]:
    problems = Problems()
    regions = read_regions(path, shape=shape, problems=problems)
    return regions, [p.code for p in problems]


def shift(ring: list[list[int]], dx: int) -> list[list[int]]:
    return [[x + dx, y] for x, y in ring]


def test_classes_become_compartments(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.geojson",
        feature("Tumor", [SQUARE]),
        feature("Stroma", [shift(SQUARE, 200)]),
        feature("Ignore*", [[[0, 0], [50, 0], [50, 100], [0, 100], [0, 0]]]),
    )
    regions, codes = read(path)
    assert codes == []
    assert regions is not None
    areas = regions.areas_mm2(0.5)
    assert areas == pytest.approx({"nest": 50 * 100 * 0.25e-6, "stroma": 1e4 * 0.25e-6})
    where = regions.locate(np.array([25.0, 75.0, 250.0, 500.0]), np.array([50.0] * 4))
    assert list(where) == ["excluded", "nest", "stroma", "tissue"]


def test_a_hole_and_a_multipolygon(tmp_path: Path) -> None:
    hole = [[20, 20], [40, 20], [40, 40], [20, 40], [20, 20]]
    path = written(
        tmp_path / "s.geojson", feature("Tumor", [[SQUARE, hole], [shift(SQUARE, 300)]], "MultiPolygon")
    )
    regions, codes = read(path)
    assert codes == []
    assert regions is not None
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx((2e4 - 400) * 1e-6)


def test_trap_07_overlap_counts_once(tmp_path: Path) -> None:
    path = written(tmp_path / "s.geojson", feature("Tumor", [SQUARE]), feature("tumour", [shift(SQUARE, 50)]))
    regions, codes = read(path)
    assert codes == ["E-REGION-004"]
    assert regions is not None
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx(150 * 100 * 1e-6)


def test_nest_wins_over_stroma(tmp_path: Path) -> None:
    path = written(tmp_path / "s.geojson", feature("Stroma", [SQUARE]), feature("Tumor", [shift(SQUARE, 50)]))
    regions, codes = read(path)
    assert codes == ["E-REGION-004"]
    assert regions is not None
    assert regions.areas_mm2(1.0) == pytest.approx({"nest": 0.01, "stroma": 0.005})


@pytest.mark.parametrize(
    ("rings", "kind", "word"),
    [
        ([[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]], "Polygon", "Self-intersection"),
        ([[[0, 0], [float("nan"), 0], [100, 100], [0, 0]]], "Polygon", "finite"),
        ([[[0, 0], [100, 0], [100, 100], [0, 100]]], "Polygon", "closed"),
        ([[[0, 0], [100, 0], [0, 0]]], "Polygon", "fewer than 4"),
        ([[[0, 0], [50, 0], [100, 0], [0, 0]]], "Polygon", ""),
        ([], "Polygon", "no ring"),
        ("text", "Polygon", "numbers"),
        ([[["a", "b"]]], "Polygon", "numbers"),
        ([0, 0], "Point", "Point"),
        (None, "MultiPolygon", "polygon"),
    ],
)
def test_an_invalid_polygon_is_quarantined(tmp_path: Path, rings: object, kind: str, word: str) -> None:
    path = written(tmp_path / "s.geojson", feature("Tumor", rings, kind), feature("Tumor", [SQUARE]))
    problems = Problems()
    regions = read_regions(path, shape=(1000, 1000), problems=problems)
    assert [(p.code, p.severity, p.item) for p in problems] == [("E-REGION-002", "quarantine", "s#1")]
    assert word in next(iter(problems)).message
    assert regions is not None
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx(0.01)  # the good one stays


def test_off_the_slide(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.geojson",
        feature("Tumor", [shift(SQUARE, 5000)]),
        feature("Tumor", [shift(SQUARE, 950)]),
    )
    problems = Problems()
    regions = read_regions(path, shape=(1000, 1000), problems=problems)
    assert [(p.code, p.severity) for p in problems] == [
        ("E-REGION-003", "quarantine"),
        ("E-REGION-003", "warning"),
    ]
    assert regions is not None
    assert regions.areas_mm2(1.0)["nest"] == pytest.approx(0.005)


def test_an_unknown_class_is_told(tmp_path: Path) -> None:
    regions, codes = read(
        written(tmp_path / "s.geojson", feature("Vessel", [SQUARE]), feature(None, [SQUARE]))
    )
    assert codes == ["E-REGION-005", "E-REGION-005"]
    assert regions is not None
    assert regions.areas_mm2(1.0) == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"type": "Feature', "42", '{"type": "FeatureCollection"}']
)
def test_no_geojson(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.geojson"
    path.write_text(text, encoding="utf-8")
    assert [p.code for p in check_regions(path)] == ["E-REGION-001"]


def test_no_file(tmp_path: Path) -> None:
    assert [p.code for p in check_regions(tmp_path / "none.geojson")] == ["E-FILE-001"]


def test_scores_by_compartment(tmp_path: Path) -> None:
    painting = paint(side=800, seed=8)
    slide = write_tiff(tmp_path / "s.tif", painting.image)
    left = [[0, 0], [400, 0], [400, 800], [0, 800], [0, 0]]
    right = [[400, 0], [600, 0], [600, 800], [400, 800], [400, 0]]
    rest = [[600, 0], [800, 0], [800, 800], [600, 800], [600, 0]]
    regions = written(
        tmp_path / "s.geojson",
        feature("Tumor", [left]),
        feature("Stroma", [right]),
        feature("Exclude", [rest]),
    )
    result = quantify_slide(slide, "ki67", regions=regions, options=SlideOptions(overlay=False))
    scores = result.scores.set_index("feature")
    x = painting.centres_um[:, 1] / 0.5
    for name, inside in (("nest", x < 400), ("stroma", (x > 400) & (x < 600)), ("tissue", x < 600)):
        row = scores.loc[f"Ki67_pct_{name}"]
        assert row["denominator"] == pytest.approx(inside.sum(), rel=0.03)
        assert row["numerator"] == pytest.approx(painting.positive[inside].sum(), rel=0.05, abs=2)
    assert scores.at["Ki67_density_nest", "area_mm2"] == pytest.approx(400 * 800 * 0.25e-6)
    assert scores.at["Ki67_density_tissue", "area_mm2"] < scores.at["Ki67_density_nest", "area_mm2"] * 1.5
    assert set(result.cells["compartment"]) == {"nest", "stroma"}

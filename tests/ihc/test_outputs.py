"""What slides leave on disk: the columns of the cells, joined tables, AnnData, GeoJSON."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import paint, write_tiff
from shapely.geometry import shape

from pdbiomarker.ihc import (
    CELL_FILE_COLUMNS,
    SlideOptions,
    cells_to_anndata,
    check_cells,
    join_slides,
    quantify_slide,
    write_cells,
    write_cells_geojson,
    write_slide,
)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Two measured slides, the second with regions, each in its folder."""
    root = tmp_path_factory.mktemp("slides")
    ring = [[0, 0], [300, 0], [300, 480], [0, 480], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    (root / "r.geojson").write_text(json.dumps([feature]), encoding="utf-8")
    found = []
    for slide, regions in (("a,1", None), ("2", root / "r.geojson")):
        path = write_tiff(root / f"{len(found)}.tif", paint(side=480, seed=len(found)).image)
        result = quantify_slide(path, "ki67", regions=regions, options=SlideOptions(overlay=not found))
        write_slide(result, slide, root / f"s{len(found)}")
        found.append((slide, root / f"s{len(found)}"))
    return found


def test_cells_have_the_columns_that_were_promised(slides: list[tuple[str, Path]]) -> None:
    cells = pd.read_parquet(slides[0][1] / "cells.parquet")
    assert tuple(cells.columns[:9]) == CELL_FILE_COLUMNS
    assert set(cells["slide"]) == {"a,1"}
    assert cells["positive"].dtype == bool
    assert (cells["positive"] == (cells["class"] > 0)).all()
    assert "border_um" in pd.read_parquet(slides[1][1] / "cells.parquet")


def test_slides_are_joined(slides: list[tuple[str, Path]], tmp_path: Path) -> None:
    files = join_slides(slides, tmp_path)
    names = [file.relative_to(tmp_path).as_posix() for file in files]
    assert names[:4] == ["cells.parquet", "scores.csv", "sensitivity.csv", "qc.csv"]
    assert names[4:] == ["overlay/s0-field.png", "overlay/s0-overview.png"]
    cells = pd.read_parquet(tmp_path / "cells.parquet")
    own = [pd.read_parquet(folder / "cells.parquet") for _, folder in slides]
    assert cells.groupby("slide", sort=False).size().tolist() == [len(frame) for frame in own]
    assert not check_cells(tmp_path / "cells.parquet").errors
    for name in ("scores.csv", "sensitivity.csv", "qc.csv"):
        joined = pd.read_csv(tmp_path / name)
        assert joined.columns[0] == "slide"
        parts = [pd.read_csv(folder / name).assign(slide=slide) for slide, folder in slides]
        whole = pd.concat(parts, ignore_index=True)[joined.columns]
        pd.testing.assert_frame_equal(joined.astype({"slide": str}), whole.astype({"slide": str}))


def test_nothing_to_join(tmp_path: Path) -> None:
    join_slides([], tmp_path)
    assert tuple(pd.read_parquet(tmp_path / "cells.parquet").columns) == CELL_FILE_COLUMNS


def some_cells(n: int = 50) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x_um": rng.uniform(50, 900, n), "y_um": rng.uniform(50, 900, n)})
    grade = rng.integers(0, 4, n).astype(np.int8)
    return frame.assign(
        area_um2=rng.uniform(20, 90, n),
        dab_od_mean=rng.uniform(0, 1, n),
        haematoxylin_od_mean=0.2,
        positive=grade > 0,
        compartment="nest",
        **{"class": grade},
    )


def test_cells_for_qupath(tmp_path: Path) -> None:
    """Every outline is a polygon of the nucleus' area at its place, in pixels of the full image."""
    cells = some_cells()
    path = write_cells_geojson(cells, tmp_path / "c.geojson", mpp=0.25, slide_id="S1")
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    assert len(features) == len(cells)
    names = {0: "Negative", 1: "1+", 2: "2+", 3: "3+"}
    for feature, (_, cell) in zip(features, cells.iterrows(), strict=True):
        outline = shape(feature["geometry"])
        assert outline.is_valid
        assert outline.area * 0.25**2 == pytest.approx(cell["area_um2"], rel=0.02)  # corners to 0.1 pixel
        assert outline.centroid.x * 0.25 == pytest.approx(cell["x_um"], abs=0.03)
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["classification"]["name"] == names[cell["class"]]
        measured = feature["properties"]["measurements"]["Nucleus: DAB OD mean"]
        assert measured == pytest.approx(cell["dab_od_mean"], abs=1e-4)
    ids = [feature["id"] for feature in features]
    assert len({uuid.UUID(one) for one in ids}) == len(cells)
    again = write_cells_geojson(cells, tmp_path / "d.geojson", mpp=0.25, slide_id="S1")
    assert again.read_bytes() == path.read_bytes()


def test_many_cells_are_written_in_portions(tmp_path: Path) -> None:
    cells = pd.concat([some_cells()] * 900, ignore_index=True)
    path = write_cells_geojson(cells.head(40_001), tmp_path / "c.geojson", mpp=0.5)
    assert len(json.loads(path.read_text(encoding="utf-8"))["features"]) == 40_001
    empty = write_cells_geojson(cells.head(0), tmp_path / "e.geojson", mpp=0.5)
    assert json.loads(empty.read_text(encoding="utf-8"))["features"] == []


def test_a_measurement_that_is_missing_is_left_out(tmp_path: Path) -> None:
    path = write_cells_geojson(some_cells(1).assign(dab_od_mean=np.nan), tmp_path / "c.geojson", mpp=0.5)
    (feature,) = json.loads(path.read_text(encoding="utf-8"))["features"]
    assert list(feature["properties"]["measurements"]) == ["Nucleus: Hematoxylin OD mean"]


def test_cells_as_anndata(tmp_path: Path) -> None:
    cells = some_cells()
    found = cells_to_anndata(cells, "S1")
    assert found.shape == (50, 3)
    assert list(found.var_names) == ["dab_od_mean", "haematoxylin_od_mean", "area_um2"]
    np.testing.assert_array_equal(found.obsm["spatial"], cells[["x_um", "y_um"]])
    np.testing.assert_array_equal(found[:, "dab_od_mean"].X[:, 0], cells["dab_od_mean"])
    assert found.obs["class"].tolist() == cells["class"].tolist()
    found.write_h5ad(tmp_path / "c.h5ad")
    write_cells(cells, tmp_path / "c.parquet", slide_id="S1")
    assert not check_cells(tmp_path / "c.parquet").errors

"""A written folder: the same bytes, slides that hold what truth/ says, faults where asked for."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile

from pdbiomarker.errors import InputError
from pdbiomarker.simulate import FAULTS, TrialDesign, draw_layout, simulate_study
from pdbiomarker.study import read_study


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two participants with slides."""
    return simulate_study(
        tmp_path_factory.mktemp("simulated") / "trial",
        seed=3,
        n_participants=2,
        genes=100,
        design=TrialDesign(workers=2),
    )


@pytest.fixture(scope="module")
def cells(study: Path) -> pd.DataFrame:
    table = pq.read_table(study / "truth" / "cells.parquet")
    return pd.DataFrame({name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names})


def test_same_seed_same_bytes_on_any_number_of_workers(study: Path, tmp_path: Path) -> None:
    again = simulate_study(
        tmp_path / "elsewhere", seed=3, n_participants=2, genes=100, design=TrialDesign(workers=1)
    )
    assert digests(again) == digests(study)
    assert len(digests(study)) == 7 + 7 + 5 + 2 * 4 + 1  # sheets, clinic, truth, slides, regions, README


def test_another_seed_other_numbers(tmp_path: Path) -> None:
    made = [
        digests(simulate_study(tmp_path / str(seed), seed=seed, n_participants=4, slides=False, genes=100))
        for seed in (1, 2)
    ]
    for name in ("counts.csv.gz", "biopsies.csv", "truth/features.csv"):
        assert made[0][name] != made[1][name]


def test_slides_say_their_pixel_size_and_have_levels(study: Path) -> None:
    sheet = rows(study / "slides.csv")
    assert len(sheet) == 4
    for row in sheet:
        path = study / row["path"]
        assert path.stat().st_size < 2e6
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            assert tiff.is_ome
            assert series.shape == (1280, 2304, 3)
            assert [level.shape[:2] for level in series.levels] == [(1280, 2304), (320, 576), (80, 144)]
            assert 'PhysicalSizeX="0.5"' in tiff.ome_metadata
            assert tiff.pages[0].is_tiled
            assert "DateTime" not in tiff.pages[0].tags


def test_glass_is_white_and_tissue_is_not(study: Path) -> None:
    image = tifffile.imread(study / rows(study / "slides.csv")[0]["path"])
    rim = np.concatenate([image[:16].reshape(-1, 3), image[-16:].reshape(-1, 3)])
    np.testing.assert_allclose(np.median(rim, axis=0), (243, 243, 241), atol=3)
    middle = image[500:800, 800:1500].reshape(-1, 3).mean(axis=0)
    assert (middle < 225).all()


def test_truth_counts_and_areas_agree(study: Path, cells: pd.DataFrame) -> None:
    """Cells of cells.parquet over the area give the density of truth/biopsies.csv."""
    for row in rows(study / "truth" / "biopsies.csv"):
        own = cells[cells["slide_id"] == row["slide_id"]]
        assert len(own) == int(row["n_cells"])
        positive = own[own["positive"]]
        assert len(positive) == int(row["n_positive"])
        assert len(positive) / float(row["area_mm2"]) == pytest.approx(float(row["density"]), rel=1e-4)
        nest = (positive["compartment"] == "nest").sum() / float(row["nest_area_mm2"])
        assert nest == pytest.approx(float(row["density_nest"]), rel=1e-3)
        assert 100 * own["dab_level"].sum() / len(own) == pytest.approx(float(row["hscore"]), abs=1e-4)
        assert (own["positive"] == (own["dab_level"] > 0)).all()


def test_cells_keep_apart(cells: pd.DataFrame) -> None:
    """Every CD8+ cell is a cell of its own: 7 um or more from centre to centre of any other."""
    for _, own in cells.groupby("slide_id"):
        points = own[["x_um", "y_um"]].to_numpy()
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        assert apart[own["positive"].to_numpy()].min() > 7.0


def test_brown_is_where_the_positive_cells_are(study: Path, cells: pd.DataFrame) -> None:
    """DAB by unmixing (Ruifrok's vectors) within 4 um of a cell's centre: above 0.15 for all positive cells
    and below it for 99 % of the others. The oracle is the planted table."""
    vectors = np.array([(0.65, 0.70, 0.29), (0.27, 0.57, 0.78)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    third = np.cross(vectors[0], vectors[1])
    inverse = np.linalg.inv(np.vstack([vectors, third / np.linalg.norm(third)]))
    hits, false = [], []
    for row in rows(study / "slides.csv"):
        image = tifffile.imread(study / row["path"]).astype(float)
        od = -np.log10(np.maximum(image, 1) / (243, 243, 241))
        dab = (od @ inverse)[..., 1]
        size = 8
        mean = cv2.blur(dab, (size, size))
        own = cells[cells["slide_id"] == row["slide_id"]]
        value = mean[(own["y_um"] / 0.5).astype(int), (own["x_um"] / 0.5).astype(int)]
        hits.extend(value[own["positive"]] > 0.15)
        false.extend(value[~own["positive"]] > 0.15)
    assert np.mean(hits) > 0.99
    assert np.mean(false) < 0.01


def test_cells_lie_in_the_compartment_they_claim(study: Path, cells: pd.DataFrame) -> None:
    for slide, own in cells.groupby("slide_id"):
        document = json.loads((study / "regions" / f"{slide}.geojson").read_text(encoding="utf-8"))
        rings = [np.array(f["geometry"]["coordinates"][0]) for f in document["features"]]
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        assert {f["properties"]["classification"]["name"] for f in document["features"]} == {"Tumor"}
        filled = np.zeros((1280, 2304), np.uint8)
        cv2.fillPoly(filled, [ring.astype(np.int32) for ring in rings], 1)
        inside = filled[(own["y_um"] / 0.5).astype(int), (own["x_um"] / 0.5).astype(int)] > 0
        assert (inside == (own["compartment"] == "nest")).all()


def test_sheets_do_not_depend_on_slides(study: Path, tmp_path: Path) -> None:
    bare = simulate_study(tmp_path / "bare", seed=3, n_participants=2, slides=False, genes=100)
    for name in ("participants.csv", "biopsies.csv", "counts.csv.gz", "libraries.csv"):
        assert (bare / name).read_bytes() == (study / name).read_bytes()
    assert not (bare / "slides").exists()
    assert "ihc" not in (bare / "study.yaml").read_text(encoding="utf-8")
    with_slides, without = (rows(s / "truth" / "biopsies.csv") for s in (study, bare))
    for one, other in zip(with_slides, without, strict=True):
        assert one["n_positive"] == other["n_positive"]
        assert float(one["area_mm2"]) == pytest.approx(float(other["area_mm2"]), rel=0.03)
        assert int(one["n_cells"]) == pytest.approx(int(other["n_cells"]), rel=0.02)


def test_regions_are_optional_and_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = simulate_study(
        tmp_path / "plain",
        n_participants=1,
        genes=100,
        design=TrialDesign(regions=False),
        progress=lambda *step: seen.append(step),
    )
    assert not (folder / "regions").exists()
    assert "regions" not in (folder / "study.yaml").read_text(encoding="utf-8")
    assert seen == [("slides", 1, 2), ("slides", 2, 2), ("study folder", 1, 1)]


def test_a_full_folder_and_silly_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(InputError, match="E-SIM-002") as told:
        simulate_study(tmp_path, n_participants=0, genes=5, seed=-1)
    assert [p.column for p in told.value.problems] == ["seed", "n_participants", "genes", None]
    assert [p.code for p in told.value.problems] == [*["E-SIM-001"] * 3, "E-SIM-002"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_read_study_finds_no_error(study: Path) -> None:
    read = read_study(study)
    assert [p for p in read.problems if p.severity == "error"] == []
    assert sorted(read.biopsies.index) == sorted(r["biopsy_id"] for r in rows(study / "biopsies.csv"))
    assert list(read.slides.index) == sorted(r["slide_id"] for r in rows(study / "slides.csv"))
    assert all(slide.startswith("00") for slide in read.slides.index)


def test_read_study_takes_every_fate(tmp_path: Path) -> None:
    folder = simulate_study(tmp_path / "trial", n_participants=12, slides=False, genes=100)
    read = read_study(folder)
    assert len(read.participants) == 12
    assert len(read.libraries) == 23
    assert read.libraries.groupby("biopsy_id").size().max() == 2


FAULTY_SHEETS = {
    "on_treatment_before_dose": lambda f: any(
        r["visit"] == "C2D1" and r["study_day"] == "-5" for r in rows(f / "biopsies.csv")
    ),
    "duplicate_biopsy": lambda f: (
        len({r["biopsy_id"] for r in rows(f / "biopsies.csv")}) == len(rows(f / "biopsies.csv")) - 1
    ),
    "missing_column": lambda f: "participant_id" not in rows(f / "biopsies.csv")[0],
    "missing_file": lambda f: not (f / "counts.csv.gz").exists(),
    "text_count": lambda f: b",many" in counts(f),
    "negative_count": lambda f: counts(f).count(b",-3") == 1 or counts(f).count(b",'-3") == 1,
    "fractional_count": lambda f: counts(f).count(b",10.5") == 1,
    "unclaimed_library": lambda f: counts(f).split(b"\n")[0].endswith(b",99999"),
}


def counts(folder: Path) -> bytes:
    return gzip.decompress((folder / "counts.csv.gz").read_bytes())


@pytest.mark.parametrize("fault", FAULTY_SHEETS)
def test_faults_of_sheets_are_planted(fault: str, tmp_path: Path) -> None:
    clean = simulate_study(tmp_path / "clean", n_participants=4, slides=False, genes=100)
    folder = simulate_study(
        tmp_path / "faulty",
        n_participants=4,
        slides=False,
        genes=100,
        design=TrialDesign(faults=frozenset({fault})),
    )
    assert FAULTY_SHEETS[fault](folder)
    assert not FAULTY_SHEETS[fault](clean)
    before, after = digests(clean), digests(folder)
    changed = {name for name in before if before[name] != after.get(name)} - {"README.txt"}
    assert len(changed) == 1, changed


def test_faults_of_slides_are_planted(tmp_path: Path) -> None:
    faults = frozenset({"truncated_slide", "slide_without_mpp"})
    folder = simulate_study(
        tmp_path / "faulty", n_participants=1, genes=100, design=TrialDesign(faults=faults)
    )
    cut, bare = (folder / row["path"] for row in rows(folder / "slides.csv"))
    with pytest.raises((ValueError, RuntimeError, tifffile.TiffFileError)):
        tifffile.imread(cut)
    with tifffile.TiffFile(bare) as tiff:
        assert "PhysicalSize" not in tiff.ome_metadata
        assert tiff.series[0].shape == (1280, 2304, 3)
    assert set(FAULTS) == {*FAULTY_SHEETS, *faults}


def test_outlines_of_nests_are_valid_polygons() -> None:
    """An outline that touches itself would be quarantined as a region a reader drew wrongly."""
    for seed in range(6):
        layout = draw_layout(np.random.default_rng(seed), (640, 1152))
        assert layout.nest_outlines
        assert all(shapely.Polygon(outline).is_valid for outline in layout.nest_outlines)

"""Exports of other programs: what fits gives the scores, what does not is refused with its row."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import AssayError
from pdbiomarker.ihc import (
    ImportedCells,
    import_cells,
    read_cells,
    read_panel,
    score_import,
    sensitivity_of_import,
    slide_name,
    write_cells,
    write_cells_geojson,
)
from pdbiomarker.ihc.exports.classes import compartment_of, read_class
from pdbiomarker.ihc.exports.columns import normal_name
from pdbiomarker.study import check_assay

HEADER = (
    "Image\tName\tClass\tParent\tROI\tCentroid X µm\tCentroid Y µm\tNucleus: Area µm^2\tNucleus: DAB OD mean"
)


def qupath(path: Path, rows: list[str], header: str = HEADER, encoding: str = "utf-8") -> Path:
    path.write_bytes(("\n".join([header, *rows]) + "\n").encode(encoding))
    return path


def detections(n: int = 200, share: float = 0.3, image: str = "S1.svs", parent: str = "Tumor") -> list[str]:
    rng = np.random.default_rng(3)
    rows = []
    for i in range(n):
        dab = 0.45 if i < share * n else 0.05
        call = "Positive" if dab >= 0.2 else "Negative"
        x, y = rng.uniform(0, 1000, 2)
        rows.append(f"{image}\t{call}\t{call}\t{parent}\tPolygon\t{x:.2f}\t{y:.2f}\t45.5\t{dab}")
    return rows


def refused(path: Path | list[Path], **options: object) -> list[tuple[str, int | None, str | None]]:
    with pytest.raises(AssayError) as caught:
        read_cells(path, panel="ki67", **options)
    return [(p.code, p.row, p.value) for p in caught.value.problems if p.severity == "error"]


def value(found: ImportedCells, feature: str, slide: str = "S1") -> float:
    return float(score_import(found, "ki67")[slide].set_index("feature").at[feature, "value"])


# -- names and units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "unit"),
    [
        ("Centroid X µm", "centroid x", "um"),  # micro sign
        ("Centroid X μm", "centroid x", "um"),  # Greek mu
        ("Centroid X um", "centroid x", "um"),
        ("Centroid X Âµm", "centroid x", "um"),  # UTF-8 read as Latin-1 by another program
        ("Centroid X px", "centroid x", "px"),
        ("Nucleus: Area µm^2", "nucleus: area", "um2"),
        ("Nucleus Area (µm²)", "nucleus area", "um2"),
        ("Area mm²", "area", "mm2"),
        ("x_um", "x", "um"),
        ("Positive %", "positive", "percent"),
        ("% Positive", "positive", "percent"),
        ("Nucleus: DAB OD mean", "nucleus: dab od mean", ""),
        ("Num Detections", "num detections", ""),
    ],
)
def test_names_and_units(text: str, name: str, unit: str) -> None:
    assert normal_name(text) == (name, unit)


@pytest.mark.parametrize(
    ("text", "marker", "grade", "kind"),
    [
        ("Positive", "X", 1, ""),
        ("Negative", "X", 0, ""),
        ("2+", "X", 2, ""),
        ("Tumor: 3+", "X", 3, "tumour"),
        ("Immune cells: Negative", "X", 0, "lymphocyte"),
        ("Stroma: Positive", "X", 1, "other"),
        ("Tumor", "X", None, "tumour"),
        ("", "X", None, ""),
        ("CD3+CD8-", "CD8", 0, ""),
        ("CD3+CD8-", "CD3", 1, ""),
        ("CD8+ FOXP3-", "CD8", 1, ""),
        ("PD-L1+", "PDL1", 1, ""),
        ("NKp46+/CD3-", "NKp46", 1, ""),
    ],
)
def test_classes(text: str, marker: str, grade: int | None, kind: str) -> None:
    found = read_class(text, marker, {})
    assert found is not None
    assert (found.grade, found.kind) == (grade, kind)


@pytest.mark.parametrize("text", ["Vessel", "Tumor: maybe", "CD8", "CD80+", "CD8-alpha", "CD8+CD8-", "4+"])
def test_an_unknown_class_is_not_guessed(text: str) -> None:
    assert read_class(text, "CD8", {}) is None


def test_a_class_can_be_declared() -> None:
    found = read_class("Melanoma pos", "CD8", {"Melanoma pos": "tumour: positive"})
    assert found is not None
    assert (found.grade, found.kind, found.graded) == (1, "tumour", False)


def test_parents_and_slides() -> None:
    places = ["PathAnnotationObject", "Tumor", "Annotation (Stroma)", "Ignore*", "Region 7"]
    assert [compartment_of(text) for text in places] == ["tissue", "nest", "stroma", "excluded", None]
    assert slide_name("C:\\scans\\S1.ome.tif") == "S1"


# -- QuPath --------------------------------------------------------------------------------------------------


def test_a_detection_table(tmp_path: Path) -> None:
    path = qupath(tmp_path / "d.tsv", detections())
    found = read_cells(path, panel="ki67")
    assert len(found.cells) == 200
    assert found.slides == ["S1"]
    assert found.graded == {"S1": True}  # Positive and Negative, but DAB grades them
    assert value(found, "Ki67_pct_nest") == 0.3
    assert value(found, "Ki67_hscore_nest") == 60.0
    assert math.isnan(value(found, "Ki67_density_nest"))  # the export says no area
    shown = found.columns.set_index("column")
    assert shown.at["Centroid X µm", "unit"] == "um"
    assert shown.at["Nucleus: DAB OD mean", "read_as"] == "dab"


def test_annotations_give_the_areas(tmp_path: Path) -> None:
    """A tissue of 2 mm2 with a nest of 0.5 mm2 in two parts, 0.25 mm2 of it ignored."""
    header = "Image\tName\tClass\tNum Detections\tNum Positive\tNum Negative\tPositive %\tArea µm^2"
    rows = [
        "S1.svs\tA\tTissue\t200\t60\t140\t30.0\t2000000",
        "S1.svs\tB\tTumor\t100\t30\t70\t30.0\t300000",
        "S1.svs\tC\tTumor\t100\t30\t70\t30.0\t200000",
        "S1.svs\tD\tIgnore*\t0\t0\t0\tNaN\t250000",
    ]
    areas = qupath(tmp_path / "a.tsv", rows, header)
    found = read_cells([qupath(tmp_path / "d.tsv", detections()), areas], panel="ki67")
    assert found.areas_mm2["S1"] == pytest.approx({"tissue": 1.75, "nest": 0.5})
    assert value(found, "Ki67_density_nest") == pytest.approx(60 / 0.5)
    assert value(found, "Ki67_density_tissue") == pytest.approx(60 / 1.75)
    alone = read_cells(areas, panel="ki67")
    assert alone.counts["S1"]["nest"] == (140, 60, 0, 0)
    assert value(alone, "Ki67_pct_nest") == 0.3
    assert math.isnan(value(alone, "Ki67_hscore_nest"))


def test_one_table_with_cells_and_annotations(tmp_path: Path) -> None:
    header = (
        "Image\tObject type\tClass\tParent\tCentroid X µm\tCentroid Y µm\tNucleus: DAB OD mean\tArea µm^2"
    )
    rows = ["S1.svs\tAnnotation\tTumor\tRoot object (Image)\t1\t1\t\t500000"]
    rows += [f"S1.svs\tCell\t\tTumor\t{i}\t{i}\t{0.3 if i < 50 else 0.1}\t" for i in range(200)]
    found = read_cells(qupath(tmp_path / "m.tsv", rows, header), panel="ki67")
    assert len(found.cells) == 200
    assert value(found, "Ki67_density_nest") == pytest.approx(100.0)


def test_pixels_need_their_size(tmp_path: Path) -> None:
    path = qupath(tmp_path / "d.tsv", detections(5), HEADER.replace("µm", "px"))
    assert {code for code, _, _ in refused(path)} == {"E-CELLS-003"}
    found = read_cells(path, panel="ki67", mpp=0.5)
    micro = read_cells(qupath(tmp_path / "e.tsv", detections(5)), panel="ki67")
    np.testing.assert_allclose(found.cells["x_um"], micro.cells["x_um"] * 0.5)
    np.testing.assert_allclose(found.cells["area_um2"], micro.cells["area_um2"] * 0.25)


def test_a_length_without_a_unit_is_not_guessed(tmp_path: Path) -> None:
    path = qupath(tmp_path / "d.tsv", detections(5), HEADER.replace("Centroid X µm", "Centroid X"))
    assert [code for code, _, _ in refused(path)] == ["E-CELLS-002"]
    found = read_cells(path, panel="ki67", columns={"Centroid X": "x_um"})
    assert found.cells["x_um"].notna().all()


def test_the_bare_area_of_qupaths_own_detection_has_the_unit_of_its_positions(tmp_path: Path) -> None:
    bare = HEADER.replace("Nucleus: Area µm^2", "Nucleus: Area")
    found = read_cells(qupath(tmp_path / "um.tsv", detections(5), bare), panel="ki67")
    assert set(found.cells["area_um2"]) == {45.5}
    in_pixels = qupath(tmp_path / "px.tsv", detections(5), bare.replace("µm", "px"))
    assert set(read_cells(in_pixels, panel="ki67", mpp=0.5).cells["area_um2"]) == {45.5 * 0.25}
    mixed = qupath(tmp_path / "mixed.tsv", detections(5), bare.replace("Centroid X µm", "Centroid X px"))
    assert "E-CELLS-002" in {code for code, _, _ in refused(mixed)}
    other = qupath(
        tmp_path / "other.tsv", detections(5), HEADER.replace("Nucleus: Area µm^2", "Nucleus area")
    )
    assert [code for code, _, _ in refused(other)] == ["E-CELLS-002"]


def test_a_declared_column_need_not_be_in_every_file(tmp_path: Path) -> None:
    """The annotations that lie beside the detections have other columns."""
    (tmp_path / "e").mkdir()
    qupath(tmp_path / "e/d.tsv", detections(5), HEADER.replace("Nucleus: Area µm^2", "Size"))
    qupath(tmp_path / "e/a.tsv", ["S1.svs\tTumor\t5\t1000000"], "Image\tClass\tNum Detections\tArea µm^2")
    found = read_cells(tmp_path / "e", panel="ki67", columns={"Size": "area_um2"})
    assert set(found.cells["area_um2"]) == {45.5}
    assert value(found, "Ki67_density_nest") == pytest.approx(2.0)  # two of five, on 1 mm2
    with pytest.raises(AssayError, match=r"E-SHEET-001 a.tsv, d.tsv \[Sise\].*Size"):
        read_cells(tmp_path / "e", panel="ki67", columns={"Sise": "area_um2"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    found = read_cells(qupath(tmp_path / "d.tsv", detections(20), encoding=encoding), panel="ki67")
    assert len(found.cells) == 20


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    rows = [row.replace("\t", delimiter) for row in detections(20)]
    found = read_cells(qupath(tmp_path / "d.csv", rows, HEADER.replace("\t", delimiter)), panel="ki67")
    assert len(found.cells) == 20


def test_missing_values_are_counted_not_called_negative(tmp_path: Path) -> None:
    rows = detections(20)
    rows[3] = "S1.svs\t\t\tTumor\tPolygon\t1\t1\t40\tNaN"
    rows[7] = "S1.svs\t\t\tTumor\tPolygon\t1\t1\t40\t"
    found = read_cells(qupath(tmp_path / "d.tsv", rows), panel="ki67")
    assert len(found.cells) == 18
    (told,) = found.problems
    assert (told.code, told.row) == ("E-CELLS-005", 5)
    assert told.message.startswith("2 of 20 cells")
    assert found.columns.set_index("column").at["Nucleus: DAB OD mean", "n_missing"] == 2


def test_a_header_further_down_is_skipped_and_told(tmp_path: Path) -> None:
    rows = [*detections(10), HEADER, *detections(10, image="S2.svs")]
    found = read_cells(qupath(tmp_path / "d.tsv", rows), panel="ki67")
    assert found.slides == ["S1", "S2"]
    assert [(p.code, p.row) for p in found.problems] == [("E-SHEET-019", 12)]


def faulty(column: int, text: str) -> list[str]:
    rows = detections(10)
    fields = rows[4].split("\t")
    fields[column] = text
    rows[4] = "\t".join(fields)
    return rows


@pytest.mark.parametrize(
    ("rows", "code", "value"),
    [
        (faulty(2, "Vessel"), "E-CELLS-004", "Vessel"),
        (faulty(5, "12,5"), "E-SHEET-007", "12,5"),
        (faulty(5, "far"), "E-SHEET-007", "far"),
        (faulty(5, "inf"), "E-SHEET-007", "inf"),
        (faulty(5, "-3"), "E-SHEET-008", "-3"),
        (faulty(5, ""), "E-SHEET-017", None),
        (faulty(8, "40"), "E-SHEET-008", "40"),
        (faulty(8, "30 %"), "E-SHEET-007", "30 %"),
        (faulty(0, ""), "E-SHEET-004", None),
        (faulty(6, "1\textra"), "E-SHEET-003", None),
    ],
)
def test_what_does_not_fit_is_refused_with_its_row(
    tmp_path: Path, rows: list[str], code: str, value: str | None
) -> None:
    (found,) = refused(qupath(tmp_path / "d.tsv", rows))
    assert found[:2] == (code, 6)
    if value is not None:
        assert found[2] == value


def test_calls_that_differ_from_the_threshold_are_told(tmp_path: Path) -> None:
    rows = [row.replace("0.45", "0.15") for row in detections(100)]
    found = read_cells(qupath(tmp_path / "d.tsv", rows), panel="ki67")
    assert [p.code for p in found.problems] == ["E-CELLS-009"]
    assert value(found, "Ki67_pct_nest") == 0.3  # the export's calls stand


def test_old_and_new_geojson(tmp_path: Path) -> None:
    """An annotation, a cell with its nucleus, an object of the older form, and a point."""
    ring = [[0, 0], [400, 0], [400, 400], [0, 400], [0, 0]]
    nucleus = [[96, 96], [104, 96], [104, 104], [96, 104], [96, 96]]
    cell = [[90, 90], [110, 90], [110, 110], [90, 110], [90, 90]]

    def feature(kind: str, geometry: dict[str, object], name: str, **more: object) -> dict[str, object]:
        properties = {"objectType": kind, "classification": {"name": name}, **more.pop("properties", {})}
        return {"type": "Feature", "geometry": geometry, "properties": properties, **more}

    dab = "Nucleus: DAB OD mean"
    features = [
        feature("annotation", {"type": "Polygon", "coordinates": [ring]}, "Tumor"),
        feature(
            "cell",
            {"type": "Polygon", "coordinates": [cell]},
            "Positive",
            nucleusGeometry={"type": "Polygon", "coordinates": [nucleus]},
            properties={"measurements": {dab: 0.65}},
        ),
        feature(
            "detection",
            {"type": "Polygon", "coordinates": [nucleus]},
            "Negative",
            properties={"measurements": [{"name": dab, "value": 0.1}]},
        ),
        feature("detection", {"type": "Point", "coordinates": [500, 500]}, "Negative"),
    ]
    path = tmp_path / "S1.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    found = read_cells(path, panel="ki67", mpp=0.5)
    assert found.cells["x_um"].tolist() == [50.0, 50.0, 250.0]
    assert found.cells["area_um2"].tolist()[:2] == [16.0, 16.0]
    assert found.cells["compartment"].tolist() == ["nest", "nest", "tissue"]
    assert found.cells["class"].tolist() == [3, 0, 0]
    assert found.areas_mm2["S1"]["nest"] == pytest.approx(0.04)
    assert found.cells["border_um"].tolist()[0] == pytest.approx(-50)
    assert {code for code, _, _ in refused(path)} == {"E-CELLS-003"}


def test_our_own_files_come_back(tmp_path: Path) -> None:
    cells = read_cells(qupath(tmp_path / "d.tsv", detections()), panel="ki67").cells
    first = score_import(read_cells(tmp_path / "d.tsv", panel="ki67"), "ki67")["S1"]
    cells = cells.assign(haematoxylin_od_mean=0.1).drop(columns="cell_type")
    parquet = write_cells(cells, tmp_path / "p" / "cells.parquet")
    again = score_import(read_cells(parquet, panel="ki67"), "ki67")["S1"]
    pd.testing.assert_frame_equal(first, again)
    out = write_cells_geojson(cells.assign(cell=1), tmp_path / "S1.geojson", mpp=0.25, slide_id="S1")
    back = read_cells(out, panel="ki67", mpp=0.25).cells
    np.testing.assert_allclose(back["x_um"], cells["x_um"], atol=0.03)
    np.testing.assert_allclose(back["area_um2"], cells["area_um2"], rtol=0.02)
    assert back["class"].tolist() == cells["class"].tolist()


# -- HALO, phenotypes ----------------------------------------------------------------------------------------


def test_halo_object_data(tmp_path: Path) -> None:
    header = "Image Location,Analysis Region,Classifier Label,Object Id,XMin,XMax,YMin,YMax,"
    header += "CD8 Positive Classification,Nucleus Area (µm²)"
    rows = [f"D:\\scans\\S1.svs,Layer 1,Tumor,{i},{i},{i + 20},0,20,{int(i < 40)},38.5" for i in range(120)]
    path = tmp_path / "halo.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    found = read_cells(path, panel="cd8", mpp=0.5)
    assert found.cells["x_um"].tolist()[:2] == [5.0, 5.5]  # the middle of the box
    scores = score_import(found, "cd8")["S1"].set_index("feature")
    assert scores.at["CD8_pct_nest", "numerator"] == 40
    assert found.graded == {"S1": False}


def test_a_phenotype_table(tmp_path: Path) -> None:
    rows = ["biopsy_id,slide,x_um,y_um,phenotype"]
    rows += [
        f"B-0{1 + i % 2},S{1 + i % 2},{i},{i},{'CD3+CD8+' if i % 4 == 0 else 'CD3+CD8-'}" for i in range(400)
    ]
    path = tmp_path / "cells.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = read_cells(path, panel="cd8")
    assert found.biopsies == {"S1": "B-01", "S2": "B-02"}
    assay = import_cells(found, "cd8")
    assert list(assay.obs_names) == ["B-01", "B-02"]
    assert assay[:, "CD8_pct_tissue"].X[:, 0].tolist() == [0.5, 0.0]
    assert not check_assay(assay, "ihc").errors
    assert "phenotype" in assay.uns["columns"]


def test_a_slide_of_two_biopsies_or_none(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("biopsy_id,slide,phenotype\nB1,S1,CD8+\nB2,S1,CD8-\n", encoding="utf-8")
    with pytest.raises(AssayError, match="E-CELLS-007"):
        read_cells(path, panel="cd8")
    path.write_text("slide,phenotype\nS1,CD8+\n", encoding="utf-8")
    found = read_cells(path, panel="cd8")
    with pytest.raises(AssayError, match="E-CELLS-007"):
        import_cells(found, "cd8", biopsies={"S2": "B2"})
    assert list(import_cells(found, "cd8", biopsies={"S1": "B9"}).obs_names) == ["B9"]


def test_class_and_positivity_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("slide,class,positive\nS1,2+,true\nS1,Negative,true\n", encoding="utf-8")
    assert refused(path) == [("E-CELLS-008", 3, None)]


def test_imported_tumour_classes_give_tps_and_cps(tmp_path: Path) -> None:
    rows = ["Tumor: Positive"] * 60 + ["Tumor: Negative"] * 90 + ["Macrophages: Positive"] * 15
    path = tmp_path / "cells.csv"
    path.write_text("\n".join(["slide,class", *(f"S1,{row}" for row in rows)]) + "\n", encoding="utf-8")
    scores = score_import(read_cells(path, panel="pdl1"), "pdl1")["S1"].set_index("feature")
    assert scores.at["PDL1_tps", "value"] == 0.4
    assert scores.at["PDL1_cps", "value"] == 50.0


def test_moved_thresholds_of_an_import(tmp_path: Path) -> None:
    found = read_cells(qupath(tmp_path / "d.tsv", detections()), panel="ki67")
    moved = sensitivity_of_import(found, "ki67")["S1"].set_index(["feature", "factor"])
    assert moved.at[("Ki67_hscore_nest", 1.0), "value"] == 60.0
    assert moved.at[("Ki67_hscore_nest", 1.2), "value"] == 30.0  # 0.45 is below 0.48 then
    assert import_cells(found, "ki67").layers["threshold_1.2"].shape == (1, 8)  # 4 scores in tissue and nest


# -- summaries -----------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("scanner", "cell", "dab", "n", "positive"),
    [
        ("ndpi", "0.2", "0.2", 1323, 219),
        ("ndpi", "0.2", "0.5", 1323, 157),
        ("ndpi", "0.4", "0.2", 1066, 219),
        ("vsi", "0.2", "0.2", 1353, 183),
        ("vsi", "0.4", "0.5", 763, 50),
    ],
)
def test_qupaths_own_summary(
    shared_data: Callable[[str], Path], scanner: str, cell: str, dab: str, n: int, positive: int
) -> None:
    """Real results of QuPath 0.3.2: cells and percentage as it printed them, to the last of 12 digits."""
    file = shared_data(f"ihc/os2_two_scanners/OS-2-{scanner}-results.tsv")
    where = {"Detection threshold": cell, "DAB threshold": dab}
    found = read_cells(file, panel="ki67", where=where, columns={"Name": "slide"})
    row = score_import(found, "ki67")[f"OS-2-{scanner}"].set_index("feature").loc["Ki67_pct_tissue"]
    assert (row["numerator"], row["denominator"]) == (positive, n)
    printed = pd.read_csv(file, sep="\t", dtype=str).set_index(["Detection threshold", "DAB threshold"])
    assert f"{100 * row['value']:.10f}" == f"{float(printed.loc[(cell, dab), 'Positive %']):.10f}"


@pytest.mark.data
def test_a_slide_of_several_rows_is_not_added_up(shared_data: Callable[[str], Path]) -> None:
    file = shared_data("ihc/os2_two_scanners/OS-2-vsi-results.tsv")
    found = refused(file, columns={"Name": "slide"})
    assert [(code, row) for code, row, _ in found] == [
        ("E-SHEET-005", 3),
        ("E-SHEET-005", 4),
        ("E-SHEET-005", 5),
    ]


def summary(tmp_path: Path, header: str, row: str) -> Path:
    path = tmp_path / "s.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    return path


def test_a_share_without_a_unit_is_declared_not_guessed(tmp_path: Path) -> None:
    path = summary(tmp_path, "slide,Num cells,Share", "S1,200,0.3")
    assert refused(path)  # nothing says which cells are positive
    found = read_cells(path, panel="ki67", columns={"Share": "positive_fraction"})
    assert value(found, "Ki67_pct_tissue") == 0.3
    assert refused(path, columns={"Share": "positive_percent"})[0][0] == "E-CELLS-006"  # 0.6 of a cell
    over = summary(tmp_path, "slide,Num cells,Share", "S1,200,30")
    assert refused(over, columns={"Share": "positive_fraction"})[0][0] == "E-SHEET-008"


@pytest.mark.parametrize(
    ("header", "row", "code"),
    [
        ("slide,Num Detections,Num Positive,Num Negative", "S1,100,40,70", "E-CELLS-006"),
        ("slide,Num Detections,Num Positive", "S1,100,40.5", "E-CELLS-006"),
        ("slide,Num Detections,Num Positive,Positive %", "S1,100,40,60.0", "E-CELLS-006"),
        ("slide,Num Negative,Num 1+,Num 2+,Num 3+,H-score", "S1,50,20,20,10,190", "E-CELLS-006"),
        ("slide,Num Negative,Num 1+,Num 2+,Num 3+,H-score", "S1,50,20,20,10,390", "E-SHEET-008"),
        ("slide,Num Detections,Num Positive", "S1,100,-1", "E-SHEET-008"),
    ],
)
def test_summaries_that_contradict_themselves(tmp_path: Path, header: str, row: str, code: str) -> None:
    assert refused(summary(tmp_path, header, row))[0][:2] == (code, 2)


def test_a_summary_with_intensities(tmp_path: Path) -> None:
    path = summary(
        tmp_path, "slide,Num Negative,Num 1+,Num 2+,Num 3+,H-score,Area mm^2", "S1,50,20,20,10,90,0.5"
    )
    found = read_cells(path, panel="ki67")
    assert value(found, "Ki67_hscore_tissue") == 90.0
    assert value(found, "Ki67_density_tissue") == 100.0


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", "\x00\x01\x02", "slide,x_um\n"])
def test_no_export(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    assert refused(path)


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv")[0][0] == "E-FILE-001"
    qupath(tmp_path / "a.tsv", detections(10))
    qupath(tmp_path / "b.tsv", detections(10, image="S2.svs"))
    (tmp_path / "notes.docx").write_bytes(b"PK")
    found = read_cells(tmp_path, panel=read_panel("ki67"))
    assert found.slides == ["S1", "S2"]
    assert [p.file for p in found.problems] == ["notes.docx"]
    assert refused(tmp_path / "a.tsv", where={"Nothing": "1"})[0][0] == "E-SHEET-001"
    assert refused(tmp_path / "a.tsv", columns={"Nothing": "x_um"})[0][0] == "E-SHEET-001"
    assert refused(tmp_path / "a.tsv", classes={"Positive": "strong"})[0][0] == "E-CELLS-004"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 900),
            st.integers(0, 20),
            st.sampled_from([b"\t", b"\n", b'"', b"NaN", b"\xff", b"\x00", b"1e999", b"Tumor", b"%", b""]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_export_is_read_or_refused_never_a_defect(edits: list[tuple[int, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = qupath(Path(folder) / "d.tsv", detections(12))
        data = bytearray(path.read_bytes())
        for place, length, text in edits:
            data[place : place + length] = text
        path.write_bytes(bytes(data))
        try:
            found = read_cells(path, panel="ki67")
        except AssayError:
            return
        scores = pd.concat(score_import(found, "ki67").values())
        assert not (scores["value"] < 0).any()


def test_a_table_must_begin_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "d.tsv"
    path.write_text("\n" + HEADER + "\n" + detections(2)[0] + "\n", encoding="utf-8")
    assert [code for code, _, _ in refused(path)] == ["E-SHEET-018"]


# -- what would count twice, or nowhere ----------------------------------------------------------------------


def test_an_export_given_twice_is_refused(tmp_path: Path) -> None:
    """Its density would be doubled."""
    files = [qupath(tmp_path / name, detections()) for name in ("a.tsv", "b.tsv")]
    assert refused(files) == [("E-CELLS-008", None, "S1")]
    assert value(read_cells(files[0], panel="ki67"), "Ki67_pct_tissue") == pytest.approx(0.3)


def test_two_scans_do_not_become_one_slide(tmp_path: Path) -> None:
    other = [row.replace("S1.svs", "S1.ndpi").replace("\t45.5", "1\t45.5") for row in detections()]
    path = qupath(tmp_path / "a.tsv", [*detections(), *other])
    assert ("E-CELLS-008", None, "S1") in refused(path)


def test_a_region_whose_cells_are_not_named_has_no_density(tmp_path: Path) -> None:
    """All cells say that they lie in an annotation without a class: a nest without cells would be a guess."""
    cells = qupath(tmp_path / "a.tsv", detections(parent="PathAnnotationObject"))
    header = "Image\tObject type\tClass\tNum Detections\tNum Positive\tNum Negative\tArea µm^2"
    areas = qupath(tmp_path / "b.tsv", ["S1.svs\tAnnotation\tTumor\t200\t60\t140\t1000000"], header)
    found = read_cells([cells, areas], panel="ki67")
    assert found.areas_mm2["S1"] == {"tissue": 1.0}
    assert "E-REGION-005" in [p.code for p in found.problems]
    scores = score_import(found, "ki67")["S1"].set_index("feature")
    assert scores.at["Ki67_density_tissue", "value"] == pytest.approx(60.0)
    assert "Ki67_density_nest" not in scores.index


def test_a_mean_is_not_judged_as_a_percentile(tmp_path: Path) -> None:
    update = {"measure": "membrane", "expansion_um": 2.0, "statistic": "p90"}
    panel = read_panel("ki67").model_copy(update=update)
    header = HEADER.replace("Nucleus: DAB", "Membrane: DAB")
    found = read_cells(qupath(tmp_path / "a.tsv", detections(), header), panel=panel)
    assert "E-CELLS-009" in [p.code for p in found.problems]
    assert int(found.cells["positive"].sum()) == 60  # the export's calls
    assert not found.graded["S1"]
    assert sensitivity_of_import(found, panel) == {}
    unsaid = [row.replace("Positive", "Tumor").replace("Negative", "Tumor") for row in detections()]
    with pytest.raises(AssayError, match="E-CELLS-001"):
        read_cells(qupath(tmp_path / "b.tsv", unsaid, header), panel=panel)

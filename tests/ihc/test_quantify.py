"""Panels, scores, and the assay of several slides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import paint, write_tiff

from pdbiomarker.errors import AssayError, Problems, StudyError
from pdbiomarker.ihc import (
    assemble,
    check_cells,
    check_panel,
    check_slide,
    pool_scores,
    problems_of,
    quantify,
    quantify_slide,
    read_panel,
    score_cells,
    write_slide,
)
from pdbiomarker.study import check_assay
from pdbiomarker.tables import parse_yaml

PANEL = """\
marker: X
label: X cells
features: {density: {label: density}, pct: {label: share, expected_direction: -1}, hscore: {label: H}}
min_cells: 10
"""


# -- panels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cd8", "ki67"])
def test_panels_that_come_with_the_package(name: str) -> None:
    panel = read_panel(name)
    assert panel.thresholds == (0.2, 0.4, 0.6)
    assert panel.source
    assert len(panel.hash) == 64
    assert read_panel(panel) is panel


def test_a_panel_by_path(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(PANEL, encoding="utf-8")
    assert read_panel(path).marker == "X"
    assert not check_panel(path).errors
    assert read_panel(str(path)).hash == read_panel(path).hash


def test_a_panel_is_worked_out_once_and_again_when_its_file_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = tmp_path / "own.yaml", []
    file.write_text(PANEL, encoding="utf-8")
    first = read_panel(file)

    def told(*given: Any, **named: Any) -> Any:
        read.append(given[0])
        return parse_yaml(*given, **named)

    monkeypatch.setattr("pdbiomarker.ihc.panel.parse_yaml", told)
    assert read_panel(file) is first
    assert read == []
    other = PANEL.replace("marker: X", "marker: Y")
    file.write_text(other, encoding="utf-8")
    assert [read_panel(file).marker, first.marker, *read] == ["Y", "X", other]


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ("thresold: [0.1, 0.2, 0.3]", "thresold", "thresholds"),
        ("thresholds: [0.4, 0.2, 0.6]", None, "rise"),
        ("measure: ring", None, "expansion_um"),
        ("min_cells: none", "min_cells", ""),
        ("white: {low: 200, high: 100}", None, "white"),
        ("chromogen: AEC", "chromogen", ""),
        ("detection: {pixel_um: 5}", "detection.pixel_um", ""),
        ("marker: X", None, ""),  # a key twice
    ],
)
def test_a_wrong_panel_is_refused(tmp_path: Path, change: str, column: str | None, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(PANEL.replace("min_cells: 10\n", "") + change + "\n", encoding="utf-8")
    problems = check_panel(path)
    assert problems.errors
    found = problems.errors[0]
    assert found.code in {"E-PANEL-001", "E-STUDY-002"}
    if column:
        assert found.column == column
    assert words in str(found)
    with pytest.raises(AssayError):
        read_panel(path)


def test_no_such_panel() -> None:
    with pytest.raises(AssayError) as caught:
        read_panel("cd88")
    assert caught.value.problems[0].code == "E-PANEL-002"
    assert "cd8" in caught.value.problems[0].remedy


# -- scores --------------------------------------------------------------------------------------------------


def frame(grades: list[int], compartment: str = "tissue") -> pd.DataFrame:
    return pd.DataFrame({"class": np.array(grades, np.int8), "compartment": [compartment] * len(grades)})


@pytest.fixture
def panel(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(PANEL, encoding="utf-8")
    return read_panel(path)


def test_scores_by_hand(panel) -> None:
    cells = frame([0] * 10 + [1] * 5 + [2] * 3 + [3] * 2)
    scores = score_cells(cells, {"tissue": 0.5}, panel).set_index("feature")
    assert scores.at["X_density_tissue", "value"] == 10 / 0.5
    assert scores.at["X_pct_tissue", "value"] == 0.5
    assert scores.at["X_hscore_tissue", "value"] == 100 * (5 + 6 + 6) / 20  # McCarty 1985
    assert scores["kind"].tolist() == ["density", "proportion", "score"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=10, max_size=30), min_size=1, max_size=4))
def test_pooling_slides_equals_one_slide(slides: list[list[int]]) -> None:
    panel = read_panel("ki67").model_copy(update={"min_cells": 1})
    areas = [0.1 * (i + 1) for i in range(len(slides))]
    pooled = pool_scores(
        [score_cells(frame(g), {"tissue": a}, panel) for g, a in zip(slides, areas, strict=True)], panel
    )
    together = score_cells(
        frame([grade for slide in slides for grade in slide]), {"tissue": sum(areas)}, panel
    )
    np.testing.assert_allclose(pooled["value"], together["value"], rtol=1e-12)


def test_no_cells_are_missing_not_zero(panel) -> None:
    scores = score_cells(frame([]), {"tissue": 0.5}, panel).set_index("feature")
    assert scores.at["X_density_tissue", "value"] == 0
    assert np.isnan(scores.at["X_pct_tissue", "value"])
    assert scores.at["X_pct_tissue", "note"] == "no cells"
    assert np.isnan(score_cells(frame([]), {"tissue": 0.0}, panel).at[0, "value"])


def test_assay_contract(panel) -> None:
    one = score_cells(frame([1] * 4 + [0] * 6), {"tissue": 1.0}, panel)
    two = score_cells(frame([1] * 10 + [0] * 10), {"tissue": 3.0}, panel)
    few = score_cells(frame([1, 0]), {"tissue": 1.0}, panel)
    facts = pd.DataFrame({"batch": ["r1", "r2", "r1"], "mpp": [0.5, 0.25, 0.5]}, index=["007", "s2", "s3"])
    assay = assemble([("007", "NA", one), ("s2", "NA", two), ("s3", "1E5", few)], panel, facts=facts)
    assert list(assay.obs_names) == ["1E5", "NA"]
    assert list(assay.var_names) == ["X_density_tissue", "X_pct_tissue", "X_hscore_tissue"]
    assert not check_assay(assay, "ihc").errors
    row = assay["NA"]
    assert row[:, "X_density_tissue"].X[0, 0] == 14 / 4.0  # sum over sum: not the mean of 4 and 3.33
    assert row[:, "X_pct_tissue"].X[0, 0] == 14 / 30
    assert row.layers["numerator"][0].tolist() == [14.0, 14.0, 1400.0]
    assert row.layers["denominator"][0].tolist() == [4.0, 30.0, 30.0]
    assert np.isnan(assay["1E5"][:, "X_pct_tissue"].X[0, 0])
    assert assay.obs.loc["NA", ["n_slides", "n_cells", "area_mm2", "batch", "mpp"]].tolist() == [
        2,
        30,
        4.0,
        "r1;r2",
        0.375,
    ]
    assert assay.var["expected_direction"].tolist() == [0, -1, 0]
    assert assay.var["unit"].tolist() == ["cells/mm2", "share", "points"]


def test_why_a_feature_has_no_value(panel) -> None:
    panel = panel.model_copy(update={"min_cells": 100})
    few = score_cells(frame([1] * 40 + [0] * 56), {"tissue": 1.0}, panel)
    many = score_cells(frame([1] * 40 + [0] * 60), {"tissue": 1.0}, panel)
    none = score_cells(frame([]), {"tissue": 1.0}, panel)
    assay = assemble([("s1", "B1", few), ("s2", "B2", many), ("s3", "B3", none)], panel)
    why = {name: json.loads(text) for name, text in assay.var["unmeasured"].items()}
    reasons = {"B1": "96 cells, fewer than 100", "B3": "no cells"}
    assert why == {"X_density_tissue": {}, "X_pct_tissue": reasons, "X_hscore_tissue": reasons}
    # two slides of one biopsy with 96 cells each are enough together
    pooled = assemble([("s1", "B1", few), ("s4", "B1", few)], panel)
    assert set(pooled.var["unmeasured"]) == {"{}"}
    assert pooled["B1", "X_pct_tissue"].X[0, 0] == 80 / 192


def test_problems_and_reasons_survive_a_file(panel, tmp_path: Path) -> None:
    told = Problems()
    told.add("E-SLIDE-012", "No data.", file="ä.tif", severity="warning", item="007", value=0.25)
    told.add("E-SLIDE-002", "Cut short.", file="b.tif", severity="quarantine", item="NA", row=3)
    few = score_cells(frame([1, 0]), {"tissue": 1.0}, panel)
    assay = assemble([("007", "B1", few)], panel, problems=told)
    assay.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert problems_of(back) == problems_of(assay) == tuple(told)
    assert back.var["unmeasured"].tolist() == assay.var["unmeasured"].tolist()
    assert problems_of(assemble([], panel)) == ()


def test_an_assay_of_nothing(panel) -> None:
    assay = assemble([], panel)
    assert assay.shape[0] == 0


# -- many slides ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slides")
    for number, share in ((1, 0.2), (2, 0.5), (3, 0.3)):
        write_tiff(root / f"{number}.tif", paint(side=480, share=share, seed=number, spacing_um=13).image)
    (root / "bad.tif").write_bytes((root / "1.tif").read_bytes()[:5000])
    write_tiff(root / "bare.tif", paint(side=300).image, mpp=None)
    rows = [
        "slide_id,biopsy_id,path,mpp,batch",
        "001,B1,1.tif,,r1",
        "002,B1,2.tif,0.5,r1",
        "003,B2,3.tif,,r2",
    ]
    rows += ["004,B2,bad.tif,,r2", "005,B3,bare.tif,,r2"]
    (root / "slides.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root / "slides.csv"


def test_bad_slides_are_quarantined_and_the_others_go_on(sheet: Path, tmp_path: Path) -> None:
    assay = quantify(sheet, panel="ki67", out=tmp_path / "out")
    assert list(assay.obs_names) == ["B1", "B2"]
    assert assay.obs["n_slides"].tolist() == [2, 1]
    left = {(p.item, p.code) for p in problems_of(assay) if p.severity == "quarantine"}
    assert left == {("004", "E-SLIDE-002"), ("005", "E-SLIDE-003")}
    assert not check_assay(assay, "ihc").errors
    single = quantify_slide(sheet.parent / "3.tif", "ki67")
    assert assay["B2"].layers["numerator"][0].tolist() == single.scores["numerator"].tolist()
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert folders == ["001", "002", "003"]
    files = sorted(
        p.relative_to(tmp_path / "out/001").as_posix() for p in (tmp_path / "out/001").rglob("*.*")
    )
    assert files == [
        "cells.parquet",
        "overlay/field.png",
        "overlay/overview.png",
        "qc.csv",
        "scores.csv",
        "sensitivity.csv",
    ]
    cells = pd.read_parquet(tmp_path / "out/001/cells.parquet")
    assert set(cells["slide"]) == {"001"}
    assert not check_cells(tmp_path / "out/001/cells.parquet").errors


def test_two_workers_give_the_same_bytes(sheet: Path, tmp_path: Path) -> None:
    one = quantify(sheet, panel="ki67", out=tmp_path / "one")
    two = quantify(sheet, panel="ki67", workers=2, out=tmp_path / "two")
    np.testing.assert_array_equal(one.X, two.X)
    pd.testing.assert_frame_equal(one.obs, two.obs)
    files = [p.relative_to(tmp_path / "one") for p in sorted((tmp_path / "one").rglob("*.*"))]
    assert len(files) == 18
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_one_slide_under_two_names(sheet: Path) -> None:
    root = sheet.parent
    twice = pd.DataFrame(
        {
            "slide_id": ["a", "b", "c"],
            "biopsy_id": ["B1", "B1", "B2"],
            "path": [str(root / "1.tif")] * 2 + [str(root / "3.tif")],
        }
    )
    assay = quantify(twice, panel="ki67")
    assert [(p.item, p.code) for p in problems_of(assay)] == [("b", "E-SLIDE-011")]
    twice["biopsy_id"] = ["B1", "B9", "B2"]
    assert list(quantify(twice, panel="ki67").obs_names) == ["B2"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("slide_id,biopsy_id\n1,B\n", "E-SHEET-001"),
        ("biopsy_id,path\nB,x\n", "E-SHEET-001"),
        ("slide_id,biopsy_id,path\n1,B,x\n1,B,y\n", "E-SHEET-005"),
        ("slide_id,biopsy_id,path\n1,,x\n", "E-SHEET-017"),
        ("slide_id,biopsy_id,path,mpp\n1,B,x,half\n", "E-SHEET-007"),
    ],
)
def test_a_sheet_that_cannot_be_used(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "slides.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        quantify(path, panel="ki67")
    assert code in [p.code for p in caught.value.problems]


def test_check_slide(sheet: Path) -> None:
    assert not check_slide(sheet.parent / "1.tif").errors
    assert [p.code for p in check_slide(sheet.parent / "bad.tif").errors] == ["E-SLIDE-002"]
    assert isinstance(check_slide(sheet.parent / "none.tif"), Problems)


def test_check_cells(sheet: Path, tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    path.write_text("no table", encoding="utf-8")
    assert [p.code for p in check_cells(path)] == ["E-FILE-005"]
    result = quantify_slide(sheet.parent / "1.tif", "ki67")
    files = write_slide(result, "s", tmp_path / "s")
    cells = pd.read_parquet(files[0])
    cells.drop(columns="dab_od_mean").to_parquet(path)
    assert [(p.code, p.column) for p in check_cells(path)] == [("E-SHEET-001", "dab_od_mean")]
    cells.assign(area_um2=-1.0).to_parquet(path)
    assert [(p.code, p.column) for p in check_cells(path)] == [("E-SHEET-008", "area_um2")]
    cells.assign(positive=~cells["positive"]).to_parquet(path)
    assert [(p.code, p.column) for p in check_cells(path)] == [("E-SHEET-008", "positive")]

"""Exports through the command line and through a study; slides given by name."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from pictures import paint, write_tiff
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError

RUNNER = CliRunner()


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def export(path: Path, slides: dict[str, tuple[int, int]]) -> Path:
    """Detections of several slides: how many are negative and how many positive."""
    rows = ["Image\tClass\tCentroid X µm\tCentroid Y µm\tNucleus: DAB OD mean"]
    for slide, (negative, positive) in slides.items():
        for i in range(negative + positive):
            call = "Negative" if i < negative else "Positive"
            rows.append(f"{slide}.svs\t{call}\t{i % 50}\t{i // 50}\t{0.1 if i < negative else 0.3}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


# -- pdbiomarker import --------------------------------------------------------------------------------------


def test_import_leaves_scores_an_assay_and_how_it_read(tmp_path: Path) -> None:
    file = export(tmp_path / "d.tsv", {"S1": (150, 50), "S2": (100, 100)})
    code, out, _ = invoke("import", file, "--panel", "ki67", "-o", tmp_path / "out")
    assert code == 0
    assert {Path(line).name for line in out.splitlines()} == {"scores.csv", "ihc.h5ad"}
    scores = pd.read_csv(tmp_path / "out/scores.csv").set_index(["slide", "feature"])
    assert scores.at[("S1", "Ki67_pct_tissue"), "value"] == 0.25
    assert scores.at[("S2", "Ki67_pct_tissue"), "value"] == 0.5
    assay = anndata.read_h5ad(tmp_path / "out/assays/ihc.h5ad")
    assert assay["S2", "Ki67_pct_tissue"].X[0, 0] == 0.5
    cells = pd.read_parquet(tmp_path / "out/cells.parquet")
    assert len(cells) == 400
    read = pd.read_csv(tmp_path / "out/columns.csv").set_index("column")
    assert read.at["Centroid X µm", "unit"] == "um"
    assert not [p for p in pb.verify(tmp_path / "out") if p.severity == "error"]
    manifest = (tmp_path / "out/manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in manifest
    again = invoke("import", file, "--panel", "ki67", "-o", tmp_path / "out")
    assert again[0] == 0
    (tmp_path / "out/notes.txt").write_text("mine", encoding="utf-8")
    assert invoke("import", file, "--panel", "ki67", "-o", tmp_path / "out")[0] == 3


def test_import_refuses_with_the_row_and_writes_nothing(tmp_path: Path) -> None:
    file = export(tmp_path / "d.tsv", {"S1": (3, 3)})
    file.write_text(file.read_text(encoding="utf-8").replace("Positive", "Vessel", 1), encoding="utf-8")
    code, _, err = invoke("import", file, "--panel", "ki67", "-o", tmp_path / "out")
    assert code == 3
    assert "d.tsv:5 [Class]" in err
    assert "Vessel" in err
    assert not (tmp_path / "out").exists()
    declared = ("--class", "Vessel=positive", "--where", "Image=S1.svs")
    assert invoke("import", file, "--panel", "ki67", "-o", tmp_path / "out", *declared)[0] == 0
    assert invoke("import", file, "--panel", "ki67", "-o", tmp_path / "o2", "--class", "Vessel")[0] == 2


def test_an_import_gives_the_same_bytes(tmp_path: Path) -> None:
    file = export(tmp_path / "d.tsv", {"S1": (150, 50), "S2": (100, 100)})
    for name in ("a", "b"):
        pb.import_exports(file, tmp_path / name, panel="ki67")
    files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*.*")) if p.is_file()]
    assert len(files) == 8
    for name in files:
        if name.name not in {"manifest.json", "audit.jsonl", "audit.head.json"}:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# -- a study of exports --------------------------------------------------------------------------------------


STUDY = """\
id: T
visits: {screening: [-28, -1], C2D1: [20, 40]}
assays:
  ihc: {cells: exports/, panel: ki67}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Five pairs; 20 % positive before and 40 % on treatment, give or take."""
    root = tmp_path / "study"
    (root / "exports").mkdir(parents=True)
    (root / "study.yaml").write_text(STUDY, encoding="utf-8")
    plan = 'formula: "~ visit + (1|participant)"\ncontrasts: {on: C2D1 - screening}\n'
    (root / "plan.yaml").write_text(plan + "families: {primary: [ihc:Ki67_pct]}\n", encoding="utf-8")
    people = [f"P{i}" for i in range(1, 6)]
    (root / "participants.csv").write_text("\n".join(["participant_id", *people]) + "\n", encoding="utf-8")
    rows = ["biopsy_id,participant_id,visit,slide"]
    slides = {}
    for i, person in enumerate(people):
        rows += [f"{person}-S,{person},screening,scans/{person}-a.svs", f"{person}-T,{person},C2D1,"]
        slides[f"{person}-a"] = (320 - 10 * i, 80 + 10 * i)
        slides[f"{person}-T"] = (240 + 6 * i, 160 - 6 * i)
    (root / "biopsies.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    export(root / "exports/d.tsv", slides)
    return root


def test_a_study_of_exports_takes_the_whole_road(study: Path, tmp_path: Path) -> None:
    assert not pb.check(study).errors
    outcome = pb.run_study(study, tmp_path / "out", progress=False)
    assert outcome.exit_code == 0
    result = pb.read_result(outcome.out)
    row = result["ihc"].table.query("feature == 'Ki67_pct_tissue' and set == 'strict'").iloc[0]
    before = [np.log((80.5 + 10 * i) / (320.5 - 10 * i)) for i in range(5)]
    after = [np.log((160.5 - 6 * i) / (240.5 + 6 * i)) for i in range(5)]
    assert row["estimate"] == pytest.approx(np.mean(np.subtract(after, before)), rel=1e-9)
    manifest = json.loads((outcome.out / "manifest.json").read_text(encoding="utf-8"))
    assert "exports/d.tsv" in manifest["inputs"]
    again = pb.run_study(study, tmp_path / "out", progress=False)
    assert again.steps_made == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            ("{cells: exports/, panel: ki67}", "{cells: exports/, panel: ki67, slides: slides.csv}"),
            "E-STUDY-001",
        ),
        (("{cells: exports/, panel: ki67}", "{cells: exports/}"), "E-STUDY-001"),
        (("{cells: exports/, panel: ki67}", "{slides: s.csv, mpp: 0.5, panel: ki67}"), "E-STUDY-001"),
        (("cells: exports/", "cells: nowhere/"), "E-FILE-001"),
        (("cells: exports/", "cells: ../study/exports"), None),
        (("panel: ki67", "panel: ki76"), "E-PANEL-002"),
    ],
)
def test_what_study_yaml_may_say_of_exports(study: Path, change: tuple[str, str], code: str | None) -> None:
    (study / "study.yaml").write_text(STUDY.replace(*change), encoding="utf-8")
    found = [p.code for p in pb.check(study).errors]
    assert (code in found) if code else found == []


def test_a_study_file_that_cannot_be_read_is_told_alone(study: Path) -> None:
    """Not with every image of the exports as a slide whose file is missing."""
    (study / "study.yaml").write_text(STUDY + "x:\n\t- a\n", encoding="utf-8")
    assert [p.code for p in pb.check(study)] == ["E-STUDY-002"]


def test_a_slide_of_no_biopsy_refuses_the_study(study: Path) -> None:
    export(study / "exports/e.tsv", {"stranger": (100, 100)})
    (problem,) = pb.check(study).errors
    assert (problem.code, problem.value) == ("E-CELLS-007", "stranger")


def test_a_study_of_exports_is_written_back(study: Path, tmp_path: Path) -> None:
    read = pb.read_study(study)
    again = pb.read_study(read.write(tmp_path / "copy"))
    assert again.spec == read.spec
    assert (tmp_path / "copy/exports/d.tsv").is_file()


# -- slides by name ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("by_name")
    for number in (1, 2):
        write_tiff(root / f"S{number}.tif", paint(side=480, seed=number).image, mpp=None)
    ring = [[0, 0], [300, 0], [300, 480], [0, 480], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    (root / "regions").mkdir()
    (root / "regions/S2.geojson").write_text(json.dumps([feature]), encoding="utf-8")
    return root


def test_slides_by_name(slides: Path, tmp_path: Path) -> None:
    files = (slides / "S1.tif", slides / "S2.tif")
    options = (
        "--panel",
        "ki67",
        "--mpp",
        "0.5",
        "--regions",
        slides / "regions",
        "--also",
        "geojson,anndata",
    )
    code, out, _ = invoke("quantify", *files, *options, "-o", tmp_path / "out", "--quiet")
    assert code == 0
    assert out.strip().endswith("assays/ihc.h5ad")
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert set(scores["slide"]) == {"S1", "S2"}
    assert set(scores.loc[scores["feature"].str.endswith("_nest"), "slide"]) == {"S2"}
    cells = pd.read_parquet(tmp_path / "out/cells.parquet")
    promised = ["slide", "x_um", "y_um", "area_um2", "compartment", "dab_od_mean", "haematoxylin_od_mean"]
    assert list(cells.columns[:9]) == [*promised, "class", "positive"]
    assert pd.read_csv(tmp_path / "out/qc.csv")["slide"].tolist() == ["S1", "S2"]
    assert len(list((tmp_path / "out/overlay").glob("*.png"))) == 4
    features = json.loads((tmp_path / "out/slides/S1/cells.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == (cells["slide"] == "S1").sum()
    one = anndata.read_h5ad(tmp_path / "out/slides/S2/cells.h5ad")
    assert one.n_obs == (cells["slide"] == "S2").sum()
    assert one.obsm["spatial"].shape == (one.n_obs, 2)
    text = (tmp_path / "out/manifest.json").read_text(encoding="utf-8")
    assert str(slides) not in text
    assert not [p for p in pb.verify(tmp_path / "out") if p.severity == "error"]


def test_one_slide_and_its_region_file(slides: Path, tmp_path: Path) -> None:
    facts = {"mpp": 0.5, "regions": str(slides / "regions/S2.geojson")}
    outcome = pb.quantify_slides(
        slides / "S1.tif", tmp_path / "out", panel="ki67", facts=facts, progress=False
    )
    assert outcome.exit_code == 0
    assert "Ki67_pct_nest" in set(pd.read_csv(tmp_path / "out/scores.csv")["feature"])


def test_trap_08_slides_without_a_pixel_size_are_quarantined(slides: Path, tmp_path: Path) -> None:
    code, _, err = invoke("quantify", slides / "S1.tif", "--panel", "ki67", "-o", tmp_path / "out", "--quiet")
    assert code == 4
    assert "E-SLIDE-003" in err
    assert invoke("quantify", slides / "S1.tif", "-o", tmp_path / "o2", "--quiet")[0] == 3  # no panel
    assert invoke("quantify", slides / "S1.tif", "-o", tmp_path / "o2", "--also", "xml")[0] == 2


def test_two_slides_of_one_name(slides: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-SHEET-005"):
        pb.quantify_slides(
            [slides / "S1.tif", slides / "S1.tif"], tmp_path / "o", panel="ki67", progress=False
        )

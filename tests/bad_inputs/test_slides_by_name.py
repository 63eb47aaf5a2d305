"""Slides given by their names have no sheet: what is wrong with them names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

from small_study import draw_slide

from pdbiomarker.ihc import slide_name
from pdbiomarker.run.named_slides import survey_slides
from pdbiomarker.run.slide_files import slide_files


def test_one_name_in_two_folders(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "S1.tif" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"x")
    found = survey_slides([str(path) for path in paths], "cd8")
    (problem,) = found.problems.errors
    assert (problem.code, problem.file, problem.value) == ("E-SHEET-005", "S1.tif", "S1")
    assert "'a/S1.tif' and 'b/S1.tif'" in problem.message
    assert found.study is None


def test_twins_name_their_files(tmp_path: Path) -> None:
    one = draw_slide(tmp_path / "S1.tif", seed=1, positive=10)
    shutil.copy(one, tmp_path / "S2.tif")
    found = survey_slides([str(one), str(tmp_path / "S2.tif")], "cd8")
    told = [(p.code, p.file, p.row, p.item) for p in found.problems.quarantined]
    assert told == [("E-SLIDE-011", "S1.tif", None, "S1"), ("E-SLIDE-011", "S2.tif", None, "S2")]
    assert found.study is not None
    assert [slide.sheet for slide in slide_files(found.study)] == ["S1.tif", "S2.tif"]


def test_the_name_of_a_slide_has_no_suffix_of_an_image() -> None:
    names = ("S1.png", "S1.jpg", "S1.JPEG", "S1.dcm", "S1.svslide", "S1.bif", "S1.ome.tiff")
    assert {slide_name(name) for name in names} == {"S1"}

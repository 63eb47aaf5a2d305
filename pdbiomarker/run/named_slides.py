"""Slides to be measured alone: of a sheet, by their names, or those of a study folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pdbiomarker import ihc
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.plan import DEFAULT_FORMULA, Plan
from pdbiomarker.run.slide_files import twins_among
from pdbiomarker.run.survey import Survey, survey
from pdbiomarker.study import (
    AssaySpec,
    Study,
    StudySpec,
    check_files,
    is_panel_file,
    shown_path,
)
from pdbiomarker.tables import add_rows, read_table, to_number

__all__ = ["survey_slides"]


def survey_slides(
    source: str | Sequence[str], panel: str | None, *, mpp: float | None = None, regions: str | None = None
) -> Survey:
    """Read a slide sheet, slides, or the slides of a study folder, for measuring alone.

    Parameters
    ----------
    source : str or sequence of str
        ``slides.csv`` with slide_id, biopsy_id, path and perhaps mpp; or a study folder; or slides, each of
        which is a biopsy of its name.
    panel : str, optional
        A panel by name or file; needed with a sheet, and overrides that of a study.
    mpp : float, optional
        Micrometres per pixel of slides that do not state it.
    regions : str, optional
        Folder of region files by slide id, or the one file of the one slide.
    """
    if panel is not None and is_panel_file(panel):
        panel = str(Path(panel).absolute())  # what is given by hand is not sought in the study
    slides = None if isinstance(source, str) else [Path(path) for path in source]
    file = Path(source) if isinstance(source, str) else Path(source[0])
    if slides is None and file.is_dir():
        found = survey(file)
        if found.study is None or panel is None:
            return found
        under = found.study.slides.assign(panel=panel)
        return dataclasses.replace(found, study=dataclasses.replace(found.study, slides=under))
    problems = Problems()
    plan = Plan(DEFAULT_FORMULA, {}, {})
    if panel is None:
        problems.add(
            "E-PANEL-002",
            "A slide sheet by itself needs a panel.",
            remedy="Name one with --panel, such as cd8 or ki67, or give a panel file.",
            file=file.name,
        )
    else:
        try:
            ihc.read_panel(panel)
        except InputError as error:
            problems.extend(error.problems)
    sheet = read_table(file, problems=problems) if slides is None else _sheet_of(slides, mpp, problems)
    study = None if sheet is None else _slides_study(sheet, file, panel, problems)
    if study is not None and not problems.errors:
        study = _beside(study, file, slides=slides is not None, regions=regions)
        if regions is not None and Path(regions).is_dir():
            check_files(Path(regions).iterdir(), problems, root=Path(regions))
        problems.extend(twins_among(study))
    return Survey(None if problems.errors else study, plan, None, {}, problems)


def _sheet_of(slides: Sequence[Path], mpp: float | None, problems: Problems) -> pd.DataFrame | None:
    """Make a slide sheet of slides given by name, or None; paths start from the folder of the first."""
    names: list[str | None] = [ihc.slide_name(path.name) for path in slides]
    first: dict[str | None, Path] = {}
    for name, path in zip(names, slides, strict=True):
        if first.setdefault(name, path) is not path:
            both = " and ".join(repr(f"{one.parent.name}/{one.name}") for one in (first[name], path))
            problems.add(
                "E-SHEET-005",
                f"The slides {both} would both be called {name!r}.",
                remedy="Rename one of the files, or give a slide sheet with an id for each slide.",
                file=path.name,
                value=name,
            )
    if len(first) < len(slides):
        return None
    where = [
        Path(os.path.relpath(path.absolute(), slides[0].absolute().parent)).as_posix() for path in slides
    ]
    columns: dict[str, list[str | None]] = {"slide_id": names, "biopsy_id": names, "path": [*where]}
    if mpp is not None:
        columns["mpp"] = [f"{mpp!r}"] * len(slides)
    return pd.DataFrame(columns, index=range(1, len(slides) + 1), dtype=object)


def _beside(study: Study, file: Path, *, slides: bool, regions: str | None) -> Study:
    """Say where the regions lie, and that slides given by name stand in no sheet."""
    (spec,) = study.spec.assays
    if regions is not None:
        spec = dataclasses.replace(
            spec, regions=Path(os.path.relpath(Path(regions).absolute(), file.absolute().parent)).as_posix()
        )
    if slides:
        spec = dataclasses.replace(spec, slides=None)
    return dataclasses.replace(study, spec=dataclasses.replace(study.spec, assays=(spec,)))


def _slides_study(sheet: pd.DataFrame, file: Path, panel: str | None, problems: Problems) -> Study | None:
    """Make a study of nothing but slides; every biopsy stands for a participant of its own."""
    needed = ("slide_id", "biopsy_id", "path")
    missing = [name for name in needed if name not in sheet]
    for name in missing:
        problems.add(
            "E-SHEET-001", f"The column {name!r} is missing.", remedy="Add it.", file=file.name, column=name
        )
    if missing:
        return None
    for name in needed:
        empty = [(int(line), None, "The cell is empty.") for line in sheet.index[sheet[name].isna()]]
        add_rows(
            problems, "E-SHEET-004", empty, remedy="Fill it, or remove the row.", file=file.name, column=name
        )
    twice = (sheet["slide_id"].duplicated() & sheet["slide_id"].notna()).to_numpy()
    ids_again = zip(sheet.index[twice], sheet["slide_id"][twice], strict=True)
    again = [(int(line), str(slide), "The slide id occurs twice.") for line, slide in ids_again]
    add_rows(problems, "E-SHEET-005", again, remedy="Give each slide an id of its own.", file=file.name)
    mpp = to_number(sheet["mpp"], file=file.name, problems=problems, low=0) if "mpp" in sheet else None
    if problems.errors:
        return None
    lines = sheet.index.to_numpy()
    slides = sheet.assign(line=lines, assay="ihc", panel=panel, mpp=float("nan") if mpp is None else mpp)
    slides = slides.set_index("slide_id")
    absent = [str(s) for s, path in slides["path"].items() if not (file.parent / str(path)).is_file()]
    for slide in absent:
        problems.add(
            "E-FILE-001",
            f"The file of slide {slide!r} of biopsy {slides.at[slide, 'biopsy_id']!r} does not exist.",
            remedy="Put the file there, or correct the path; it is relative to the sheet.",
            file=file.name,
            row=int(str(slides.at[slide, "line"])),
            column="path",
            value=shown_path(str(slides.at[slide, "path"]), file.parent),
            severity="quarantine",
            item=slide,
        )
    ids = pd.Index(sorted(set(slides["biopsy_id"])), dtype=object, name="biopsy_id")
    biopsies = pd.DataFrame({"participant_id": list(ids), "visit": None}, index=ids)
    biopsies["study_day"] = pd.array([pd.NA] * len(ids), dtype="Int64")
    spec = StudySpec(file.stem, None, (), {}, (AssaySpec("ihc", "ihc", slides=file.name, panel=panel),), {})
    return Study(
        spec,
        pd.DataFrame(index=ids.rename("participant_id")),
        biopsies,
        pd.DataFrame({"biopsy_id": pd.Series(dtype=object)}, index=pd.Index([], dtype=object)),
        slides.drop(index=absent),
        problems=tuple(problems),
        path=file.parent,
    )

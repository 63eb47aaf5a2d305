"""libraries.csv and slides.csv, or what biopsies.csv says in their place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.study.assays import AssaySpec
from pdbiomarker.study.places import amiss, leads_outside
from pdbiomarker.study.sheets import (
    Sheet,
    by_id,
    check_known,
    check_unique,
    read_ids,
    read_names,
    read_others,
)
from pdbiomarker.tables import add_rows, to_number

LIBRARY_COLUMNS: Final = ("library_id", "biopsy_id")
SLIDE_COLUMNS: Final = ("slide_id", "biopsy_id", "path")
_MPP_RANGE: Final = (0.01, 100.0)  # micrometres per pixel; the reader narrows it


def read_libraries(sheet: Sheet, *, biopsies: pd.DataFrame | None) -> pd.DataFrame:
    """Check libraries.csv and give it typed.

    Returns
    -------
    DataFrame
        Index library_id; biopsy_id, source, line, and the sheet's other columns.
    """
    ids = read_ids(sheet, "library_id")
    owners = read_ids(sheet, "biopsy_id")
    check_unique(sheet, ids)
    if biopsies is not None:
        check_known(sheet, owners, map(str, biopsies.index.dropna()), what="biopsies.csv")
        _check_claims(sheet, dict(zip(ids.tolist(), owners.tolist(), strict=True)), biopsies)
    done = {"library_id": ids, "biopsy_id": owners}
    frame = by_id({**done, **read_others(sheet, done)}, "library_id")
    return frame.assign(source=pd.Series(sheet.file, index=frame.index, dtype=object))


def _check_claims(sheet: Sheet, claims: dict[str | None, str | None], biopsies: pd.DataFrame) -> None:
    """The column `library` of biopsies.csv, where it exists beside libraries.csv, must say the same."""
    if "library" not in biopsies:
        return
    clashes = [
        (int(line), library, f"libraries.csv gives this library to {claims.get(library) or 'no biopsy'!r}.")
        for line, biopsy, library in zip(
            biopsies["line"].tolist(), biopsies.index.tolist(), biopsies["library"].tolist(), strict=True
        )
        if isinstance(library, str) and claims.get(library) != biopsy
    ]
    add_rows(
        sheet.problems,
        "E-SHEET-006",
        clashes,
        remedy="Keep libraries.csv or the column 'library', or make them say the same.",
        file="biopsies.csv",
        column="library",
    )


def libraries_of_biopsies(sheet: Sheet | None, biopsies: pd.DataFrame) -> pd.DataFrame:
    """Make the libraries from the column `library` of biopsies.csv, or else from the biopsies' ids.

    Parameters
    ----------
    sheet : Sheet or None
        biopsies.csv.
    biopsies : DataFrame
        As read.
    """
    if sheet is not None and sheet.has("library"):
        ids = read_ids(sheet, "library", required=False)
        check_unique(sheet, ids)
        source = sheet.file
    else:
        ids = pd.Series(biopsies.index.to_numpy(), index=biopsies["line"].to_numpy(), dtype=object)
        source = "biopsy_id"
    given = ids.notna().to_numpy()
    frame = pd.DataFrame(
        {"biopsy_id": biopsies.index.to_numpy(), "source": source, "line": biopsies["line"].to_numpy()},
        index=pd.Index(ids.to_numpy(), dtype=object, name="library_id"),
    )
    if "batch" in biopsies:
        frame["batch"] = biopsies["batch"].to_numpy()
    return frame[given].astype({column: object for column in frame.columns if column != "line"})


def no_slides() -> pd.DataFrame:
    """Give an empty table of slides."""
    return _empty("slide_id", ["biopsy_id", "path", "assay", "panel"]).assign(mpp=np.array([], dtype=float))


def _empty(key: str, columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({column: pd.Series(dtype=object) for column in columns}, columns=list(columns))
    frame.index = pd.Index([], dtype=object, name=key)
    return frame


def read_slides(
    sheet: Sheet, *, folder: Path, assays: Sequence[AssaySpec], biopsies: pd.DataFrame | None
) -> pd.DataFrame:
    """Check a slide sheet and give it typed.

    Parameters
    ----------
    sheet : Sheet
        slides.csv, or biopsies.csv with its column `slide` renamed, see :func:`slides_of_biopsies`.
    folder : Path
        The study folder: paths of slides are relative to it, or absolute.
    assays : sequence of AssaySpec
        The assays that use this sheet; a slide belongs to the one whose panel it has.
    biopsies : DataFrame or None
        None: biopsies are not checked.

    Returns
    -------
    DataFrame
        Index slide_id; biopsy_id, path, assay, panel, mpp, line, and the sheet's other columns. Slides whose
        file is missing are still in it; the problems quarantine them.
    """
    ids = read_ids(sheet, "slide_id")
    owners = read_ids(sheet, "biopsy_id")
    if sheet.label("slide_id") == sheet.label("path"):
        _check_stems(sheet, ids)
    else:
        check_unique(sheet, ids)
    if biopsies is not None:
        check_known(sheet, owners, map(str, biopsies.index.dropna()), what="biopsies.csv")
    paths = _paths(sheet, ids, owners, folder)
    panels, names = _panels(sheet, assays, folder)
    mpp = to_number(
        sheet.column("mpp"),
        file=sheet.file,
        problems=sheet.problems,
        name=sheet.label("mpp"),
        low=_MPP_RANGE[0],
        high=_MPP_RANGE[1],
    )
    done = {
        "slide_id": ids,
        "biopsy_id": owners,
        "path": paths,
        "assay": names,
        "panel": panels,
        "mpp": mpp,
    }
    return by_id({**done, **read_others(sheet, done)}, "slide_id")


def _check_stems(sheet: Sheet, ids: pd.Series) -> None:
    """Refuse files whose names, which are the slides' ids, differ in their folder or suffix only."""
    first: dict[str, tuple[int, str]] = {}
    clashes: list[tuple[int, str | None, str]] = []
    for line, slide, path in zip(ids.index, ids.tolist(), sheet.column("path").tolist(), strict=True):
        if slide is None or path is None:
            continue
        other = first.setdefault(slide, (int(line), path))
        if other[1] != path:  # one file named twice is told with its path
            said = f"The files {other[1]!r} (line {other[0]}) and {path!r} would both be the slide {slide!r}."
            clashes.append((int(line), path, said))
    sheet.tell(
        "E-SHEET-005",
        "slide_id",
        clashes,
        remedy="Rename one of the files, or write a slides.csv with an id for each slide.",
    )


def _paths(sheet: Sheet, ids: pd.Series, owners: pd.Series, folder: Path) -> pd.Series:
    raw = sheet.column("path")
    values = [None if text is None else text.strip() or None for text in raw.tolist()]
    missing: list[tuple[int, str | None, str]] = []
    twice: list[tuple[int, str | None, str]] = []
    seen: dict[str, int] = {}
    for line, slide, owner, text in zip(raw.index, ids.tolist(), owners.tolist(), values, strict=True):
        if text is None:
            missing.append((int(line), None, "The path of the slide is missing."))
            continue
        other = seen.setdefault(text, int(line))
        if other != int(line):
            twice.append(
                (int(line), shown_path(text, folder), f"The file is named in lines {other} and {line}.")
            )
        _check_slide_file(sheet, int(line), (slide, owner), text, folder)
    if sheet.has("path"):
        sheet.tell("E-SHEET-017", "path", missing, remedy="Give the path of its file.")
    sheet.tell(
        "E-SHEET-005",
        "path",
        twice,
        remedy="Give every slide its own file; one file counted twice is one slide.",
    )
    return pd.Series(values, index=raw.index, name="path", dtype=object)


def shown_path(text: str, folder: Path) -> str:
    """Give a path as messages and results may show it: they name no folder outside the study.

    Parameters
    ----------
    text : str
        Relative to the study folder, or absolute.
    folder : Path
        The study folder.

    Returns
    -------
    str
        The path from the study folder where it lies inside, else the name of the file.
    """
    path = Path(os.path.normpath(folder.absolute() / text))
    for root in (folder.absolute(), folder.resolve()):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name


def _check_slide_file(
    sheet: Sheet, line: int, ids: tuple[str | None, str | None], text: str, folder: Path
) -> None:
    """Quarantine a slide (its id and that of its biopsy) whose file is not there."""
    slide, biopsy = ids
    path = folder / text
    with contextlib.suppress(OSError, ValueError):  # no file can have such a name
        if path.is_file():
            return
    code, _ = amiss(path)
    what = "does not exist" if code == "E-FILE-001" else "is not a regular file"
    sheet.problems.add(
        code,
        f"The file of slide {slide!r} of biopsy {biopsy!r} {what}.",
        remedy="Put the file there, or correct the path (relative to the study folder, or absolute).",
        file=sheet.file,
        row=line,
        column=sheet.label("path"),
        value=shown_path(text, folder),
        severity="quarantine",
        item=slide,
    )


def is_panel_file(panel: str) -> bool:
    """Tell whether a panel is given by its file, not by the name of one that comes with the package."""
    return "/" in panel or panel.casefold().endswith((".yaml", ".yml"))


def _panels(sheet: Sheet, assays: Sequence[AssaySpec], folder: Path) -> tuple[pd.Series, pd.Series]:
    """Give each slide its panel (its own, or the assay's) and its assay."""
    given = read_names(sheet, "panel") if sheet.has("panel") else sheet.column("panel")
    default = assays[0].panel if len(assays) == 1 else None
    by_panel = {assay.panel: assay.name for assay in assays if assay.panel is not None}
    panels: list[str | None] = []
    names: list[str | None] = []
    missing: list[tuple[int, str | None, str]] = []
    foreign: list[tuple[int, str | None, str]] = []
    for line, text in zip(given.index, given.tolist(), strict=True):
        panel = text or default
        panels.append(panel)
        names.append(assays[0].name if len(assays) == 1 else by_panel.get(panel or ""))
        if assays and panel is None:
            missing.append((int(line), None, "Neither the slide nor its assay in study.yaml names a panel."))
        elif len(assays) > 1 and panel not in by_panel:
            foreign.append((int(line), panel, "No assay of study.yaml that uses this sheet has this panel."))
    outside = [
        (int(line), shown_path(text, folder), "The path leads outside the study folder.")
        for line, text in zip(given.index, given.tolist(), strict=True)
        if text is not None and is_panel_file(text) and leads_outside(folder, text)
    ]
    remedy = "Put the panel into the study folder, and give its path from there."
    sheet.tell("E-FILE-006", "panel", outside, remedy=remedy)
    sheet.tell("E-SHEET-017", "panel", missing, remedy="Add a panel, such as cd8.")
    options = ", ".join(repr(panel) for panel in by_panel)
    sheet.tell("E-SHEET-006", "panel", foreign, remedy=f"Use one of: {options}.")
    index = given.index
    return (
        pd.Series(panels, index=index, name="panel", dtype=object),
        pd.Series(names, index=index, name="assay", dtype=object),
    )


def slides_of_biopsies(sheet: Sheet, biopsies: pd.DataFrame) -> Sheet:
    """Make a slide sheet from the column `slide` of biopsies.csv: the slide's id is its file's name."""
    given = sheet.frame["slide"].notna().to_numpy() & biopsies.index.notna()
    rows = sheet.frame[given]
    frame = pd.DataFrame(
        {
            "slide_id": [_stem(text) for text in rows["slide"].tolist()],
            "biopsy_id": biopsies.index[given].to_numpy(),
            "path": rows["slide"].to_numpy(),
        },
        index=rows.index,
        dtype=object,
    )
    for column in ("panel", "mpp", "batch", "scanner"):
        if column in rows:
            frame[column] = rows[column]
    names = {column: sheet.label(column) for column in frame.columns if column in sheet.site_names}
    names |= {"slide_id": sheet.label("slide"), "path": sheet.label("slide")}
    return Sheet(frame, sheet.file, names, sheet.problems)


def _stem(text: str) -> str:
    name = PurePosixPath(text.strip().replace("\\", "/")).name
    stem = name
    while "." in stem.lstrip("."):
        head, _, suffix = stem.rpartition(".")
        if not head or len(suffix) > 5 or not suffix.isalnum() or suffix.isdigit():
            break
        stem = head
    return stem

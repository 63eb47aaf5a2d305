"""Reading a study folder: everything is checked before anything is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems, StudyError
from pdbiomarker.study.assays import FOLDERS, AssaySpec
from pdbiomarker.study.clinical import FOLDER as CLINICAL
from pdbiomarker.study.clinical import read_clinical
from pdbiomarker.study.items import (
    LIBRARY_COLUMNS,
    SLIDE_COLUMNS,
    is_panel_file,
    libraries_of_biopsies,
    no_slides,
    read_libraries,
    read_slides,
    slides_of_biopsies,
)
from pdbiomarker.study.lock import LOCK_FILE, read_lock
from pdbiomarker.study.model import Study
from pdbiomarker.study.overrides import FILE as OVERRIDES
from pdbiomarker.study.overrides import left_out, no_overrides, read_overrides
from pdbiomarker.study.people import BIOPSY_COLUMNS, PARTICIPANT_COLUMNS, read_biopsies, read_participants
from pdbiomarker.study.places import amiss, check_files, leads_outside, tell_outside
from pdbiomarker.study.sheets import Sheet, open_sheet
from pdbiomarker.study.spec import FILE, StudySpec, Visit, check_spec_columns, read_spec
from pdbiomarker.tables import nearest, order_by_ids, read_yaml

PARTICIPANTS: Final = "participants.csv"
BIOPSIES: Final = "biopsies.csv"
LIBRARIES: Final = "libraries.csv"
SLIDES: Final = "slides.csv"
_SHOWN: Final = 60
_BY_FORM: Final = (FILE, "plan.yaml", LOCK_FILE, PARTICIPANTS, BIOPSIES, LIBRARIES, SLIDES, OVERRIDES)


def read_study(path: str | Path) -> Study:
    """Read a study folder and check everything in it at once.

    Parameters
    ----------
    path : path
        The folder, with study.yaml, participants.csv and biopsies.csv; libraries.csv and slides.csv where a
        biopsy has several; clinical/ with doses, concentrations, responses and the like.
        docs/study_folder.md describes every column.

    Returns
    -------
    Study
        Without count matrices and slides measured: those are read by `pdbiomarker.expression` and
        `pdbiomarker.ihc`. `problems` holds what was told: warnings, and slides whose file is missing.

    Raises
    ------
    StudyError
        Carries every fault of every file.

    Examples
    --------
    >>> read_study("expansion/").participants  # doctest: +SKIP
    """
    folder = Path(path)
    problems = Problems()
    study = check_study(folder, problems)
    if study is None:
        raise StudyError(problems)
    return study


def check_study(folder: Path, problems: Problems) -> Study | None:
    """Read a study folder; add what is found, and give the study if nothing refuses it."""
    if not folder.is_dir():
        problems.add(
            *amiss(folder, "study folder"),
            remedy="Give the folder that holds study.yaml.",
            file=folder.name,
        )
        return None
    spec = read_spec(folder / FILE, problems)
    columns = spec.columns if spec is not None else _columns_of_a_faulty_spec(folder / FILE)
    visits = None if spec is None else spec.visits
    cutoff = None if spec is None else spec.data_cutoff

    sheets: dict[str, Sheet] = {}
    participants = biopsies = None
    sheet = _open(folder, PARTICIPANTS, columns, PARTICIPANT_COLUMNS, problems)
    if sheet is not None:
        sheets[PARTICIPANTS] = sheet
        participants = read_participants(sheet, cutoff=cutoff)
    known = participants if _has_key(sheets, PARTICIPANTS, PARTICIPANT_COLUMNS) else None
    sheet = _open(folder, BIOPSIES, columns, BIOPSY_COLUMNS, problems)
    if sheet is not None:
        sheets[BIOPSIES] = sheet
        biopsies = read_biopsies(sheet, visits=visits, participants=known, cutoff=cutoff)
    libraries = _libraries(folder, columns, sheets, biopsies, problems)
    slides = _slides(folder, columns, sheets, biopsies, spec, problems)
    clinical = read_clinical(folder, columns=columns, participants=known, cutoff=cutoff, problems=problems)
    sheets |= clinical.sheets
    if spec is not None:
        _check_paths(folder, spec, problems)
    _check_own_files(folder, problems)
    lock = read_lock(folder, None if spec is None else spec.id, problems)
    if spec is not None and biopsies is not None:
        frames = {BIOPSIES: biopsies, LIBRARIES: libraries, SLIDES: slides}
        there = {file: frame for file, frame in frames.items() if frame is not None and file in sheets}
        _check_against_spec(spec, sheets, there, problems)
    if spec is None or participants is None or biopsies is None or libraries is None or slides is None:
        return None
    overrides = no_overrides()
    if not problems.errors:  # ids that are faulty themselves cannot be decided about
        overrides = _overrides(folder, spec, (participants, biopsies, libraries, slides), problems)
    if problems.errors:
        return None
    out = left_out(overrides)
    quarantined = {problem.item for problem in problems.quarantined if problem.item}
    libraries, libraries_aside = _set_aside(libraries, out["library"])
    slides, slides_aside = _set_aside(slides, out["slide"] | quarantined)
    aside = {"library": libraries_aside, "slide": slides_aside}
    return Study(
        spec,
        order_by_ids(participants),
        _biopsies_in_order(biopsies, spec.visits),
        libraries,
        slides,
        clinical=clinical.tables,
        overrides=overrides,
        aside={kind: frame for kind, frame in aside.items() if len(frame)},
        problems=tuple(problems),
        path=folder,
        lock=lock,
    )


def _check_against_spec(
    spec: StudySpec, sheets: Mapping[str, Sheet], frames: Mapping[str, pd.DataFrame], problems: Problems
) -> None:
    """Hold what study.yaml says of columns, of adequacy and of visits against the rows of the sheets."""
    judged = {file: frame for file, frame in frames.items() if file != SLIDES}
    headers = {file: sheet.header() for file, sheet in sheets.items()}
    check_spec_columns(spec, headers, {file: _kinds(f) for file, f in judged.items()}, problems=problems)
    _check_words(spec, judged, problems)
    for file, frame in frames.items():
        check_batches(frame, frames[BIOPSIES], spec.visits, file, problems)


def _set_aside(frame: pd.DataFrame, ids: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that stay, and those of the ids; both in the order of ids."""
    gone = frame.index.isin(ids)
    return order_by_ids(frame[~gone]), order_by_ids(frame[gone])


def _biopsies_in_order(biopsies: pd.DataFrame, visits: tuple[Visit, ...]) -> pd.DataFrame:
    """Sort biopsies by participant and time: study day, else visit; then by id."""
    rank = {visit.name: place for place, visit in enumerate(visits)}
    placed = biopsies.assign(_rank=biopsies["visit"].map(rank).astype(float))
    return order_by_ids(placed, first=("participant_id", "study_day", "_rank")).drop(columns="_rank")


def _overrides(
    folder: Path, spec: StudySpec, frames: tuple[pd.DataFrame, ...], problems: Problems
) -> pd.DataFrame:
    participants, biopsies, libraries, slides = frames
    if leads_outside(folder, OVERRIDES):
        tell_outside(FILE, OVERRIDES, problems)
        return no_overrides()
    # Libraries that carry the ids of the biopsies are not items of their own.
    own = libraries[libraries["source"] != "biopsy_id"]
    kinds = {"participant": participants, "biopsy": biopsies, "library": own, "slide": slides}
    ids = {kind: [str(i) for i in frame.index] for kind, frame in kinds.items()}
    return read_overrides(folder / OVERRIDES, ids, biopsies, spec.visits, problems)


def _kinds(frame: pd.DataFrame) -> dict[str, bool]:
    """Columns of a sheet that a rule may name, and whether they hold numbers."""
    return {
        str(column): pd.api.types.is_numeric_dtype(frame[column])
        for column in frame
        if column not in {"line", "source"}
    }


def _check_words(spec: StudySpec, judged: Mapping[str, pd.DataFrame], problems: Problems) -> None:
    """Tell a rule of adequacy in words that no row of its sheet has: everybody fails, as after a slip."""
    for column, rule in spec.adequacy.items():
        for file, frame in judged.items():
            if column not in frame:
                continue
            words = frame[column].dropna().astype(str)
            if not rule.knows(words):
                known = sorted(set(words))
                problems.add(
                    "E-STUDY-001",
                    f"No row of {file} has a word that the rule for {column!r} allows: all fail.",
                    remedy=f"Correct the words, unless this is so. {nearest(rule.allowed[0], known)}",
                    file=FILE,
                    column=f"adequacy.{column}.allowed",
                    value=", ".join(rule.allowed),
                    severity="warning",
                )
            break


def _has_key(sheets: Mapping[str, Sheet], file: str, required: tuple[str, ...]) -> bool:
    """Whether a sheet was read and has its own ids: without them, nothing can be said of what names them."""
    return file in sheets and sheets[file].has(required[-1])


def _columns_of_a_faulty_spec(path: Path) -> dict[str, str]:
    """Still take the site's column names: a fault of study.yaml must not hide those of the sheets."""
    data = read_yaml(path, Problems()) or {}
    columns = data.get("columns")
    if not isinstance(columns, dict):
        return {}
    return {key: value for key, value in columns.items() if isinstance(value, str)}


def _open(
    folder: Path, file: str, columns: Mapping[str, str], required: tuple[str, ...], problems: Problems
) -> Sheet | None:
    if leads_outside(folder, file):
        tell_outside(FILE, file, problems)
        return None
    return open_sheet(folder / file, file=file, columns=columns, required=required, problems=problems)


def _libraries(
    folder: Path,
    columns: Mapping[str, str],
    sheets: dict[str, Sheet],
    biopsies: pd.DataFrame | None,
    problems: Problems,
) -> pd.DataFrame | None:
    if (folder / LIBRARIES).exists():
        sheet = _open(folder, LIBRARIES, columns, LIBRARY_COLUMNS, problems)
        if sheet is None:
            return None
        sheets[LIBRARIES] = sheet
        known = biopsies if _has_key(sheets, BIOPSIES, BIOPSY_COLUMNS) else None
        return read_libraries(sheet, biopsies=known)
    return None if biopsies is None else libraries_of_biopsies(sheets.get(BIOPSIES), biopsies)


def _slides(
    folder: Path,
    columns: Mapping[str, str],
    sheets: dict[str, Sheet],
    biopsies: pd.DataFrame | None,
    spec: StudySpec | None,
    problems: Problems,
) -> pd.DataFrame | None:
    every = [] if spec is None else [assay for assay in spec.assays if assay.kind == "ihc"]
    if spec is not None and not every:
        return _unmeasured(folder, columns, sheets, biopsies, problems)
    assays = [assay for assay in every if assay.cells is None]
    files: dict[str, list[AssaySpec]] = {}
    for assay in assays:
        if assay.slides is not None:
            files.setdefault(assay.slides, []).append(assay)
        elif (folder / SLIDES).exists():
            files.setdefault(SLIDES, []).append(assay)
    if not assays and (folder / SLIDES).exists():
        files[SLIDES] = []  # exports stand for the slides, or what study.yaml says is not known
    frames: list[pd.DataFrame] = []
    known = biopsies if _has_key(sheets, BIOPSIES, BIOPSY_COLUMNS) else None
    for file, users in files.items():
        sheet = _open(folder, file, columns, SLIDE_COLUMNS, problems)
        if sheet is not None:
            sheets[file] = sheet
            frames.append(read_slides(sheet, folder=folder, assays=users, biopsies=known))
    of_biopsies = sheets.get(BIOPSIES)
    if spec is None or not assays:
        pass  # which assays there are is not known, or exports stand for the slides: no image need be there
    elif not files and of_biopsies is not None and biopsies is not None and of_biopsies.has("slide"):
        made = slides_of_biopsies(of_biopsies, biopsies)
        frames.append(read_slides(made, folder=folder, assays=assays, biopsies=None))
    elif not files:
        problems.add(
            "E-FILE-001",
            f"The assay {assays[0].name!r} has no slides: there is neither slides.csv nor a column 'slide' "
            "in biopsies.csv.",
            remedy="Add slides.csv, or name the sheet under 'slides'.",
            file=FILE,
            column=f"assays.{assays[0].name}.slides",
        )
    return _together(frames, list(files), problems)


def _unmeasured(
    folder: Path,
    columns: Mapping[str, str],
    sheets: dict[str, Sheet],
    biopsies: pd.DataFrame | None,
    problems: Problems,
) -> pd.DataFrame:
    """Read slides that no assay measures, told once: `quantify` may use them, a run does not.

    Faults of slides.csv are faults. A column `slide` of biopsies.csv may be a site's own and of another
    meaning: where it names no slides it is left alone. Slides without a file stay, as a reviewer's word on
    them does; `quantify` tells of them.
    """
    of_biopsies = sheets.get(BIOPSIES)
    own = Problems()
    known = biopsies if _has_key(sheets, BIOPSIES, BIOPSY_COLUMNS) else None
    sheet = None
    if listed := (folder / SLIDES).exists():
        sheet = _open(folder, SLIDES, columns, SLIDE_COLUMNS, own)
        if sheet is not None:
            sheets[SLIDES] = sheet
    elif of_biopsies is not None and biopsies is not None and of_biopsies.has("slide"):
        made = slides_of_biopsies(of_biopsies, biopsies)
        sheet, known = dataclasses.replace(made, problems=own), None
    slides = no_slides() if sheet is None else read_slides(sheet, folder=folder, assays=[], biopsies=known)
    if listed:
        problems.extend(p for p in own if p.severity != "quarantine")
    elif own.errors:
        slides = no_slides()
    if sheet is not None and len(sheet.frame):
        problems.add(
            "E-STUDY-290",
            f"No assay of study.yaml measures slides; what is listed here is not used by a run "
            f"({len(sheet.frame)} rows, {len(own.quarantined)} of their files not there).",
            remedy="Nothing need be done; to measure them, add an assay with its panel to study.yaml.",
            file=sheet.file,
            column=sheet.label("path"),
            severity="warning",
        )
    return slides


def _together(frames: list[pd.DataFrame], files: list[str], problems: Problems) -> pd.DataFrame:
    if not frames:
        return no_slides()
    slides = pd.concat(frames)
    if len(frames) > 1:
        for slide in dict.fromkeys(slides.index[slides.index.duplicated()].dropna()):
            problems.add(
                "E-SHEET-005",
                f"The slide {slide!r} stands in two sheets: {' and '.join(files)}.",
                remedy="Give every slide an id of its own.",
                file=files[-1],
                column="slide_id",
                value=slide,
            )
    return slides


def _check_paths(folder: Path, spec: StudySpec, problems: Problems) -> None:
    """Every file that study.yaml names exists, and lies in the study folder."""
    for assay in spec.assays:
        named = assay.named_files
        if assay.panel is not None and is_panel_file(assay.panel):
            named["panel"] = assay.panel
        for key, value in named.items():
            column = f"assays.{assay.name}.{key}"
            if leads_outside(folder, value):
                problems.add(
                    "E-FILE-006",
                    "The path leads outside the study folder.",
                    remedy="Put the file into the study folder, and give its path from there.",
                    file=FILE,
                    column=column,
                    value=value,
                )
                continue
            target = folder / value
            pattern = assay.files if key == "files" and assay.files is not None else ""
            if not _can_be(target, pattern):
                problems.add(
                    "E-FILE-001",
                    "No file can have such a name, or there is no such pattern of names.",
                    remedy="Correct it in study.yaml.",
                    file=FILE,
                    column=column,
                    value=(pattern or value)[:_SHOWN],
                )
                continue
            wanted = target.is_dir() if key in FOLDERS else target.is_file()
            wanted |= key == "cells" and target.is_dir()
            if not wanted:
                kind = "folder" if key in FOLDERS else "file"
                problems.add(
                    *amiss(target, kind),
                    remedy=f"Put the {kind} there, or correct its name in study.yaml.",
                    file=FILE,
                    column=column,
                    value=value,
                )
            elif target.is_dir():
                _check_entries(folder, key, value, assay, problems)


def _can_be(path: Path, pattern: str) -> bool:
    """Tell whether there can be such a file and such a pattern of names: others make every look fail."""
    try:
        path.exists()
        if "*" in pattern:
            next(path.glob(pattern), None)
    except (OSError, ValueError):
        return False
    return True


def _check_own_files(folder: Path, problems: Problems) -> None:
    """Check the files that a study has by its form: one that cannot be read does not count as absent."""
    clinical = folder / CLINICAL
    places = [folder / name for name in _BY_FORM]
    places += clinical.iterdir() if clinical.is_dir() else [clinical]
    found, told = Problems(), {problem.file for problem in problems}
    check_files([path for path in places if path.is_symlink() or path.exists()], found, root=folder)
    problems.extend(problem for problem in found if problem.file not in told)


def _check_entries(folder: Path, key: str, value: str, assay: AssaySpec, problems: Problems) -> None:
    """Check what lies in a folder that study.yaml names: regular files of the study."""
    found: Iterable[Path] = (folder / value).iterdir()
    if key == "files" and assay.files is not None and "*" in assay.files:
        found = folder.glob(assay.files)
    elif key in {"files", "rcc"}:
        found = (folder / value).rglob("*")
    check_files(found, problems, root=folder)


def check_batches(
    frame: pd.DataFrame, biopsies: pd.DataFrame, visits: tuple[Visit, ...], file: str, problems: Problems
) -> None:
    """Tell when every batch holds one visit only (E-STUDY-005): change and batch cannot be told apart.

    Parameters
    ----------
    frame : DataFrame
        Biopsies, libraries, slides, or the `obs` of an assay, with `batch`; of libraries and slides,
        `biopsy_id` names the biopsy.
    biopsies : DataFrame
    visits : tuple of Visit
    file : str
        The sheet, for the problem.
    problems : Problems
    """
    if "batch" not in frame:
        return
    of_biopsy = {
        str(biopsy): label if isinstance(label, str) else _visit_of_day(day, visits)
        for biopsy, label, day in zip(
            biopsies.index.tolist(), biopsies["visit"].tolist(), biopsies["study_day"].tolist(), strict=True
        )
    }
    owners = frame["biopsy_id"].tolist() if "biopsy_id" in frame else frame.index.tolist()
    pairs = {
        (batch, of_biopsy[str(owner)])
        for batch, owner in zip(frame["batch"].tolist(), owners, strict=True)
        if isinstance(batch, str) and of_biopsy.get(str(owner)) is not None
    }
    batches = {batch for batch, _ in pairs}
    seen = {visit for _, visit in pairs}
    if len(seen) < 2 or len(batches) < 2 or len(pairs) > len(batches):
        return
    if len(batches) >= frame["batch"].notna().sum():
        return  # a batch of one is no batch
    shown = sorted(f"{batch}: {visit}" for batch, visit in pairs)
    problems.add(
        "E-STUDY-005",
        "Every batch holds biopsies of one visit only: the change between visits cannot be told from a "
        "difference between batches.",
        remedy="Measure the biopsies of a participant in one batch, or read the result with this caution.",
        file=file,
        column="batch",
        value="; ".join(shown[:6]),
        severity="warning",
    )


def _visit_of_day(day: object, visits: tuple[Visit, ...]) -> str | None:
    if not isinstance(day, int):
        return None
    return next((visit.name for visit in visits if visit.holds(day)), None)

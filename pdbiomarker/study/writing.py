"""Writing a study back as a folder that a person can read."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from pdbiomarker.provenance import atomic_path
from pdbiomarker.study.clinical import FOLDER, RULES_FILE, SET_ASIDE
from pdbiomarker.study.clinical_sheets import SHEETS
from pdbiomarker.study.lock import LOCK_FILE
from pdbiomarker.study.spec import FILE, spec_mapping
from pdbiomarker.tables import to_yaml, write_table

if TYPE_CHECKING:
    from pdbiomarker.study.model import Study

#: Columns that reading adds.
_DERIVED: Final = (
    *("line", "hours_from_first_dose", "source", "assay"),
    *("collection_date_imputed", "study_day_earliest", "study_day_latest"),
    "after_cutoff",
)


def write_folder(study: Study, target: Path) -> Path:
    """Write a study as a folder; see :meth:`pdbiomarker.study.Study.write`."""
    target.mkdir(parents=True, exist_ok=True)
    spec = study.spec
    if len(study.slides):
        assays = tuple(
            dataclasses.replace(
                assay, slides=f"slides_{assay.name}.csv" if _has_several(study) else "slides.csv"
            )
            if assay.kind == "ihc" and assay.cells is None
            else assay
            for assay in spec.assays
        )
        spec = dataclasses.replace(spec, assays=assays)
    with atomic_path(target / FILE) as temporary:
        temporary.write_text(to_yaml(spec_mapping(spec)), encoding="utf-8", newline="\n")
    write_table(_sheet(study.participants, "participant_id"), target / "participants.csv")
    biopsies = study.biopsies.drop(columns=[c for c in ("library", "slide") if c in study.biopsies])
    write_table(_sheet(biopsies, "biopsy_id"), target / "biopsies.csv")
    if "source" not in study.libraries or (study.libraries["source"] != "biopsy_id").any():
        whole = _whole(study.libraries, study, "library")
        libraries = _sheet(whole, "library_id")
        if "assay" in whole:  # typed by the site here, derived in the sheet of slides
            libraries["assay"] = whole["assay"]
        write_table(libraries, target / "libraries.csv")
    _write_slides(study, target)
    for name, frame in study.clinical.items():
        if frame.empty:  # every row lay after the cut-off: a sheet without rows would be refused
            continue
        (target / FOLDER).mkdir(exist_ok=True)
        write_table(_clinical_sheet(name, frame), target / FOLDER / f"{name}.csv")
    if len(study.overrides):
        _write_overrides(study, target)
    _copy_files(study, target)
    return target


def _write_overrides(study: Study, target: Path) -> None:
    held = study.overrides
    item = held["kind"] + ":" + held["item"]
    action = [f"{a}={v}" if v else a for a, v in zip(held["action"], held["visit"], strict=True)]
    rows = held.assign(item=item, action=action)[["item", "action", "reason", "who", "date"]]
    write_table(rows.reset_index(drop=True), target / "overrides.csv")


def _whole(frame: pd.DataFrame, study: Study, kind: str) -> pd.DataFrame:
    """A sheet with the rows that are aside; reading leaves them out again, for the same reasons."""
    aside = study.aside.get(kind)
    return frame if aside is None or aside.empty else pd.concat([frame, aside])


def _has_several(study: Study) -> bool:
    return sum(assay.kind == "ihc" for assay in study.spec.assays) > 1


def _write_slides(study: Study, target: Path) -> None:
    slides = _whole(study.slides, study, "slide").copy()
    if not len(slides):
        return
    slides["path"] = [_from(target, study.resolve(path)) for path in slides["path"].tolist()]
    if not _has_several(study):
        write_table(_sheet(slides, "slide_id"), target / "slides.csv")
        return
    for name, rows in slides.groupby("assay", sort=True):
        write_table(_sheet(rows, "slide_id"), target / f"slides_{name}.csv")


def _clinical_sheet(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """A clinical sheet as it is typed: without what reading adds, concentrations with their texts."""
    if name == SET_ASIDE or name not in SHEETS:
        return frame
    rules = SHEETS[name]
    derived = {"line"} | ({"study_day"} - set(rules.columns))
    for column in rules.dates:
        derived |= {f"{column}_imputed", f"{column}_typed", f"{column.removesuffix('_date')}_study_day"}
    sheet = frame.copy()
    for column in [c for c, rule in rules.columns.items() if rule.kind == "concentration"]:
        if f"{column}_text" in sheet:
            sheet[column] = sheet[f"{column}_text"]
            derived |= {f"{column}_text", "blq"}
    return sheet.drop(columns=[column for column in derived if column in sheet])


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()


def _sheet(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    return frame.drop(columns=[c for c in _DERIVED if c in frame]).rename_axis(index=key)


def _copy_files(study: Study, target: Path) -> None:
    """Copy plan.yaml, its lock and the files that study.yaml names, where they are not there already."""
    named = ["plan.yaml", LOCK_FILE, f"{FOLDER}/{RULES_FILE}"]
    for assay in study.spec.assays:
        named += [path for key, path in assay.named_files.items() if key != "files"]
        named += [] if assay.panel is None else [assay.panel]
        if assay.files is not None and "*" in assay.files and study.path is not None:
            found = sorted(f for f in study.path.glob(assay.files) if f.is_file())
            named += [f.relative_to(study.path).as_posix() for f in found]
        elif assay.files is not None:
            named.append(assay.files)
    for name in dict.fromkeys(named):
        source, copy = study.resolve(name), target / name
        if study.path is None or copy.exists():
            continue
        if source.is_dir():
            shutil.copytree(source, copy)
        elif source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(copy) as temporary:
                shutil.copyfile(source, temporary)

"""The slides of a study whose files are there: where each lies, which are one, and how each is measured."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from pdbiomarker import ihc
from pdbiomarker.errors import Problem
from pdbiomarker.provenance import slug
from pdbiomarker.run.assays import panel_file
from pdbiomarker.study import (
    Study,
    shown_path,
)

__all__ = ["TWIN", "SlideFile", "panels_named", "slide_files", "slides_to_measure", "twins_among"]

TWIN: Final = "E-SLIDE-011"


@dataclasses.dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide whose file is there.

    Attributes
    ----------
    slide_id, biopsy_id, assay : str
    name : str
        Its path for messages and the manifest: relative to the study folder, never absolute.
    file : Path
    sheet : str
        The sheet; of a slide given by its name, that.
    line : int or None
        Where it stands in the sheet.
    panel : str
        Name or path.
    mpp : float or None
        From the sheet.
    regions : str or None
        Its GeoJSON file, relative to the study folder.
    """

    slide_id: str
    biopsy_id: str
    assay: str
    name: str
    file: Path
    sheet: str
    line: int | None
    panel: str
    mpp: float | None
    regions: str | None
    origin: dict[str, str | None]  # scanner and batch, by which a panel may calibrate


def slide_files(study: Study) -> list[SlideFile]:
    """List the slides of a study whose file is there, by id; the others are in its problems."""
    folder = (study.path or Path()).absolute()
    specs = {spec.name: spec for spec in study.spec.assays}
    found = []
    for slide_id, row in study.slides.sort_index().iterrows():
        spec = specs.get(str(row["assay"]))
        path = Path(str(row["path"]))
        if spec is None or not (folder / path).is_file():
            continue
        panel, mpp, line = row["panel"], row["mpp"], row.get("line")
        name = _slide_name(str(slide_id), str(path), folder)
        sheet = spec.slides or ("slides.csv" if (folder / "slides.csv").exists() else "biopsies.csv")
        if spec.slides is None and not study.spec.visits:  # given by name: there is no sheet
            sheet, line = name, None
        region = _region_of(folder, spec.regions, str(slide_id))
        found.append(
            SlideFile(
                slide_id=str(slide_id),
                biopsy_id=str(row["biopsy_id"]),
                assay=spec.name,
                name=name,
                file=folder / path,
                sheet=sheet,
                line=None if line is None or pd.isna(line) else int(line),
                panel=panel_file(study, str(panel)),
                mpp=None if pd.isna(mpp) else float(mpp),
                regions=region,
                origin={name: _text(row.get(name)) for name in ("scanner", "batch")},
            )
        )
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _region_of(folder: Path, regions: str | None, slide_id: str) -> str | None:
    """Give the region file of a slide, from the study folder."""
    if regions is None:
        return None
    if (folder / regions).is_file():
        return regions
    found = ihc.find_regions(folder / regions, slide_id)
    return None if found is None else f"{regions.rstrip('/')}/{found.name}"


def _slide_name(slide_id: str, path: str, folder: Path) -> str:
    shown = shown_path(path, folder)
    inside = (folder / shown).is_file() and (folder / shown).samefile(folder / path)
    return shown if inside else f"{slide_id}: {shown}"


def slides_to_measure(study: Study) -> list[dict[str, Any]]:
    """Describe the measuring of each slide."""
    taken: list[str] = []
    slides = []
    folder = (study.path or Path()).absolute()
    for slide in slide_files(study):
        name = slug(slide.slide_id, taken)
        taken.append(name)
        slides.append(
            {
                **dataclasses.asdict(slide),
                "file": str(slide.file),
                "regions": None if slide.regions is None else str(folder / slide.regions),
                "regions_name": slide.regions,
                "panel_sha256": ihc.read_panel(slide.panel).hash,
                "slug": name,
                "step": f"slide-{name}",
                "bytes": slide.file.stat().st_size,
            }
        )
    return slides


def panels_named(study: Study) -> set[str]:
    """Every panel that study.yaml or a slide names."""
    named = {spec.panel for spec in study.spec.assays if spec.kind == "ihc" and spec.panel is not None}
    return named | (
        {str(panel) for panel in study.slides["panel"].dropna()} if "panel" in study.slides else set()
    )


def twins_among(study: Study) -> Iterator[Problem]:
    """Slides whose content another slide has: they would count twice, or for two biopsies."""
    files = slide_files(study)
    sizes = Counter(slide.file.stat().st_size for slide in files)
    alike = [slide for slide in files if sizes[slide.file.stat().st_size] > 1]
    reasons = ihc.find_twins(
        [(s.slide_id, s.biopsy_id, ihc.slide_hash(s.file), ihc.read_panel(s.panel).hash) for s in alike]
    )
    for slide in alike:
        if slide.slide_id in reasons:
            yield Problem(
                TWIN,
                reasons[slide.slide_id],
                f"Correct the paths in {slide.sheet}.",
                slide.sheet,
                slide.line,
                "path",
                slide.name,
                severity="quarantine",
                item=slide.slide_id,
            )

"""study.yaml: visits, adequacy, assays and column names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pdbiomarker.errors import Problems
from pdbiomarker.study.cells import CellKeys, CellOptions
from pdbiomarker.study.ids import normal_id, skeleton
from pdbiomarker.tables import YamlDocument, load_yaml, nearest, parse_date, validate_yaml

FILE: Final = "study.yaml"
_ASSAY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_SIGNATURES: Final = "_signatures"  # a run scores them beside each count assay, under its name and this
_COUNT_KEYS: Final = (
    *("file", "genes", "signatures", "signature_method", "signature_reference", "gene_sets"),
    *("h5ad", "cells"),
)
_IHC_KEYS: Final = ("slides", "panel", "regions")
_FARTHEST_DAY: Final = 20_000  # 55 years


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A visit of the schedule.

    Attributes
    ----------
    name : str
        As the sheets and contrasts call it.
    low, high : int or None
        First and last study day of the window (there is no day 0); None where only labels are known.
    target : int or None
        The day aimed at, where one is declared.
    """

    name: str
    low: int | None = None
    high: int | None = None
    target: int | None = None

    @property
    def has_window(self) -> bool:
        """Tell whether study days decide this visit."""
        return self.low is not None and self.high is not None

    def holds(self, day: int) -> bool:
        """Tell whether a study day lies in the window."""
        return self.low is not None and self.high is not None and self.low <= day <= self.high


@dataclasses.dataclass(frozen=True, slots=True)
class AssaySpec:
    """What study.yaml says about one assay; paths are relative to the study folder.

    Attributes
    ----------
    name : str
        The key in study.yaml, as in ``ihc:CD8_density``.
    kind : {"count", "ihc"}
        A count matrix, or slides to be measured.
    file, genes : str or None
        The count matrix, and the table that maps its ids to symbols.
    slides, panel, regions : str or None
        The slide sheet, the panel (a name or a .yaml file), the folder of GeoJSON files by slide id.
    signatures : tuple of str
        Gene signatures to be scored: names, sets of `gene_sets`, or .yaml files.
    signature_method : str
        How, see :data:`pdbiomarker.expression.METHODS`.
    signature_reference, gene_sets : str or None
        A fixed reference for the scores, and a GMT file of one's own sets.
    h5ad : str or None
        A single-cell file, in place of `file`.
    cells : CellOptions or None
        How its cells become biopsies.
    """

    name: str
    kind: str
    file: str | None = None
    genes: str | None = None
    slides: str | None = None
    panel: str | None = None
    regions: str | None = None
    signatures: tuple[str, ...] = ()
    signature_method: str = "mean_log2_cpm"
    signature_reference: str | None = None
    gene_sets: str | None = None
    h5ad: str | None = None
    cells: CellOptions | None = None

    @property
    def named_files(self) -> dict[str, str]:
        """Files and folders that the assay names, by key, but for slides and panels."""
        found = {
            key: getattr(self, key)
            for key in ("file", "genes", "regions", "signature_reference", "gene_sets", "h5ad")
        }
        if self.cells is not None:
            found["cells.markers"] = self.cells.markers
        found |= {f"signatures.{k}": s for k, s in enumerate(self.signatures) if s.endswith(".yaml")}
        return {key: value for key, value in found.items() if value is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class StudySpec:
    """The content of study.yaml.

    Attributes
    ----------
    id : str
        The study's name.
    data_cutoff : str or None
        ISO date; carried by every document.
    visits : tuple of Visit
        In the order of the file; the first is the reference level.
    adequacy : mapping of column to float
        A biopsy is adequate when each of these columns is at least this large.
    assays : tuple of AssaySpec
    columns : mapping of the site's column name to ours
    """

    id: str
    data_cutoff: str | None
    visits: tuple[Visit, ...]
    adequacy: Mapping[str, float]
    assays: tuple[AssaySpec, ...]
    columns: Mapping[str, str]

    @property
    def visit_names(self) -> tuple[str, ...]:
        """Names of the visits, in order."""
        return tuple(visit.name for visit in self.visits)

    def assay(self, name: str) -> AssaySpec:
        """Give the specification of one assay.

        Raises
        ------
        KeyError
            There is no assay of that name; the nearest are named.
        """
        for spec in self.assays:
            if spec.name == name:
                return spec
        raise KeyError(f"no assay {name!r}. {nearest(name, [a.name for a in self.assays])}")


def _shifted(day: int, days: int) -> int:
    """Move a study day; there is no day 0."""
    linear = (day if day < 0 else day - 1) + days
    return linear if linear < 0 else linear + 1


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    day: int | None = None
    window: int | None = Field(default=None, ge=0, le=1_000)
    low: int | None = None
    high: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, value: Any) -> Any:
        form = "Write [first day, last day], {day: 15, window: 3}, or {} where only labels are known"
        if value is None:
            return {}
        if isinstance(value, list):
            if len(value) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
                raise ValueError(f"The window is not two whole study days. Remedy: {form}")
            return {"low": value[0], "high": value[1]}
        if not isinstance(value, dict):
            raise ValueError(f"The visit has no window that can be read. Remedy: {form}")  # noqa: TRY004
        if "low" in value or "high" in value:
            raise ValueError(f"The keys of a visit are 'day' and 'window'. Remedy: {form}")
        return value

    @model_validator(mode="after")
    def _days(self) -> _Window:
        if self.window is not None and self.day is None:
            raise ValueError("A window needs a day. Remedy: Add 'day', the study day aimed at")
        days = [d for d in (self.day, self.low, self.high) if d is not None]
        if 0 in days:
            raise ValueError(
                "There is no study day 0. Remedy: The day of the first dose is day 1, the day before is -1"
            )
        if any(abs(d) > _FARTHEST_DAY for d in days):
            raise ValueError("The study day is implausible. Remedy: Give days, not dates")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(
                f"The window [{self.low}, {self.high}] ends before it begins. "
                "Remedy: Write the earlier day first"
            )
        return self

    def visit(self, name: str) -> Visit:
        if self.day is not None:
            half = self.window or 0
            return Visit(name, _shifted(self.day, -half), _shifted(self.day, half), self.day)
        return Visit(name, self.low, self.high, None)


class _Assay(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["count", "ihc"]
    file: str | None = None
    genes: str | None = None
    signatures: list[str] = Field(default_factory=list)
    signature_method: str | None = None
    signature_reference: str | None = None
    gene_sets: str | None = None
    h5ad: str | None = None
    cells: CellKeys | None = None
    slides: str | None = None
    panel: str | None = None
    regions: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" not in value:
            if {"slides", "panel", "regions"} & value.keys() and not {"file", "genes"} & value.keys():
                return {**value, "kind": "ihc"}
            raise ValueError("The kind of the assay is missing. Remedy: Add 'kind: count' or 'kind: ihc'")
        return value

    @model_validator(mode="after")
    def _fits(self) -> _Assay:
        given = {key for key in (*_COUNT_KEYS, *_IHC_KEYS) if getattr(self, key)}
        foreign = given - set(_COUNT_KEYS if self.kind == "count" else _IHC_KEYS)
        if foreign:
            raise ValueError(
                f"An assay of kind {self.kind} has no {' or '.join(sorted(foreign))}. "
                "Remedy: Remove the key, or correct the kind"
            )
        if self.kind == "count" and (self.file is None) == (self.h5ad is None):
            raise ValueError(
                "A count assay needs one of 'file' and 'h5ad'. Remedy: Add 'file: counts.csv.gz', or "
                "'h5ad: cells.h5ad' for single cells"
            )
        if self.kind == "count" and self.h5ad is None and self.cells is not None:
            raise ValueError("'cells' belongs to a single-cell file. Remedy: Add 'h5ad', or remove 'cells'")
        return self


class _Study(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str = Field(min_length=1)
    data_cutoff: str | None = None
    visits: dict[str, _Window] = Field(min_length=1)
    adequacy: dict[str, float] = Field(default_factory=dict)
    assays: dict[str, _Assay] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)

    @field_validator("data_cutoff")
    @classmethod
    def _iso(cls, value: str | None) -> str | None:
        if value is not None and (parse_date(value) is None or len(value) != 10):
            raise ValueError("The data cut-off is not an ISO 8601 date. Remedy: Write it as YYYY-MM-DD")
        return value

    @field_validator("adequacy", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: float(v) if isinstance(v, int) and not isinstance(v, bool) else v
                for key, v in value.items()
            }
        return value


def read_spec(path: Path, problems: Problems) -> StudySpec | None:
    """Read and check study.yaml.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Every fault is added, with line and key.

    Returns
    -------
    StudySpec or None
        None when a fault was found.
    """
    document = load_yaml(path, problems, name=path.name)
    if document is None:
        return None
    before = len(problems.errors)
    content = validate_yaml(_Study, document, code="E-STUDY-001", problems=problems)
    if content is None:
        return None
    visits = tuple(window.visit(name) for name, window in content.visits.items())
    _check_names(content.visits, "visits", document, problems)
    _check_names(content.assays, "assays", document, problems)
    _check_assay_names(content.assays, document, problems)
    _check_windows(visits, document, problems)
    if len(problems.errors) > before:
        return None
    return StudySpec(
        id=content.id,
        data_cutoff=content.data_cutoff,
        visits=visits,
        adequacy=dict(content.adequacy),
        assays=tuple(
            AssaySpec(
                name,
                assay.kind,
                file=assay.file,
                genes=assay.genes,
                slides=assay.slides,
                panel=assay.panel,
                regions=assay.regions,
                signatures=tuple(assay.signatures),
                signature_method=assay.signature_method or "mean_log2_cpm",
                signature_reference=assay.signature_reference,
                gene_sets=assay.gene_sets,
                h5ad=assay.h5ad,
                cells=(assay.cells or CellKeys()).options() if assay.h5ad is not None else None,
            )
            for name, assay in content.assays.items()
        ),
        columns=dict(content.columns),
    )


def _check_names(names: Iterable[str], key: str, document: YamlDocument, problems: Problems) -> None:
    """Refuse names that a sheet could not tell apart."""
    seen: dict[str, str] = {}
    for name in names:
        line = document.line((key, name))
        if not name or normal_id(name) != name:
            problems.add(
                "E-STUDY-001",
                "The name is empty, or has spaces or invisible characters around it.",
                remedy="Type the name again.",
                file=document.file,
                row=line,
                column=f"{key}.{name}",
                value=ascii(name),
            )
        twin = seen.setdefault(skeleton(name), name)
        if twin != name:
            problems.add(
                "E-STUDY-001",
                f"The names {twin!r} and {name!r} differ only in case, spaces or look-alike characters.",
                remedy="Give them names that a reader can tell apart.",
                file=document.file,
                row=line,
                column=f"{key}.{name}",
                value=name,
            )


def _check_assay_names(assays: Mapping[str, _Assay], document: YamlDocument, problems: Problems) -> None:
    for name in assays:
        counts = name.removesuffix(_SIGNATURES)
        if counts != name and counts in assays and assays[counts].kind == "count":
            problems.add(
                "E-STUDY-001",
                f"The signatures of the assay {counts!r} become an assay {name!r}: that name is taken.",
                remedy=f"Give the assay another name than that of {counts!r} with '{_SIGNATURES}' behind it.",
                file=document.file,
                row=document.line(("assays", name)),
                column=f"assays.{name}",
                value=name,
            )
        if not _ASSAY_NAME.fullmatch(name):
            problems.add(
                "E-STUDY-001",
                "The name of an assay must start with a letter and hold letters, digits and '_' only.",
                remedy="Rename it, for example 'rna' or 'ihc_cd8'.",
                file=document.file,
                row=document.line(("assays", name)),
                column=f"assays.{name}",
                value=name,
            )


def _check_windows(visits: tuple[Visit, ...], document: YamlDocument, problems: Problems) -> None:
    windows = [(v.low, v.high, v.name) for v in visits if v.low is not None and v.high is not None]
    for position, (low, high, name) in enumerate(windows):
        line, column = document.line(("visits", name)), f"visits.{name}"
        for other_low, other_high, other in windows[:position]:
            if low <= other_high and other_low <= high:
                problems.add(
                    "E-STUDY-003",
                    f"The windows of {other!r} [{other_low}, {other_high}] and {name!r} [{low}, {high}] "
                    "overlap.",
                    remedy="Give each study day to one visit at most.",
                    file=document.file,
                    row=line,
                    column=column,
                    value=f"[{low}, {high}]",
                )
        if position and low < windows[0][0]:
            problems.add(
                "E-STUDY-003",
                f"The window of {name!r} lies before that of the first visit, {windows[0][2]!r}, which is "
                "the reference level.",
                remedy="List the baseline visit first.",
                severity="warning",
                file=document.file,
                row=line,
                column=column,
                value=f"[{low}, {high}]",
            )


def check_spec_columns(
    spec: StudySpec, sheets: Mapping[str, Iterable[str]], numeric: Iterable[str], *, problems: Problems
) -> None:
    """Check the columns that study.yaml names against those of the sheets.

    Parameters
    ----------
    spec : StudySpec
    sheets : mapping of sheet to the columns of its header, as the site named them
    numeric : iterable of str
        Numeric columns of biopsies.csv, under our names.
    problems : Problems
    """
    every = {column for columns in sheets.values() for column in columns}
    for theirs in spec.columns:
        if theirs not in every:
            problems.add(
                "E-STUDY-001",
                f"No sheet has a column {theirs!r}.",
                remedy=nearest(theirs, sorted(every)),
                file=FILE,
                column=f"columns.{theirs}",
                value=theirs,
            )
    known = list(numeric)
    for column in spec.adequacy:
        if column not in known:
            problems.add(
                "E-STUDY-001",
                f"Adequacy needs a numeric column {column!r} in biopsies.csv.",
                remedy=nearest(column, known),
                file=FILE,
                column=f"adequacy.{column}",
                value=column,
            )


def spec_mapping(spec: StudySpec) -> dict[str, Any]:
    """Give the content of study.yaml for a specification whose sheets carry our column names."""
    visits: dict[str, Any] = {}
    for visit in spec.visits:
        if visit.target is not None and visit.low is not None:
            visits[visit.name] = {"day": visit.target, "window": _days_between(visit.low, visit.target)}
        else:
            visits[visit.name] = [visit.low, visit.high] if visit.has_window else {}
    content: dict[str, Any] = {"id": spec.id}
    if spec.data_cutoff is not None:
        content["data_cutoff"] = spec.data_cutoff
    content["visits"] = visits
    if spec.adequacy:
        content["adequacy"] = dict(spec.adequacy)
    assays: dict[str, Any] = {}
    for assay in spec.assays:
        entry: dict[str, Any] = {"kind": assay.kind}
        for key in (
            "file",
            "genes",
            "slides",
            "panel",
            "regions",
            "signature_reference",
            "gene_sets",
            "h5ad",
        ):
            if getattr(assay, key) is not None:
                entry[key] = getattr(assay, key)
        if assay.signatures:
            entry["signatures"] = list(assay.signatures)
        if assay.signature_method != "mean_log2_cpm":
            entry["signature_method"] = assay.signature_method
        if assay.cells is not None:
            entry["cells"] = {k: v for k, v in dataclasses.asdict(assay.cells).items() if v is not None}
        assays[assay.name] = entry
    if assays:
        content["assays"] = assays
    return content


def _days_between(first: int, last: int) -> int:
    """Days from one study day to another; there is no day 0."""
    return (last if last < 0 else last - 1) - (first if first < 0 else first - 1)

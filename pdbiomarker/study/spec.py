"""study.yaml: visits, adequacy, assays and column names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pdbiomarker.errors import Problems
from pdbiomarker.study.assays import AssayKeys, AssaySpec
from pdbiomarker.study.declared import Declared, DeclaredKeys
from pdbiomarker.study.ids import normal_id, skeleton
from pdbiomarker.study.migration import KEY, SCHEMA, migrated
from pdbiomarker.study.rules import AdequacyRule, Archival, ArchivalKeys, RuleKeys
from pdbiomarker.study.schedule import Schedule, ScheduleKeys, complete_visits, days_between, shifted
from pdbiomarker.tables import YamlDocument, load_yaml, nearest, parse_date, validate_yaml

FILE: Final = "study.yaml"
_ASSAY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_SIGNATURES: Final = "_signatures"  # a run scores them beside each count assay, under its name and this
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
    after_last_dose, half : int or None
        Of a visit that counts from the last dose: how many days after it, and how far from that day.
    """

    name: str
    low: int | None = None
    high: int | None = None
    target: int | None = None
    after_last_dose: int | None = None
    half: int | None = None

    @property
    def has_window(self) -> bool:
        """Tell whether study days decide this visit."""
        return self.low is not None and self.high is not None

    def holds(self, day: int) -> bool:
        """Tell whether a study day lies in the window."""
        return self.low is not None and self.high is not None and self.low <= day <= self.high


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
    adequacy : mapping of column to AdequacyRule
        A biopsy is adequate when it fails none of these rules.
    assays : tuple of AssaySpec
    columns : mapping of the site's column name to ours
    declared : Declared
        Facts that the data cannot show.
    schedule : Schedule
        Length of cycles, screening and follow-up.
    archival : Archival
        Whether archival tissue may be a baseline.
    """

    id: str
    data_cutoff: str | None
    visits: tuple[Visit, ...]
    adequacy: Mapping[str, AdequacyRule]
    assays: tuple[AssaySpec, ...]
    columns: Mapping[str, str]
    declared: Declared = dataclasses.field(default_factory=Declared)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    archival: Archival = dataclasses.field(default_factory=Archival)

    @property
    def visit_names(self) -> tuple[str, ...]:
        """Names of the visits, in order."""
        return tuple(visit.name for visit in self.visits)

    def nominal_day(self, name: str) -> int | None:
        """Give the study day that a visit aims at: as declared, or by its name CnDd."""
        aims = {visit.name: visit.target for visit in self.visits}
        aim = aims.get(name)
        return self.schedule.nominal_day(name) if aim is None else aim

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


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    day: int | None = None
    window: int | None = Field(default=None, ge=0, le=1_000)
    low: int | None = None
    high: int | None = None
    after_last_dose: int | None = Field(default=None, ge=1, le=1_000)

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
        if self.window is not None and self.day is None and self.after_last_dose is None:
            raise ValueError("A window needs a day. Remedy: Add 'day', the study day aimed at")
        if self.day is not None and self.after_last_dose is not None:
            raise ValueError("A visit has a day or counts from the last dose. Remedy: Keep one of the two")
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
        if self.after_last_dose is not None:
            return Visit(name, after_last_dose=self.after_last_dose, half=self.window or 0)
        if self.day is not None:
            half = self.window or 0
            return Visit(name, shifted(self.day, -half), shifted(self.day, half), self.day)
        return Visit(name, self.low, self.high, None)


class _Study(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    schema_version: int = Field(default=SCHEMA, alias=KEY)
    id: str = Field(min_length=1)
    data_cutoff: str | None = None
    visits: dict[str, _Window] = Field(min_length=1)
    schedule: ScheduleKeys = Field(default_factory=ScheduleKeys)
    adequacy: dict[str, RuleKeys] = Field(default_factory=dict)
    archival: ArchivalKeys = Field(default_factory=ArchivalKeys)
    assays: dict[str, AssayKeys] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
    declared: DeclaredKeys = Field(default_factory=DeclaredKeys)

    @field_validator("data_cutoff")
    @classmethod
    def _iso(cls, value: str | None) -> str | None:
        if value is not None and (parse_date(value) is None or len(value) != 10):
            raise ValueError("The data cut-off is not an ISO 8601 date. Remedy: Write it as YYYY-MM-DD")
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """Write out visits that their name describes; a faulty schedule is told where it stands."""
        if not isinstance(data, dict) or not isinstance(data.get("visits"), dict):
            return data
        try:
            keys = ScheduleKeys.model_validate(data.get("schedule", {}))
        except ValidationError:
            keys = ScheduleKeys()
        return {**data, "visits": complete_visits(data["visits"], keys.schedule())}


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
    document = migrated(document, problems)
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
    _check_declared(content, document, problems)
    _check_windows(visits, document, problems)
    _check_nominal(visits, content.schedule.schedule(), document, problems)
    _check_rules(content, document, problems)
    if len(problems.errors) > before:
        return None
    return StudySpec(
        id=content.id,
        data_cutoff=content.data_cutoff,
        visits=visits,
        adequacy={column: AdequacyRule.of(column, keys) for column, keys in content.adequacy.items()},
        assays=tuple(assay.spec(name) for name, assay in content.assays.items()),
        columns=dict(content.columns),
        declared=content.declared.declared(),
        schedule=content.schedule.schedule(),
        archival=content.archival.archival(),
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


def _check_assay_names(assays: Mapping[str, AssayKeys], document: YamlDocument, problems: Problems) -> None:
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


def _check_declared(content: _Study, document: YamlDocument, problems: Problems) -> None:
    """Refuse the precision of an assay that the study does not have."""
    for reference in content.declared.assay_cv_pct:
        assay = reference.partition(":")[0]
        if not any(assay == name or assay.startswith(f"{name}_") for name in content.assays):
            place = ("declared", "assay_cv_pct", reference)
            problems.add(
                "E-STUDY-001",
                f"The precision is of an assay {assay!r} that the study does not have.",
                remedy=nearest(assay, list(content.assays)),
                file=document.file,
                row=document.line(place),
                column=".".join(place),
                value=reference,
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


def _check_nominal(
    visits: Sequence[Visit], schedule: Schedule, document: YamlDocument, problems: Problems
) -> None:
    """Tell of a visit CnDd that is aimed at another day than its name says."""
    for visit in visits:
        named = schedule.nominal_day(visit.name)
        if named is None or visit.target is None or visit.target == named:
            continue
        problems.add(
            "E-STUDY-010",
            f"The name of visit {visit.name!r} says study day {named} in cycles of {schedule.cycle_days} "
            f"days, its key 'day' says {visit.target}.",
            remedy="Correct the day, or 'cycle_days' under 'schedule'.",
            severity="warning",
            file=document.file,
            row=document.line(("visits", visit.name)),
            column=f"visits.{visit.name}",
            value=visit.target,
        )


def _check_rules(content: _Study, document: YamlDocument, problems: Problems) -> None:
    """Refuse rules of adequacy for assays that the study does not have."""
    for column, keys in content.adequacy.items():
        for assay in keys.assays:
            known = list(content.assays)
            if assay not in known and not any(assay.startswith(f"{name}_") for name in known):
                problems.add(
                    "E-STUDY-001",
                    f"The rule of adequacy for {column!r} names an assay {assay!r}; the study has none.",
                    remedy=nearest(assay, known),
                    file=document.file,
                    row=document.line(("adequacy", column)),
                    column=f"adequacy.{column}.assays",
                    value=assay,
                )


def check_spec_columns(
    spec: StudySpec,
    sheets: Mapping[str, Iterable[str]],
    columns: Mapping[str, Mapping[str, bool]],
    *,
    problems: Problems,
) -> None:
    """Check the columns that study.yaml names against those of the sheets.

    Parameters
    ----------
    spec : StudySpec
    sheets : mapping of sheet to the columns of its header, as the site named them
    columns : mapping of sheet to (mapping of column to bool)
        Columns of biopsies.csv and libraries.csv, under our names, and whether they are numeric.
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
    for column, rule in spec.adequacy.items():
        numeric = next((found[column] for found in columns.values() if column in found), None)
        if numeric is None or (rule.is_numeric and not numeric):
            kind = "numeric column" if rule.is_numeric else "column"
            known = [c for found in columns.values() for c, n in found.items() if n or not rule.is_numeric]
            problems.add(
                "E-STUDY-001",
                f"Adequacy needs a {kind} {column!r} in {' or '.join(columns) or 'biopsies.csv'}.",
                remedy=nearest(column, known),
                file=FILE,
                column=f"adequacy.{column}",
                value=column,
            )


def spec_mapping(spec: StudySpec) -> dict[str, Any]:
    """Give the content of study.yaml for a specification whose sheets carry our column names."""
    visits: dict[str, Any] = {}
    for visit in spec.visits:
        if visit.after_last_dose is not None:
            visits[visit.name] = {"after_last_dose": visit.after_last_dose, "window": visit.half or 0}
        elif visit.target is not None and visit.low is not None:
            visits[visit.name] = {"day": visit.target, "window": days_between(visit.low, visit.target)}
        else:
            visits[visit.name] = [visit.low, visit.high] if visit.has_window else {}
    content: dict[str, Any] = {"id": spec.id}
    if spec.data_cutoff is not None:
        content["data_cutoff"] = spec.data_cutoff
    content["visits"] = visits
    if spec.adequacy:
        content["adequacy"] = {column: rule.facts() for column, rule in spec.adequacy.items()}
    if spec.schedule != Schedule():
        content["schedule"] = dataclasses.asdict(spec.schedule)
    if spec.archival != Archival():
        content["archival"] = {k: v for k, v in dataclasses.asdict(spec.archival).items() if v is not None}
    if spec.assays:
        content["assays"] = {assay.name: assay.facts() for assay in spec.assays}
    if spec.declared.facts():
        content["declared"] = spec.declared.facts()
    return content

"""All rules of response and survival in one object, and the YAML file that holds them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pdbiomarker.clinical.response.assessments import day_of
from pdbiomarker.clinical.response.rules import ResponseRules
from pdbiomarker.clinical.survival.rules import (
    PRIMARY,
    SENSITIVITY,
    AssessmentSchedule,
    CensoringRules,
    Missed,
    NewTherapy,
    Withdrawal,
)
from pdbiomarker.errors import Problems
from pdbiomarker.study.clinical import FOLDER, RULES_FILE
from pdbiomarker.tables import load_yaml, validate_yaml

__all__ = ["EfficacyRules", "read_efficacy_rules", "rules_of_folder"]


@dataclasses.dataclass(frozen=True, slots=True)
class EfficacyRules:
    """All that a protocol decides about response and survival.

    Attributes
    ----------
    response : ResponseRules
    primary, sensitivity : CensoringRules
    schedule : AssessmentSchedule or None
        Without it nobody is censored for missed assessments.
    reader : str or None
        Whose assessments count.
    cutoff : date or None
        The data cut-off.
    by : str or None
        A column of the participants for rates and curves by group.
    """

    response: ResponseRules = dataclasses.field(default_factory=ResponseRules)
    primary: CensoringRules = PRIMARY
    sensitivity: CensoringRules = SENSITIVITY
    schedule: AssessmentSchedule | None = None
    reader: str | None = None
    cutoff: dt.date | None = None
    by: str | None = "dose_mg"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(_Part):
    min_sd_days: int = 42
    confirmation_days: int = 28
    max_ne_between: int = 1
    accept_sd_between: bool = False
    missing_as_ne: bool = False


class _Censoring(_Part):
    name: str | None = None
    new_therapy: NewTherapy | None = None
    missed_assessments: Missed | None = None
    max_missed: int | None = None
    no_baseline: Missed | None = None
    withdrawal: Withdrawal | None = None
    count_first_day: bool | None = None


class _Schedule(_Part):
    every_days: int
    window_days: int = 7
    days: list[int] = Field(default_factory=list)


class _File(_Part):
    response: _Response = _Response()
    primary: _Censoring = _Censoring()
    sensitivity: _Censoring = _Censoring()
    schedule: _Schedule | None = None
    reader: str | None = None
    cutoff: dt.date | None = None
    by: str | None = "dose_mg"


def read_efficacy_rules(path: str | Path, *, name: str | None = None) -> EfficacyRules:
    """Read a YAML file with the rules.

    Parameters
    ----------
    path : path
        Keys ``response, primary, sensitivity, schedule, reader, cutoff, by``, all optional; below them the
        names of the attributes of :class:`ResponseRules`, :class:`CensoringRules` and
        :class:`AssessmentSchedule`.
    name : str, optional
        What problems call the file; default, its name.

    Returns
    -------
    EfficacyRules

    Raises
    ------
    InputError
        E-SURV-002, E-RESP-008: a key or value that there is not, with its line; E-FILE-001.
    """
    problems = Problems()
    document = load_yaml(path, problems, name=name)
    problems.raise_if_any()
    read = None if document is None else validate_yaml(_File, document, code="E-SURV-002", problems=problems)
    problems.raise_if_any()
    if read is None:
        return EfficacyRules()
    schedule = None
    if read.schedule is not None:
        part = read.schedule
        schedule = AssessmentSchedule(part.every_days, part.window_days, tuple(part.days))
    primary, sensitivity = (
        dataclasses.replace(preset, **part.model_dump(exclude_none=True))
        for preset, part in ((PRIMARY, read.primary), (SENSITIVITY, read.sensitivity))
    )
    return EfficacyRules(
        response=ResponseRules(**read.response.model_dump()),
        primary=primary,
        sensitivity=sensitivity,
        schedule=schedule,
        reader=read.reader,
        cutoff=day_of(read.cutoff),
        by=read.by,
    )


def rules_of_folder(folder: str | Path | None) -> EfficacyRules:
    """Read the rules that a study folder carries, ``clinical/rules.yaml``.

    Parameters
    ----------
    folder : path or None
        The study folder; None, and a folder without such a file: the default rules.

    Returns
    -------
    EfficacyRules

    Raises
    ------
    InputError
        As in :func:`read_efficacy_rules`.
    """
    name = f"{FOLDER}/{RULES_FILE}"
    path = None if folder is None else Path(folder) / name
    return EfficacyRules() if path is None or not path.is_file() else read_efficacy_rules(path, name=name)

"""From tables of samples and doses to one clean profile for each participant and dose."""

from __future__ import annotations

import dataclasses
import math
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.clinical.pk.areas import METHODS
from pdbiomarker.clinical.pk.convert import common_unit, lines_of, text_of, unit_factors
from pdbiomarker.errors import Problems
from pdbiomarker.study.clinical_reading import parse_concentration
from pdbiomarker.tables import nearest

__all__ = [
    "NO_DOSE",
    "ROUTES",
    "BlqRule",
    "Course",
    "Dose",
    "Profile",
    "check_options",
    "common_unit",
    "courses",
    "place_blq",
]

#: What is said of a participant without a dose, such as one on placebo whose samples have no time.
NO_DOSE: Final = "no dose"
ROUTES: Final = ("infusion", "bolus", "oral")
_RULES: Final = ("zero", "drop", "half_lloq")


@dataclasses.dataclass(frozen=True, slots=True)
class BlqRule:
    """What a value below the limit of quantification becomes: ``zero``, ``drop`` or ``half_lloq``.

    Attributes
    ----------
    first : str
        Before the first value above the limit.
    middle : str
        Between two values above it.
    last : str
        After the last value above it. It moves AUCall only: AUClast ends at the last value above the limit.
    """

    first: Literal["zero", "drop", "half_lloq"] = "zero"
    middle: Literal["zero", "drop", "half_lloq"] = "drop"
    last: Literal["zero", "drop", "half_lloq"] = "zero"


@dataclasses.dataclass(frozen=True, slots=True)
class Dose:
    """A dose: its time (h from the first dose), amount (NaN where not known) and duration (h)."""

    time: float
    amount: float
    duration: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """Samples of one participant after one dose; times from that dose.

    Attributes
    ----------
    t, c : array, shape (n,)
        Times (h) and concentrations, 0 where below the limit, after the rule for them was applied.
    above : bool array, shape (n,)
        Above the limit of quantification.
    flags : tuple of str
        What had to be assumed.
    assumed : bool
        Whether the value at the dose was not sampled there: it takes part in areas, and is never Cmax.
    """

    t: NDArray[np.float64]
    c: NDArray[np.float64]
    above: NDArray[np.bool_]
    flags: tuple[str, ...] = ()
    assumed: bool = False

    @property
    def highest(self) -> int:
        """Position of the (first) largest concentration sampled above the limit; 0 where there is none."""
        values = np.where(self.above, self.c, -1.0)
        if self.assumed:
            values[0] = -1.0
        return int(np.argmax(values))

    @property
    def upto_last(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times and concentrations up to the last one above the limit."""
        if not self.above.any():
            return self.t[:0], self.c[:0]
        end = int(np.flatnonzero(self.above)[-1]) + 1
        return self.t[:end], self.c[:end]

    def with_tail(self, slope: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times and concentrations to integrate over when what follows the last one above the limit matters.

        With a slope, they end there and the slope goes on; a line from it down to 0 at a sample below the
        limit, which may lie weeks later, would make most of the area. Without one, that line is all there is.
        """
        return self.upto_last if math.isfinite(slope) and self.above.any() else (self.t, self.c)

    @property
    def n_above(self) -> int:
        """How many samples above the limit there are, without an assumed one."""
        return int(self.above[1:].sum() if self.assumed else self.above.sum())


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """All samples and doses of one participant.

    Attributes
    ----------
    participant_id : str
    t, c, lloq : array, shape (n,)
        h from the first dose; concentration (NaN below the limit); LLOQ (NaN where not known).
    blq : bool array, shape (n,)
    doses : tuple of Dose
        By time.
    n_missing : int
        Samples without a value, left out.
    """

    participant_id: str
    t: NDArray[np.float64]
    c: NDArray[np.float64]
    lloq: NDArray[np.float64]
    blq: NDArray[np.bool_]
    doses: tuple[Dose, ...]
    n_missing: int = 0

    def between(self, start: float, end: float, *, with_end: bool = True) -> NDArray[np.bool_]:
        """Samples from `start` on to `end`, the end included unless told otherwise."""
        return (self.t >= start) & ((self.t <= end) if with_end else (self.t < end))


def check_options(route: str, method: str, problems: Problems) -> None:
    """Add E-PK-008 for an unknown route or method."""
    for name, value, known in (("route", route, ROUTES), ("method", method, METHODS)):
        if value not in known:
            problems.add(
                "E-PK-008",
                f"There is no {name} {value!r}.",
                remedy=f"Give one of: {', '.join(known)}. {nearest(str(value), known)}",
                column=name,
                value=value,
            )


def courses(concentrations: pd.DataFrame, doses: pd.DataFrame, *, blq: BlqRule | None = None) -> list[Course]:
    """Check tables of samples and doses and give each participant's course, by id.

    Parameters
    ----------
    concentrations : DataFrame
        participant_id, time_h (from the first dose), concentration: numbers, or texts such as ``<0.5`` and
        ``BLQ``. 0 and ``blq`` (bool) are below the limit. NaN is below the limit where neither a column
        ``blq`` nor a text says what is, else not measured. lloq, unit, analyte, specimen where known.
    doses : DataFrame
        participant_id, time_h, amount; duration_h, unit, weight_kg where known.
    blq : BlqRule, optional

    Returns
    -------
    list of Course
        Those with samples, and those with doses only; one without doses has no sample that could be placed.
        Concentrations are in the unit that most samples have, amounts in that unit times L.

    Raises
    ------
    InputError
        E-PK-001 to -007 and -011: everything that is wrong with either table.
    """
    problems = Problems()
    rule = BlqRule() if blq is None else blq
    for place in ("first", "middle", "last"):
        if getattr(rule, place) not in _RULES:
            problems.add(
                "E-PK-008",
                f"There is no rule {getattr(rule, place)!r} for values below the limit.",
                remedy=f"Give one of: {', '.join(_RULES)}.",
                column=f"blq.{place}",
                value=getattr(rule, place),
            )
    _need(concentrations, "concentrations", ("participant_id", "time_h", "concentration"), problems)
    _need(doses, "doses", ("participant_id", "time_h", "amount"), problems)
    problems.raise_if_any()
    samples = _samples(concentrations, problems)
    given = _doses(doses, problems)
    _units(samples, given, concentrations, doses, problems)
    needs_lloq = "half_lloq" in (rule.first, rule.middle, rule.last)
    if needs_lloq and samples.loc[samples["blq"], "lloq"].isna().any():
        problems.add(
            "E-PK-001",
            "Half the LLOQ was asked for, and the LLOQ of a value below it is not known.",
            remedy="Add the column lloq, or take another rule.",
            file="concentrations",
            column="lloq",
        )
    _check_people(samples, given, problems)
    problems.raise_if_any()
    people = sorted({*samples["participant_id"], *given["participant_id"]})
    return [_course(person, samples, given) for person in people]


def clean_samples(concentrations: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Give samples as numbers in one unit: participant_id, time_h, concentration, blq, lloq, missing, row.

    Raises
    ------
    InputError
        E-PK-001: a column is missing. Other faults are added to `problems`.
    """
    _need(concentrations, "concentrations", ("participant_id", "time_h", "concentration"), problems)
    problems.raise_if_any()
    samples = _samples(concentrations, problems)
    if "unit" in concentrations and (target := common_unit(concentrations["unit"])) is not None:
        factors = unit_factors(concentrations, "concentrations", target, problems)
        for column in ("concentration", "lloq"):
            samples[column] = samples[column].to_numpy() * factors
    return samples


def _need(frame: pd.DataFrame, name: str, columns: tuple[str, ...], problems: Problems) -> None:
    for column in columns:
        if column not in frame:
            problems.add(
                "E-PK-001",
                f"The table of {name} has no column {column!r}.",
                remedy=f"Add it. {nearest(column, map(str, frame.columns))}",
                file=name,
                column=column,
            )


def _numbers(frame: pd.DataFrame, name: str, column: str, problems: Problems) -> NDArray[np.float64]:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~np.isfinite(values) & frame[column].notna().to_numpy()
    for row in np.flatnonzero(wrong)[:20]:
        problems.add(
            "E-PK-001",
            "The value is not a finite number.",
            remedy="Give a number, or leave the cell empty.",
            file=name,
            row=lines_of(frame)[row],
            column=column,
            value=frame[column].iloc[row],
        )
    return values


def _people(frame: pd.DataFrame, name: str, problems: Problems) -> NDArray[np.object_]:
    people = [text_of(value) for value in frame["participant_id"].tolist()]
    for row, person in enumerate(people):
        if person is None:
            problems.add(
                "E-PK-001",
                "The participant_id is missing.",
                remedy="Give every row its id.",
                file=name,
                row=lines_of(frame)[row],
                column="participant_id",
            )
    return np.array(["" if person is None else person for person in people], dtype=object)


def _samples(frame: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Samples with numbers; those without a value, a time or an id have `missing`."""
    time = _numbers(frame, "concentrations", "time_h", problems)
    texts = [text_of(value) for value in frame["concentration"].tolist()]
    read = [None if text is None else parse_concentration(text) for text in texts]
    values = np.array([np.nan if r is None else r[0] for r in read])
    below = np.array([r is not None and r[1] for r in read], dtype=bool)
    limits = np.array([np.nan if r is None else r[2] for r in read])
    for row, (text, got) in enumerate(zip(texts, read, strict=True)):
        if text is not None and got is None:
            problems.add(
                "E-PK-001",
                "The concentration is neither a number nor a text for below the limit.",
                remedy="Write a number, '<0.5' or 'BLQ'.",
                file="concentrations",
                row=lines_of(frame)[row],
                column="concentration",
                value=text,
            )
    spelt = any(
        text is not None and r is not None and r[1] and r[0] != r[0] and not _is_zero(text)
        for text, r in zip(texts, read, strict=True)
    )
    empty = np.array([text is None for text in texts], dtype=bool)
    if "blq" in frame:
        below |= frame["blq"].map(_is_true).to_numpy(dtype=bool)
    elif not spelt:
        below |= empty
    lloq = (
        _numbers(frame, "concentrations", "lloq", problems)
        if "lloq" in frame
        else np.full(len(frame), np.nan)
    )
    lloq = np.where(np.isnan(lloq), limits, lloq)
    with np.errstate(invalid="ignore"):
        below |= (values >= 0) & (values < lloq)
    return pd.DataFrame(
        {
            "participant_id": (people := _people(frame, "concentrations", problems)),
            "time_h": time,
            "concentration": np.where(below, np.nan, values),
            "blq": below,
            "lloq": lloq,
            "missing": (empty & ~below) | np.isnan(time) | (people == ""),
            "row": lines_of(frame),
        }
    )


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _is_true(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().casefold() in {"true", "yes", "y", "1"}
    return bool(value) and not pd.isna(value)  # type: ignore[call-overload]


def _doses(frame: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    given = pd.DataFrame(
        {
            "participant_id": _people(frame, "doses", problems),
            "time_h": _numbers(frame, "doses", "time_h", problems),
            "amount": _numbers(frame, "doses", "amount", problems),
            "duration_h": _numbers(frame, "doses", "duration_h", problems) if "duration_h" in frame else 0.0,
            "row": lines_of(frame),
        }
    )
    given["duration_h"] = given["duration_h"].fillna(0.0)
    for bad, said in (
        (given["amount"] <= 0, "The amount of a dose is not positive."),
        (given["duration_h"] < 0, "The duration of a dose is negative."),
        (given["time_h"].isna(), "The time of a dose is not known."),
        (given.duplicated(["participant_id", "time_h"]), "Two doses of a participant have the same time."),
    ):
        for row in given.index[bad]:
            person, amount, time = (given[c][row] for c in ("participant_id", "amount", "time_h"))
            problems.add(
                "E-PK-005",
                said,
                remedy="Correct it, or leave out doses that were not given.",
                file="doses",
                row=int(given["row"][row]),
                column="amount",
                value=f"{person}: {amount:g} at {time:g} h",
            )
    return given


def _check_people(samples: pd.DataFrame, given: pd.DataFrame, problems: Problems) -> None:
    for row in samples.index[samples["concentration"] < 0]:
        problems.add(
            "E-PK-002",
            f"A concentration of participant {samples['participant_id'][row]!r} is negative.",
            remedy="Correct it; below the limit is 'BLQ' or 0.",
            file="concentrations",
            row=int(samples["row"][row]),
            column="concentration",
            value=samples["concentration"][row],
        )
    kept = samples[~samples["missing"]]
    for row in kept.index[kept.duplicated(["participant_id", "time_h"])]:
        problems.add(
            "E-PK-003",
            f"Participant {kept['participant_id'][row]!r} has two samples at {kept['time_h'][row]:g} h.",
            remedy="Keep one; several analytes or specimens are analysed apart.",
            file="concentrations",
            row=int(kept["row"][row]),
            column="time_h",
            value=kept["time_h"][row],
        )
    dosed = set(given["participant_id"])
    for person in dict.fromkeys(kept["participant_id"]):
        if person not in dosed:
            problems.add(
                "E-PK-004",
                f"Participant {person!r} has concentrations and no dose.",
                remedy="Add the doses, or leave the participant out.",
                file="doses",
                column="participant_id",
                value=person,
            )


def _units(
    samples: pd.DataFrame,
    given: pd.DataFrame,
    concentrations: pd.DataFrame,
    doses: pd.DataFrame,
    problems: Problems,
) -> None:
    """Convert concentrations to one unit and amounts to that unit times L, in place."""
    for column in ("analyte", "specimen"):
        if column in concentrations and concentrations[column].dropna().nunique() > 1:
            found = sorted(map(str, concentrations[column].dropna().unique()))
            problems.add(
                "E-PK-011",
                f"The table holds several {column}s: {', '.join(found)}.",
                remedy="Give the rows of one at a time.",
                file="concentrations",
                column=column,
                value=", ".join(found),
            )
    with_units = ("unit" in concentrations, "unit" in doses)
    if not any(with_units):
        return
    if not all(with_units):
        lacking = "doses" if with_units[0] else "concentrations"
        problems.add(
            "E-PK-005" if with_units[0] else "E-PK-006",
            f"The table of {lacking} has no column 'unit', the other one has.",
            remedy="Give the unit of both, or of neither.",
            file=lacking,
            column="unit",
        )
        return
    target = common_unit(concentrations["unit"])
    if target is None:
        return
    for frame, table, name in ((samples, concentrations, "concentrations"), (given, doses, "doses")):
        factors = unit_factors(table, name, target, problems)
        for column in ("concentration", "lloq") if name == "concentrations" else ("amount",):
            frame[column] = frame[column].to_numpy() * factors


def _course(person: str, samples: pd.DataFrame, given: pd.DataFrame) -> Course:
    own = samples[samples["participant_id"] == person].sort_values("time_h", kind="stable")
    kept = own[~own["missing"]]
    mine = given[given["participant_id"] == person].sort_values("time_h", kind="stable")
    doses = tuple(
        Dose(float(t), float(a), float(d))
        for t, a, d in zip(mine["time_h"], mine["amount"], mine["duration_h"], strict=True)
    )
    return Course(
        person,
        kept["time_h"].to_numpy(dtype=float),
        kept["concentration"].to_numpy(dtype=float),
        kept["lloq"].to_numpy(dtype=float),
        kept["blq"].to_numpy(dtype=bool),
        doses,
        int(own["missing"].sum()),
    )


def place_blq(course: Course, chosen: NDArray[np.bool_], origin: float, rule: BlqRule) -> Profile:
    """Give the profile of some samples, with values below the limit as the rule says.

    Parameters
    ----------
    course : Course
    chosen : bool array, shape (n,)
    origin : float
        The time that becomes 0.
    rule : BlqRule
    """
    t, c, lloq = course.t[chosen] - origin, course.c[chosen], course.lloq[chosen]
    above = ~course.blq[chosen]
    keep = np.ones(len(t), dtype=bool)
    values = np.where(above, c, 0.0)
    at = np.flatnonzero(above)
    for i in np.flatnonzero(~above):
        before, after = len(at) == 0 or i < at[0], len(at) > 0 and i > at[-1]
        what = rule.first if before else (rule.last if after else rule.middle)
        keep[i] = what != "drop"
        values[i] = lloq[i] / 2 if what == "half_lloq" else 0.0
    return Profile(t[keep], values[keep], above[keep])

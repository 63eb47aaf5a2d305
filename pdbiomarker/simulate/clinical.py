r"""The trial around the biopsies, with its truth: doses, concentrations, lesions, outcomes, ADA, events.

Concentrations follow two compartments with a one-hour infusion every 14 days (C1D1, C1D15, C2D1, ...)::

    C(t) = sum over doses, k of  dose / (T V1) A_k / l_k (exp(-l_k (s - T)+) - exp(-l_k s)),   s = t - start

with :math:`\lambda_1 > \lambda_2` the two rates of the compartments and :math:`A_1 = (\lambda_1 - k_{21}) /
(\lambda_1 - \lambda_2)`, :math:`A_2 = 1 - A_1`. The clearance differs between participants (log-normal) and
depends on nothing else: the area under a single dose is dose / clearance exactly. Measured values have a
proportional error; below the limit of quantification stands its text.

The target lesions of a participant share one rate of growth, slower the more CD8+ cells the drug brings in
(``true_change_log2``), with noise of measurement. The trial goes on until progression, death, withdrawal or
the data cut-off; the sheets hold what would be recorded, and ``truth/clinical.csv`` what was drawn.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.simulate.trial import DATA_CUTOFF, records_of, study_date

__all__ = ["CLINICAL_RULES", "ClinicalDraw", "concentration", "draw_clinical"]

#: L/h, L, L/h, L: clearance, central volume, flow between, second volume.
_TYPICAL: Final = {"clearance": 0.02, "volume": 3.2, "flow": 0.03, "second_volume": 2.4}
_BETWEEN_SD: Final = 0.25
_ERROR_SD: Final = 0.08
_LLOQ: Final = 0.05
_INFUSION_H: Final = 1.0
_INTERVAL_DAYS: Final = 14
#: Hours after the start of the first infusion; the last two are before and after that of C2D1.
_NOMINAL_H: Final = (0.0, 1.0, 4.0, 24.0, 72.0, 168.0, 335.5, 671.5, 673.0)
_SCAN_DAYS: Final = 56
#: ``clinical/rules.yaml``: when tumours are to be assessed, so that a missed assessment is known.
CLINICAL_RULES: Final = f"""\
schedule:
  every_days: {_SCAN_DAYS}
  window_days: 7
"""
_MOST_SCANS: Final = 8
_MEASUREMENT_SD: Final = 0.04
_LOST: Final = 0.06
_TERMS: Final = (
    ("Fatigue", "General disorders", 0.45),
    ("Pyrexia", "General disorders", 0.35),
    ("Infusion related reaction", "Injury, poisoning and procedural complications", 0.20),
    ("Alanine aminotransferase increased", "Investigations", 0.15),
    ("Lymphocyte count decreased", "Investigations", 0.15),
    ("Rash", "Skin and subcutaneous tissue disorders", 0.20),
    ("Nausea", "Gastrointestinal disorders", 0.25),
)
_BASELINE_ADA: Final = 0.08
_INDUCED_ADA: Final = 0.25

Sheets = Mapping[str, pd.DataFrame]
_Row = dict[str, object]


@dataclasses.dataclass(frozen=True, slots=True)
class ClinicalDraw:
    """The clinical sheets and what is true of them.

    Attributes
    ----------
    sheets : mapping of name to DataFrame
        ``doses, concentrations, lesions, outcomes, ada, adverse_events``: files of the folder ``clinical/``.
    truth : DataFrame
        One row per participant: ``clearance`` (L/h), ``volume`` (L), ``auc_inf_first_dose`` (h ug/mL),
        ``growth_per_day``, ``progression_day`` (missing: none by the cut-off), ``induced_ada``,
        ``dose_limiting``.
    """

    sheets: Sheets
    truth: pd.DataFrame


@dataclasses.dataclass(frozen=True, slots=True)
class _Course:
    """One participant's true course."""

    participant: str
    first_dose: dt.datetime
    dose_mg: float
    kinetics: Mapping[str, float]
    growth: float
    last_day: int
    progression_day: int | None
    death_day: int | None
    lost_day: int | None

    def date(self, day: int) -> str:
        return study_date(self.first_dose.date(), day).isoformat()


def concentration(
    hours: npt.ArrayLike, doses: npt.ArrayLike, kinetics: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Concentration of infusions, of one hour each, into two compartments.

    Parameters
    ----------
    hours : array of float, shape (n,)
        Since the start of the first infusion.
    doses : array of float, shape (m, 2)
        Start in hours, and amount in mg.
    kinetics : mapping
        ``clearance`` and ``flow`` in L/h, ``volume`` and ``second_volume`` in L.

    Returns
    -------
    array, shape (n,)
        In ug/mL (mg/L).
    """
    at, given = np.asarray(hours, dtype=float), np.asarray(doses, dtype=float).reshape(-1, 2)
    out, across, back = (
        kinetics["clearance"] / kinetics["volume"],
        kinetics["flow"] / kinetics["volume"],
        kinetics["flow"] / kinetics["second_volume"],
    )
    total = out + across + back
    root = np.sqrt(total**2 - 4 * out * back)
    rates = np.array([(total + root) / 2, (total - root) / 2])
    first = (rates[0] - back) / (rates[0] - rates[1])
    weights = np.array([first, 1 - first])
    since = at[:, None, None] - given[None, :, None, 0]
    after_end = np.clip(since - _INFUSION_H, 0, None)
    begun = np.clip(since, 0, None)
    parts = weights / rates * (np.exp(-rates * after_end) - np.exp(-rates * begun))
    level = parts.sum(axis=2) * given[None, :, 1] / (_INFUSION_H * kinetics["volume"])
    return np.asarray(level.sum(axis=1), dtype=float)


def draw_clinical(participants: pd.DataFrame, seed: np.random.SeedSequence) -> ClinicalDraw:
    """Draw the clinical course of every participant.

    Parameters
    ----------
    participants : DataFrame
        As of a :class:`~pdbiomarker.simulate.trial.Trial`.
    seed : SeedSequence
        The only source of chance.

    Returns
    -------
    ClinicalDraw
    """
    sheets: dict[str, list[_Row]] = {
        name: [] for name in ("doses", "concentrations", "lesions", "outcomes", "ada", "adverse_events")
    }
    truth = []
    top = float(participants["dose_mg"].max())
    for person, child in zip(records_of(participants), seed.spawn(len(participants)), strict=True):
        rng = np.random.default_rng(child)
        course = _course(person, rng)
        doses = _doses(course, rng)
        sheets["doses"] += doses
        sheets["concentrations"] += _samples(course, doses, rng)
        sheets["lesions"] += _lesions(course, rng)
        sheets["outcomes"].append(_outcome(course))
        antibodies, induced = _antibodies(course, rng)
        sheets["ada"] += antibodies
        events, limiting = _events(course, course.dose_mg / top, rng)
        sheets["adverse_events"] += events
        truth.append(
            {
                "participant_id": course.participant,
                "clearance": course.kinetics["clearance"],
                "volume": course.kinetics["volume"],
                "auc_inf_first_dose": course.dose_mg / course.kinetics["clearance"],
                "growth_per_day": course.growth,
                "progression_day": course.progression_day,
                "induced_ada": induced,
                "dose_limiting": limiting,
            }
        )
    frame = pd.DataFrame(truth)
    frame["progression_day"] = frame["progression_day"].astype("Int64")
    return ClinicalDraw({name: _frame(name, rows) for name, rows in sheets.items()}, frame)


_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "doses": ("participant_id", "start", "end", "amount", "unit", "cycle", "day", "status"),
    "concentrations": (
        "participant_id",
        "datetime",
        "nominal_time_h",
        "analyte",
        "concentration",
        "unit",
        "lloq",
    ),
    "lesions": ("participant_id", "date", "lesion_id", "role", "diameter_mm", "node", "state"),
    "outcomes": (
        *("participant_id", "death_date", "last_contact_date", "new_therapy_date", "treatment_end_date"),
        *("withdrawal_date", "measurable_disease"),
    ),
    "ada": ("participant_id", "date", "assay_step", "result", "titre", "titre_scale", "neutralizing"),
    "adverse_events": (
        *("participant_id", "term", "system_organ_class", "grade", "start", "end", "serious", "related"),
        "dose_limiting",
    ),
}


def _frame(name: str, rows: list[_Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(_COLUMNS[name]), dtype=object)


def _course(person: _Row, rng: np.random.Generator) -> _Course:
    first_dose = dt.datetime.fromisoformat(str(person["first_dose_datetime"]))
    horizon = (DATA_CUTOFF - first_dose.date()).days + 1
    change = float(str(person["true_change_log2"]))
    growth = 0.0035 - 0.0045 * (change - 0.6) + 0.0025 * rng.standard_normal()
    death = int(rng.exponential(600)) + 60
    lost = int(rng.integers(70, 200)) if rng.random() < _LOST else horizon + 1
    scans = [k * _SCAN_DAYS for k in range(1, _MOST_SCANS + 1)]
    seen = [day for day in scans if day <= min(horizon, lost, death)]
    nadir, progression = 1.0, None
    for day in seen:
        size = float(np.exp(growth * day))
        if size >= 1.2 * nadir:
            progression = day
            break
        nadir = min(nadir, size)
    last = min(horizon, lost, death, progression + 14 if progression else horizon)
    kinetics = {k: v * float(np.exp(_BETWEEN_SD * rng.standard_normal())) for k, v in _TYPICAL.items()}
    return _Course(
        str(person["participant_id"]),
        first_dose,
        float(str(person["dose_mg"])),
        kinetics,
        growth,
        last,
        progression,
        death if death <= horizon and death <= lost else None,
        lost if lost <= horizon and lost < death else None,
    )


def _doses(course: _Course, rng: np.random.Generator) -> list[_Row]:
    rows = []
    for number in range(200):
        day = 1 + number * _INTERVAL_DAYS
        if day > course.last_day:
            break
        held = number > 1 and rng.random() < 0.05
        start = course.first_dose + dt.timedelta(
            days=day - 1, minutes=int(rng.integers(-20, 21)) * (number > 0)
        )
        rows.append(
            {
                "participant_id": course.participant,
                "start": start.isoformat(timespec="minutes"),
                "end": ""
                if held
                else (start + dt.timedelta(hours=_INFUSION_H)).isoformat(timespec="minutes"),
                "amount": 0.0 if held else course.dose_mg,
                "unit": "mg",
                "cycle": 1 + number // 2,
                "day": 1 if number % 2 == 0 else 1 + _INTERVAL_DAYS,
                "status": "held" if held else "given",
            }
        )
    return rows


def _samples(course: _Course, doses: list[_Row], rng: np.random.Generator) -> list[_Row]:
    begun = [dt.datetime.fromisoformat(str(row["start"])) for row in doses]
    given = [
        ((start - course.first_dose).total_seconds() / 3600, float(str(row["amount"])))
        for start, row in zip(begun, doses, strict=True)
    ]
    rows = []
    for nominal in _NOMINAL_H:
        if nominal / 24 > course.last_day - 1:
            break
        # Blood is drawn a few minutes early or late; before the infusion, never after its start.
        late = int(rng.integers(0, 4)) if nominal not in {0.0, 335.5, 671.5} else -int(rng.integers(1, 11))
        moment = course.first_dose + dt.timedelta(hours=nominal, minutes=late)
        hours = (moment - course.first_dose).total_seconds() / 3600
        true = float(concentration([hours], given, course.kinetics)[0])
        measured = true * float(np.exp(_ERROR_SD * rng.standard_normal()))
        rows.append(
            {
                "participant_id": course.participant,
                "datetime": moment.isoformat(timespec="minutes"),
                "nominal_time_h": nominal,
                "analyte": "IGM-7354",
                "concentration": f"{measured:.4g}" if measured >= _LLOQ else f"<{_LLOQ:g}",
                "unit": "ug/mL",
                "lloq": _LLOQ,
            }
        )
    return rows


def _lesions(course: _Course, rng: np.random.Generator) -> list[_Row]:
    targets = [(f"T{k + 1:02d}", float(rng.uniform(18, 55)), k == 2) for k in range(int(rng.integers(1, 4)))]
    spreads = course.progression_day is not None and rng.random() < 0.4
    rows: list[_Row] = []
    for day in [-7, *range(_SCAN_DAYS, course.last_day + 1, _SCAN_DAYS)]:
        factor = float(np.exp(course.growth * max(day, 0)))
        seen = {"participant_id": course.participant, "date": course.date(day)}
        for lesion, size, node in targets:
            noise = float(np.exp(_MEASUREMENT_SD * rng.standard_normal())) if day > 0 else 1.0
            diameter = round(size * factor * noise)
            state = "measured" if diameter >= 5 else "too small"
            rows.append(
                {
                    **seen,
                    "lesion_id": lesion,
                    "role": "target",
                    "diameter_mm": max(diameter, 5),
                    "node": "yes" if node else "no",
                    "state": state,
                }
            )
        rows.append(
            {
                **seen,
                "lesion_id": "NT01",
                "role": "non-target",
                "diameter_mm": "",
                "node": "no",
                "state": "present",
            }
        )
        if spreads and course.progression_day is not None and day >= course.progression_day:
            rows.append(
                {
                    **seen,
                    "lesion_id": "N01",
                    "role": "new",
                    "diameter_mm": "",
                    "node": "no",
                    "state": "present",
                }
            )
    return rows


def _outcome(course: _Course) -> _Row:
    ended = course.progression_day is not None or course.death_day is not None or course.lost_day is not None
    contact = (
        course.death_day
        or course.lost_day
        or min(course.last_day + 30, (DATA_CUTOFF - course.first_dose.date()).days + 1)
    )
    return {
        "participant_id": course.participant,
        "death_date": course.date(course.death_day) if course.death_day else "",
        "last_contact_date": course.date(contact),
        "new_therapy_date": "",
        "treatment_end_date": course.date(course.last_day) if ended else "",
        "withdrawal_date": course.date(course.lost_day) if course.lost_day else "",
        "measurable_disease": "yes",
    }


def _antibodies(course: _Course, rng: np.random.Generator) -> tuple[list[_Row], bool]:
    before, induced = rng.random() < _BASELINE_ADA, rng.random() < _INDUCED_ADA
    onset = int(rng.choice([29, 57])) if induced else course.last_day + 1
    peak = float(rng.choice([20, 40, 80, 160, 320]))
    rows: list[_Row] = []
    for day in [-1, 15, 29, 57, 113, 169]:
        if day > course.last_day:
            break
        positive = before or (induced and not before and day >= onset)
        seen: _Row = {"participant_id": course.participant, "date": course.date(day)}
        false_alarm = rng.random() < 0.05
        rows.append(
            {**seen, "assay_step": "screen", "result": "positive" if positive or false_alarm else "negative"}
        )
        if positive or false_alarm:
            rows.append({**seen, "assay_step": "confirm", "result": "positive" if positive else "negative"})
        if positive:
            rows.append(
                {
                    **seen,
                    "assay_step": "titre",
                    "result": "positive",
                    "titre": 10.0 if before else peak,
                    "titre_scale": "linear",
                    "neutralizing": "positive" if peak >= 160 and not before else "negative",
                }
            )
    return rows, bool(induced and not before and onset <= course.last_day)


def _events(course: _Course, relative_dose: float, rng: np.random.Generator) -> tuple[list[_Row], bool]:
    limiting = rng.random() < 0.02 + 0.12 * relative_dose
    rows: list[_Row] = []
    for term, organ, share in _TERMS:
        if rng.random() >= share * (0.6 + 0.6 * relative_dose):
            continue
        start = int(rng.integers(1, max(3, min(course.last_day, 120))))
        rows.append(_event(course, term, organ, 1 + int(rng.random() < 0.3), start, int(rng.integers(2, 15))))
    if limiting:
        start = int(rng.integers(4, max(6, min(course.last_day, 26))))
        row = _event(course, "Cytokine release syndrome", "Immune system disorders", 3, start, 5)
        rows.append({**row, "serious": "yes", "dose_limiting": "yes"})
    return sorted(rows, key=lambda row: str(row["start"])), bool(limiting)


def _event(course: _Course, term: str, organ: str, grade: int, start: int, days: int) -> _Row:
    end = min(start + days, (DATA_CUTOFF - course.first_dose.date()).days + 1)
    return {
        "participant_id": course.participant,
        "term": term,
        "system_organ_class": organ,
        "grade": grade,
        "start": course.date(start),
        "end": course.date(end),
        "serious": "no",
        "related": "yes",
        "dose_limiting": "no",
    }

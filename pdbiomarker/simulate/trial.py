r"""Who takes part, which biopsies there are, and what is true of them.

CD8 density of a biopsy of participant :math:`i` at visit :math:`v` (cells per mm2 of tissue)::

    log2 density = mu + u_i + [v is on treatment] (delta_i) + e
    delta_i      = log2(gmr) + slope (log10 dose_i - mean) + h_i

with u ~ N(0, participant_sd), h ~ N(0, heterogeneity), e ~ N(0, biopsy_sd). The CD8+ cells planted are
Poisson with that density times the area. All other cells have the same densities at both visits, so the
log odds of being CD8+ change by the same delta (times ln 2).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.simulate.design import BASELINE, ON_TREATMENT, VIABLE_TUMOR_CELLS, TrialDesign

__all__ = ["CELL_NUMBERS", "DATA_CUTOFF", "NEST_RATIO", "Trial", "draw_trial", "records_of", "study_date"]

DATA_CUTOFF: Final = dt.date(2025, 6, 30)
_FIRST_ENROLMENT: Final = dt.date(2024, 2, 5)

#: CD8 density in tumour nests, relative to the stroma around them.
NEST_RATIO: Final = 0.4
#: Cells per mm2 that are not CD8+: tumour cells in nests, fibroblasts and lymphocytes in the stroma,
#: lymphocytes in nests.
DENSITIES: Final = {"tumor": 3500.0, "fibroblast": 850.0, "lymphocyte": 500.0, "nest_lymphocyte": 60.0}

#: Columns of `Trial.biopsies` that hold numbers of cells planned, by kind and place.
CELL_NUMBERS: Final = (
    "n_cd8_stroma",
    "n_cd8_nest",
    "n_tumor",
    "n_fibroblast",
    "n_lymphocyte",
    "n_nest_lymphocyte",
)

_TUMORS: Final = ("melanoma", "NSCLC", "HNSCC", "urothelial carcinoma")
_SITES: Final = ("lymph node", "liver", "lung", "skin", "soft tissue")
_REASONS: Final = (
    "progressive disease before the biopsy",
    "participant declined",
    "lesion not safely accessible",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """A trial with its truth.

    Attributes
    ----------
    participants : DataFrame
        One row each, in order: the columns of participants.csv and the true effects
        (``baseline_log2``, ``true_change_log2``).
    biopsies : DataFrame
        One row per planned biopsy, collected or not, in order: the columns of biopsies.csv, the slide and
        libraries made from it, and the truth (``density_expected`` per mm2, ``area_target`` mm2,
        ``nest_fraction`` and the numbers of cells ``n_<kind>`` planned by kind).
    """

    participants: pd.DataFrame
    biopsies: pd.DataFrame


def study_date(first_dose: dt.date, study_day: int) -> dt.date:
    """Date of a study day; day 1 is the first dose and there is no day 0.

    >>> study_date(dt.date(2024, 3, 1), -1), study_date(dt.date(2024, 3, 1), 1)
    (datetime.date(2024, 2, 29), datetime.date(2024, 3, 1))
    """
    return first_dose + dt.timedelta(days=study_day - 1 if study_day > 0 else study_day)


def draw_trial(design: TrialDesign, n_participants: int, seed: np.random.SeedSequence) -> Trial:
    """Draw participants and their biopsies.

    Parameters
    ----------
    design : TrialDesign
        Effects and what goes wrong.
    n_participants : int
        At least 1.
    seed : SeedSequence
        The only source of chance.

    Returns
    -------
    Trial
    """
    rng = np.random.default_rng(seed)
    participants = _participants(design, n_participants, rng)
    fates = _fates(design, n_participants, rng)
    rows = [
        row
        for index, participant in enumerate(records_of(participants))
        for row in _biopsies_of(participant, fates, index, rng)
    ]
    biopsies = pd.DataFrame(rows)
    _add_material(biopsies, participants, design, rng)
    return Trial(participants, biopsies)


def records_of(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The rows of a table as mappings."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _participants(design: TrialDesign, n: int, rng: np.random.Generator) -> pd.DataFrame:
    levels = np.arange(n) * len(design.doses_mg) // n
    dose = np.array(design.doses_mg)[levels]
    log_dose = np.log10(dose)
    change = (
        np.log2(design.gmr)
        + design.dose_slope * (log_dose - log_dose.mean())
        + design.heterogeneity * rng.standard_normal(n)
    )
    span = (DATA_CUTOFF - _FIRST_ENROLMENT).days - 120
    days = np.sort(rng.integers(0, 10, n) + np.arange(n) * span // max(n, 1))
    first_dose = [
        dt.datetime.combine(_FIRST_ENROLMENT + dt.timedelta(days=30 + int(d)), dt.time(9, int(m)))
        for d, m in zip(days, rng.integers(0, 12, n) * 5, strict=True)
    ]
    sites = rng.integers(1, 4, n)
    in_site: dict[int, int] = {}
    ids = []
    for site in sites.tolist():
        in_site[site] = in_site.get(site, 0) + 1
        ids.append(f"10{site}-{in_site[site]:03d}")
    return pd.DataFrame(
        {
            "participant_id": ids,
            "cohort": [f"DL{level + 1}" for level in levels],
            "dose_mg": dose,
            "sex": _balanced(("F", "M"), n, rng),
            "age": rng.integers(38, 80, n),
            "tumor_type": [_TUMORS[k] for k in rng.integers(0, len(_TUMORS), n)],
            "first_dose_datetime": [moment.isoformat(timespec="minutes") for moment in first_dose],
            "site": [_SITES[k] for k in rng.integers(0, len(_SITES), n)],
            "baseline_log2": np.log2(design.baseline_density)
            + design.participant_sd * rng.standard_normal(n),
            "true_change_log2": change,
        }
    )


def _balanced(labels: tuple[str, ...], n: int, rng: np.random.Generator) -> list[str]:
    """`n` labels in random order, as even as possible."""
    return [labels[k % len(labels)] for k in rng.permutation(n)]


def _fates(design: TrialDesign, n: int, rng: np.random.Generator) -> dict[str, list[int]]:
    """Which participants meet what: positions by fate; nobody meets two of the first three."""

    def count(fraction: float) -> int:
        return max(int(n >= 4 and fraction > 0), round(fraction * n))

    order = rng.permutation(n).tolist()
    missing, inadequate, late = (
        count(design.missing),
        count(design.inadequate),
        count(design.out_of_window),
    )
    whole = order[missing + inadequate + late :]
    return {
        "missing": order[:missing],
        "inadequate": order[missing : missing + inadequate],
        "late": order[missing + inadequate : missing + inadequate + late],
        "repeated": whole[: count(design.repeated)],
        "day_1": whole[count(design.repeated) :][: count(0.05)],
        "no_library": whole[count(design.repeated) + count(0.05) :][: count(0.05)],
        "two_libraries": whole[-1:] if n >= 4 else [],
    }


def _biopsies_of(
    participant: dict[str, object], fates: dict[str, list[int]], index: int, rng: np.random.Generator
) -> list[dict[str, object]]:
    """The planned biopsies of one participant: sheet columns and fate."""
    pid = str(participant["participant_id"])
    first_dose = dt.datetime.fromisoformat(str(participant["first_dose_datetime"]))
    screening = int(rng.integers(-21, -5))
    on_day = 29 + int(rng.integers(-3, 5))
    if index in fates["late"]:
        on_day = 29 + int(rng.integers(11, 16))
    low_visit = BASELINE if rng.random() < 0.5 else ON_TREATMENT

    def row(visit: str, number: int, day: int, *, core: int) -> dict[str, object]:
        letter = "S" if visit == BASELINE else "T"
        inadequate = index in fates["inadequate"] and visit == low_visit
        missing = index in fates["missing"] and visit == ON_TREATMENT
        day_1 = index in fates["day_1"] and visit == BASELINE
        day = 1 if day_1 else day
        date = study_date(first_dose.date(), day).isoformat()
        return {
            "participant_id": pid,
            "biopsy_id": f"{pid}-{letter}{number}",
            "visit": visit,
            "collection_date": f"{date}T07:45" if day_1 else date,
            "study_day": day,
            "lesion_id": "T01",
            "site": participant["site"],
            "core": core,
            "collected": not missing,
            "missing_reason": _REASONS[int(rng.integers(len(_REASONS)))] if missing else "",
            "adequate": not inadequate,
            "in_window": not (index in fates["late"] and visit == ON_TREATMENT),
            "n_libraries": 0
            if index in fates["no_library"] and visit == ON_TREATMENT
            else 2
            if index in fates["two_libraries"] and visit == ON_TREATMENT
            else 1,
        }

    rows = [row(BASELINE, 1, screening, core=1)]
    if index in fates["repeated"]:
        rows.append(row(BASELINE, 2, min(screening + 4, -1), core=2))
    rows.append(row(ON_TREATMENT, 1, on_day, core=1))
    return rows


def _add_material(
    biopsies: pd.DataFrame, participants: pd.DataFrame, design: TrialDesign, rng: np.random.Generator
) -> None:
    """Add tissue, cells, ids of slides and libraries, and batches, in place, to freshly made rows."""
    n = len(biopsies)
    of = participants.set_index("participant_id").loc[biopsies["participant_id"]]
    on = (biopsies["visit"] == ON_TREATMENT).to_numpy()
    adequate = biopsies["adequate"].to_numpy(dtype=bool)
    log2_density = (
        of["baseline_log2"].to_numpy()
        + on * of["true_change_log2"].to_numpy()
        + design.biopsy_sd * rng.standard_normal(n)
    )
    density = 2.0**log2_density
    area = np.where(adequate, rng.uniform(0.34, 0.46, n), rng.uniform(0.24, 0.30, n))
    nest = np.where(adequate, rng.uniform(0.38, 0.62, n), rng.uniform(0.03, 0.05, n))
    stroma_density = density / (nest * NEST_RATIO + 1.0 - nest)
    stroma_area, nest_area = area * (1.0 - nest), area * nest

    def draw(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return rng.poisson(mean).astype(np.int64)

    biopsies["density_expected"] = density
    biopsies["area_target"] = area
    biopsies["nest_fraction"] = nest
    biopsies["n_cd8_stroma"] = draw(stroma_density * stroma_area)
    biopsies["n_cd8_nest"] = draw(stroma_density * NEST_RATIO * nest_area)
    biopsies["n_tumor"] = draw(DENSITIES["tumor"] * nest_area)
    biopsies["n_fibroblast"] = draw(DENSITIES["fibroblast"] * stroma_area)
    biopsies["n_lymphocyte"] = draw(DENSITIES["lymphocyte"] * stroma_area)
    biopsies["n_nest_lymphocyte"] = draw(DENSITIES["nest_lymphocyte"] * nest_area)
    biopsies.loc[~adequate, "n_tumor"] = np.minimum(
        biopsies.loc[~adequate, "n_tumor"], rng.integers(35, VIABLE_TUMOR_CELLS - 10)
    )
    biopsies["viable_tumor_cells"] = biopsies["n_tumor"]
    biopsies["n_cells"] = biopsies[list(CELL_NUMBERS)].sum(axis=1)
    share = 100 * biopsies["n_tumor"] / biopsies["n_cells"]
    biopsies["tumor_content_pct"] = (share / 5).round().astype(int) * 5
    biopsies["batch"] = _runs(biopsies, rng, ("A", "B"))
    biopsies["stain_run"] = _runs(biopsies, rng, ("RUN1", "RUN2", "RUN3"))
    number = np.cumsum(biopsies["collected"].to_numpy(dtype=int))
    biopsies["slide_id"] = [f"{k:05d}" for k in 100 + number]
    # Stain strength belongs to the run, and a little to the slide; positivity does not depend on it.
    run = biopsies["stain_run"].map({"RUN1": 1.0, "RUN2": 0.94, "RUN3": 1.06}).to_numpy()
    biopsies["hematoxylin_scale"] = run * rng.normal(1.0, 0.03, n)
    biopsies["dab_scale"] = run * rng.normal(1.0, 0.03, n)
    first = 12 + np.cumsum(np.where(biopsies["collected"], biopsies["n_libraries"], 0))
    biopsies["library_ids"] = [
        tuple(f"{end - made + 1 + k:05d}" for k in range(made)) if collected else ()
        for end, made, collected in zip(
            first.tolist(), biopsies["n_libraries"].tolist(), biopsies["collected"].tolist(), strict=True
        )
    ]


def _runs(biopsies: pd.DataFrame, rng: np.random.Generator, labels: tuple[str, ...]) -> list[str]:
    """A run for every biopsy.

    The biopsies of a participant share one, save a few: visit and run can be told apart.
    """
    people = list(dict.fromkeys(biopsies["participant_id"]))
    own = dict(zip(people, _balanced(labels, len(people), rng), strict=True))
    moved = rng.random(len(biopsies)) < 0.15
    other = rng.integers(0, len(labels), len(biopsies))
    return [
        labels[int(k)] if move else own[person]
        for person, move, k in zip(biopsies["participant_id"], moved, other, strict=True)
    ]

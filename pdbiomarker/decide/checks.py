"""Every honesty check that a result allows, for one feature and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.decide.aliasing import analysis_sets, batch_and_visit, dose_and_time
from pdbiomarker.decide.honesty import (
    Check,
    leave_one_out,
    missing_second_biopsy,
    offset_sensitivity,
    regression_to_the_mean,
    reliability_of,
    threshold_sensitivity,
    unpaired_baselines,
)
from pdbiomarker.decide.inputs import staining_runs
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise, Scale, scale_of
from pdbiomarker.tables import nearest

__all__ = ["checks_table", "honesty_checks"]

Array = NDArray[np.float64]

#: What else may differ between participants with and without a second biopsy, where participants.csv has it.
_CHARACTERISTICS = ("dose_mg", "age", "sex", "tumor_type", "site")


def honesty_checks(
    result: PDResult, feature: str, *, noise: Noise | None = None, contrast: str | None = None
) -> list[Check]:
    """Ask everything that could have made the result, of the strict analysis set.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``assay:feature``.
    noise : Noise, optional
        Without it, regression to the mean and thresholds are ``not told``.
    contrast : str, optional
        Default: the plan's first.

    Returns
    -------
    list of Check
        In a fixed order; a check that the data do not allow has the finding ``not told`` and the reason.

    Raises
    ------
    InputError
        E-RULE-003: the result has no such feature or contrast.
    """
    assay, _, name = feature.partition(":")
    asked = contrast or next(iter(result.plan.contrasts))
    _check(result, assay, name, asked)
    data = result.study.assays[assay]
    frame = cast("pd.DataFrame", data.obs)
    column = data.var_names.get_loc(name)
    y = pd.Series(np.asarray(data.layers["y"], dtype=float)[:, column], index=frame.index)
    pairs = result.pairs[(result.pairs["assay"] == assay) & (result.pairs["contrast"] == asked)]
    first = _values(y, pairs["baseline_biopsy"])
    second = _values(y, pairs["on_biopsy"])
    change = second - first
    people = pairs["participant_id"].astype(str).tolist()
    scale = scale_of(str(cast("pd.DataFrame", data.var).loc[name, "kind"]))
    out = [
        analysis_sets(result.table, assay, name, contrast=asked),
        leave_one_out(change, people, scale=scale),
        _regression(first, change, noise),
        _thresholds(change, noise),
    ]
    if "numerator" in data.layers and str(cast("pd.DataFrame", data.var).loc[name, "kind"]) == "density":
        counted = [pd.Series(np.asarray(data.layers[k], dtype=float)[:, column], frame.index)
                   for k in ("numerator", "denominator")]  # fmt: skip
        ids = (pairs["baseline_biopsy"], pairs["on_biopsy"])
        before, on = ((_values(counted[0], b), _values(counted[1], b)) for b in ids)
        out.append(offset_sensitivity(before, on))
    out += [
        *_missing(result, people, first, change, scale=scale),
        _batches(staining_runs(result.study, assay), pairs),
        _calendar(result, pairs, people),
    ]
    return out


def checks_table(checks: Sequence[Check], feature: str) -> pd.DataFrame:
    """One row a check: ``feature, check, question, finding, verdict``."""
    rows = [(feature, c.name, c.question, c.finding, c.verdict) for c in checks]
    return pd.DataFrame(rows, columns=["feature", "check", "question", "finding", "verdict"])


def _check(result: PDResult, assay: str, name: str, contrast: str) -> None:
    problems = Problems()
    known = [f"{a}:{f}" for a, data in result.study.assays.items() for f in data.var_names]
    if f"{assay}:{name}" not in known:
        problems.add(
            "E-RULE-003", "The result has no such feature.", remedy=nearest(f"{assay}:{name}", known),
            column="feature", value=f"{assay}:{name}",
        )  # fmt: skip
    if contrast not in result.plan.contrasts:
        problems.add(
            "E-RULE-003", "The plan has no such contrast.", remedy=nearest(contrast, result.plan.contrasts),
            column="contrast", value=contrast,
        )  # fmt: skip
    problems.raise_if_any()


def _values(y: pd.Series, biopsies: pd.Series) -> Array:
    return np.array([y.get(b, np.nan) if isinstance(b, str) else np.nan for b in biopsies], dtype=float)


def _regression(first: Array, change: Array, noise: Noise | None) -> Check:
    told = first[np.isfinite(first)]
    if noise is None or len(told) < 3 or np.ptp(told) == 0:
        question = "Do participants with low baselines rise more than measurement error alone makes them?"
        why = "The noise of the feature is not known." if noise is None else "Too few baselines."
        return Check("regression to the mean", question, "not told", why, pd.DataFrame())
    value, low, high = reliability_of(noise, told)
    return regression_to_the_mean(first, change, reliability=value, low=low, high=high)


def _thresholds(change: Array, noise: Noise | None) -> Check:
    if noise is None or noise.scale == "identity":
        question = "Does the share of responders depend on the fold change that is asked for?"
        why = "The noise of the feature is not known." if noise is None else "The scale has no fold changes."
        return Check("threshold", question, "not told", why, pd.DataFrame())
    return threshold_sensitivity(change, noise)


def _missing(
    result: PDResult, people: Sequence[str], first: Array, change: Array, *, scale: Scale
) -> list[Check]:
    based = np.isfinite(first)
    paired = np.isfinite(change)
    participants = result.study.participants.reindex(list(people))
    frame = pd.DataFrame({"baseline": first}, index=participants.index)
    for column in _CHARACTERISTICS:
        if column in participants and participants[column].notna().any():
            frame[column] = participants[column]
    return [
        unpaired_baselines(frame[based], paired[based]),
        missing_second_biopsy(change, int((based & ~paired).sum()), scale=scale),
    ]


def _batches(runs: pd.Series, pairs: pd.DataFrame) -> Check:
    rows = pairs.dropna(subset=["baseline_biopsy", "on_biopsy"])
    people, visits, batches = [], [], []
    for row in rows.itertuples():
        for visit, biopsy in (("baseline", row.baseline_biopsy), ("on treatment", row.on_biopsy)):
            batch = runs.get(biopsy)
            people.append(str(row.participant_id))
            visits.append(visit)
            batches.append(None if batch is None or pd.isna(batch) or batch == "" else str(batch))
    return batch_and_visit(people, visits, batches)


def _calendar(result: PDResult, pairs: pd.DataFrame, people: Sequence[str]) -> Check:
    participants = result.study.participants.reindex(list(people))
    doses = np.full(len(people), np.nan)
    if "dose_mg" in participants:
        doses = pd.to_numeric(participants["dose_mg"], errors="coerce").to_numpy(dtype=float)
    dates = ["" for _ in people]
    biopsies = result.study.biopsies
    if "collection_date" in biopsies:
        held = biopsies["collection_date"].reindex(pairs["baseline_biopsy"].to_numpy())
        # A partial date has no place in time: it would be read as the first of its month.
        dates = ["" if pd.isna(d) or len(str(d)) < len("2025-01-01") else str(d) for d in held]
    if "first_dose_datetime" in participants:
        given = participants["first_dose_datetime"]
        dates = [d or ("" if pd.isna(g) else str(g)[:10]) for d, g in zip(dates, given, strict=True)]
    return dose_and_time(doses, dates)

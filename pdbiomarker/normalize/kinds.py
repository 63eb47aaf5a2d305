r"""From the kind of a number to the scale on which it is modelled.

=========== ======================================== ==============================================
kind        y                                        a difference of y means
=========== ======================================== ==============================================
density     log2((n + 1/2) / area)                   log2 ratio of densities
proportion  ln((k + 1/2) / (n - k + 1/2))            ln odds ratio: ``exp`` of it is the odds ratio
score       identity                                 points
signature   identity                                 units of the score
intensity   log2                                     log2 ratio
=========== ======================================== ==============================================

The weight of every value is 1: more cells or more area make the counting error smaller, not the biological
variance, and weights that grow with n give a type I error of .16 to .20 at a nominal .05.

Where counts are small the transformed value is no longer nearly normal with a variance of its own: a density
is primary only with a median count of 10 or more at every visit, a proportion only when both k and n - k
reach 5 in most biopsies. Otherwise ``primary_ok`` is False and the note says which visit or how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray

__all__ = ["TRANSFORMS", "Limits", "Raw", "Scaled"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """Below these a transformed density or proportion is not primary."""

    density_count: float = 10
    proportion_count: float = 5


@dataclass(frozen=True)
class Raw:
    """Values of features of one kind, biopsies x features; NaN where not measured.

    `numerator` and `denominator` are cells and mm2 (density), positive cells and cells (proportion), NaN
    where unknown. `visits` is one label for each biopsy.
    """

    names: Sequence[str]
    x: FloatArray
    numerator: FloatArray
    denominator: FloatArray
    visits: Sequence[str] | None


@dataclass(frozen=True)
class Scaled:
    """Values on the model scale, with what is to be said of each feature."""

    y: FloatArray
    notes: list[list[str]]
    primary_ok: BoolArray


def _plain(raw: Raw, y: FloatArray) -> Scaled:
    return Scaled(y, [[] for _ in raw.names], np.ones(len(raw.names), dtype=bool))


def _identity(raw: Raw, limits: Limits, problems: Problems) -> Scaled:  # noqa: ARG001 - one signature for all
    return _plain(raw, raw.x.copy())


def _log2(raw: Raw, limits: Limits, problems: Problems) -> Scaled:  # noqa: ARG001 - one signature for all
    scaled = _plain(raw, _safe_log2(raw.x))
    for notes, low in zip(scaled.notes, (raw.x <= 0).sum(axis=0).tolist(), strict=True):
        if low:
            notes.append(f"{low} {_values(low)} of 0 or below: no logarithm, left out")
    return scaled


def _density(raw: Raw, limits: Limits, problems: Problems) -> Scaled:
    counted = _counted(raw)
    _refuse(raw, raw.numerator < 0, "a negative number of cells", problems)
    _refuse(raw, raw.denominator < 0, "a negative area", problems)
    empty = counted & (raw.denominator <= 0)
    usable = counted & (raw.denominator > 0) & (raw.numerator >= 0) & np.isfinite(raw.x)
    area = np.where(usable, raw.denominator, np.nan)
    cells = np.where(usable, raw.numerator, np.nan)
    y = np.where(counted, np.log2((cells + 0.5) / area), _safe_log2(raw.x))
    scaled = _plain(raw, y)
    for k, notes in enumerate(scaled.notes):
        _note_empty(notes, int(empty[:, k].sum()), "no area")
        if not counted[:, k].any():
            scaled.primary_ok[k] = False
            zeros = int((raw.x[:, k] <= 0).sum())
            if zeros:
                notes.append(
                    "caution: no cell counts beside the density, so zeros have no logarithm; "
                    f"{zeros} {_values(zeros)} of 0 left out"
                )
            else:
                notes.append("no cell counts beside the density: counting error is not known")
            continue
        low = _medians_below(raw.numerator[:, k], usable[:, k], raw.visits, limits.density_count)
        if low:
            scaled.primary_ok[k] = False
            notes.append(f"caution: {low}, below {limits.density_count:g}: a count model is primary")
    return scaled


def _proportion(raw: Raw, limits: Limits, problems: Problems) -> Scaled:
    counted = _counted(raw)
    k, n = raw.numerator, raw.denominator
    _refuse(raw, k < 0, "a negative number of positive cells", problems)
    _refuse(raw, k > n, "more positive cells than cells", problems)
    empty = counted & (n <= 0)
    usable = counted & (n > 0) & (k >= 0) & (k <= n) & np.isfinite(raw.x)
    positive, negative = np.where(usable, k, np.nan), np.where(usable, n - k, np.nan)
    inside = np.where((raw.x > 0) & (raw.x < 1), raw.x, np.nan)
    y = np.where(counted, np.log((positive + 0.5) / (negative + 0.5)), np.log(inside / (1 - inside)))
    scaled = _plain(raw, y)
    for j, notes in enumerate(scaled.notes):
        _note_empty(notes, int(empty[:, j].sum()), "no cell")
        used = usable[:, j]
        if not counted[:, j].any():
            scaled.primary_ok[j] = False
            edge = int(((raw.x[:, j] <= 0) | (raw.x[:, j] >= 1)).sum())
            if edge:
                notes.append(
                    "caution: no cell counts beside the proportion, so 0 and 1 have no logit; "
                    f"{edge} {_values(edge)} of 0 or 1 left out"
                )
            else:
                notes.append("no cell counts beside the proportion: counting error is not known")
        elif used.any():
            few = int((np.minimum(k[used, j], n[used, j] - k[used, j]) < limits.proportion_count).sum())
            if 2 * few >= int(used.sum()):
                scaled.primary_ok[j] = False
                notes.append(
                    f"caution: {few} of {int(used.sum())} biopsies have fewer than "
                    f"{limits.proportion_count:g} positive or negative cells: beta-binomial is primary"
                )
    return scaled


def _counted(raw: Raw) -> BoolArray:
    return np.isfinite(raw.numerator) & np.isfinite(raw.denominator)


def _safe_log2(x: FloatArray) -> FloatArray:
    return np.log2(np.where(x > 0, x, np.nan))


def _values(n: int) -> str:
    return "value" if n == 1 else "values"


def _note_empty(notes: list[str], n: int, what: str) -> None:
    if n:
        notes.append(f"{n} {'biopsy has' if n == 1 else 'biopsies have'} {what}: no value, left out")


def _medians_below(count: FloatArray, used: BoolArray, visits: Sequence[str] | None, least: float) -> str:
    """Visits whose median count is too small, in order of appearance; empty where there is none."""
    if visits is None:
        groups: dict[str, BoolArray] = {"": used}
    else:
        labels = np.asarray(visits, dtype=object)
        groups = {v: used & (labels == v) for v in dict.fromkeys(visits)}
    medians = {v: float(np.median(count[chosen])) for v, chosen in groups.items() if chosen.any()}
    low = [f"{m:g}{f' at {v}' if v else ''}" for v, m in medians.items() if m < least]
    return f"median count {' and '.join(low)}" if low else ""


def _refuse(raw: Raw, bad: BoolArray, what: str, problems: Problems) -> None:
    for k in np.flatnonzero(bad.any(axis=0)).tolist():
        problems.add(
            "E-ASSAY-001",
            f"{int(bad[:, k].sum())} biopsies of {raw.names[k]} have {what}.",
            remedy="Correct the layers numerator and denominator.",
            column=raw.names[k],
        )


Transform = Callable[[Raw, Limits, Problems], Scaled]

#: The transform of each kind but counts, which need the design and each other.
TRANSFORMS: Final[dict[str, Transform]] = {
    "density": _density,
    "proportion": _proportion,
    "score": _identity,
    "signature": _identity,
    "intensity": _log2,
}

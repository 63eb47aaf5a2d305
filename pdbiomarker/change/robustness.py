"""How far a change rests on its model and on single participants: exact tests, influence, bootstrap.

For panels (at most 200 features), in the strict set, and contrasts that a participant answers alone (visits
compared). With d_i the change of participant i on the model scale, where all visits are there:

* **sign-flip** permutation of the mean of d, all 2^n signs to n = 20, 100,000 seeded ones above;
* **Wilcoxon's signed ranks** of d, zero changes left out before ranking (rule ``wilcox``), exact to n = 50;
* for both the smallest p that n changes could give at all;
* **leave one participant out**: the model that decided, refitted without each participant: the range of the
  estimate, the participant who moves it most, and the largest p. Models fitted by maximum likelihood (counts,
  Tobit) are, for primary features of at most 40 participants. Genes' moderation is left out;
* **bootstrap** over participants, percentile interval of the mean of d, 5,000 draws: below 20 participants a
  secondary figure, which is too short.

Tests and bootstrap are of the mean change. Where the formula lets the change depend on covariates, that is
not the contrast, and they are left out. Changes between values of which one is censored are unknown, and
left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change.count_models import COUNTS, PROPORTIONS, TOBIT, Likelihood, fit_cells, fit_censored
from pdbiomarker.change.fitting import SIGN_FLIPS, Values, join_notes
from pdbiomarker.change.linear import Linear, Setting, fit_linear
from pdbiomarker.change.rows import Fitted, back_transformed
from pdbiomarker.mixed.bootstrap import participant_bootstrap
from pdbiomarker.mixed.exact import sign_flip_test, signed_rank_test

__all__ = ["ROBUSTNESS_COLUMNS", "empty_robustness", "robustness_rows"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Columns of :attr:`pdbiomarker.change.PDResult.robustness` and their types, in order.
ROBUSTNESS_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "assay": "str",
        "feature": "str",
        "label": "str",
        "contrast": "str",
        "set": "str",
        "family": "str",
        "n_changes": "Int64",
        "mean_change": "float64",
        "sign_flip_p": "float64",
        "sign_flip_smallest_p": "float64",
        "sign_flip_method": "str",
        "signed_rank_p": "float64",
        "signed_rank_smallest_p": "float64",
        "signed_rank_method": "str",
        "zeros": "str",
        "without_model": "str",
        "without_low": "float64",
        "without_high": "float64",
        "without_largest_p": "float64",
        "moves_most": "str",
        "without_moves_most": "float64",
        "bootstrap_low": "float64",
        "bootstrap_high": "float64",
        "without_effect_low": "float64",
        "without_effect_high": "float64",
        "bootstrap_effect_low": "float64",
        "bootstrap_effect_high": "float64",
        "note": "str",
    }
)
_ZEROS: Final = "wilcox"
_FEWEST: Final = 3
#: Fits that are made at once.
_REFITS: Final = 2000
#: Models fitted by maximum likelihood are refitted without each of at most so many participants.
_MOST_REFITTED: Final = 40
_NOT_REFITTED: Final = (
    "not refitted without each participant: this model is, for primary features of few people"
)
_CELLS: Final = frozenset({COUNTS, PROPORTIONS})


def empty_robustness() -> pd.DataFrame:
    """The frame without rows."""
    frame = pd.DataFrame(columns=list(ROBUSTNESS_COLUMNS))
    return frame.astype({c: (object if t == "str" else t) for c, t in ROBUSTNESS_COLUMNS.items()})


def robustness_rows(fitted: Fitted, *, seed: int) -> pd.DataFrame:
    """Give the robustness of one contrast, a row for each of its F features.

    Parameters
    ----------
    fitted : Fitted
    seed : int
        Of sampled sign flips and of the bootstrap.

    Returns
    -------
    DataFrame
        Columns :data:`ROBUSTNESS_COLUMNS`; estimates and limits are on the model scale, `..._effect_...` on
        that of the row's effect.
    """
    rows, setting = fitted.rows, fitted.setting
    out = pd.DataFrame(index=rows.index)
    for column in ("assay", "feature", "label", "contrast", "set", "family"):
        out[column] = rows[column]
    out["zeros"], out["note"] = _ZEROS, ""
    for column, kind in ROBUSTNESS_COLUMNS.items():
        if column not in out:
            out[column] = "" if kind == "str" else np.nan
    if setting is not None and setting.question.is_change:
        usable = rows["status"].isin(["ok", "singular"]).to_numpy()
        _exact(out, fitted.values, setting, usable, seed=seed)
        _without_each(out, fitted, setting, usable, seed=seed)
    # A row that has no estimate says here, too, why.
    silent = ~rows["status"].isin(["ok", "singular"]).to_numpy() & (out["note"] == "").to_numpy()
    out.loc[silent, "note"] = rows.loc[silent, "note"]
    kinds = rows["kind"].to_numpy()
    for name in ("without_low", "without_high", "bootstrap_low", "bootstrap_high"):
        part, end = name.rsplit("_", 1)
        out[f"{part}_effect_{end}"] = back_transformed(out[name].to_numpy(dtype=float), kinds)
    frame = out[list(ROBUSTNESS_COLUMNS)]
    return frame.astype({c: (object if t == "str" else t) for c, t in ROBUSTNESS_COLUMNS.items()})


def _exact(
    out: pd.DataFrame, values: Values, setting: Setting, usable: NDArray[np.bool_], *, seed: int
) -> None:
    """Sign-flip, signed ranks and bootstrap of the changes."""
    y = values.y if values.side is None else np.where(values.side == 0, values.y, np.nan)
    changes = np.where(usable[:, None], setting.changes(y), np.nan)
    out["n_changes"] = np.isfinite(changes).sum(axis=1)
    if not setting.plain:
        why = "the contrast is not the mean of the changes: no exact tests and no bootstrap"
        out["note"] = [
            join_notes(note, why if ok else "") for note, ok in zip(out["note"], usable, strict=True)
        ]
        return
    # Values that differ by rounding are one change whatever the features beside them.
    flips, ranks = sign_flip_test(changes, seed=seed), signed_rank_test(changes, zeros="wilcox")
    boot = participant_bootstrap(changes, seed=seed)
    out["mean_change"] = flips.statistic
    for name, test in (("sign_flip", flips), ("signed_rank", ranks)):
        out[f"{name}_p"], out[f"{name}_smallest_p"] = test.p, test.smallest_p
        out[f"{name}_method"] = np.asarray(test.method, dtype=object)
    out["bootstrap_low"], out["bootstrap_high"] = boot.lower, boot.upper
    lost = np.zeros(len(y), dtype=np.int64)
    if values.side is not None:
        lost = np.isfinite(setting.changes(values.y)).sum(axis=1) - np.isfinite(setting.changes(y)).sum(
            axis=1
        )
    told = []
    for note, number, caution, ok in zip(out["note"], lost.tolist(), boot.note, usable, strict=True):
        censored = f"{number} changes of censored values left out" if number and ok else ""
        told.append(
            join_notes(join_notes(note, censored), "bootstrap: " + str(caution) if caution and ok else "")
        )
    out["note"] = told


def _without_each(
    out: pd.DataFrame, fitted: Fitted, setting: Setting, usable: NDArray[np.bool_], *, seed: int
) -> None:
    """Refit the model that decided without each participant."""
    rows, values = fitted.rows, fitted.values
    models = rows["model"].astype(str).str.removesuffix(", moderated")
    for model in dict.fromkeys(models[usable]):
        chosen = np.flatnonzero(usable & (models == model).to_numpy())
        if model in _CELLS | {TOBIT}:
            # These models cost a hundred times a linear one: only for what the trial is decided on.
            primary = (rows["family"] == "primary").to_numpy()[chosen]
            affordable = primary & (len(setting.layout.people) <= _MOST_REFITTED)
            for at in out.index[chosen[~affordable]]:
                out.loc[at, "note"] = join_notes(str(out.loc[at, "note"]), _NOT_REFITTED)
            chosen = chosen[affordable]
        if len(setting.layout.people) < _FEWEST or not chosen.size:
            continue
        part = values.take(chosen)
        kind = str(rows["kind"].iloc[chosen[0]])
        if model == SIGN_FLIPS:
            estimate, p = _all_flips(setting, part, seed=seed)
        else:
            estimate, p = _all_refits(setting, part, model, kind)
        _influence(out, chosen, estimate, p, fitted)
        out.loc[out.index[chosen], "without_model"] = model


def _all_refits(setting: Setting, values: Values, model: str, kind: str) -> tuple[Floats, Floats]:
    """Estimates and p, (F, P), without each participant; NaN where he has no value.

    A participant is left out by taking his values away, so that all refits of some features are one fit.
    """
    features, people = len(values.y), len(setting.layout.people)
    mine = setting.layout.person == np.arange(people)[:, None]
    estimate, p = np.full((features, people), np.nan), np.full((features, people), np.nan)
    step = max(1, _REFITS // people)
    for start in range(0, features, step):
        rows = np.arange(start, min(start + step, features))
        many = values.take(np.repeat(rows, people))
        gone = np.tile(mine, (len(rows), 1))
        absent = ~(np.isfinite(many.y) & gone).any(axis=1)
        found = _refit(setting, dataclasses.replace(many, y=np.where(gone, np.nan, many.y)), model, kind)
        estimate[rows] = np.where(absent, np.nan, found.estimate).reshape(-1, people)
        p[rows] = np.where(absent, np.nan, found.p).reshape(-1, people)
    return estimate, p


def _all_flips(setting: Setting, values: Values, *, seed: int) -> tuple[Floats, Floats]:
    """Mean change and p of sign flips, (F, P), without each participant; NaN where he has no change."""
    changes = setting.changes(values.y)
    estimate, p = np.full(changes.shape, np.nan), np.full(changes.shape, np.nan)
    for k in range(changes.shape[1]):
        rows = np.flatnonzero(np.isfinite(changes[:, k]))
        rest = changes[rows]
        rest[:, k] = np.nan
        test = sign_flip_test(rest, seed=seed)
        estimate[rows, k], p[rows, k] = test.statistic, test.p
    return estimate, p


def _refit(setting: Setting, values: Values, model: str, kind: str) -> Linear | Likelihood:
    """Fit features of one model to the values that are left."""
    if model == TOBIT and values.side is not None:
        return fit_censored(setting, values.y, values.side)
    if model in _CELLS and values.numerator is not None and values.denominator is not None:
        observed = np.isfinite(values.y)
        numerator = np.where(observed, values.numerator, np.nan)
        return fit_cells(setting, kind, numerator, np.where(observed, values.denominator, np.nan))
    return fit_linear(setting, values.y, values.w)


def _influence(out: pd.DataFrame, chosen: Indices, estimate: Floats, p: Floats, fitted: Fitted) -> None:
    """Range of the estimates (F, P) without each participant, and who moves it most."""
    full = fitted.rows["estimate"].to_numpy(dtype=float)[chosen]
    people: Any = fitted.setting.layout.people if fitted.setting is not None else ()
    order = np.argsort(np.array(people, dtype=object), kind="stable")  # of equals, the first by id
    shift = np.abs(estimate - full[:, None])[:, order]
    for k, at in enumerate(out.index[chosen].tolist()):
        known = np.isfinite(shift[k])
        if not known.any():
            continue
        # Shifts that differ by rounding are equal.
        largest = np.nanmax(shift[k])
        most = order[int(np.flatnonzero(known & (shift[k] >= largest * (1 - 1e-10)))[0])]
        out.loc[at, "without_low"], out.loc[at, "without_high"] = (
            np.nanmin(estimate[k]),
            np.nanmax(estimate[k]),
        )
        out.loc[at, "moves_most"] = people[most]
        out.loc[at, "without_moves_most"] = estimate[k, most]
        if np.isfinite(p[k]).any():
            out.loc[at, "without_largest_p"] = np.nanmax(p[k])

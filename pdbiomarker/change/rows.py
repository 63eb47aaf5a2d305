"""Rows of one contrast for all features of a block: counted, fitted, judged, and shown on their scale."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.change.blocks import Block
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.change.fitting import LINEAR, NUMBERS, Values, fit_rows, join_notes
from pdbiomarker.change.layout import Layout
from pdbiomarker.change.linear import Setting
from pdbiomarker.change.question import Model, Question
from pdbiomarker.change.random import random_part
from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import contrast_vector, design_matrix, is_within, without
from pdbiomarker.formula.cells import Cell
from pdbiomarker.normalize.limits import LAYER
from pdbiomarker.pairing import PAIRED_SETS

__all__ = ["Fitted", "back_transformed", "contrast_rows", "values_of"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MIN_PAIRS: Final = 2
_TOLD_BIOPSIES: Final = 6
#: Below so many pairs no exact two-sided sign-flip test can reach .05 (2 / 2**5 = .0625).
_PAIRS_FOR_EXACT: Final = 6

#: Back-transform and unit of the effect, by kind.
_LOG2: Final = frozenset({"count", "density", "intensity"})
_UNITS: Final[Mapping[str, str]] = {
    "count": "fold change",
    "density": "ratio of geometric means",
    "intensity": "fold change",
    "proportion": "odds ratio",
    "score": "points",
    "signature": "units",
}


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The rows of a contrast, and what they were fitted to; `setting` is None where nothing was."""

    rows: pd.DataFrame
    values: Values
    setting: Setting | None


def values_of(data: AnnData, features: int) -> Values:
    """The arrays of an assay on the model scale, features x biopsies."""
    layers, var = data.layers, data.var

    def table(name: str) -> Floats | None:
        return np.asarray(layers[name], dtype=float).T if name in layers else None

    small = ~var["primary_ok"].to_numpy(dtype=bool) if "primary_ok" in var else np.zeros(features, bool)
    return Values(
        y=np.ascontiguousarray(np.asarray(layers["y"], dtype=float).T),
        w=np.asarray(layers["w"], dtype=float).T,
        numerator=table("numerator"),
        denominator=table("denominator"),
        small=small,
        side=table(LAYER),
    )


def contrast_rows(
    block: Block, question: Question, model: Model, families: Mapping[tuple[str, str], str]
) -> Fitted:
    """Fit one contrast to all features of a block; no feature disappears."""
    frame, data = block.of(question.name)
    var = block.values.var
    rows = _empty_rows(block, question, families)
    values = values_of(data, len(rows))
    layout = Layout.of(frame, question.visits)
    if block.set_ in PAIRED_SETS:
        values = dataclasses.replace(values, y=layout.complete(values.y))
    present = np.isfinite(values.y)
    rows["n_biopsies"] = present.sum(axis=1)
    have = layout.counts(values.y) > 0
    rows["n_participants"] = have.any(axis=2).sum(axis=1)
    several_visits = len(question.visits) > 1
    rows["n_pairs"] = pd.array(
        have.all(axis=2).sum(axis=1) if several_visits else [pd.NA] * len(rows), dtype="Int64"
    )
    tested = var["tested"].to_numpy(dtype=bool) if "tested" in var else np.ones(len(rows), dtype=bool)
    if len(rows) <= FEATURE_COUNT_OF_A_PANEL:
        given = np.isfinite(np.asarray(data.layers["y"], dtype=float).T)
        rows["note"] = [
            join_notes(n, t) for n, t in zip(rows["note"], _without_value(given, data), strict=True)
        ]
    setting = _estimate(rows, values, frame, question, model)
    _judge(rows, tested, _aliasing(frame, question), question)
    return Fitted(rows, values, setting)


def _empty_rows(block: Block, question: Question, families: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    var = block.values.var
    kinds = var["kind"].astype(str).to_numpy()
    notes = var["note"].fillna("").astype(str).tolist() if "note" in var else [""] * len(var)
    return pd.DataFrame(
        {
            "assay": block.assay,
            "feature": [str(f) for f in block.values.var_names],
            "label": var["label"].astype(str).to_numpy(),
            "kind": kinds,
            "family": [families[block.assay, str(f)] for f in block.values.var_names],
            "contrast": question.name,
            "set": block.set_,
            "effect_unit": [_UNITS[k] for k in kinds],
            "note": [join_notes(note, block.note) for note in notes],
        }
    )


def _without_value(present: Flags, data: AnnData) -> list[str]:
    """Name, for each feature, the used biopsies that have no value, with the reader's reason."""
    reasons = data.var["unmeasured"] if "unmeasured" in data.var else ["{}"] * data.n_vars
    biopsies = [str(b) for b in data.obs_names]
    out = []
    for has, text in zip(present, reasons, strict=True):
        lost = [b for b, ok in zip(biopsies, has, strict=True) if not ok]
        why = json.loads(str(text))
        told = [f"{b} ({why[b]})" if b in why else b for b in lost[:_TOLD_BIOPSIES]]
        more = f" and {len(lost) - _TOLD_BIOPSIES} more" if len(lost) > _TOLD_BIOPSIES else ""
        many = "biopsy" if len(lost) == 1 else "biopsies"
        out.append(f"no value in {len(lost)} {many}: {', '.join(told)}{more}" if lost else "")
    return out


def _estimate(
    rows: pd.DataFrame, values: Values, frame: pd.DataFrame, question: Question, model: Model
) -> Setting | None:
    """Fit and write estimates into `rows`; on a design that cannot be built, write why."""
    plan = model.plan
    rows[list(NUMBERS)] = np.nan
    rows["df_method"], rows["model"], rows["status"], rows["var_other"] = plan.ddf, LINEAR, "too_few", ""
    missing = [v for v in question.visits if not (frame["visit"] == v).any()]
    if missing:
        told = f"no usable biopsy at {' and '.join(missing)}"
        rows["note"] = [join_notes(n, told) for n in rows["note"]]
        return None
    try:
        setting = make_setting(question, model, frame)
    except FormulaError as error:
        rows["status"] = "not_estimable"
        why = "; ".join(p.message.partition("\n")[0] for p in error.problems)
        rows["note"] = [join_notes(n, why) for n in rows["note"]]
        return None
    told = join_notes(
        _basis(question, setting), join_notes(setting.random.note, _held(model, question, frame))
    )
    rows["note"] = [join_notes(n, told) for n in rows["note"]]
    fit_rows(rows, values, setting, plan=plan)
    return setting


def make_setting(question: Question, model: Model, frame: pd.DataFrame) -> Setting:
    """Put a question to the biopsies of a table: design, contrast and random terms.

    Raises
    ------
    FormulaError
        A design that cannot be built, or a contrast that is zero in it.
    """
    formula, contrast, levels = model.formula, question.contrast, {"visit": list(question.visits)}
    if len(question.visits) == 1:
        formula, levels = without(formula, "visit"), {}
        cells = tuple(
            Cell(cell.weight, tuple(s for s in cell.settings if s.column != "visit"))
            for cell in contrast.cells
        )
        contrast = dataclasses.replace(contrast, cells=cells)
    design = design_matrix(formula, frame, levels=levels)
    how: Literal["equal", "proportional"] = "equal" if model.plan.weights == "equal" else "proportional"
    vector = contrast_vector(design, frame, contrast, weights=how)
    random = random_part(formula, design, frame, visits=question.visits)
    return Setting(
        question=question,
        layout=Layout.of(frame, question.visits),
        matrix=design.matrix,
        names=design.names,
        vector=vector,
        within=len(question.visits) > 1 and is_within(design, vector),
        random=random,
        ddf=model.plan.ddf,
        allow_negative=model.plan.allow_negative_icc,
    )


def _basis(question: Question, setting: Setting) -> str:
    """Which biopsies a contrast rests on, where it is not one visit minus another."""
    if question.is_difference and not setting.layout.replicated:
        return ""
    names = question.visits
    if question.is_difference:
        return "all biopsies of each visit"
    if len(names) == 1:
        term = "" if setting.random.groups else ", without a participant term"
        return f"fitted on the biopsies of {names[0]} alone{term}"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    if question.several:
        return f"fitted on one number of each participant who has {listed}: their weighted sum"
    return f"fitted on {listed}"


def _held(model: Model, question: Question, frame: pd.DataFrame) -> str:
    """Where the contrast depends on covariates: the values it is given at."""
    cells = [{s.column: s.value for s in cell.settings} for cell in question.contrast.cells]
    every = dict.fromkeys(column for cell in cells for column in cell)
    compared = {column for column in every if len({cell.get(column) for cell in cells}) > 1}
    named = {c: v for c, v in cells[0].items() if c not in compared}
    told: list[str] = []
    for term in model.formula.fixed:
        columns = [v.column for v in term.variables]
        for column in columns if compared & set(columns) else []:
            if column in compared or column == "visit" or any(t.startswith(f"{column} ") for t in told):
                continue
            if column in named:
                told.append(f"{column} = {named[column]}")
            elif pd.api.types.is_numeric_dtype(frame[column]):
                told.append(f"{column} = {frame[column].mean():.4g} (its mean)")
            else:
                how = "with equal weights" if model.plan.weights == "equal" else "as often as they occur"
                told.append(f"{column} averaged over its levels {how}")
    what = "change" if question.is_difference else "contrast"
    return f"the {what} at {', '.join(told)}" if told else ""


def _aliasing(frame: pd.DataFrame, question: Question) -> str:
    """Whether batch and visit can be told apart in the biopsies of a contrast."""
    if "batch" not in frame or frame["batch"].isna().all() or len(question.visits) < 2:
        return ""
    reference, compared = question.visits[0], question.visits[-1]
    first = set(frame.loc[frame["visit"] == reference, "batch"].dropna().astype(str))
    second = set(frame.loc[frame["visit"] == compared, "batch"].dropna().astype(str))
    if first and second and not first & second:
        return f"not separable: no batch holds both {reference} and {compared}"
    return ""


def _judge(rows: pd.DataFrame, tested: Flags, caution: str, question: Question) -> None:
    """Settle statuses, cautions and effects."""
    change = question.is_change
    few = (rows["n_pairs"] < _MIN_PAIRS).fillna(False).to_numpy(dtype=bool) & change
    rows.loc[few, "status"] = "too_few"
    rows.loc[~tested, "status"] = "excluded"
    blank = ~rows["status"].isin(["ok", "singular", "constant"]).to_numpy()
    rows.loc[blank, list(NUMBERS)] = np.nan
    rows.loc[blank, "var_other"] = ""
    rows.loc[rows["status"] == "constant", ["se", "t", "p", "ci_low", "ci_high"]] = np.nan
    columns = (rows[c].tolist() for c in ("note", "n_pairs", "status", "p"))
    rows["note"] = [
        _judged(note, (-1 if n is pd.NA or not change else int(n)), status, p, caution=caution)
        for note, n, status, p in zip(*columns, strict=True)
    ]
    kinds = rows["kind"].to_numpy()
    for source, effect in (("estimate", "effect"), ("ci_low", "effect_low"), ("ci_high", "effect_high")):
        rows[effect] = back_transformed(rows[source].to_numpy(dtype=float), kinds)


def _judged(note: str, pairs: int, status: str, p: float, *, caution: str) -> str:
    """Add to a note why there is no test, and what a test of so few pairs can show; `pairs` -1: no pairs."""
    if status == "too_few" and 0 <= pairs < _MIN_PAIRS:
        return join_notes(note, f"{pairs} evaluable pair{'s' if pairs != 1 else ''}, at least 2 needed")
    if status == "too_few":
        return join_notes(note, "too few biopsies for the terms of the formula")
    if status == "excluded":
        return note
    text = join_notes(note, caution)
    if status == "constant":
        text = join_notes(text, "no variation: not tested")
    elif status == "not_estimable":
        named = "aliased" in text or "the Tobit model" in text
        text = (
            text if named else join_notes(text, "aliased with other terms, or no residual degrees of freedom")
        )
    elif status == "not_converged":
        text = join_notes(text, "the fit did not converge: not tested")
    elif np.isnan(p) and "no sign-flip test" not in text:
        text = join_notes(text, "no residual variation within participants: not tested")
    if 0 <= pairs < _PAIRS_FOR_EXACT and not np.isnan(p):
        exact = f"{pairs} pairs: an exact sign-flip test cannot go below p {2 / 2**pairs:g}"
        text = join_notes(text, exact)
    return text


def back_transformed(values: Floats, kinds: NDArray[np.object_]) -> Floats:
    """From the model scale to the scale that is shown."""
    log2 = np.isin(kinds.astype(str), list(_LOG2))
    logit = kinds.astype(str) == "proportion"
    with np.errstate(over="ignore"):
        return np.where(log2, np.exp2(values), np.where(logit, np.exp(values), values))

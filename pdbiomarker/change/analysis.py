"""From a study and a plan to the paired change of every feature.

For every assay and analysis set: the usable biopsies are chosen (:mod:`pdbiomarker.pairing`), their values
are brought to the model scale (:mod:`pdbiomarker.normalize`), and every contrast is fitted on its own two
visits (:mod:`pdbiomarker.change.fitting`), because one participant intercept over three visits would share
one variance between an early and a late change. With two visits the intraclass correlation may be negative,
so that complete pairs give exactly the paired t-test.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL, adjust, resolve_families
from pdbiomarker.change.fitting import LINEAR, NUMBERS, Values, fit_rows, join_notes
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS, PDResult
from pdbiomarker.errors import AssayError, FormulaError, PlanError, Problems
from pdbiomarker.formula import Contrast, Formula, contrast_vector, design_matrix, parse, parse_contrast
from pdbiomarker.normalize import NormalizeOptions, normalize
from pdbiomarker.normalize.size_factors import Normalization
from pdbiomarker.pairing import SETS, accountability, pairs, usable
from pdbiomarker.plan import Plan
from pdbiomarker.study import Study

__all__ = ["pd_change"]

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

_MIN_PAIRS: Final = 2
_TOLD_BIOPSIES: Final = 6
#: Below so many pairs no exact two-sided sign-flip test can reach .05 (2 / 2**5 = .0625).
_PAIRS_FOR_EXACT: Final = 6

#: The analysis set of the sensitivity rows on composition: the biopsies of the strict set.
COMPOSITION: Final = "strict_stable_genes"

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
class _Model:
    """What the plan asks for, parsed once."""

    formula: Formula
    contrasts: Mapping[str, Contrast]
    plan: Plan

    @property
    def visits(self) -> dict[str, tuple[str, str]]:
        """Contrast name to (reference visit, compared visit)."""
        return {name: (c.subtrahend, c.minuend) for name, c in self.contrasts.items()}


@dataclasses.dataclass(frozen=True)
class _Block:
    """One assay in one analysis set: the data frame of its biopsies and their values on the model scale."""

    assay: str
    set_: str
    frame: pd.DataFrame
    values: AnnData


def pd_change(study: Study, plan: Plan, *, progress: Progress | None = None) -> PDResult:
    """Estimate the change of every feature of every assay, as the plan says.

    Parameters
    ----------
    study : Study
        With its assays (biopsies x features).
    plan : Plan
    progress : callable (stage, done, total), optional
        Called after each assay.

    Returns
    -------
    PDResult
        No feature disappears: what could not be fitted has a row with its `status` and `note`.

    Raises
    ------
    PlanError, FormulaError
        The plan names visits, assays, features or columns that the study does not have, or asks for a model
        that is not fitted here. All problems of a kind are told at once.

    Notes
    -----
    Restricted maximum likelihood with one participant intercept; degrees of freedom by the plan's `ddf`. The
    definitions are in :mod:`pdbiomarker.mixed`.
    """
    model = _read_model(study, plan)
    families = resolve_families(plan, study.assays)
    tables: list[pd.DataFrame] = []
    changes: list[pd.DataFrame] = []
    biopsies: list[pd.DataFrame] = []
    filled = study
    for done, (name, adata) in enumerate(study.assays.items(), start=1):
        sets = list(SETS) if adata.n_vars <= FEATURE_COUNT_OF_A_PANEL else ["strict"]
        fitted: list[pd.DataFrame] = []
        for set_ in sets:
            block, told = _block(study, name, set_, model)
            biopsies.append(told)
            for contrast in model.contrasts:
                fitted.append(_fit_contrast(block, contrast, model, families))
                if set_ != "strict_pairs":
                    changes.append(_changes(block, contrast, model))
            if set_ == "strict":
                filled = filled.with_assay(name, _fill(adata, block.values))
                fitted += _composition(block, model, families)
        # The rows of a feature stand together: the index of each block is the feature's position.
        tables.append(pd.concat(fitted).sort_index(kind="stable"))
        if progress is not None:
            progress(name, done, len(study.assays))
    empty = pd.DataFrame(columns=list(TABLE_COLUMNS))
    table = adjust(pd.concat(tables, ignore_index=True) if tables else empty, plan)
    visits = model.visits
    return PDResult(
        table=_typed(table),
        changes=pd.concat(changes, ignore_index=True)
        if changes
        else pd.DataFrame(columns=list(CHANGE_COLUMNS)),
        accountability=accountability(study, visits),
        biopsies=pd.concat(biopsies, ignore_index=True) if biopsies else pd.DataFrame(),
        pairs=_all_pairs(study, visits),
        plan=plan,
        study=filled,
        provenance={"problems": list(study.problems)},
    )


def _read_model(study: Study, plan: Plan) -> _Model:
    """Parse formula and contrasts and hold them against the study."""
    formula = parse(plan.formula)
    levels = [v.name for v in study.spec.visits]
    contrasts = {name: parse_contrast(text, levels) for name, text in plan.contrasts.items()}
    problems = Problems()
    if "visit" not in formula.columns:
        problems.add(
            "E-PLAN-002",
            "Contrasts compare visits, and the formula has no term 'visit'.",
            remedy="Write for instance '~ visit + (1|participant)'.",
            file="plan.yaml",
            column="formula",
            value=plan.formula,
        )
    for name, contrast in contrasts.items():
        if not contrast.is_difference or contrast.factor != "visit":
            problems.add(
                "E-PLAN-002",
                f"The contrast {name!r} is not the change between two visits, and this version of pd_change "
                "tests no other; its covariates may be set with 'at'.",
                remedy="Write for instance 'C2D1 - screening at dose_mg = 10'.",
                file="plan.yaml",
                column=f"contrasts.{name}",
                value=plan.contrasts[name],
            )
    if plan.replicates == "all":
        problems.add(
            "E-PLAN-004",
            "Several biopsies of a participant at a visit need a biopsy-level random term, and this version "
            "fits one participant intercept: their standard errors would be too small.",
            remedy="Use 'replicates: select'.",
            file="plan.yaml",
            column="replicates",
            value=plan.replicates,
        )
    problems.raise_if_any(PlanError)
    terms = formula.random
    if (
        len(terms) != 1
        or tuple(terms[0].groups) != ("participant",)
        or terms[0].slopes
        or not terms[0].intercept
    ):
        found = ", ".join(t.label for t in terms) or "none"
        problems.add(
            "E-FORMULA-006",
            f"This version fits exactly one random term, (1|participant); the formula has: {found}.",
            remedy="Write for instance '~ visit + (1|participant)'.",
            file="plan.yaml",
            column="formula",
            value=plan.formula,
        )
        problems.raise_if_any(FormulaError)
    return _Model(formula, contrasts, plan)


def _frame(study: Study, assay: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The table that the formula sees: one row per used biopsy, keys, sheet columns, technical columns."""
    biopsies = study.biopsies.loc[rows.index]
    people = study.participants.loc[rows["participant_id"].to_numpy()]
    technical = cast("pd.DataFrame", study.assays[assay].obs).loc[rows.index]
    columns: dict[str, Any] = {str(c): biopsies[c].to_numpy() for c in biopsies.columns}
    columns |= {str(c): people[c].to_numpy() for c in people.columns}
    # A sheet's own column is never hidden by one that a reader made; the batch is the assay's.
    columns |= {
        str(c): technical[c].to_numpy() for c in technical.columns if c == "batch" or c not in columns
    }
    columns["participant"] = rows["participant_id"].to_numpy(dtype=object)
    columns["biopsy"] = rows.index.to_numpy(dtype=object)
    columns["visit"] = rows["visit"].to_numpy(dtype=object)
    return pd.DataFrame(columns, index=rows.index)


def _block(study: Study, assay: str, set_: str, model: _Model) -> tuple[_Block, pd.DataFrame]:
    """Choose the biopsies of every contrast, tell why others are not used, and normalise the chosen ones."""
    told: list[pd.DataFrame] = []
    chosen: dict[str, pd.DataFrame] = {}
    for contrast, visits in model.visits.items():
        rows = usable(study, assay, visits=visits, set_=set_, replicates=model.plan.replicates)
        frame = _frame(study, assay, rows[rows["used"]])
        for column in (c for c in model.formula.columns if c in frame):
            unknown = frame.index[frame[column].isna()]
            rows.loc[unknown, "used"] = False
            rows.loc[unknown, "code"] = "E-SHEET-017"
            rows.loc[unknown, "reason"] = f"The model's column {column!r} has no value here."
        chosen[contrast] = rows[rows["used"]]
        told.append(rows.reset_index(names="biopsy_id").assign(assay=assay, contrast=contrast, set=set_))
    union = pd.concat(chosen.values())
    union = union[~union.index.duplicated()]
    union = union.sort_index()  # the order of a sheet's rows is no part of the result
    frame = _frame(study, assay, union)
    for contrast, rows in chosen.items():
        frame[f"_in_{contrast}"] = frame.index.isin(rows.index)
    values = _normalised(study.assays[assay][union.index.to_numpy()].copy(), frame, model)
    return _Block(assay, set_, frame, values), pd.concat(told, ignore_index=True)


def _normalised(
    adata: AnnData, frame: pd.DataFrame, model: _Model, *, stable: tuple[str, ...] = ()
) -> AnnData:
    """Bring the values of the used biopsies to the model scale."""
    design: Floats | None = None
    if frame["visit"].nunique() > 1:
        levels = [v for v in _order(model) if (frame["visit"] == v).any()]
        try:
            design = design_matrix(model.formula, frame, levels={"visit": levels}).matrix
        except FormulaError:
            design = None
    options = NormalizeOptions(
        normalization=cast("Normalization", model.plan.normalization),
        quality_weights=model.plan.quality_weights,
        stable=stable,
    )
    return normalize(adata, design, visits=[str(v) for v in frame["visit"]], options=options)


def _composition(block: _Block, model: _Model, families: Mapping[tuple[str, str], str]) -> list[pd.DataFrame]:
    """Sensitivity rows of the counts of a block, its libraries scaled by stable genes alone.

    Where most genes change together, factors that assume the contrary move with them; these rows say how the
    changes read when chosen genes are held still instead: a question of composition.
    """
    counts = (block.values.var["kind"].astype(str) == "count").to_numpy()
    if not model.plan.stable_genes or not counts.any():
        return []
    plain = block.values[:, counts].copy()
    try:
        values = _normalised(plain, block.frame, model, stable=model.plan.stable_genes)
        rule, failed = str(values.uns["normalization"]["rule"]), ""
    except AssayError as error:
        values, rule, failed = plain, "stable genes (composition)", error.problems[0].message
    scaled = _Block(block.assay, COMPOSITION, block.frame, values)
    rows = [_fit_contrast(scaled, contrast, model, families) for contrast in model.contrasts]
    for table in rows:
        tested = (table["status"] != "excluded").to_numpy()
        if failed:
            table.loc[tested, [*NUMBERS, "effect", "effect_low", "effect_high"]] = np.nan
            table.loc[tested, "status"] = "not_estimable"
        told = failed or f"composition: libraries scaled by {rule}"
        table.loc[tested, "note"] = [join_notes(n, told) for n in table.loc[tested, "note"]]
    return rows


def _order(model: _Model) -> list[str]:
    return list(dict.fromkeys(v for pair in model.visits.values() for v in pair))


def _fit_contrast(
    block: _Block, contrast: str, model: _Model, families: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    """Rows of one contrast for all features of a block."""
    reference, compared = model.visits[contrast]
    inside = block.frame[f"_in_{contrast}"].to_numpy(dtype=bool)
    frame = block.frame[inside]
    data = block.values[inside]
    y = np.ascontiguousarray(np.asarray(data.layers["y"], dtype=float).T)
    var = block.values.var
    kinds = var["kind"].astype(str).to_numpy()
    rows = pd.DataFrame(
        {
            "assay": block.assay,
            "feature": [str(f) for f in block.values.var_names],
            "label": var["label"].astype(str).to_numpy(),
            "kind": kinds,
            "family": [families[block.assay, str(f)] for f in block.values.var_names],
            "contrast": contrast,
            "set": block.set_,
            "effect_unit": [_UNITS[k] for k in kinds],
            "note": var["note"].fillna("").astype(str).to_numpy() if "note" in var else "",
        }
    )
    first, second = _pair_positions(frame, reference, compared)
    if block.set_ == "strict_pairs":
        y = _complete_pairs(y, first, second)
    present = np.isfinite(y)
    rows["n_biopsies"] = present.sum(axis=1)
    codes, people = pd.factorize(frame["participant"])
    member = np.zeros((len(frame), len(people)))
    member[np.arange(len(frame)), codes] = 1.0
    rows["n_participants"] = ((present.astype(float) @ member) > 0).sum(axis=1)
    rows["n_pairs"] = (present[:, first] & present[:, second]).sum(axis=1)
    tested = var["tested"].to_numpy(dtype=bool) if "tested" in var else np.ones(len(rows), dtype=bool)
    if len(rows) <= FEATURE_COUNT_OF_A_PANEL:
        values = np.isfinite(np.asarray(data.layers["y"], dtype=float).T)
        rows["note"] = [
            join_notes(n, t) for n, t in zip(rows["note"], _without_value(values, data), strict=True)
        ]
    _estimate(rows, y, data, frame, contrast, model)
    _judge(rows, tested, _aliasing(frame, reference, compared))
    return rows


def _pair_positions(
    frame: pd.DataFrame, reference: str, compared: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row positions of the two biopsies of every participant who has both."""
    position = pd.Series(np.arange(len(frame)), index=frame.index)
    at = [
        pd.Series(
            position[frame["visit"] == v].to_numpy(), index=frame.loc[frame["visit"] == v, "participant"]
        )
        for v in (reference, compared)
    ]
    both = [p for p in at[0].index if p in at[1].index]
    return at[0].loc[both].to_numpy(dtype=np.intp), at[1].loc[both].to_numpy(dtype=np.intp)


def _without_value(present: NDArray[np.bool_], data: AnnData) -> list[str]:
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


def _complete_pairs(y: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    """The values (features x biopsies) of participants who have both, feature by feature; the rest NaN."""
    both = np.isfinite(y[:, first]) & np.isfinite(y[:, second])
    out = np.full_like(y, np.nan)
    out[:, first] = np.where(both, y[:, first], np.nan)
    out[:, second] = np.where(both, y[:, second], np.nan)
    return out


def _estimate(
    rows: pd.DataFrame, y: Floats, data: AnnData, frame: pd.DataFrame, contrast: str, model: _Model
) -> None:
    """Fit and write estimates into `rows`; on a design that cannot be built, write why."""
    rows[list(NUMBERS)] = np.nan
    rows["df_method"], rows["model"], rows["status"] = model.plan.ddf, LINEAR, "too_few"
    reference, compared = model.visits[contrast]
    if not {reference, compared} <= set(frame["visit"]):
        missing = [v for v in (reference, compared) if not (frame["visit"] == v).any()]
        rows["note"] = [join_notes(n, f"no usable biopsy at {' and '.join(missing)}") for n in rows["note"]]
        return
    try:
        design = design_matrix(model.formula, frame, levels={"visit": [reference, compared]})
        vector = contrast_vector(design, frame, model.plan.contrasts[contrast])
    except FormulaError as error:
        rows["status"] = "not_estimable"
        why = "; ".join(p.message.partition("\n")[0] for p in error.problems)
        rows["note"] = [join_notes(n, why) for n in rows["note"]]
        return
    held = _held(model, contrast, frame)
    rows["note"] = [join_notes(n, held) for n in rows["note"]]
    var, layers = data.var, data.layers
    values = Values(
        y=y,
        w=np.asarray(layers["w"], dtype=float).T,
        numerator=np.asarray(layers["numerator"], dtype=float).T if "numerator" in layers else None,
        denominator=np.asarray(layers["denominator"], dtype=float).T if "denominator" in layers else None,
        small=~var["primary_ok"].to_numpy(dtype=bool) if "primary_ok" in var else np.zeros(len(rows), bool),
    )
    people = frame["participant"].to_numpy(dtype=str)
    fit_rows(rows, values, design, vector=vector, participants=people, plan=model.plan)


def _held(model: _Model, contrast: str, frame: pd.DataFrame) -> str:
    """Where an interaction with visit makes the change depend on covariates: the values it is given at."""
    named = dict(model.contrasts[contrast].at)
    told: list[str] = []
    for term in model.formula.fixed:
        columns = [v.column for v in term.variables]
        for column in columns if "visit" in columns else []:
            if column == "visit" or any(t.startswith(f"{column} ") for t in told):
                continue
            if column in named:
                told.append(f"{column} = {named[column]}")
            elif pd.api.types.is_numeric_dtype(frame[column]):
                told.append(f"{column} = {frame[column].mean():.4g} (its mean)")
            else:
                told.append(f"{column} averaged over its levels with equal weights")
    return f"the change at {', '.join(told)}" if told else ""


def _judge(rows: pd.DataFrame, tested: NDArray[np.bool_], caution: str) -> None:
    """Settle statuses, cautions and effects."""
    few = (rows["n_pairs"] < _MIN_PAIRS).to_numpy()
    rows.loc[few, "status"] = "too_few"
    rows.loc[~tested, "status"] = "excluded"
    blank = ~rows["status"].isin(["ok", "singular", "constant"]).to_numpy()
    rows.loc[blank, list(NUMBERS)] = np.nan
    rows.loc[rows["status"] == "constant", ["se", "t", "p", "ci_low", "ci_high"]] = np.nan
    notes = []
    for note, n_pairs, status, p in zip(
        rows["note"], rows["n_pairs"], rows["status"], rows["p"], strict=True
    ):
        text = note
        if status == "too_few" and n_pairs < _MIN_PAIRS:
            text = join_notes(
                text, f"{n_pairs} evaluable pair{'s' if n_pairs != 1 else ''}, at least 2 needed"
            )
        elif status == "too_few":
            text = join_notes(text, "too few biopsies for the terms of the formula")
        elif status != "excluded":
            text = join_notes(text, caution)
            if status == "constant":
                text = join_notes(text, "no variation: not tested")
            elif status == "not_estimable":
                text = join_notes(text, "aliased with other terms, or no residual degrees of freedom")
            elif np.isnan(p):
                text = join_notes(text, "no residual variation within participants: not tested")
            if n_pairs < _PAIRS_FOR_EXACT and not np.isnan(p):
                exact = f"{n_pairs} pairs: an exact sign-flip test cannot go below p {2 / 2**n_pairs:g}"
                text = join_notes(text, exact)
        notes.append(text)
    rows["note"] = notes
    kinds = rows["kind"].to_numpy()
    for source, effect in (("estimate", "effect"), ("ci_low", "effect_low"), ("ci_high", "effect_high")):
        rows[effect] = _back(rows[source].to_numpy(dtype=float), kinds)


def _back(values: Floats, kinds: NDArray[np.object_]) -> Floats:
    """From the model scale to the scale that is shown."""
    log2 = np.isin(kinds.astype(str), list(_LOG2))
    logit = kinds.astype(str) == "proportion"
    with np.errstate(over="ignore"):
        return np.where(log2, np.exp2(values), np.where(logit, np.exp(values), values))


def _aliasing(frame: pd.DataFrame, reference: str, compared: str) -> str:
    """Whether batch and visit can be told apart in the biopsies of a contrast."""
    if "batch" not in frame or frame["batch"].isna().all():
        return ""
    first = set(frame.loc[frame["visit"] == reference, "batch"].dropna().astype(str))
    second = set(frame.loc[frame["visit"] == compared, "batch"].dropna().astype(str))
    if first and second and not first & second:
        return f"not separable: no batch holds both {reference} and {compared}"
    return ""


def _changes(block: _Block, contrast: str, model: _Model) -> pd.DataFrame:
    """Per participant and feature: both values, the change on the model scale, its back-transform."""
    inside = block.frame[f"_in_{contrast}"].to_numpy(dtype=bool)
    frame = block.frame[inside]
    first, second = _pair_positions(frame, *model.visits[contrast])
    data = block.values[inside]
    y = np.asarray(data.layers["y"], dtype=float)
    kinds = block.values.var["kind"].astype(str).to_numpy()
    raw = np.where(kinds == "count", np.exp2(y), np.asarray(data.X, dtype=float))
    tested = np.isfinite(y).any(axis=0)
    features = block.values.var_names.to_numpy(dtype=object)[tested]
    change = (y[second] - y[first])[:, tested]
    ratio = _back(change, np.broadcast_to(kinds[tested].astype(object), change.shape))
    scale_free = np.isin(kinds[tested], ["score", "signature"])
    n_pairs, n_features = change.shape
    people = frame["participant"].to_numpy(dtype=object)[first]
    ids = frame.index.to_numpy(dtype=object)
    out = pd.DataFrame(
        {
            "participant_id": np.repeat(people, n_features),
            "assay": block.assay,
            "feature": np.tile(features, n_pairs),
            "contrast": contrast,
            "set": block.set_,
            "baseline_biopsy": np.repeat(ids[first], n_features),
            "on_biopsy": np.repeat(ids[second], n_features),
            "baseline_value": raw[first][:, tested].ravel(),
            "on_value": raw[second][:, tested].ravel(),
            "change": change.ravel(),
            "ratio": np.where(scale_free[None, :], np.nan, ratio).ravel(),
        }
    )
    return out[list(CHANGE_COLUMNS)]


def _fill(adata: AnnData, values: AnnData) -> AnnData:
    """The assay with its model-scale layers; biopsies that are not used have y NaN and w 0."""
    out = adata.copy()
    rows = out.obs_names.get_indexer(values.obs_names)
    for layer, blank in (("y", np.nan), ("w", 0.0)):
        full = np.full(out.shape, blank)
        full[rows] = np.asarray(values.layers[layer], dtype=float)
        out.layers[layer] = full
    for column in ("tested", "note"):
        if column in values.var:
            out.var[column] = values.var[column].to_numpy()
    out.uns.update(values.uns)
    return out


def _all_pairs(study: Study, visits: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    frames = [pairs(study, first, second).assign(contrast=name) for name, (first, second) in visits.items()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give the result table its fixed columns, in order, with their types."""
    out = table.reindex(columns=list(TABLE_COLUMNS))
    return out.astype({c: (object if t == "str" else t) for c, t in TABLE_COLUMNS.items()})

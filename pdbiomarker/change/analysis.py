"""From a study and a plan to the paired change of every feature.

For every assay and analysis set: the usable biopsies are chosen (:mod:`pdbiomarker.pairing`), their values
are brought to the model scale (:mod:`pdbiomarker.normalize`), and every contrast is fitted on the visits
that it touches (:mod:`pdbiomarker.change.question`), because one participant intercept over three visits
would share one variance between an early and a late change. With two visits the intraclass correlation may
be negative, so that complete pairs give exactly the paired t-test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.change.blocks import Block, choose_block, chooser_of
from pdbiomarker.change.composition import composition_rows
from pdbiomarker.change.content import content_rows
from pdbiomarker.change.estimands import empty_estimands, estimand_rows, events_of
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL, adjust, resolve_families
from pdbiomarker.change.layout import Layout
from pdbiomarker.change.question import Model, Question, read_model
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS, PDResult
from pdbiomarker.change.robustness import empty_robustness, robustness_rows
from pdbiomarker.change.rows import back_transformed, contrast_rows, values_of
from pdbiomarker.pairing import (
    PAIRED_SETS,
    Chooser,
    account,
    dose_timing,
    pair_mix,
    pair_table,
    sets_of_study,
    with_events,
)
from pdbiomarker.plan import Plan, estimand_of, lock_status, undeclared_events
from pdbiomarker.study import Study

__all__ = ["pd_change"]

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass
class _Tables:
    """What an analysis collects, assay by assay."""

    rows: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    changes: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    biopsies: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    robustness: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    estimands: list[pd.DataFrame] = dataclasses.field(default_factory=list)


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
        that no biopsies could identify. All problems of a kind are told at once.

    Notes
    -----
    Restricted maximum likelihood with the plan's random terms; degrees of freedom by the plan's `ddf`. The
    definitions are in :mod:`pdbiomarker.mixed`.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study = pb.read_study("trial")
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz", study=study)
    >>> study = study.with_assay("rna", counts)
    >>> study = study.with_assay("rna_signatures", pb.expression.signature_scores(counts))
    >>> result = pb.pd_change(study, pb.Plan.read("trial/plan.yaml"))
    >>> row = result["rna_signatures"].table.iloc[0]
    >>> row["feature"], row["status"], int(row["n_pairs"]), round(float(row["estimate"]), 2)
    ('CYT', 'ok', 5, 0.61)
    """
    model = read_model(study, plan)
    families = resolve_families(plan, study.assays)
    found = _Tables()
    filled = study
    affected = events_of(study, plan)
    # What an intercurrent event leaves out is left out of models, accountability and pairs alike.
    marked = with_events(study, affected)
    chooser = chooser_of(marked, model)
    # A study of one visit has no contrast unless its plan names one: nothing is asked.
    assays = study.assays if model.questions else {}
    for done, (name, adata) in enumerate(assays.items(), start=1):
        panel = adata.n_vars <= FEATURE_COUNT_OF_A_PANEL
        # The rows of a feature stand together: the index of each block is the feature's position.
        fitted: list[pd.DataFrame] = []
        for set_ in sets_of_study(study) if panel else ("strict",):
            block, told = choose_block(chooser, name, set_, model)
            found.biopsies.append(told)
            for question in model.questions.values():
                answer = contrast_rows(block, question, model, families)
                fitted.append(answer.rows)
                if set_ not in PAIRED_SETS and question.is_change:
                    found.changes.append(_changes(block, question))
                if set_ == "strict" and panel:
                    found.robustness.append(robustness_rows(answer, seed=plan.seed))
            if set_ == "strict" and panel:
                found.estimands += estimand_rows(study, block, model, families, affected)
            if set_ == "strict":
                filled = filled.with_assay(name, _fill(adata, block.values))
                fitted += composition_rows(block, model, families)
                fitted += content_rows(study, block, model, families)
        found.rows.append(pd.concat(fitted).sort_index(kind="stable"))
        if progress is not None:
            progress(name, done, len(study.assays))
    return _result(filled, chooser, model, found, affected)


def _result(
    filled: Study, chooser: Chooser, model: Model, found: _Tables, affected: pd.DataFrame
) -> PDResult:
    """Put the result together; `filled` has the assays on the model scale, the chooser's study the events."""
    pairs, lock = _all_pairs(chooser, model), lock_status(filled, model.plan)
    study = chooser.study
    empty = pd.DataFrame(columns=list(TABLE_COLUMNS))
    table = pd.concat(found.rows, ignore_index=True) if found.rows else empty
    changes = pd.DataFrame(columns=list(CHANGE_COLUMNS))
    whole = [name for name in sets_of_study(study) if name not in PAIRED_SETS]
    flow, people = account(chooser, model.visits, sets=whole)
    return PDResult(
        table=_typed(adjust(table, model.plan)),
        changes=pd.concat(found.changes, ignore_index=True) if found.changes else changes,
        accountability=flow,
        dispositions=people,
        biopsies=_timed(pd.concat(found.biopsies, ignore_index=True), study)
        if found.biopsies
        else pd.DataFrame(),
        pairs=pairs,
        plan=model.plan,
        study=filled,
        robustness=pd.concat(found.robustness, ignore_index=True) if found.robustness else empty_robustness(),
        listings={
            "estimands": pd.concat(found.estimands, ignore_index=True)
            if found.estimands
            else empty_estimands(),
            "intercurrent_events": affected,
            "pair_mix": pair_mix(filled, pairs),
            "plan_deviations": lock.table,
        },
        provenance={
            "problems": list(
                dict.fromkeys([*study.problems, *undeclared_events(filled, model.plan.intercurrent)])
            ),
            "estimand": estimand_of(filled, model.plan),
            "lock": lock.facts(),
        },
    )


def _changes(block: Block, question: Question) -> pd.DataFrame:
    """Per participant and feature: both values, the change on the model scale, its back-transform.

    Of several biopsies the value is their mean: of counts on the log scale, else as it was measured. Where a
    side of the contrast holds several visits, its value is not given; nor is the change of censored values.
    """
    frame, data = block.of(question.name)
    layout = Layout.of(frame, question.visits)
    weights = question.weights or {}
    sides = [[k for k, v in enumerate(question.visits) if sign * weights[v] > 0] for sign in (-1, 1)]
    values = values_of(data, data.n_vars)
    means = layout.means(values.y)
    change = layout.weighted(means, weights)
    if values.side is not None:
        known = np.where(values.side == 0, values.y, np.nan)
        lacking = layout.counts(known) < layout.counts(values.y)
        change = np.where(lacking.any(axis=2), np.nan, change)
    people = np.flatnonzero((layout.counts(np.zeros((1, len(frame))))[0] > 0).all(axis=1))
    kinds = block.values.var["kind"].astype(str).to_numpy()
    raw = layout.means(np.asarray(data.X, dtype=float).T)
    raw = np.where((kinds == "count")[:, None, None], np.exp2(means), raw)
    tested = np.isfinite(values.y).any(axis=1)
    features = block.values.var_names.to_numpy(dtype=object)[tested]
    change = change[tested][:, people].T
    ratio = back_transformed(change, np.broadcast_to(kinds[tested].astype(object), change.shape))
    scale_free = np.isin(kinds[tested], ["score", "signature"])
    shown = [
        raw[tested][:, people, side[0]].T if len(side) == 1 else np.full(change.shape, np.nan)
        for side in sides
    ]
    n_features = len(features)
    ids = [np.array([layout.names_of(int(p), side) for p in people], dtype=object) for side in sides]
    names = np.array(layout.people, dtype=object)[people]
    out = pd.DataFrame(
        {
            "participant_id": np.repeat(names, n_features),
            "assay": block.assay,
            "feature": np.tile(features, len(people)),
            "contrast": question.name,
            "set": block.set_,
            "baseline_biopsy": np.repeat(ids[0], n_features),
            "on_biopsy": np.repeat(ids[1], n_features),
            "baseline_value": shown[0].ravel(),
            "on_value": shown[1].ravel(),
            "change": change.ravel(),
            "ratio": np.where(scale_free[None, :], np.nan, ratio).ravel(),
        }
    )
    return out[list(CHANGE_COLUMNS)]


def _fill(adata: AnnData, values: AnnData) -> AnnData:
    """The assay with its model-scale layers; biopsies that are not used have y NaN and w 0."""
    out = adata.copy()
    rows = out.obs_names.get_indexer(values.obs_names)
    for layer, blank in (("y", np.nan), ("w", 0.0), ("censored", 0.0)):
        if layer not in values.layers:
            continue
        full = np.full(out.shape, blank)
        full[rows] = np.asarray(values.layers[layer], dtype=float)
        out.layers[layer] = full
    for column in ("tested", "note"):
        if column in values.var:
            out.var[column] = values.var[column].to_numpy()
    out.uns.update(values.uns)
    return out


def _timed(biopsies: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The rows of the biopsies with when they were taken, counted from the doses before."""
    timing = dose_timing(study).loc[biopsies["biopsy_id"].to_numpy()].reset_index(drop=True)
    return pd.concat([biopsies, timing], axis=1)


def _all_pairs(chooser: Chooser, model: Model) -> pd.DataFrame:
    frames = [
        pair_table(chooser, question.visits).assign(contrast=name)
        for name, question in model.questions.items()
        if len(question.visits) > 1
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give the result table its fixed columns, in order, with their types."""
    out = table.reindex(columns=list(TABLE_COLUMNS))
    return out.astype({c: (object if t == "str" else t) for c, t in TABLE_COLUMNS.items()})

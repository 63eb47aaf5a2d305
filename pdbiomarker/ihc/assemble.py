"""Scores of slides become an assay: biopsies x features."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problem
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.score import feature_name, pool_scores
from pdbiomarker.provenance import package_version

__all__ = ["assemble", "problems_of"]

_SCORE_LIMITS: Final = {"density": (0.0, np.inf), "proportion": (0.0, 1.0), "score": (0.0, 300.0)}
_SCORE_UNITS: Final = {"density": "cells/mm2", "proportion": "share", "score": "points"}
_COMPARTMENTS: Final = ("tissue", "nest", "stroma")


def assemble(
    results: Iterable[tuple[str, str, pd.DataFrame]],
    panel: Panel | Iterable[Panel],
    *,
    facts: pd.DataFrame | None = None,
    problems: Iterable[Problem] = (),
) -> AnnData:
    """Put the scores of slides together: biopsies x features.

    Parameters
    ----------
    results : iterable of (slide id, biopsy id, scores)
        Several slides of a biopsy are pooled: sum of numerators over sum of denominators.
    panel : Panel or iterable of Panel
        Labels and directions of the features.
    facts : DataFrame, optional
        Index slide id; columns such as batch, scanner, white_red, mpp: each biopsy gets the one value of its
        slides, the mean of differing numbers, or differing texts joined by ``;``.
    problems : iterable of Problem
        What was quarantined or told, kept in ``uns["problems"]``: see :func:`problems_of`.

    Returns
    -------
    AnnData
        obs: biopsies in sorted order, with n_slides, n_cells, area_mm2 and `facts`. X: scores (NaN: not to be
        made). Layers ``numerator`` and ``denominator``. ``var["unmeasured"]``: JSON text, biopsy to the
        reason why the feature has no value there.
    """
    panels = [panel] if isinstance(panel, Panel) else list(panel)
    by_biopsy: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    for slide_id, biopsy_id, scores in results:
        by_biopsy.setdefault(str(biopsy_id), []).append((str(slide_id), scores))
    biopsies = sorted(by_biopsy)
    pooled = {
        biopsy: pd.concat(
            [_pool_marker([scores for _, scores in by_biopsy[biopsy]], marker) for marker in panels],
            ignore_index=True,
        )
        for biopsy in biopsies
    }
    var = _features(pooled, panels)
    layers = {
        name: np.full((len(biopsies), len(var)), np.nan) for name in ("value", "numerator", "denominator")
    }
    obs = pd.DataFrame(index=pd.Index(biopsies, dtype=object, name="biopsy_id"))
    obs["n_slides"] = [len(by_biopsy[biopsy]) for biopsy in biopsies]
    tissue = {
        biopsy: pooled[biopsy][pooled[biopsy]["feature"].str.endswith("_tissue")] for biopsy in biopsies
    }
    obs["n_cells"] = [int(tissue[b].drop_duplicates("marker")["n_cells"].sum()) for b in biopsies]
    obs["area_mm2"] = [float(tissue[b].drop_duplicates("marker")["area_mm2"].sum()) for b in biopsies]
    place = {name: column for column, name in enumerate(var.index)}
    unmeasured: dict[str, dict[str, str]] = {str(name): {} for name in var.index}
    for row, biopsy in enumerate(biopsies):
        for record in pooled[biopsy].to_dict("records"):
            column = place[str(record["feature"])]
            for name, layer in layers.items():
                layer[row, column] = float(record[name])
            if np.isnan(layers["value"][row, column]) and record["note"]:
                unmeasured[str(record["feature"])][biopsy] = str(record["note"])
    var["unmeasured"] = [json.dumps(reasons, sort_keys=True) for reasons in unmeasured.values()]
    if facts is not None:
        for name in facts.columns:
            obs[name] = [_one_value(facts.loc[[s for s, _ in by_biopsy[b]], name]) for b in biopsies]
    assay = AnnData(X=layers["value"], obs=obs, var=var)
    assay.layers["numerator"] = layers["numerator"]
    assay.layers["denominator"] = layers["denominator"]
    assay.uns["provenance"] = {
        "reader": "pdbiomarker.ihc",
        "version": package_version(),
        **{f"panel_{p.marker}": p.hash for p in panels},
    }
    told = [dataclasses.asdict(problem) for problem in problems]
    assay.uns["problems"] = json.dumps(told, ensure_ascii=False, default=str)
    return assay


def problems_of(adata: AnnData) -> tuple[Problem, ...]:
    """Quarantined slides and warnings that were told while slides were quantified.

    ``uns["problems"]`` is JSON text, a list of objects with the fields of
    :class:`~pdbiomarker.errors.Problem`, because a list of mappings does not survive an h5ad file.
    """
    rows = json.loads(str(adata.uns.get("problems", "[]")))
    return tuple(Problem(**row) for row in rows)


def _pool_marker(scores: list[pd.DataFrame], panel: Panel) -> pd.DataFrame:
    own = [frame[frame["feature"].str.startswith(f"{panel.marker}_")] for frame in scores]
    return pool_scores(own, panel).assign(marker=panel.marker)


def _features(pooled: Mapping[str, pd.DataFrame], panels: Iterable[Panel]) -> pd.DataFrame:
    """The var table: every feature of every panel that some biopsy has, by panel, compartment and score."""
    present = {
        str(f): str(k)
        for frame in pooled.values()
        for f, k in zip(frame["feature"], frame["kind"], strict=True)
    }
    rows = []
    for panel in panels:
        for compartment in _COMPARTMENTS:
            for score, spec in panel.features.items():
                name = feature_name(panel, score, compartment)
                if name not in present:
                    continue
                kind = present[name]
                direction = (
                    panel.expected_direction if spec.expected_direction is None else spec.expected_direction
                )
                low, high = _SCORE_LIMITS[kind]
                rows.append(
                    (
                        name,
                        kind,
                        _SCORE_UNITS[kind],
                        low,
                        high,
                        np.nan,
                        panel.marker,
                        f"{spec.label} ({compartment})",
                        direction,
                    )
                )
    columns = ["feature", "kind", "unit", "lower", "upper", "lloq", "family", "label", "expected_direction"]
    frame = pd.DataFrame(rows, columns=columns).set_index("feature")
    frame.index = pd.Index([str(name) for name in frame.index], dtype=object, name="feature")
    return frame


def _one_value(values: pd.Series) -> float | str:
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and values.map(lambda v: isinstance(v, (int, float, np.number))).all():
        return float(numbers.mean())
    return ";".join(sorted({str(v) for v in values if not pd.isna(v)}))

"""Scores of slides become an assay: biopsies x features."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problem
from pdbiomarker.ihc.definitions import DEFINITIONS, log2_ratio
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.score import COMPARTMENT_ORDER, feature_name, pool_scores
from pdbiomarker.provenance import package_version
from pdbiomarker.study.assay_problems import keep_problems

__all__ = ["assemble"]

_LAYERS: Final = ("value", "numerator", "denominator", "within_se")
_VAR_COLUMNS: Final = (
    "feature",
    "kind",
    "unit",
    "lower",
    "upper",
    "lloq",
    "family",
    "label",
    "expected_direction",
)


def assemble(
    results: Iterable[tuple[str, str, pd.DataFrame]],
    panel: Panel | Iterable[Panel],
    *,
    facts: pd.DataFrame | None = None,
    problems: Iterable[Problem] = (),
    sensitivity: Mapping[str, pd.DataFrame] | None = None,
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
        What was quarantined or told, kept in ``uns["problems"]``: see :func:`pdbiomarker.ihc.problems_of`.
    sensitivity : mapping of slide id to DataFrame, optional
        What :func:`pdbiomarker.ihc.threshold_sensitivity` gave for the slides.

    Returns
    -------
    AnnData
        obs: biopsies in sorted order, with n_slides, n_cells, area_mm2 and `facts`. X: scores (NaN: not to be
        made). Layers ``numerator``, ``denominator`` and ``within_se`` (the error within the section, by a
        bootstrap over tiles); with `sensitivity` also ``threshold_0.8`` and so on: the scores had the
        thresholds been that much of what they are. ``var["unmeasured"]``: JSON text, biopsy to the reason
        why the feature has no value there. Where two panels are named by ``ratio_to``, the log2 ratio of
        their cells follows.
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
    layers = {name: np.full((len(biopsies), len(var)), np.nan) for name in _LAYERS}
    obs = pd.DataFrame(index=pd.Index(biopsies, dtype=object, name="biopsy_id"))
    obs["n_slides"] = [len(by_biopsy[biopsy]) for biopsy in biopsies]
    whole = {biopsy: _whole_slide(pooled[biopsy]) for biopsy in biopsies}
    obs["n_cells"] = [int(whole[b]["n_cells"].sum()) for b in biopsies]
    obs["area_mm2"] = [float(whole[b]["area_mm2"].sum(skipna=False)) for b in biopsies]
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
    _moved_thresholds(layers, by_biopsy, panels, sensitivity or {}, var.index)
    var, layers = _with_ratios(var, layers, panels)
    assay = AnnData(X=layers.pop("value"), obs=obs, var=var)
    for name, layer in layers.items():
        assay.layers[name] = layer
    assay.uns["provenance"] = {
        "reader": "pdbiomarker.ihc",
        "version": package_version(),
        **{f"panel_{p.marker}": p.hash for p in panels},
    }
    keep_problems(assay, problems)
    return assay


def _pool_marker(scores: list[pd.DataFrame], panel: Panel) -> pd.DataFrame:
    own = [frame[frame["feature"].str.startswith(f"{panel.marker}_")] for frame in scores]
    return pool_scores(own, panel).assign(marker=panel.marker)


def _whole_slide(pooled: pd.DataFrame) -> pd.DataFrame:
    """Give one row for each marker: that of the whole tissue, or else the one with most cells."""
    ordered = pooled.assign(
        other=~pooled["feature"].str.endswith("_tissue"), fewer=-pooled["n_cells"].astype(float)
    )
    return ordered.sort_values(["other", "fewer"], kind="stable").drop_duplicates("marker")


def _moved_thresholds(
    layers: dict[str, npt.NDArray[np.float64]],
    by_biopsy: Mapping[str, list[tuple[str, pd.DataFrame]]],
    panels: Iterable[Panel],
    sensitivity: Mapping[str, pd.DataFrame],
    features: pd.Index,
) -> None:
    """Add a layer of scores for every factor by which the thresholds were moved."""
    place = {str(name): column for column, name in enumerate(features)}
    for row, biopsy in enumerate(sorted(by_biopsy)):
        found = [sensitivity[slide] for slide, _ in by_biopsy[biopsy] if slide in sensitivity]
        if len(found) < len(by_biopsy[biopsy]):
            continue
        for factor in sorted({float(f) for frame in found for f in frame["factor"]} - {1.0}):
            own = [frame[frame["factor"] == factor] for frame in found]
            layer = layers.setdefault(f"threshold_{factor:g}", np.full_like(layers["value"], np.nan))
            for panel in panels:
                for record in _pool_marker(own, panel).to_dict("records"):
                    layer[row, place[str(record["feature"])]] = float(record["value"])


def _with_ratios(
    var: pd.DataFrame, layers: dict[str, npt.NDArray[np.float64]], panels: Iterable[Panel]
) -> tuple[pd.DataFrame, dict[str, npt.NDArray[np.float64]]]:
    """Add the log2 ratio of the cells of two markers, by compartment, from their counts and areas."""
    markers = {panel.marker for panel in panels}
    rows, columns = [], []
    for panel in panels:
        for other in (name for name in panel.ratio_to if name in markers):
            for compartment in COMPARTMENT_ORDER:
                names = [f"{marker}_density_{compartment}" for marker in (panel.marker, other)]
                if not set(names) <= set(var.index):
                    continue
                above, below = var.index.get_indexer(pd.Index(names))
                n, area = layers["numerator"], layers["denominator"]
                columns.append(
                    (
                        log2_ratio(
                            n[:, above], n[:, below], first_mm2=area[:, above], second_mm2=area[:, below]
                        ),
                        n[:, above],
                        n[:, below],
                    )
                )
                label = f"log2 ratio of {panel.marker}+ to {other}+ cells ({compartment})"
                name = f"{panel.marker}_{other}_log2ratio_{compartment}"
                rows.append(
                    (
                        name,
                        "signature",
                        "log2",
                        -np.inf,
                        np.inf,
                        np.nan,
                        panel.marker,
                        label,
                        panel.expected_direction,
                    )
                )
    if not rows:
        return var, layers
    added = pd.DataFrame(rows, columns=list(_VAR_COLUMNS)).set_index("feature").assign(unmeasured="{}")
    wide = {}
    for layer, values in layers.items():
        pick = {"value": 0, "numerator": 1, "denominator": 2}.get(layer)
        blank = np.full(len(values), np.nan)
        wide[layer] = np.column_stack([values, *(blank if pick is None else c[pick] for c in columns)])
    joined = pd.concat([var, added])
    joined.index = pd.Index([str(name) for name in joined.index], dtype=object, name="feature")
    return joined, wide


def _features(pooled: Mapping[str, pd.DataFrame], panels: Iterable[Panel]) -> pd.DataFrame:
    """The var table: every feature of every panel that some biopsy has, by panel, compartment and score."""
    present = {str(f) for frame in pooled.values() for f in frame["feature"]}
    rows = []
    for panel in panels:
        for compartment in (*COMPARTMENT_ORDER, None):
            for score, spec in panel.features.items():
                found = DEFINITIONS[score]
                if (found.scope == "tumour") != (compartment is None):
                    continue
                name = feature_name(panel, score, compartment or "")
                if name not in present:
                    continue
                own = spec.expected_direction
                label = spec.label if compartment is None else f"{spec.label} ({compartment})"
                direction = panel.expected_direction if own is None else own
                limits = (found.low, found.high, np.nan)
                rows.append((name, found.kind, found.unit, *limits, panel.marker, label, direction))
    frame = pd.DataFrame(rows, columns=list(_VAR_COLUMNS)).set_index("feature")
    frame.index = pd.Index([str(name) for name in frame.index], dtype=object, name="feature")
    return frame


def _one_value(values: pd.Series) -> float | str:
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and values.map(lambda v: isinstance(v, (int, float, np.number))).all():
        return float(numbers.mean())
    return ";".join(sorted({str(v) for v in values if not pd.isna(v)}))

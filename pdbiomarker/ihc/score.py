"""Scores: density, percent positive and H-score, each with its numerator, denominator and area.

- density = positive cells / evaluable area (mm2)
- pct = positive cells / all cells, stored 0-1
- hscore = 100 (n1 + 2 n2 + 3 n3) / (n0 + n1 + n2 + n3), 0-300 (McCarty 1985)

Scores of several slides or regions of one biopsy are sums of numerators over sums of denominators, never
means of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.ihc.panel import Panel

__all__ = ["SCORE_COLUMNS", "SCORE_KINDS", "feature_name", "pool_scores", "score_cells"]

SCORE_COLUMNS: Final = ("feature", "kind", "value", "numerator", "denominator", "area_mm2", "n_cells", "note")
SCORE_KINDS: Final = {"density": "density", "pct": "proportion", "hscore": "score"}


def feature_name(panel: Panel, score: str, compartment: str) -> str:
    """Name of a feature, such as ``CD8_density_tissue``."""
    return f"{panel.marker}_{score}_{compartment}"


def score_cells(cells: pd.DataFrame, areas_mm2: Mapping[str, float], panel: Panel) -> pd.DataFrame:
    """Scores of one slide.

    Parameters
    ----------
    cells : DataFrame
        Columns ``class`` (0-3) and ``compartment``.
    areas_mm2 : mapping of str to float
        Evaluable area by compartment. ``tissue`` takes all cells; any other name takes its own.
    panel : Panel
        Which scores, and how few cells are too few.

    Returns
    -------
    DataFrame
        Columns :data:`SCORE_COLUMNS`; a score that cannot be made has the value NaN and its reason in
        ``note``.
    """
    rows = []
    grades = cells["class"].to_numpy()
    where = cells["compartment"].to_numpy()
    for compartment, area in areas_mm2.items():
        own = grades if compartment == "tissue" else grades[where == compartment]
        n = len(own)
        sums = {
            "density": (float((own > 0).sum()), float(area)),
            "pct": (float((own > 0).sum()), float(n)),
            "hscore": (100.0 * float(own.sum()), float(n)),
        }
        for score in panel.features:
            numerator, denominator = sums[score]
            row = {
                "feature": feature_name(panel, score, compartment),
                "kind": SCORE_KINDS[score],
                "numerator": numerator,
                "denominator": denominator,
                "area_mm2": float(area),
                "n_cells": n,
            }
            value, note = _value(score, numerator, denominator, n, panel)
            rows.append({**row, "value": value, "note": note})
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def pool_scores(scores: Iterable[pd.DataFrame], panel: Panel) -> pd.DataFrame:
    """Scores of several slides of one biopsy: sums over sums, in the order features first appear."""
    rows: dict[str, dict[str, float | str]] = {}
    for frame in scores:
        for record in frame.to_dict("records"):
            name = str(record["feature"])
            row = rows.setdefault(
                name,
                {
                    "feature": name,
                    "kind": record["kind"],
                    "numerator": 0.0,
                    "denominator": 0.0,
                    "area_mm2": 0.0,
                    "n_cells": 0,
                },
            )
            for key in ("numerator", "denominator", "area_mm2", "n_cells"):
                row[key] = float(row[key]) + float(record[key])
    by_kind = {kind: score for score, kind in SCORE_KINDS.items()}
    for row in rows.values():
        row["n_cells"] = int(row["n_cells"])
        score = by_kind[str(row["kind"])]
        row["value"], row["note"] = _value(
            score, float(row["numerator"]), float(row["denominator"]), int(row["n_cells"]), panel
        )
    return pd.DataFrame(list(rows.values()), columns=list(SCORE_COLUMNS))


def _value(score: str, numerator: float, denominator: float, n_cells: int, panel: Panel) -> tuple[float, str]:
    if score == "density":
        return (numerator / denominator, "") if denominator > 0 else (np.nan, "no evaluable area")
    if n_cells == 0:
        return np.nan, "no cells"
    if n_cells < panel.min_cells:
        return np.nan, f"{n_cells} cells, fewer than {panel.min_cells}"
    return numerator / denominator, ""

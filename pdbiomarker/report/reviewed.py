"""What the sections on decisions share: how a review's features are named, and its sentences written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from matplotlib.axes import Axes

from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_words
from pdbiomarker.plot.select import Result, effect_unit, rows_of, select
from pdbiomarker.report.content import Column

__all__ = ["MOST", "draw_of", "drawn_features", "feature_column", "in_units", "label_of"]

#: Features whose figures are drawn; the tables have all.
MOST: Final = 4


def label_of(result: Result, review: Review, reference: str) -> str:
    """The label of a feature (``assay:feature``), or its name."""
    assay, _, feature = reference.partition(":")
    rows = rows_of(result.table, assay, feature, contrast=review.contrast)
    label = rows["label"].iloc[0] if len(rows) else ""
    return str(label) if isinstance(label, str) and label else feature


def in_units(result: Result, review: Review, reference: str, text: str) -> str:
    """A sentence of the review as people read it: minus signs, and the feature's own unit for points."""
    said = format_words(text)
    if "points" not in said:
        return said
    unit = effect_unit(result, select(result, reference, review.contrast).row)
    return said.replace("points", unit) if unit not in {"", "units"} else said


def drawn_features(review: Review) -> tuple[str, ...]:
    """The features whose figures are drawn."""
    return review.features[:MOST]


def feature_column(review: Review) -> list[tuple[str, Column]]:
    """The column of features, where there are several."""
    return [("label", Column("feature", "name"))] if len(review.features) > 1 else []


def draw_of(
    function: Callable[..., Axes], result: Result, review: Review, reference: str
) -> Callable[[Axes], Axes]:
    """What draws a figure of a feature of a review."""

    def draw(ax: Axes) -> Axes:
        return function(result, review, reference, ax=ax)

    return draw

"""What the figures read of a review: a feature's noise, responders and checks on the scale that is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker.decide import Review
from pdbiomarker.plot.select import RATIO_KINDS, Result, Selection, refuse, select
from pdbiomarker.plot.style import linear_axis, ratio_axis

__all__ = ["Drawn", "drawn_of", "each_row", "noise_of", "noise_words"]

Floats = npt.NDArray[np.float64]
_BASES: Final = {"treated pairs": "the spread of treated pairs", "untreated pairs": "untreated pairs"}


def each_row(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows of a table whose columns are known to whoever asks, as named tuples."""
    return iter(frame.itertuples())


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """One feature of a review.

    Attributes
    ----------
    chosen : Selection
        Of the review's contrast, in the primary set.
    reference : str
        ``assay:feature``.
    noise : Series or None
        Its row of the noise table; None where the noise is not known.
    """

    review: Review
    chosen: Selection
    reference: str
    noise: pd.Series | None

    @property
    def ratio(self) -> bool:
        """Whether changes are drawn as log2 of a ratio; else in units."""
        return self.chosen.kind in RATIO_KINDS

    def shown(self, change: npt.ArrayLike) -> Floats:
        """Changes on the model scale as they are drawn: log2 of a ratio (or odds ratio), or units."""
        values = np.asarray(change, dtype=float)
        return values / np.log(2.0) if self.chosen.kind == "proportion" else values

    @property
    def limit(self) -> float:
        """The 95 % prediction limit of a change by noise alone, as drawn; NaN where not known."""
        return np.nan if self.noise is None else float(self.shown(self.noise["rcv"]))

    @property
    def what(self) -> str:
        """What a change is called."""
        if not self.ratio:
            return f"change ({self.chosen.row['effect_unit']})"
        return "odds ratio" if self.chosen.kind == "proportion" else "fold change"

    def table(self, name: str) -> pd.DataFrame:
        """The rows of this feature in a table of the review."""
        return self.review.of(name, self.reference)

    def axis(self, ax: Axes, which: str, low: float, high: float) -> None:
        """Scale an axis of changes, as drawn."""
        if self.ratio:
            ratio_axis(ax, which, low, high)
            return
        (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
        linear_axis(ax, which)


def drawn_of(result: Result, review: Review, feature: str) -> Drawn:
    """Find a feature of a review.

    Raises
    ------
    InputError
        E-RESULT-001: the review does not decide on the feature.
    """
    chosen = select(result, feature, review.contrast)
    reference = f"{chosen.row['assay']}:{chosen.row['feature']}"
    if reference not in review.features:
        raise refuse(f"Nothing was decided on {feature!r}.", feature, review.features, "feature")
    rows = review.of("noise", reference)
    known = len(rows) and np.isfinite(float(rows["sigma"].iloc[0]))
    return Drawn(review, chosen, reference, rows.iloc[0] if known else None)


def noise_of(result: Result, review: Review | None, chosen: Selection) -> Drawn | None:
    """What a review says of a selection; None without a review, or where it decides on something else."""
    reference = f"{chosen.row['assay']}:{chosen.row['feature']}"
    if review is None or reference not in review.features or chosen.row["contrast"] != review.contrast:
        return None
    return drawn_of(result, review, reference)


def noise_words(noise: pd.Series | None) -> str:
    """Where a feature's noise comes from, in a few words."""
    if noise is None:
        return "noise not known"
    basis = str(noise["basis"])
    said = f"noise from {_BASES.get(basis, basis)}"
    if bool(noise["borrowed"]):
        return f"{said}, borrowed from another study"
    bound = {"upper": ", a bound from above", "lower": ", a bound from below"}
    return f"{said}{bound.get(str(noise['bound']), '')} ({float(noise['df']):.3g} df)"

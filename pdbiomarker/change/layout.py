"""Who and when: the biopsies of one question by participant and visit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Layout"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Places of n biopsies.

    Attributes
    ----------
    people : tuple of str
        Participants, those with a biopsy at the first visit first, in the order of the table.
    visits : tuple of str
    person, visit : (n,) arrays of int
        Positions in `people` and `visits`.
    ids : (n,) array
        Biopsies.
    """

    people: tuple[str, ...]
    visits: tuple[str, ...]
    person: Indices
    visit: Indices
    ids: NDArray[np.object_]

    @classmethod
    def of(cls, frame: pd.DataFrame, visits: Sequence[str]) -> Layout:
        """Lay out a table of biopsies with the columns participant and visit."""
        place = {name: k for k, name in enumerate(visits)}
        visit = np.array([place[str(v)] for v in frame["visit"]], dtype=np.intp)
        names = frame["participant"].astype(str).to_numpy()
        people = tuple(dict.fromkeys(names[np.argsort(visit, kind="stable")].tolist()))
        known = {name: k for k, name in enumerate(people)}
        person = np.array([known[name] for name in names], dtype=np.intp)
        return cls(people, tuple(visits), person, visit, frame.index.to_numpy(dtype=object))

    @property
    def replicated(self) -> bool:
        """Whether a participant has several biopsies at a visit."""
        cell = self.person * len(self.visits) + self.visit
        return len(np.unique(cell)) < len(cell)

    def counts(self, y: Floats) -> NDArray[np.int64]:
        """Values of each feature, participant and visit: (F, P, V) of (F, n) with NaN = missing."""
        member = self._members()
        return np.rint(np.isfinite(y).astype(float) @ member).astype(np.int64).reshape(self._shape(y))

    def means(self, y: Floats) -> Floats:
        """Mean of the values of each feature, participant and visit, (F, P, V); NaN where there is none."""
        count = self.counts(y)
        total = (np.where(np.isfinite(y), y, 0.0) @ self._members()).reshape(self._shape(y))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def weighted(self, means: Floats, weights: Mapping[str, float]) -> Floats:
        """Weighted sum over the visits of (F, P, V); NaN where a participant lacks one of them."""
        out = np.zeros(means.shape[:2])
        for k, name in enumerate(self.visits):
            if weights[name] != 0:
                out = out + weights[name] * means[:, :, k]
        return out

    def complete(self, y: Floats) -> Floats:
        """The values of participants who have one at every visit, feature by feature; the rest NaN."""
        whole = (self.counts(y) > 0).all(axis=2)
        return np.where(whole[:, self.person], y, np.nan)

    def names_of(self, person: int, visits: Sequence[int]) -> str:
        """Ids of a participant's biopsies at some visits, joined by semicolons."""
        mine = (self.person == person) & np.isin(self.visit, visits)
        return ";".join(str(b) for b in self.ids[mine])

    def _members(self) -> Floats:
        cells = len(self.people) * len(self.visits)
        member = np.zeros((len(self.person), cells))
        member[np.arange(len(self.person)), self.person * len(self.visits) + self.visit] = 1.0
        return member

    def _shape(self, y: Floats) -> tuple[int, int, int]:
        return (len(y), len(self.people), len(self.visits))

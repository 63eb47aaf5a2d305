"""What `check` tells of primary features: those that the data leave without an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from anndata import AnnData

from pdbiomarker.errors import Problem
from pdbiomarker.pairing import assign_visits
from pdbiomarker.study import Study

__all__ = ["primary_problems"]

_NAMED: Final = 5


def primary_problems(
    study: Study, primary: Sequence[tuple[str, str]], assays: Mapping[str, AnnData], visits: Sequence[str]
) -> Iterator[Problem]:
    """Warn of primary features without any value, or without one at a visit that is compared.

    Parameters
    ----------
    study : Study
    primary : sequence of (assay, feature)
    assays : mapping of str to AnnData
        As read. An assay without biopsies was not measured yet: nothing is said of it.
    visits : sequence of str
        That the contrasts touch.

    Yields
    ------
    Problem
        E-PLAN-290, a warning for each assay and each lack.
    """
    visit_of = assign_visits(study)["visit"]
    for name, data in assays.items():
        features = [feature for assay, feature in primary if assay == name]
        if not features or not data.n_obs:
            continue
        has = np.isfinite(np.asarray(data[:, features].X, dtype=float))
        at = visit_of.reindex(data.obs_names).to_numpy(dtype=object)
        lacking: dict[str, list[str]] = {}
        for feature, values in zip(features, has.T, strict=True):
            empty = [visit for visit in visits if not values[at == visit].any()]
            if not values.any():
                lacking.setdefault("", []).append(feature)
            elif empty:
                lacking.setdefault(", ".join(empty), []).append(feature)
        for where, without in lacking.items():
            yield _without(name, without, where)


def _without(assay: str, features: Sequence[str], visits: str) -> Problem:
    more = len(features) - _NAMED
    named = ", ".join(features[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    at = f" at {visits}" if visits else ""
    return Problem(
        "E-PLAN-290",
        f"Primary features of {assay!r} have no value{at}: {named}.",
        "Bring the values, or name another feature: without them there is no estimate.",
        "plan.yaml",
        column="families.primary",
        value=f"{assay}:{features[0]}",
        severity="warning",
    )

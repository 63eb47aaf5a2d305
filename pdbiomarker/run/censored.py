"""What `check` tells of values beyond a limit: their model answers fewer questions than the linear one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problem
from pdbiomarker.formula import parse
from pdbiomarker.normalize.limits import LAYER
from pdbiomarker.plan import Plan

__all__ = ["censored_problems"]

_PARTICIPANT = "(1|participant)"


def censored_problems(plan: Plan, assays: Mapping[str, AnnData]) -> Iterator[Problem]:
    """Warn, by assay, of features whose censored values the plan's random terms leave without an estimate.

    Parameters
    ----------
    plan : Plan
    assays : mapping of str to AnnData
        As read: limits in ``var["lloq"]`` and ``var["uloq"]``, single values in the layer ``censored``.

    Yields
    ------
    Problem
        E-RULE-011, a warning.
    """
    terms = parse(plan.formula).random
    plain = len(terms) == 1 and list(terms[0].groups) in (["participant"], ["participant_id"])
    if plain and "+" not in terms[0].label:
        return
    for name, data in assays.items():
        features = _censored(data)
        if features:
            yield Problem(
                "E-RULE-011",
                f"{len(features)} features of {name!r} have values beyond a limit of the assay. Their "
                f"model (Tobit) has {_PARTICIPANT} as its only random term; with this formula they "
                "get no estimate.",
                f"Use '~ visit + {_PARTICIPANT}' with replicates: select, or expect these features to be "
                "'not_estimable'.",
                "plan.yaml",
                column="formula",
                value=plan.formula,
                severity="warning",
            )


def _censored(data: AnnData) -> list[str]:
    var = cast("pd.DataFrame", data.var)
    beyond = np.zeros(data.shape, dtype=bool)
    if LAYER in data.layers:
        beyond |= np.nan_to_num(np.asarray(data.layers[LAYER], dtype=float)) != 0
    x = np.asarray(data.X, dtype=float)
    for column, below in (("lloq", True), ("uloq", False)):
        if column in var:
            limit = pd.to_numeric(var[column], errors="coerce").to_numpy(dtype=float)[None, :]
            with np.errstate(invalid="ignore"):
                beyond |= (x < limit) if below else (x > limit)
    counted = var["kind"].astype(str).isin(["count", "density", "proportion"]).to_numpy()
    found = beyond.any(axis=0) & ~counted
    return [str(f) for f in data.var_names[found]]

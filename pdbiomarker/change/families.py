"""Families of tests and their adjustment.

A family is declared in the plan before the data are seen. ``primary`` is one family over its features and all
contrasts, in the strict analysis set, by Holm's method unless the plan says otherwise. Every other family is
adjusted within each contrast, by Benjamini and Hochberg's method. Features that no family names form a family
named after their assay. Only the strict set carries adjusted p-values: the other sets are sensitivity rows.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.plan import Plan

__all__ = ["FEATURE_COUNT_OF_A_PANEL", "adjust", "resolve_families"]

#: Assays with at most so many features are panels: they get sensitivity sets and rows in ``changes.csv``.
FEATURE_COUNT_OF_A_PANEL: Final = 200

_METHODS: Final[Mapping[str, str]] = {"holm": "holm", "bh": "fdr_bh"}


def resolve_families(plan: Plan, assays: Mapping[str, AnnData]) -> dict[tuple[str, str], str]:
    """Give every feature its family.

    Parameters
    ----------
    plan : Plan
        `families` maps a family to references, each an assay (``rna``) or a feature (``ihc:CD8_density``). A
        feature may be named without its compartment where only one fits.
    assays : mapping of name to AnnData

    Returns
    -------
    dict of (assay, feature) to family
        A feature named by several families belongs to the first; one that none names to its assay's own.

    Raises
    ------
    PlanError
        Every reference that fits nothing, or more than one feature.
    """
    problems = Problems()
    found: dict[tuple[str, str], str] = {}
    for family, references in plan.families.items():
        for reference in references:
            for key in _features_of(reference, family, assays, problems):
                found.setdefault(key, family)
    problems.raise_if_any(PlanError)
    for assay, adata in assays.items():
        for feature in adata.var_names:
            found.setdefault((assay, str(feature)), assay)
    return found


def _features_of(
    reference: str, family: str, assays: Mapping[str, AnnData], problems: Problems
) -> list[tuple[str, str]]:
    assay, _, name = reference.partition(":")

    def refuse(message: str, known: list[str]) -> list[tuple[str, str]]:
        near = difflib.get_close_matches(name or assay, known, n=3, cutoff=0.4) or known[:5]
        problems.add(
            "E-PLAN-003",
            message,
            remedy=f"Did you mean {', '.join(near)}?" if near else "The study has no assays.",
            file="plan.yaml",
            column=f"families.{family}",
            value=reference,
        )
        return []

    if assay not in assays:
        return refuse(f"The study has no assay {assay!r}.", sorted(assays))
    features = [str(f) for f in assays[assay].var_names]
    if not name:
        return [(assay, f) for f in features]
    if name in features:
        return [(assay, name)]
    fitting = [f for f in features if f == f"{name}_tissue"] or [
        f for f in features if f.startswith(f"{name}_")
    ]
    if len(fitting) == 1:
        return [(assay, fitting[0])]
    if fitting:
        return refuse(f"{name!r} fits {len(fitting)} features of {assay!r}: {', '.join(fitting)}.", fitting)
    labels = assays[assay].var["label"].astype(str)
    by_label = [str(f) for f, label in labels.items() if label == name]
    if len(by_label) == 1:
        return [(assay, by_label[0])]
    return refuse(f"The assay {assay!r} has no feature {name!r}.", features)


def adjust(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Fill `q`, `adjustment` and `n_tests` of a result table; rows without a p-value are not tests.

    Parameters
    ----------
    table : DataFrame
        With ``set, family, contrast, p``.
    plan : Plan
        `adjust` maps a family to ``holm`` or ``bh``.
    """
    out = table.copy()
    q = np.full(len(out), np.nan)
    n_tests = np.zeros(len(out), dtype=np.int64)
    adjustment = np.array(["none: sensitivity"] * len(out), dtype=object)
    strict = out["set"].to_numpy() == "strict"
    for family in dict.fromkeys(out["family"]):
        method = plan.adjust.get(family, "holm" if family == "primary" else "bh")
        rows = strict & (out["family"].to_numpy() == family)
        groups = [rows]
        if family != "primary":
            groups = [
                rows & (out["contrast"].to_numpy() == c) for c in dict.fromkeys(out.loc[rows, "contrast"])
            ]
        for group in groups:
            q[group] = _adjusted(out["p"].to_numpy(dtype=float)[group], method)
            n_tests[group] = int(np.isfinite(out["p"].to_numpy(dtype=float)[group]).sum())
            adjustment[group] = method
    out["q"] = q
    out["adjustment"] = adjustment
    out["n_tests"] = pd.array(n_tests, dtype="Int64")
    return out


def _adjusted(p: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = multipletests(p[tested], method=_METHODS[method])[1]
    return q

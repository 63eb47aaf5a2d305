"""Families of tests and their adjustment.

A family is declared in the plan before the data are seen. ``primary`` is one family over its features and all
contrasts, in the strict analysis set, by Holm's method unless the plan says otherwise. Every other family is
adjusted within each contrast, by Benjamini and Hochberg's method. Features that no family names form a family
named after their assay. Only the strict set carries adjusted p-values: the other sets are sensitivity rows.

A fixed sequence tests the features in the order in which the family lists them, and for each feature the
contrasts in the order of the plan. Where the plan declares several looks at accumulating data, p of families
that control the family-wise error (Holm, fixed sequence) are first adjusted for them; a false discovery rate
is not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from pdbiomarker.errors import PlanError, Problems
from pdbiomarker.mixed import adjust as multiplicity
from pdbiomarker.plan import Plan

__all__ = ["FEATURE_COUNT_OF_A_PANEL", "adjust", "fitting_features", "resolve_families"]

#: Assays with at most so many features are panels: they get sensitivity sets and rows in ``changes.csv``.
FEATURE_COUNT_OF_A_PANEL: Final = 200

#: Methods that control the family-wise error, and so are adjusted for looks.
_FAMILY_WISE: Final = frozenset({"holm", "fixed-sequence"})


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
    fitting = fitting_features(name, features, assays[assay].var["label"].astype(str).tolist())
    if len(fitting) == 1:
        return [(assay, fitting[0])]
    if fitting:
        return refuse(f"{name!r} fits {len(fitting)} features of {assay!r}: {', '.join(fitting)}.", fitting)
    return refuse(f"The assay {assay!r} has no feature {name!r}.", features)


def fitting_features(name: str, features: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Features that a name may mean: that one, its whole tissue, its only compartment, its label."""
    if name in features:
        return [name]
    fitting = [f for f in features if f == f"{name}_tissue"] or [
        f for f in features if f.startswith(f"{name}_")
    ]
    if fitting:
        return fitting
    by_label = [f for f, label in zip(features, labels, strict=True) if label == name]
    return by_label if len(by_label) == 1 else []


def adjust(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Fill `q`, `adjustment`, `n_tests` and `look` of a result table; rows without a p-value are not tests.

    Parameters
    ----------
    table : DataFrame
        With ``assay, feature, set, family, contrast, p``.
    plan : Plan
        `adjust` maps a family to its method; `looks` are the declared looks.
    """
    out = table.copy()
    q = np.full(len(out), np.nan)
    n_tests = np.zeros(len(out), dtype=np.int64)
    adjustment = np.array(["none: sensitivity"] * len(out), dtype=object)
    look = np.array([""] * len(out), dtype=object)
    strict = out["set"].to_numpy() == "strict"
    p = out["p"].to_numpy(dtype=float)
    for family in dict.fromkeys(out["family"]):
        method = plan.adjust.get(family, "holm" if family == "primary" else "bh")
        rows = strict & (out["family"].to_numpy() == family)
        groups = [rows]
        if family != "primary" and method != "fixed-sequence":
            groups = [
                rows & (out["contrast"].to_numpy() == c) for c in dict.fromkeys(out.loc[rows, "contrast"])
            ]
        for group in groups:
            values, told = _for_looks(p[group], method, plan)
            order = _sequence(out[group], out, family, plan) if method == "fixed-sequence" else None
            found = multiplicity.adjust(values, method, order=order)  # type: ignore[arg-type]
            q[group] = found.p
            n_tests[group] = found.n_tests
            adjustment[group] = method
            look[group] = told
    out["q"] = q
    out["adjustment"] = adjustment
    out["n_tests"] = pd.array(n_tests, dtype="Int64")
    out["look"] = look
    return out


def _for_looks(p: NDArray[np.float64], method: str, plan: Plan) -> tuple[NDArray[np.float64], str]:
    """Adjust p of one look for all that were declared, and name the look with its level."""
    looks = plan.looks
    if not looks or looks["of"] == 1 or method not in _FAMILY_WISE:
        return p, ""
    look, of, boundary, shares = (looks[key] for key in ("look", "of", "boundary", "information"))
    levels = multiplicity.look_levels(of, boundary=boundary, information=shares)
    adjusted = multiplicity.adjust_for_look(p, look, of, boundary=boundary, information=shares)
    return adjusted, f"{look} of {of}, {boundary}, alpha {levels.level[look - 1]:.4g}"


def _sequence(rows: pd.DataFrame, table: pd.DataFrame, family: str, plan: Plan) -> list[int]:
    """Positions of rows of a table in the order in which a fixed sequence tests them."""
    place: dict[tuple[str, str], int] = {}
    references = plan.families.get(family, ())
    known = table.drop_duplicates(["assay", "feature"])
    for position, reference in enumerate(references):
        assay, _, name = reference.partition(":")
        there = known[known["assay"] == assay]
        features, labels = there["feature"].tolist(), there["label"].astype(str).tolist()
        for feature in fitting_features(name, features, labels) if name else features:
            place.setdefault((assay, feature), position)
    contrasts = {name: k for k, name in enumerate(plan.contrasts)}
    keys = [
        (place.get((a, f), len(references)), contrasts[c])
        for a, f, c in zip(rows["assay"], rows["feature"], rows["contrast"], strict=True)
    ]
    # Features of a whole assay are tested in the order of its table.
    whole: dict[tuple[str, str], int] = {}
    for pair in zip(rows["assay"], rows["feature"], strict=True):
        whole.setdefault(pair, len(whole))
    pairs = list(zip(rows["assay"], rows["feature"], strict=True))
    return sorted(range(len(rows)), key=lambda i: (keys[i][0], whole[pairs[i]], keys[i][1]))

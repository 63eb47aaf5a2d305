"""Parameters of an ADaM export: which code stands for which feature of which assay."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pandas as pd

from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.clinical.cdisc import MAX_TEXT
from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

if TYPE_CHECKING:
    from pdbiomarker.change.result import PDResult

__all__ = ["adam_parameters"]

_LINKS: Final[Mapping[str, str]] = {
    "count": "LOG2",
    "density": "LOG2",
    "intensity": "LOG2",
    "proportion": "LOGIT",
    "score": "IDENTITY",
    "signature": "IDENTITY",
}
_LIMITS: Final = ("lloq", "uloq")
_UNITS: Final[Mapping[str, str]] = {"count": "CPM", "density": "cells/mm2", "proportion": "proportion"}


def adam_parameters(result: PDResult, *, features: Sequence[str] | None = None) -> pd.DataFrame:
    """Give the parameters of an export: which code is which feature.

    Parameters
    ----------
    result : PDResult
    features : sequence of str, optional
        ``assay:feature``, or ``assay`` for all of one. Default: every assay of at most 200 features.

    Returns
    -------
    DataFrame
        paramcd, param, assay, feature, kind, unit, link, family, expected_direction, lloq, uloq; sorted by
        assay and feature. A code is the feature's name where that is a code; else its first four letters
        and four letters of the hash of its name, so that it does not depend on what else is measured.

    Raises
    ------
    InputError
        E-RESULT-001: no such assay or feature.
    """
    chosen = _chosen(result, features)
    rows = []
    for assay, names in chosen.items():
        var = cast("pd.DataFrame", result.study.assays[assay].var)
        families = _families(result, assay)
        for name in names:
            kind = str(var.at[name, "kind"])
            given = _said(var, name, "unit")
            rows.append(
                {
                    "assay": assay,
                    "feature": name,
                    "kind": kind,
                    # The normalised value of a count is no longer a count.
                    "unit": _UNITS["count"] if kind == "count" else given or _UNITS.get(kind, ""),
                    "link": _LINKS[kind],
                    "family": families.get(name, ""),
                    "expected_direction": _direction(var, name),
                    "label": _said(var, name, "label") or name,
                    **{c: float(var[c].get(name, np.nan)) if c in var else np.nan for c in _LIMITS},
                }
            )
    table = pd.DataFrame(rows, columns=[*(rows[0] if rows else {"assay": 0, "feature": 0})])
    if not rows:
        return table.assign(paramcd=[], param=[])
    table = table.sort_values(["assay", "feature"], kind="stable", ignore_index=True)
    table["paramcd"] = _codes(table["assay"].tolist(), table["feature"].tolist())
    table["param"] = _titles(table)
    order = ["paramcd", "param", "assay", "feature", "kind", "unit", "link", "family", "expected_direction"]
    return table[[*order, *_LIMITS]]


def _chosen(result: PDResult, features: Sequence[str] | None) -> dict[str, list[str]]:
    assays = result.study.assays
    if features is None:
        return {
            name: [str(f) for f in data.var_names]
            for name, data in assays.items()
            if data.n_vars <= FEATURE_COUNT_OF_A_PANEL
        }
    problems, chosen = Problems(), dict[str, list[str]]()
    for reference in features:
        assay, colon, feature = reference.partition(":")
        known = [str(f) for f in assays[assay].var_names] if assay in assays else []
        if not known or (colon and feature not in known):
            problems.add(
                "E-RESULT-001",
                f"The result has no {'feature' if known else 'assay'} {reference!r}.",
                remedy=nearest(feature if known else assay, known or assays),
                column="features",
                value=reference,
            )
            continue
        mine = chosen.setdefault(assay, [])
        mine += [f for f in ([feature] if colon else known) if f not in mine]
    problems.raise_if_any()
    return chosen


def _said(var: pd.DataFrame, name: str, column: str) -> str:
    value = var[column].get(name) if column in var else None
    return "" if value is None or pd.isna(value) else str(value)


def _direction(var: pd.DataFrame, name: str) -> int:
    value = var["expected_direction"].get(name) if "expected_direction" in var else None
    return 0 if value is None or pd.isna(value) else int(value)


def _families(result: PDResult, assay: str) -> dict[str, str]:
    rows = result.table[result.table["assay"] == assay].drop_duplicates("feature")
    return dict(zip(rows["feature"].astype(str), rows["family"].fillna("").astype(str), strict=True))


def _codes(assays: Sequence[str], features: Sequence[str]) -> list[str]:
    """PARAMCD of each feature: unique, and the same whatever else is exported, unless two names meet."""
    plain = [re.sub(r"[^A-Z0-9]", "", feature.upper()) for feature in features]
    short = [text if re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", text) else "" for text in plain]
    taken: set[str] = set()
    codes = []
    for assay, feature, text, own in zip(assays, features, plain, short, strict=True):
        code = own if own and short.count(own) == 1 else ""
        turn = 0
        while not code or code in taken:
            digest = hashlib.sha256(f"{assay}:{feature}:{turn}".encode()).digest()
            stem = re.sub(r"^[0-9]+", "", text)[:4] or "F"
            code = stem + "".join("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[b % 32] for b in digest[:4])
            turn += 1
        taken.add(code)
        codes.append(code)
    return codes


def _titles(table: pd.DataFrame) -> list[str]:
    """PARAM of each parameter: label, unit, scale of its change; with the feature where two are alike."""
    scale = {"LOG2": "CHG in log2", "LOGIT": "CHG in logit", "IDENTITY": "CHG as is"}
    titles = []
    for label, unit, link in zip(table["label"], table["unit"], table["link"], strict=True):
        titles.append(f"{label} ({f'{unit}; ' if unit else ''}{scale[link]})")
    out = []
    for title, assay, feature in zip(titles, table["assay"], table["feature"], strict=True):
        known = title if titles.count(title) == 1 else f"{title} [{assay}:{feature}]"
        out.append(
            known if len(known) <= MAX_TEXT else f"{known[: MAX_TEXT - 60]}... {_digest(assay, feature)}"
        )
    return out


def _digest(assay: str, feature: str) -> str:
    return hashlib.sha256(f"{assay}:{feature}".encode()).hexdigest()[:16]

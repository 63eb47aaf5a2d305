"""What the figures and the report read of a result, and how one feature's part of it is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from pdbiomarker.errors import FormulaError, InputError, Problem
from pdbiomarker.formula import parse_contrast

__all__ = [
    "CENSORED",
    "RATIO_KINDS",
    "Result",
    "Selection",
    "compares_two_visits",
    "contrast_visits",
    "effect_unit",
    "effect_units",
    "find_feature",
    "flow_of",
    "not_evaluable",
    "primary_set",
    "reason_word",
    "refuse",
    "rows_of",
    "select",
    "set_label",
    "sets_of",
    "unit_of",
]

#: Kinds whose effect is a ratio (fold change or odds ratio); the others have an effect in units.
RATIO_KINDS: Final = frozenset({"count", "density", "proportion", "intensity"})
#: Kinds that are drawn on a logarithmic axis in their natural units.
LOG_KINDS: Final = frozenset({"count", "density", "intensity"})

_UNITS: Final = {
    "count": "CPM",
    "density": "cells/mm²",
    "proportion": "%",
    "score": "points",
    "signature": "units",
    "intensity": "intensity",
}
_SET_LABELS: Final = {
    "strict": "strict (adequate biopsies)",
    "strict_pairs": "strict, pairs only",
    "immune_evaluable": "immune-evaluable (regression beds count)",
    "same_lesion_pairs": "strict, pairs of one lesion, no nodes",
    "node_pairs": "strict, pairs of lymph nodes",
    "strict_stable_genes": "strict, scaled by stable genes (composition)",
    "strict_tumor_content": "strict, adjusted for tumour content",
    "all_biopsied": "all biopsied",
    "all": "all biopsied",
}
_REASON_WORDS: Final = {
    "E-PAIR-001": "before dose",
    "E-PAIR-002": "off window",
    "E-PAIR-003": "time unknown",
    "E-PAIR-004": "visit unclear",
    "E-PAIR-005": "not adequate",
    "E-PAIR-006": "other chosen",
    "E-PAIR-007": "no biopsy",
    "E-PAIR-008": "not measured",
    "E-PAIR-009": "visit unknown",
    "E-PAIR-010": "archival",
    "E-PAIR-012": "partial date",
    "E-PAIR-014": "after cut-off",
    "E-PAIR-015": "other lesion",
    "E-PAIR-016": "no consent",
    "E-OVERRIDE-010": "left out",
    "E-OVERRIDE-011": "not adequate",
}


class Result(Protocol):
    """The attributes of a ``PDResult`` that the figures and the report read."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per assay, feature, contrast and set."""
        ...

    @property
    def changes(self) -> pd.DataFrame:
        """One row per participant, feature, contrast and set."""
        ...

    @property
    def accountability(self) -> pd.DataFrame:
        """Participants from enrolment to an evaluable pair."""
        ...

    @property
    def biopsies(self) -> pd.DataFrame:
        """Every biopsy, whether used, and the reason."""
        ...

    @property
    def qc(self) -> Mapping[str, pd.DataFrame]:
        """Quality tables by name."""
        ...

    @property
    def plan(self) -> Any:
        """The analysis plan."""
        ...

    @property
    def study(self) -> Any:
        """The study."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, hashes, problems."""
        ...


@dataclasses.dataclass(frozen=True)
class Selection:
    """One feature, one contrast, one analysis set.

    Attributes
    ----------
    row : Series
        The row of the result's table.
    changes : DataFrame
        The rows of the result's changes, one per participant that has any value.
    baseline, on : str
        The names of the two visits.
    set_name : str
        The analysis set in words.
    """

    row: pd.Series
    changes: pd.DataFrame
    baseline: str
    on: str
    set_name: str

    @property
    def label(self) -> str:
        """The feature's name for people."""
        label = self.row.get("label")
        return str(label) if isinstance(label, str) and label else str(self.row["feature"])

    @property
    def kind(self) -> str:
        """The kind of number."""
        return str(self.row["kind"])

    @property
    def pairs(self) -> pd.DataFrame:
        """Participants with a change."""
        return self.changes[self.changes["change"].notna()]


def sets_of(table: pd.DataFrame) -> list[str]:
    """The analysis sets of a table, in their order there."""
    return [str(s) for s in dict.fromkeys(table["set"].tolist())]


def primary_set(table: pd.DataFrame) -> str:
    """``strict`` where it exists, else the first set."""
    sets = sets_of(table)
    return "strict" if "strict" in sets or not sets else sets[0]


def set_label(name: str, result: Result | None = None) -> str:
    """An analysis set in words, the same in every figure, table and sentence.

    Without a rule of adequacy in the study, or without its result, nothing is called adequate.
    """
    if name == "strict" and (result is None or not getattr(result.study.spec, "adequacy", None)):
        return "strict"
    return _SET_LABELS.get(name, name)


def reason_word(code: object, reason: object) -> str:
    """A reason in two words, for a figure; the full reason is in the tables."""
    word = _REASON_WORDS.get(str(code))
    if word:
        return word
    text = str(reason) if isinstance(reason, str) else ""
    return text[:16] or "not evaluable"


def unit_of(result: Result, assay: str, feature: str, kind: str) -> str:
    """The unit of a feature's raw values: the assay's own, else the usual one of its kind."""
    if kind in {"proportion", "count"}:
        return _UNITS[kind]
    return _own_unit(result, assay, feature) or _UNITS.get(kind, "units")


def effect_unit(result: Result, row: pd.Series) -> str:
    """The unit of a row's effect: the assay's own for a score or signature, else as the result names it.

    Examples
    --------
    A signature whose assay says ``log2 CPM`` gives ``"log2 CPM"``, not ``"units"``.
    """
    kind = str(row["kind"])
    told = str(row["effect_unit"]) if pd.notna(row["effect_unit"]) else "units"
    if kind in RATIO_KINDS:
        return told
    unit = _own_unit(result, str(row["assay"]), str(row["feature"]))
    return unit or told


def effect_units(result: Result, rows: pd.DataFrame) -> pd.Series:
    """The units of the effects of many rows, see :func:`effect_unit`; quick where most are ratios."""
    units = rows["effect_unit"].astype(object)
    own = ~rows["kind"].isin(RATIO_KINDS)
    units.loc[own] = [effect_unit(result, row) for _, row in rows[own].iterrows()]
    return units


def _own_unit(result: Result, assay: str, feature: str) -> str:
    """The unit that an assay gives its feature; empty where it gives none."""
    adata = getattr(result.study, "assays", {}).get(assay)
    if adata is None or "unit" not in adata.var.columns or feature not in adata.var.index:
        return ""
    unit = adata.var.at[feature, "unit"]
    return unit.replace("mm2", "mm²") if isinstance(unit, str) else ""


def flow_of(result: Result) -> pd.DataFrame:
    """The accountability of a result, without steps of adequacy where the study has no rule of it."""
    flow = result.accountability
    if flow.empty or getattr(result.study.spec, "adequacy", None):
        return flow
    idle = flow["step"].astype(str).str.endswith(" adequate")
    if "n_lost" in flow.columns:
        idle &= flow["n_lost"] == 0
    return flow[~idle]


def contrast_visits(result: Result, contrast: str) -> tuple[str, str]:
    """The baseline and on-treatment visit of a contrast; generic names if its text is not a difference.

    Examples
    --------
    A contrast ``C2D1 - screening`` gives ``("screening", "C2D1")``.
    """
    text = str(dict(result.plan.contrasts).get(contrast, ""))
    try:
        parsed = parse_contrast(text, [v.name for v in result.study.spec.visits])
    except FormulaError:
        return "baseline", "on treatment"
    if parsed.is_difference and parsed.factor == "visit":
        return parsed.subtrahend, parsed.minuend
    weights = parsed.visit_weights or {}
    before, after = ([v for v, w in weights.items() if sign * w > 0] for sign in (-1, 1))
    if len(before) == len(after) == 1:
        return before[0], after[0]  # a difference of such changes, or a multiple of one
    return "baseline", "on treatment"


def compares_two_visits(result: Result, contrast: str) -> bool:
    """Whether a contrast is one visit minus another, at some values of covariates perhaps."""
    text = str(dict(result.plan.contrasts).get(contrast, ""))
    try:
        parsed = parse_contrast(text, [v.name for v in result.study.spec.visits])
    except FormulaError:
        return True
    return parsed.is_difference and parsed.factor == "visit"


def refuse(message: str, value: str, known: Sequence[str], column: str) -> InputError:
    """Make the error for a name that does not exist, with the nearest names that do."""
    near = get_close_matches(value, known, n=3, cutoff=0.4) or list(known)[:5]
    remedy = f"Use one of: {', '.join(near)}." if near else "The result has none."
    return InputError([Problem("E-RESULT-001", message, remedy, "", None, column, value)])


def find_feature(result: Result, feature: str) -> tuple[str, str]:
    """Find assay and feature by ``feature`` or ``assay:feature``.

    Raises
    ------
    InputError
        No such feature, or the name stands in several assays.
    """
    known = result.table[["assay", "feature"]]
    hits = known[known["feature"] == feature].drop_duplicates()
    if hits.empty and ":" in feature:
        assay, name = feature.split(":", 1)
        hits = rows_of(known, assay, name).drop_duplicates()
    if hits.empty:
        names = [str(f) for f in known["feature"].unique()]
        raise refuse(f"The result has no feature {feature!r}.", feature, names, "feature")
    if len(hits) > 1:
        refs = [f"{a}:{feature}" for a in hits["assay"]]
        raise refuse(f"{feature!r} stands in {len(hits)} assays.", feature, refs, "feature")
    return str(hits["assay"].iloc[0]), str(hits["feature"].iloc[0])


def rows_of(table: pd.DataFrame, assay: str, feature: str) -> pd.DataFrame:
    """The rows of one feature of one assay."""
    rows = table[table["feature"] == feature]  # first: it leaves the few rows of one among those of all genes
    own: pd.DataFrame = rows[rows["assay"] == assay]
    return own


def select(result: Result, feature: str, contrast: str | None = None, set_: str | None = None) -> Selection:
    """Find one feature's row and changes.

    Parameters
    ----------
    feature : str
        ``feature`` or ``assay:feature``.
    contrast, set_ : str, optional
        Default: the first contrast of the feature, and the primary analysis set.

    Raises
    ------
    InputError
        The feature, contrast or set does not exist in the result.
    """
    assay, name = find_feature(result, feature)
    rows = rows_of(result.table, assay, name)
    contrasts = [str(c) for c in dict.fromkeys(rows["contrast"].tolist())]
    if contrast is not None and contrast not in contrasts:
        raise refuse(f"{feature!r} has no contrast {contrast!r}.", contrast, contrasts, "contrast")
    chosen = contrast if contrast is not None else contrasts[0]
    rows = rows[rows["contrast"] == chosen]
    sets = sets_of(rows)
    if set_ is not None and set_ not in sets:
        raise refuse(f"{feature!r} has no analysis set {set_!r}.", set_, sets, "set")
    wanted = set_ if set_ is not None else primary_set(rows)
    row = rows[rows["set"] == wanted].iloc[0].copy()
    row["effect_unit"] = effect_unit(result, row)
    visits = contrast_visits(result, chosen)
    return Selection(row, _values(result, row, visits), *visits, set_label(wanted, result))


def _values(result: Result, row: pd.Series, visits: tuple[str, str]) -> pd.DataFrame:
    """Per participant: the values at both visits and the change, with those who have one visit only.

    Pairs come from the result's changes. What these leave out (participants with one visit, and assays too
    large to list) comes from the assay: the biopsies that the result used, and their values.
    """
    mine = result.changes
    for column in ("feature", "assay", "contrast", "set"):  # the feature first: it leaves the fewest rows
        mine = mine[mine[column] == row[column]]
    mine = mine[mine["baseline_value"].notna() | mine["on_value"].notna() | mine["change"].notna()]
    more = _from_assay(result, row, visits)
    if more is not None:
        more = more[~more["participant_id"].isin(set(mine["participant_id"]))]
        columns = [*("participant_id", "baseline_value", "on_value", "change", "ratio")]
        mine = pd.DataFrame({c: [*mine[c], *more[c]] for c in columns})
    return mine.sort_values("participant_id", kind="stable").reset_index(drop=True)


def _from_assay(result: Result, row: pd.Series, visits: tuple[str, str]) -> pd.DataFrame | None:
    """Values of one feature from the assay; None where the result does not carry it."""
    adata = getattr(result.study, "assays", {}).get(row["assay"])
    feature = str(row["feature"])
    if adata is None or "y" not in adata.layers or feature not in adata.var_names:
        return None
    column = int(adata.var_names.get_loc(feature))
    y = np.asarray(adata.layers["y"][:, column], dtype=float).ravel()
    kind = str(row["kind"])
    raw = np.exp2(y) if kind == "count" else np.asarray(adata.X[:, column], dtype=float).ravel()
    at = {str(b): i for i, b in enumerate(adata.obs_names)}
    used = result.biopsies.reset_index()
    used = used[used["used"].astype(bool) & used["visit"].isin(visits)]
    for name in ("assay", "contrast", "set"):
        if name in used.columns:
            used = used[used[name] == row[name]]
    found: dict[str, dict[str, int]] = {}
    for participant, visit, biopsy in zip(
        used["participant_id"], used["visit"], used["biopsy_id"], strict=True
    ):
        if biopsy in at and np.isfinite(y[at[biopsy]]):
            found.setdefault(str(participant), {}).setdefault(str(visit), at[biopsy])
    rows = []
    for participant in sorted(found):
        first, second = (found[participant].get(v) for v in visits)
        change = np.nan if first is None or second is None else y[second] - y[first]
        rows.append(
            {
                "participant_id": participant,
                "baseline_value": np.nan if first is None else raw[first],
                "on_value": np.nan if second is None else raw[second],
                "change": change,
                "ratio": np.nan if kind not in RATIO_KINDS else _ratio(change, kind),
            }
        )
    return pd.DataFrame(rows, columns=["participant_id", "baseline_value", "on_value", "change", "ratio"])


def _ratio(change: float, kind: str) -> float:
    return float(np.exp(change) if kind == "proportion" else np.exp2(change))


#: The word for a pair whose change is not known although the model uses it.
CENSORED: Final = "censored"


def not_evaluable(result: Result, chosen: Selection) -> list[tuple[str, str, str]]:
    """Participants of the study without a change: (participant, two words, full reason), by id.

    The reason is that of the result's pairs where it has them, else that of the participant's biopsies.
    """
    paired = set(chosen.pairs["participant_id"])
    told = _reasons_of_pairs(result, chosen) or {}
    values = chosen.changes
    both = values[values["baseline_value"].notna() & values["on_value"].notna() & values["change"].isna()]
    bounded = set(both["participant_id"].astype(str))
    tried = _biopsies_of(result, chosen)
    out = []
    for participant in sorted(str(p) for p in result.study.participants.index):
        if participant in paired:
            continue
        if participant in bounded:
            out.append((participant, CENSORED, "a value lies beyond a limit: its change is not known"))
            continue
        code, reason = told.get(participant, ("", ""))
        if code in {"", "E-PAIR-007"}:  # a biopsy may exist and have lost its visit
            code, reason = _reason_of_biopsies(tried[tried["participant_id"] == participant], chosen)
        out.append((participant, reason_word(code, reason), reason))
    return out


def _reasons_of_pairs(result: Result, chosen: Selection) -> dict[str, tuple[str, str]] | None:
    pairs = getattr(result, "pairs", None)
    if not isinstance(pairs, pd.DataFrame) or pairs.empty:
        return None
    if "set" not in pairs.columns and chosen.row["set"] != "strict":
        return None
    mine = pairs[pairs["assay"] == chosen.row["assay"]]
    for column in ("contrast", "set"):
        if column in mine.columns:
            mine = mine[mine[column] == chosen.row[column]]
    lost = mine[~mine["evaluable"].astype(bool)]
    rows = zip(lost["participant_id"], lost["code"], lost["reason"], strict=True)
    return {str(p): (str(c), str(r)) for p, c, r in rows}


def _biopsies_of(result: Result, chosen: Selection) -> pd.DataFrame:
    """The biopsies of an assay and analysis set: whose, from which visit, used or why not."""
    biopsies = result.biopsies
    mine: pd.DataFrame = biopsies[biopsies["assay"] == chosen.row["assay"]]
    if "set" in mine.columns:
        mine = mine[mine["set"] == chosen.row["set"]]
    return mine


def _reason_of_biopsies(mine: pd.DataFrame, chosen: Selection) -> tuple[str, str]:
    left = mine[~mine["used"].astype(bool)]
    have = set(mine.loc[mine["used"].astype(bool), "visit"])
    for visit in (chosen.baseline, chosen.on):
        if visit in have:
            continue
        tried = left[left["visit"].isna() | (left["visit"] == visit)]
        if len(tried):
            return str(tried["code"].iloc[0]), str(tried["reason"].iloc[0])
        return "E-PAIR-007", f"no {visit} biopsy"
    return "", "no value"

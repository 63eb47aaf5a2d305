"""What the figures and the report read of a result, and how one feature's part of it is found."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import FormulaError, InputError, Problem
from pdbiomarker.formula import parse_contrast

__all__ = [
    "CENSORED",
    "RATIO_KINDS",
    "Result",
    "Selection",
    "as_effect",
    "changes_of",
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
    "unchanging",
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
    table = result.table
    assays, name = _assays_of(table, feature), feature
    if not assays and ":" in feature:
        assay, name = feature.split(":", 1)
        assays = [a for a in _assays_of(table, name) if a == assay]
    if not assays:
        names = [str(f) for f in table["feature"].unique()]
        raise refuse(f"The result has no feature {feature!r}.", feature, names, "feature")
    if len(assays) > 1:
        refs = [f"{a}:{feature}" for a in assays]
        raise refuse(f"{feature!r} stands in {len(assays)} assays.", feature, refs, "feature")
    return assays[0], name


def _assays_of(table: pd.DataFrame, feature: str) -> list[str]:
    """The assays that have a feature of this name, in their order."""
    return [str(a) for a in dict.fromkeys(table["assay"].iloc[_places(table, feature)])]


def rows_of(table: pd.DataFrame, assay: str, feature: str, **also: str) -> pd.DataFrame:
    """The rows of one feature of one assay; `also`: and of these values of other columns."""
    wanted = {"assay": assay, **also}
    key = feature, *wanted.items()
    known = _known(table)
    if key not in known.found:
        at = known.of(feature)
        for column, value in wanted.items():
            at = at[(table[column].iloc[at] == value).to_numpy(dtype=bool)]
        known.keep(key, at)
    if not _UNCHANGING.get():
        return table.iloc[known.found[key]]
    if key not in known.rows:
        known.rows[key] = table.iloc[known.found[key]]
    return known.rows[key].copy(deep=False)


@contextmanager
def unchanging() -> Iterator[None]:
    """Nobody writes into a table meanwhile: rows that were asked for are kept, as many figures show them."""
    if _UNCHANGING.get():
        yield
        return
    begun = _UNCHANGING.set(True)
    try:
        yield
    finally:
        _UNCHANGING.reset(begun)
        for known in list(_KNOWN.values()):
            known.rows.clear()
            known.checked = False


def as_effect(kind: str, value: float) -> float:
    """A change on the model scale as an effect: a ratio for :data:`RATIO_KINDS`, else as it is."""
    if kind not in RATIO_KINDS:
        return value
    return float((np.e if kind == "proportion" else 2.0) ** value)


def changes_of(result: Result, row: pd.Series) -> pd.DataFrame:
    """The changes, participant by participant, behind a row of the result's table."""
    own = {column: str(row[column]) for column in ("contrast", "set")}
    return rows_of(result.changes, str(row["assay"]), str(row["feature"]), **own)


class _Places:
    """Where the rows of each feature stand in a table: quicker than a look through all rows for each."""

    def __init__(self, table: pd.DataFrame) -> None:
        # pandas writes into a copy of what another object holds too: these stay as they are now.
        self._seen = {column: table[column] for column in _NAMES if column in table.columns}
        codes, names = pd.factorize(table["feature"])
        self._order = np.argsort(codes, kind="stable")
        self._ends = np.searchsorted(codes[self._order], np.arange(len(names) + 1))
        self._codes = {str(name): code for code, name in enumerate(names)}
        #: Places that were asked for: several figures show the same feature.
        self.found: dict[tuple[object, ...], npt.NDArray[np.intp]] = {}
        #: Their rows, and that no name was written: while nobody writes (:func:`unchanging`).
        self.rows: dict[tuple[object, ...], pd.DataFrame] = {}
        self.checked = False

    def keep(self, key: tuple[object, ...], at: npt.NDArray[np.intp]) -> None:
        """Keep places that were asked for."""
        if len(self.found) >= _KEPT:
            self.found.clear()
            self.rows.clear()
        self.found[key] = at

    def is_of(self, table: pd.DataFrame) -> bool:
        """Whether no name in the table was written since, as a user of a notebook may do."""
        return all(
            column in table.columns and _is_as_seen(table[column], seen)
            for column, seen in self._seen.items()
        )

    def of(self, feature: str) -> npt.NDArray[np.intp]:
        """The places of a feature, first to last."""
        code = self._codes.get(feature)
        return self._order[:0] if code is None else self._order[self._ends[code] : self._ends[code + 1]]


#: The places of so many sets of rows of a table are kept.
_KEPT: Final = 500
_UNCHANGING: Final[ContextVar[bool]] = ContextVar("unchanging", default=False)
#: Of each table that was asked for, as long as it lives, by its identity and length.
_KNOWN: Final[dict[tuple[int, int], _Places]] = {}


#: Columns by which rows are found, and what stands beside them in figures.
_NAMES: Final = ("assay", "feature", "label", "contrast", "set", "participant_id")


def _is_as_seen(column: pd.Series, seen: pd.Series) -> bool:
    """Whether a column has the values that it had; of objects it is enough that they lie where they lay."""
    if column.dtype == object and seen.dtype == object:
        return bool(np.shares_memory(column.to_numpy(), seen.to_numpy()))
    return column.equals(seen)


def _known(table: pd.DataFrame) -> _Places:
    """What is known of a table as it is now."""
    key = id(table), len(table)
    known = _KNOWN.get(key)
    if known is None:
        weakref.finalize(table, _KNOWN.pop, key, None)
    if known is None or not (known.checked or known.is_of(table)):
        known = _KNOWN[key] = _Places(table)
    known.checked = _UNCHANGING.get()
    return known


def _places(table: pd.DataFrame, feature: str) -> npt.NDArray[np.intp]:
    """Where the rows of a feature stand in a table."""
    return _known(table).of(feature)


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
    mine = changes_of(result, row)
    mine = mine[mine["baseline_value"].notna() | mine["on_value"].notna() | mine["change"].notna()]
    more = _from_assay(result, row, visits)
    if more is not None:
        more = more[~more["participant_id"].isin(set(mine["participant_id"]))]
        columns = [*("participant_id", "baseline_value", "on_value", "change", "ratio")]
        mine = pd.DataFrame({c: [*mine[c].tolist(), *more[c].tolist()] for c in columns})
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
    biopsies = result.biopsies
    kept = biopsies["used"].astype(bool) & biopsies["visit"].isin(visits)
    for name in ("assay", "contrast", "set"):
        if name in biopsies.columns:
            kept &= biopsies[name] == row[name]
    used = biopsies[kept].reset_index()
    found: dict[str, dict[str, int]] = {}
    for participant, visit, biopsy in zip(
        *(used[c].tolist() for c in ("participant_id", "visit", "biopsy_id")), strict=True
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
            code, reason = _reason_of_biopsies(tried.get(participant, ()), chosen)
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


class _Biopsy(NamedTuple):
    """A biopsy of an assay and analysis set: used or why not; the visit is None where it has none."""

    visit: str | None
    used: bool
    code: str
    reason: str


def _biopsies_of(result: Result, chosen: Selection) -> dict[str, list[_Biopsy]]:
    """The biopsies of an assay and analysis set, by participant."""
    biopsies = result.biopsies
    kept = biopsies["assay"] == chosen.row["assay"]
    if "set" in biopsies.columns:
        kept &= biopsies["set"] == chosen.row["set"]
    mine = biopsies.loc[kept, ["participant_id", "visit", "used", "code", "reason"]]
    found: dict[str, list[_Biopsy]] = {}
    for person, visit, used, code, reason in zip(*(mine[c].tolist() for c in mine.columns), strict=True):
        at = None if pd.isna(visit) else str(visit)
        found.setdefault(str(person), []).append(_Biopsy(at, bool(used), str(code), str(reason)))
    return found


def _reason_of_biopsies(mine: Sequence[_Biopsy], chosen: Selection) -> tuple[str, str]:
    have = {biopsy.visit for biopsy in mine if biopsy.used}
    for visit in (chosen.baseline, chosen.on):
        if visit in have:
            continue
        tried = [b for b in mine if not b.used and b.visit in {None, visit}]
        return (tried[0].code, tried[0].reason) if tried else ("E-PAIR-007", f"no {visit} biopsy")
    return "", "no value"

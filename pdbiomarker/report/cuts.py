"""What changed since the last data cut: in the input, in the pairs, in the results, and why.

Two results of one study are compared by their keys, never by the place of a row:

- *items*: participants, biopsies, libraries and slides added, removed or changed, column by column; values of
  panels that were corrected in biopsies of both cuts; and input files whose content changed;
- *pairs*: a participant's change in a feature of a panel, gained, lost or moved;
- *results*: the rows of the results table whose estimate moved by more than a tolerance, whose n, status or
  adjusted verdict changed, that came or went.

The reason of a pair is looked up in what changed: the biopsies behind it, their slides and libraries, and
the reason that the pairing itself gives for a pair that was lost. Where nothing of the input of a pair
changed, the plan, the software or the normalisation with the others' values is named instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.plot.select import Result
from pdbiomarker.tables import write_table

__all__ = ["ITEM_COLUMNS", "Cuts", "compare_cuts"]

_SHEETS: Final[Mapping[str, str]] = {
    "participants": "participant",
    "biopsies": "biopsy",
    "libraries": "library",
    "slides": "slide",
}
#: Columns that say where a row stood, not what it says; and calendar dates.
_NOT_COMPARED: Final = frozenset({"line", "source", "collection_date", "first_dose_datetime", "birth_date"})
#: Study days that a partial date allows; a sheet without partial dates has no such columns.
_ALLOWED_DAYS: Final = ("study_day_earliest", "study_day_latest")
#: Sets whose changes are listed pair by pair; those of all others are changes of the first.
_LISTED_SETS: Final = ("strict", "immune_evaluable", "all_biopsied")
_PLURALS: Final[Mapping[str, str]] = {
    "participant": "Participants",
    "biopsy": "Biopsies",
    "library": "Libraries",
    "slide": "Slides",
    "value": "Biopsies with values",
    "file": "Files",
}
#: Assays of more features are no panels: their values and changes are not listed one by one.
_PANEL: Final = 200
_ALPHA: Final = 0.05
_SAME: Final = 1e-9
_RESULT_KEY: Final = ["assay", "feature", "contrast", "set"]
_PAIR_KEY: Final = ["assay", "feature", "contrast", "set", "participant_id"]
_MOST_NAMED: Final = 4

ITEM_COLUMNS: Final = ("kind", "item", "participant_id", "what", "column", "before", "after")
PAIR_COLUMNS: Final = (*_PAIR_KEY, "what", "before", "after", "why")
RESULT_COLUMNS: Final = (
    *_RESULT_KEY,
    "label",
    "what",
    "effect_before",
    "effect_after",
    "moved_se",
    "n_pairs_before",
    "n_pairs_after",
    "q_before",
    "q_after",
    "status_before",
    "status_after",
    "why",
)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """What differs between two cuts of a study.

    Attributes
    ----------
    facts : DataFrame
        ``fact, before, after``: data cut-off, plan, version, numbers of participants, biopsies and pairs.
    items : DataFrame
        ``kind, item, participant_id, what, column, before, after``; what is added, removed or changed.
    pairs : DataFrame
        ``assay, feature, contrast, set, participant_id, what, before, after, why``; before and after are the
        change on the model scale.
    results : DataFrame
        ``assay, feature, contrast, set, label, what, effect_before, effect_after, moved_se, n_pairs_before,
        n_pairs_after, q_before, q_after, status_before, status_after, why``. `moved_se` is the move of the
        estimate in standard errors of the earlier cut.
    tolerance : float
        Moves of an estimate by less than so many standard errors are not listed.
    """

    facts: pd.DataFrame
    items: pd.DataFrame
    pairs: pd.DataFrame
    results: pd.DataFrame
    tolerance: float

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        same = bool((self.facts["before"] == self.facts["after"]).all())
        return same and not (len(self.items) or len(self.pairs) or len(self.results))

    def sentences(self) -> list[str]:
        """What changed, in a few sentences."""
        # The counts among the facts follow from the items; these three do not.
        general = self.facts[self.facts["fact"].isin(["data cut-off", "plan", "version"])]
        general = general[general["before"] != general["after"]]
        told = [
            f"{fact[:1].upper()}{fact[1:]}: {before} before, {after} now."
            for fact, before, after in general[["fact", "before", "after"]].itertuples(index=False, name=None)
        ]
        for kind in dict.fromkeys(self.items["kind"]):
            mine = self.items[self.items["kind"] == kind]
            counts = []
            for what in ("added", "removed", "changed"):
                items = list(dict.fromkeys(mine.loc[mine["what"] == what, "item"].astype(str)))
                if items:
                    counts.append(f"{len(items)} {what} ({_named(items)})")
            told.append(f"{_PLURALS.get(str(kind), str(kind))}: {', '.join(counts)}.")
        strict = self.pairs[self.pairs["set"] == "strict"]
        for what in ("gained", "lost", "moved"):
            people = list(dict.fromkeys(strict.loc[strict["what"] == what, "participant_id"].astype(str)))
            if people:
                n = f"{len(people)} participant{'' if len(people) == 1 else 's'}"
                told.append(f"Pairs {what} in panels: {n} ({_named(people)}).")
        told.append(
            f"Rows of results that moved by more than {self.tolerance:g} standard errors, or whose n, status "
            f"or verdict changed: {len(self.results)}."
        )
        return told

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``facts.csv``, ``items.csv``, ``pairs.csv`` and ``results.csv``."""
        written = []
        for name in ("facts", "items", "pairs", "results"):
            written.append(Path(folder) / f"{name}.csv")
            write_table(getattr(self, name), written[-1])
        return written


def _named(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return f"{', '.join(items[:_MOST_NAMED])}{more}"


def compare_cuts(old: Result, new: Result, *, tolerance: float = 0.25) -> Cuts:
    """Compare the results of two data cuts of one study.

    Parameters
    ----------
    old, new : PDResult
        As from :func:`pdbiomarker.read_result`.
    tolerance : float
        An estimate has moved when it differs by more than so many standard errors of the earlier cut.

    Returns
    -------
    Cuts

    Raises
    ------
    InputError
        E-RUN-009: the results are of two studies.
    """
    if str(old.study.spec.id) != str(new.study.spec.id):
        problems = Problems()
        problems.add(
            "E-RUN-009",
            f"These are results of two studies: {old.study.spec.id!r} and {new.study.spec.id!r}.",
            remedy="Compare two data cuts of one study; its id stands in study.yaml.",
            column="id",
            value=str(new.study.spec.id),
        )
        problems.raise_if_any()
    rows = [*_items(old, new), *_values(old, new), *_files(old, new)]
    items = pd.DataFrame(rows, columns=list(ITEM_COLUMNS))
    general = _general(old, new)
    pairs = _pairs(old, new, items, general)
    return Cuts(_facts(old, new), items, pairs, _results(old, new, pairs, general, tolerance), tolerance)


def _facts(old: Result, new: Result) -> pd.DataFrame:
    def of(result: Result) -> dict[str, str]:
        strict = result.changes[result.changes["set"] == "strict"]
        pairs = strict.groupby("assay")["participant_id"].nunique() if len(strict) else pd.Series(dtype=int)
        return {
            "data cut-off": str(getattr(result.study.spec, "data_cutoff", None) or "not stated"),
            "plan": str(getattr(result.plan, "hash", ""))[:12],
            "version": str(result.provenance.get("version", "")),
            "participants": str(len(result.study.participants)),
            "biopsies": str(len(result.study.biopsies)),
            **{f"participants with a pair, {assay}": str(n) for assay, n in pairs.items()},
        }

    before, after = of(old), of(new)
    names = list(dict.fromkeys([*before, *after]))
    return pd.DataFrame(
        {
            "fact": names,
            "before": [before.get(n, "") for n in names],
            "after": [after.get(n, "") for n in names],
        }
    )


# --- input ---------------------------------------------------------------------------------------------


def _items(old: Result, new: Result) -> Iterator[tuple[object, ...]]:
    for sheet, kind in _SHEETS.items():
        before, after = _sheet(old, sheet), _sheet(new, sheet)
        for item in [i for i in after.index if i not in before.index]:
            yield (kind, item, _owner(new, kind, after, item), "added", "", "", "")
        for item in before.index:
            owner = _owner(old, kind, before, item)
            if item not in after.index:
                yield (kind, item, owner, "removed", "", "", "")
                continue
            columns = [c for c in dict.fromkeys([*before.columns, *after.columns]) if c not in _NOT_COMPARED]
            for column in columns:
                first, second = _text(before, item, column), _text(after, item, column)
                if first != second:
                    yield (kind, item, owner, "changed", column, first, second)


def _sheet(result: Result, name: str) -> pd.DataFrame:
    """Give a sheet of the study; libraries that no sheet named are the biopsies themselves."""
    frame = pd.DataFrame(getattr(result.study, name, pd.DataFrame()))
    return frame[frame["source"] != "biopsy_id"] if name == "libraries" and "source" in frame else frame


def _owner(result: Result, kind: str, frame: pd.DataFrame, item: object) -> str:
    if kind == "participant":
        return str(item)
    if kind == "biopsy":
        return str(frame.at[item, "participant_id"])
    biopsies = result.study.biopsies
    biopsy = frame.at[item, "biopsy_id"]
    return str(biopsies.at[biopsy, "participant_id"]) if biopsy in biopsies.index else ""


def _text(frame: pd.DataFrame, item: object, column: str) -> str:
    if column not in frame.columns and column in _ALLOWED_DAYS:
        column = "study_day"
    if column not in frame.columns:
        return ""
    value: Any = frame.at[item, column]
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    return _number(float(value)) if isinstance(value, float | np.floating) else str(value)


def _number(value: float) -> str:
    """Write a number with every digit that it has, and no more."""
    return "" if np.isnan(value) else repr(value).removesuffix(".0")


def _values(old: Result, new: Result) -> Iterator[tuple[object, ...]]:
    """Raw values of panels that differ, in biopsies and features that both cuts have."""
    for assay in sorted(_panels(old) & _panels(new)):
        before, after = (r.study.assays.get(assay) for r in (old, new))
        if before is None or after is None:
            continue
        features = [f for f in after.var_names if f in before.var_names]
        for biopsy in [b for b in after.obs_names if b in before.obs_names]:
            first, second = (np.asarray(a[biopsy, features].X, dtype=float).ravel() for a in (before, after))
            moved = ~((first == second) | (np.isnan(first) & np.isnan(second)))
            moved &= ~(np.abs(first - second) <= _SAME * np.maximum(1.0, np.abs(first)))
            owner = _owner(new, "value", pd.DataFrame({"biopsy_id": [biopsy]}, index=[biopsy]), biopsy)
            for place in np.flatnonzero(moved):
                told = (_number(float(first[place])), _number(float(second[place])))
                yield ("value", str(biopsy), owner, "changed", f"{assay}:{features[place]}", *told)


def _files(old: Result, new: Result) -> Iterator[tuple[object, ...]]:
    before, after = _hashes(old), _hashes(new)
    for name in dict.fromkeys([*before, *after]):
        first, second = before.get(name, ""), after.get(name, "")
        if first != second:
            what = "changed" if first and second else ("added" if second else "removed")
            yield ("file", name, "", what, "sha256", first[:12], second[:12])


def _hashes(result: Result) -> dict[str, str]:
    inputs = result.provenance.get("inputs", {})
    return {str(name): str(value) for name, value in inputs.items()} if isinstance(inputs, Mapping) else {}


def _general(old: Result, new: Result) -> list[str]:
    """What changed for everybody at once."""
    told = []
    if getattr(old.plan, "hash", "") != getattr(new.plan, "hash", ""):
        told.append("the plan changed")
    if old.provenance.get("version") != new.provenance.get("version"):
        told.append("the version of the software changed")
    return told


# --- pairs and results ---------------------------------------------------------------------------------


def _pairs(old: Result, new: Result, items: pd.DataFrame, general: Sequence[str]) -> pd.DataFrame:
    panels = _panels(old) & _panels(new)
    before, after = (_changes(r.changes[r.changes["assay"].isin(panels)]) for r in (old, new))
    lost = _reasons(new)
    touched = _touched(items)
    rows = []
    for key in dict.fromkeys([*before, *after]):
        first, second = before.get(key, float("nan")), after.get(key, float("nan"))
        if key not in before:
            what = "gained"
        elif key not in after:
            what = "lost"
        elif abs(first - second) > _SAME * max(1.0, abs(first)) or np.isnan(first) != np.isnan(second):
            what = "moved"
        else:
            continue
        assay, feature, contrast, _, participant = key
        own = [lost.get((assay, contrast, participant), "")] if what == "lost" else []
        mine = [
            text for scope, text in touched.get(str(participant), []) if scope in {"", f"{assay}:{feature}"}
        ]
        why = [*filter(None, own), *mine][:_MOST_NAMED] or list(general)
        rows.append((*key, what, first, second, "; ".join(why) or "values of other biopsies (normalisation)"))
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def _panels(result: Result) -> set[str]:
    """Assays whose changes are compared pair by pair: those that have robustness rows, panels."""
    features = result.table.groupby("assay")["feature"].nunique()
    return {str(a) for a, n in features.items() if n <= _PANEL}


def _changes(frame: pd.DataFrame) -> dict[tuple[str, ...], float]:
    keys = frame[_PAIR_KEY].astype(str).itertuples(index=False, name=None)
    return dict(zip(keys, frame["change"].astype(float).tolist(), strict=True))


def _reasons(result: Result) -> dict[tuple[str, str, str], str]:
    pairs = result.pairs  # type: ignore[attr-defined]
    rows = pairs[~pairs["evaluable"].astype(bool)]
    return {
        (str(a), str(c), str(p)): str(r)
        for a, c, p, r in zip(
            rows["assay"], rows["contrast"], rows["participant_id"], rows["reason"], strict=True
        )
    }


def _touched(items: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """What changed of each participant, in words: with the feature that it is for, or for all of them."""
    told: dict[str, list[tuple[str, str]]] = {}
    for kind, item, owner, what, column, before, after in items.astype(str).itertuples(
        index=False, name=None
    ):
        if not owner:
            continue
        values = f"{column}: {before or 'empty'} to {after or 'empty'}" if column else ""
        if kind == "value":
            told.setdefault(owner, []).append((column, f"value of biopsy {item} corrected ({values})"))
        else:
            words = f"{kind} {item} {what}" + (f" ({values})" if values else "")
            told.setdefault(owner, []).append(("", words))
    return told


def _results(
    old: Result, new: Result, pairs: pd.DataFrame, general: Sequence[str], tolerance: float
) -> pd.DataFrame:
    before, after = _records(old.table), _records(new.table)
    reasons = _why_rows(pairs)
    rows = []
    for key in dict.fromkeys([*after, *before]):
        first, second = before.get(key), after.get(key)
        if first is None or second is None:
            what = "gone" if second is None else "new"
            rows.append(_row(key, what, first, second, list(general)))
            continue
        told = _what(first, second, tolerance)
        if told:
            why = reasons.get(_pairs_of(key), []) or list(general) or ["values of other biopsies"]
            rows.append(_row(key, ", ".join(told), first, second, why))
    frame = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    order = pd.to_numeric(frame["moved_se"]).abs().fillna(np.inf).to_numpy()
    return frame.iloc[np.argsort(-order, kind="stable")].reset_index(drop=True)


def _records(table: pd.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    wanted = [*_RESULT_KEY, "label", "estimate", "se", "effect", "n_pairs", "q", "status"]
    return {
        tuple(str(row[k]) for k in _RESULT_KEY): {str(c): v for c, v in row.items()}
        for row in table[wanted].to_dict("records")
    }


def _moved(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Move of the estimate in standard errors of the earlier cut."""
    if not first["se"] > 0:
        return float("nan")
    return float((second["estimate"] - first["estimate"]) / first["se"])


def _what(first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float) -> list[str]:
    told = []
    if abs(_moved(first, second)) > tolerance or pd.isna(first["estimate"]) != pd.isna(second["estimate"]):
        told.append("estimate moved")
    if first["status"] != second["status"]:
        told.append("status changed")
    if str(first["n_pairs"]) != str(second["n_pairs"]):
        told.append("n changed")
    was, now = (bool(pd.notna(row["q"]) and row["q"] < _ALPHA) for row in (first, second))
    if was != now:
        told.append("verdict gained" if now else "verdict lost")
    return told


def _pairs_of(key: tuple[str, ...]) -> tuple[str, ...]:
    """The row whose pairs a row of results rests on, or is a part of."""
    *names, set_ = key
    return key if set_ in _LISTED_SETS else (*names, _LISTED_SETS[0])


def _why_rows(pairs: pd.DataFrame) -> dict[tuple[str, ...], list[str]]:
    told: dict[tuple[str, ...], list[str]] = {}
    if pairs.empty:
        return told
    for _, rows in pairs.groupby(_RESULT_KEY, sort=False):
        said = []
        for what in ("gained", "lost", "moved"):
            people = [str(p) for p in rows.loc[rows["what"] == what, "participant_id"]]
            if people:
                more = f" and {len(people) - _MOST_NAMED} more" if len(people) > _MOST_NAMED else ""
                said.append(f"{what}: {', '.join(people[:_MOST_NAMED])}{more}")
        told[tuple(str(rows[k].iloc[0]) for k in _RESULT_KEY)] = said
    return told


def _row(
    key: Sequence[str],
    what: str,
    first: Mapping[str, Any] | None,
    second: Mapping[str, Any] | None,
    why: Sequence[str],
) -> tuple[object, ...]:
    absent: Mapping[str, Any] = {"effect": np.nan, "n_pairs": None, "q": np.nan, "status": "", "label": ""}
    was, now = first or absent, second or absent
    return (
        *key,
        now["label"] or was["label"],
        what,
        was["effect"],
        now["effect"],
        float("nan") if first is None or second is None else _moved(first, second),
        was["n_pairs"],
        now["n_pairs"],
        was["q"],
        now["q"],
        was["status"],
        now["status"],
        "; ".join(why),
    )

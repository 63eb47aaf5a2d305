"""overrides.csv: what reviewers decided about single participants, biopsies, libraries and slides.

Each row names an item, what to do with it, why, who said so and when. Without the row, everything is as it
was before: nothing else is changed on disk. An item is an id, with its kind before it where an id may be two
things: ``biopsy:B-01``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.study.ids import normal_id
from pdbiomarker.study.sheets import Sheet, open_sheet
from pdbiomarker.study.spec import Visit
from pdbiomarker.tables import nearest, parse_date

__all__ = ["OVERRIDE_COLUMNS", "left_out", "no_overrides", "override_reason", "read_overrides"]

FILE: Final = "overrides.csv"
OVERRIDE_COLUMNS: Final = ("item", "action", "reason", "who", "date")
_KINDS: Final = ("participant", "biopsy", "library", "slide")
#: What can be done with which kind of item.
_ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "exclude": frozenset(_KINDS),
    "include": frozenset({"biopsy"}),
    "adequate": frozenset({"biopsy"}),
    "inadequate": frozenset({"biopsy"}),
    "assign_visit": frozenset({"biopsy"}),
}
#: Actions that cannot both be meant of one item.
_OPPOSITE: Final = (
    frozenset({"exclude", "include"}),
    frozenset({"exclude", "adequate"}),
    frozenset({"exclude", "assign_visit"}),
    frozenset({"include", "inadequate"}),
    frozenset({"adequate", "inadequate"}),
    frozenset({"include", "adequate"}),
)
_ASSIGN: Final = "assign_visit"
_SHAPES: Final = "exclude, include, adequate, inadequate, assign_visit=VISIT"


def no_overrides() -> pd.DataFrame:
    """Give an empty table of overrides."""
    names = ("kind", *OVERRIDE_COLUMNS[:2], "visit", *OVERRIDE_COLUMNS[2:])
    frame = pd.DataFrame({name: pd.Series(dtype=object) for name in names}, columns=list(names))
    frame.index = pd.Index([], dtype=object, name="override")
    return frame


def left_out(overrides: pd.DataFrame) -> dict[str, set[str]]:
    """Give the ids that reviewers left out, by kind."""
    gone = overrides[overrides["action"] == "exclude"]
    return {kind: {str(i) for i in gone.loc[gone["kind"] == kind, "item"]} for kind in _KINDS}


def override_reason(row: Mapping[str, object] | pd.Series) -> str:
    """Give the sentence that an overridden row carries: what, by whom, when, why."""
    done = {
        "exclude": "left out",
        "include": "included",
        "adequate": "judged adequate",
        "inadequate": "judged inadequate",
        _ASSIGN: f"given the visit {row['visit']!r}",
    }[str(row["action"])]
    item = "" if row["kind"] == "biopsy" else f"{row['kind']} {row['item']!r} "
    return f"override: {item}{done} by {row['who']} on {row['date']}: {str(row['reason']).rstrip('.')}."


def read_overrides(
    path: Path,
    ids: Mapping[str, Iterable[str]],
    biopsies: pd.DataFrame,
    visits: Sequence[Visit],
    problems: Problems,
) -> pd.DataFrame:
    """Read and check overrides.csv; a study without the file has none.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    ids : mapping of kind to ids
        The items of the study.
    biopsies : DataFrame
        As read.
    visits : sequence of Visit
    problems : Problems
        Every fault of every row is added.

    Returns
    -------
    DataFrame
        One row each: ``kind, item, action, visit, reason, who, date``, in the order of kind, item and
        action, so that the order of the rows of the file leaves no trace.
    """
    if not path.exists():
        return no_overrides()
    told = Problems()
    sheet = open_sheet(path, file=FILE, columns={}, required=OVERRIDE_COLUMNS, problems=told)
    # No row is no fault here: the last decision may have been taken back.
    problems.extend(p for p in told if p.code != "E-SHEET-011")
    if sheet is None or not all(sheet.has(column) for column in OVERRIDE_COLUMNS):
        return no_overrides()
    sheet = dataclasses.replace(sheet, problems=problems)
    known = {kind: set(ids.get(kind, ())) for kind in _KINDS}
    rows = []
    for line, cells in zip(
        sheet.frame.index, sheet.frame[list(OVERRIDE_COLUMNS)].itertuples(False), strict=True
    ):
        row = dict(zip(OVERRIDE_COLUMNS, (normal_id(c) if c else "" for c in cells), strict=True))
        found = _checked(row, int(line), known, sheet)
        if found is not None:
            rows.append({**found, "line": int(line)})
    _check_visits(rows, biopsies, visits, sheet)
    _check_conflicts(rows, biopsies, sheet)
    frame = pd.DataFrame(rows, columns=[*no_overrides().columns, "line"], dtype=object)
    frame = frame.sort_values(["kind", "item", "action"], kind="stable").drop(columns="line")
    frame.index = pd.Index([str(k) for k in range(1, len(frame) + 1)], dtype=object, name="override")
    return frame


def _checked(
    row: Mapping[str, str], line: int, known: Mapping[str, set[str]], sheet: Sheet
) -> dict[str, str] | None:
    """Settle item and action of a row, and tell what is wrong with it."""
    kind, item = _item(row["item"], line, known, sheet)
    action, _, visit = (part.strip() for part in row["action"].partition("="))
    good = kind is not None
    if action not in _ACTIONS or bool(visit) != (action == _ASSIGN):
        said = f"The action {row['action']!r} is not one of those that exist."
        sheet.tell(
            "E-OVERRIDE-002", "action", [(line, row["action"], said)], remedy=f"Use one of: {_SHAPES}."
        )
        good = False
    elif kind is not None and kind not in _ACTIONS[action]:
        said = f"The action {action!r} is not for a {kind}."
        remedy = f"It is for: {', '.join(sorted(_ACTIONS[action]))}."
        sheet.tell("E-OVERRIDE-002", "action", [(line, row["action"], said)], remedy=remedy)
        good = False
    for column in ("reason", "who", "date"):
        if not row[column]:
            said = f"The {column} of the override is missing."
            sheet.tell("E-OVERRIDE-003", column, [(line, None, said)], remedy="Say why, who and when.")
            good = False
    if row["date"] and (parse_date(row["date"]) is None):
        said = "The date of the override is not an ISO 8601 date."
        sheet.tell("E-OVERRIDE-003", "date", [(line, row["date"], said)], remedy="Write it as YYYY-MM-DD.")
        good = False
    if not good or kind is None:
        return None
    return {**row, "kind": kind, "item": item, "action": action, "visit": visit}


def _item(text: str, line: int, known: Mapping[str, set[str]], sheet: Sheet) -> tuple[str | None, str]:
    prefix, colon, rest = text.partition(":")
    if colon and prefix.strip() in _KINDS:
        kinds, item = [prefix.strip()], rest.strip()
    else:
        kinds, item = list(_KINDS), text
    found = [kind for kind in kinds if item in known[kind]]
    if len(found) == 1:
        return found[0], item
    if found:
        said = f"The item {item!r} is a {' and a '.join(found)}."
        remedy = f"Write its kind before it, such as '{found[0]}:{item}'."
        sheet.tell("E-OVERRIDE-005", "item", [(line, text, said)], remedy=remedy)
    else:
        options = sorted({i for kind in kinds for i in known[kind]})
        said = f"No {kinds[0] if len(kinds) == 1 else 'item'} of the study has the id {item!r}."
        sheet.tell("E-OVERRIDE-001", "item", [(line, text or None, said)], remedy=nearest(item, options))
    return None, item


def _check_visits(
    rows: list[dict[str, object]], biopsies: pd.DataFrame, visits: Sequence[Visit], sheet: Sheet
) -> None:
    names = [visit.name for visit in visits]
    days = dict(zip(map(str, biopsies.index), biopsies["study_day"].tolist(), strict=True))
    for row in rows:
        if row["action"] != _ASSIGN:
            continue
        line, name = int(str(row["line"])), str(row["visit"])
        if name not in names:
            said = f"{name!r} is not a visit of the study."
            sheet.tell(
                "E-OVERRIDE-002", "action", [(line, f"{_ASSIGN}={name}", said)], remedy=nearest(name, names)
            )
            continue
        visit = visits[names.index(name)]
        before = name == names[0] or (visit.high is not None and visit.high <= 1)
        day = days.get(str(row["item"]), pd.NA)
        if not before and not pd.isna(day) and day < 1:
            said = f"The biopsy was taken before the first dose (study day {day}); {name!r} is on treatment."
            sheet.tell(
                "E-OVERRIDE-006",
                "action",
                [(line, f"{_ASSIGN}={name}", said)],
                remedy="Correct the date in biopsies.csv if it is wrong, or give a visit before treatment.",
            )


def _check_conflicts(rows: list[dict[str, object]], biopsies: pd.DataFrame, sheet: Sheet) -> None:
    """Refuse overrides of one item that repeat or contradict each other."""
    people = {str(b): str(p) for b, p in biopsies["participant_id"].items()}
    gone = {str(r["item"]): int(str(r["line"])) for r in rows if r["kind"] == "participant"}
    seen: dict[tuple[str, str], list[tuple[str, int]]] = {}
    clashes: list[tuple[int, str | None, str]] = []
    for row in rows:
        kind, item, action = str(row["kind"]), str(row["item"]), str(row["action"])
        line = int(str(row["line"]))
        for other, at in seen.setdefault((kind, item), []):
            if other == action or frozenset({other, action}) in _OPPOSITE:
                how = "is given twice" if other == action else f"contradicts {other!r}"
                clashes.append((line, item, f"{action!r} of {kind} {item!r} {how} (line {at})."))
        seen[kind, item].append((action, line))
        participant = people.get(item, "") if kind == "biopsy" else ""
        if participant in gone and action != "exclude":
            said = f"{action!r} of biopsy {item!r}: its participant {participant!r} is left out"
            clashes.append((line, item, f"{said} (line {gone[participant]})."))
    sheet.tell("E-OVERRIDE-004", "item", clashes, remedy="Keep the decision that holds.")

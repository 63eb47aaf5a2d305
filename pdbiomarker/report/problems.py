"""The problems a result carries, from wherever they were told, once each and in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from pdbiomarker.errors import Problem
from pdbiomarker.plot.select import Result
from pdbiomarker.report.privacy import clean, relative_name

__all__ = ["Told", "problems_of"]


@dataclasses.dataclass(frozen=True, order=True)
class Told:
    """One problem as the report lists it: no dates, no absolute paths."""

    severity: str
    code: str
    item: str
    place: str
    message: str
    remedy: str


def problems_of(result: Result) -> tuple[Told, ...]:
    """Collect quarantines, warnings and errors of the provenance and the study, without repetition.

    Returns
    -------
    tuple of Told
        Quarantines first, then warnings, each by code and item.
    """
    found: dict[Told, None] = {}
    for source in (result.provenance.get("problems", ()), getattr(result.study, "problems", ())):
        for told in _read(source):
            found.setdefault(told)
    rank = {"error": 0, "quarantine": 1, "warning": 2}
    return tuple(sorted(found, key=lambda t: (rank.get(t.severity, 3), t)))


def _read(source: Iterable[Problem | Mapping[str, Any]]) -> Iterable[Told]:
    for entry in source:
        row = dataclasses.asdict(entry) if isinstance(entry, Problem) else dict(entry)
        file = relative_name(str(row.get("file") or ""))
        line, column = row.get("row"), row.get("column")
        place = file + (f", line {line}" if line is not None else "") + (f", {column}" if column else "")
        yield Told(
            str(row.get("severity") or "error"),
            str(row.get("code") or ""),
            str(row.get("item") or ""),
            place.strip(", "),
            clean(str(row.get("message") or "")),
            clean(str(row.get("remedy") or "")),
        )

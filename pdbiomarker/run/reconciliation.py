"""Tables that our commands left, held against the ADaM parameters of an import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.clinical.cdisc import held_against
from pdbiomarker.clinical.reconcile import reconciliation_summary
from pdbiomarker.errors import Problems
from pdbiomarker.tables import read_table, to_typed, write_table

__all__ = ["reconcile_tables"]

_PARAMETERS: Final = "parameters.csv"
_OURS: Final = ("pk_parameters", "best_response", "pfs", "dor", "os", "ada_participants")


def reconcile_tables(
    ours: str | Path | Sequence[str | Path],
    theirs: str | Path,
    out: str | Path,
    *,
    tolerance: float = 1e-6,
) -> list[Path]:
    """Hold the tables of analyses against imported parameters and write the result.

    Parameters
    ----------
    ours : path, or several
        Folders that ``pdbiomarker exposure``, ``response`` and ``ada`` left: pk_parameters.csv,
        best_response.csv, pfs.csv, dor.csv, os.csv, ada_participants.csv.
    theirs : path
        The study folder, its folder ``cdisc``, or the parameters.csv that ``pdbiomarker import cdisc`` left.
    out : path
        A folder; made when missing.
    tolerance : float
        Numbers agree within this fraction of theirs.

    Returns
    -------
    list of Path
        ``reconciliation_summary.csv`` (how many agree), ``reconciliation.csv`` (value by value).

    Raises
    ------
    InputError
        E-FILE-001: no parameters, or none of our tables; what cannot be read.
    """
    problems = Problems()
    parameters = _read(_parameters(Path(theirs)), problems, text=("text", "parameter", "event"))
    folders = [Path(f) for f in ([ours] if isinstance(ours, str | Path) else ours)]
    tables: dict[str, pd.DataFrame] = {}
    for folder in folders:
        for name in _OURS:
            if name not in tables and (folder / f"{name}.csv").is_file():
                found = _read(folder / f"{name}.csv", problems, text=("event",))
                if found is not None:
                    tables[name] = found
    if not tables:
        problems.add(
            "E-FILE-001",
            "None of the folders holds a table that can be held against parameters.",
            remedy=f"Run pdbiomarker exposure, response or ada first: {', '.join(_OURS)}.",
            file=", ".join(folder.name for folder in folders),
        )
    problems.raise_if_any()
    if parameters is None:
        raise RuntimeError("parameters that could not be read were not told")
    held = held_against(parameters, tables, tolerance=tolerance)
    summaries = [
        reconciliation_summary(part).assign(table=name) for name, part in held.groupby("table", sort=False)
    ]
    summary = pd.concat(summaries, ignore_index=True) if summaries else pd.DataFrame({"table": []})
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    made = [root / "reconciliation_summary.csv", root / "reconciliation.csv"]
    write_table(summary[["table", *(c for c in summary.columns if c != "table")]], made[0])
    write_table(held, made[1])
    return made


def _parameters(given: Path) -> Path:
    """Find the imported parameters below a study folder or its folder cdisc."""
    places = (given, given / _PARAMETERS, given / "cdisc" / _PARAMETERS)
    return next((place for place in places if place.is_file()), given / _PARAMETERS)


def _read(path: Path, problems: Problems, *, text: Sequence[str]) -> pd.DataFrame | None:
    frame = read_table(path, problems=problems)
    if frame is None:
        return None
    names = {"participant_id", "specimen", *text}
    typed = {str(c): frame[c] if str(c) in names else to_typed(frame[c]) for c in frame.columns}
    return pd.DataFrame(typed).reset_index(drop=True)

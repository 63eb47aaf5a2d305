"""Links of a result as files: ``results/link_exposure.csv, link_response.csv, ...``, where there are any."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pdbiomarker.change import PDResult
from pdbiomarker.link import link_study
from pdbiomarker.tables import write_table

__all__ = ["write_links"]


def write_links(
    result: PDResult, out: Path, *, only: Collection[str] = (), without: Collection[str] = ()
) -> list[Path]:
    """Relate a result to exposure, outcome, assays and blood, and write a table of each kind that there is.

    Parameters
    ----------
    result : PDResult
    out : Path
        The results folder.
    only, without : collection of str
        Kinds to write, where not all: response waits for the clinical sheets, read after the change.

    Returns
    -------
    list of Path
        The files, sorted.
    """
    written = []
    for kind, table in link_study(result).tables().items():
        if kind in without or (only and kind not in only):
            continue
        written.append(out / "results" / f"link_{kind}.csv")
        write_table(table, written[-1])
    return sorted(written)

"""What kind of ids a matrix has, which of them are outdated, and which a spreadsheet has mangled.

Ids are never changed: they stay the names of the features. What is found goes into ``var["symbol"]`` (the
current symbol of an alias, a former symbol, or a date that can only mean one gene), into the problems, and as
counts into ``uns["gene_ids"]``.

The table of aliases and former symbols is ``reference/genes/symbols.csv``: symbols that a spreadsheet takes
for dates and names common in immuno-oncology. It is a selection, not a nomenclature: for a whole matrix give
a genes table.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pdbiomarker.errors import Problems
from pdbiomarker.reference import reference_path

__all__ = [
    "GENE_ID",
    "check_ids",
    "current_symbols",
    "date_in",
    "id_kinds",
    "known_symbols",
    "serial_date",
    "without_version",
]

GENE_ID: Final = re.compile(r"ENS[A-Z]*[GT]\d{11}(\.\d+)?(_PAR_Y)?")
_KINDS: Final = (
    ("Ensembl gene", re.compile(r"ENS[A-Z]*G\d{11}(\.\d+)?(_PAR_Y)?")),
    ("Ensembl transcript", re.compile(r"ENS[A-Z]*T\d{11}(\.\d+)?(_PAR_Y)?")),
    ("RefSeq", re.compile(r"[NX][MR]_\d+(\.\d+)?")),
    ("Entrez", re.compile(r"\d+")),
)
_VERSION: Final = re.compile(r"(ENS[A-Z]*[GT]\d{11}|[NX][MR]_\d+)\.\d+")

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES: Final = "|".join([*_MONTHS, "sept"])
_DATES: Final = (
    re.compile(rf"(?P<day>\d{{1,2}})[-/ ](?P<month>{_NAMES})(?:[-/ ]\d{{2,4}})?", re.IGNORECASE),
    re.compile(rf"(?P<month>{_NAMES})[-/ ](?P<day>\d{{1,2}})", re.IGNORECASE),
    re.compile(r"\d{4}-(?P<month>\d{2})-(?P<day>\d{2})(?:[ T]\d{2}:\d{2}:\d{2})?"),
    re.compile(r"\d{1,2}/\d{1,2}/\d{2,4}"),
)
#: Days since 1899-12-30 of the years 2000-2035: what a spreadsheet stores for a gene it took for a date.
SERIALS: Final = range(36526, 49675)
_EPOCH: Final = dt.date(1899, 12, 30)
#: Former symbols that spreadsheets take for dates: (month, first and last number) -> current symbol.
_REPAIRS: Final = (
    ("mar", 1, 2, "MARCHF{0} or MTARC{0}"),
    ("mar", 3, 11, "MARCHF{0}"),
    ("sep", 1, 12, "SEPTIN{0}"),
    ("sep", 14, 14, "SEPTIN{0}"),
    ("sep", 15, 15, "SELENOF"),
    ("dec", 1, 1, "DELEC1"),
    ("oct", 1, 31, "POU5F1 (alias OCT{0})"),
    ("nov", 1, 31, "CCN3 (alias NOV)"),
)
_SINGLE: Final = re.compile(r"[A-Z0-9]+")


@functools.cache
def known_symbols() -> dict[str, tuple[str, str]]:
    """Alias or former symbol -> (current symbol, reason); from ``reference/genes/symbols.csv``."""
    with reference_path("genes/symbols.csv").open(encoding="utf-8", newline="") as stream:
        return {row["id"]: (row["symbol"], row["reason"]) for row in csv.DictReader(stream)}


def without_version(identifier: str) -> str:
    """Give an Ensembl or RefSeq id without its version; other ids as they are.

    Examples
    --------
    >>> without_version("ENSG00000153563.16"), without_version("HLA-A.1")
    ('ENSG00000153563', 'HLA-A.1')
    """
    return _VERSION.sub(r"\1", identifier)


def date_in(identifier: str) -> str | None:
    """Say which gene a date was.

    Returns
    -------
    str or None
        Its current symbol or symbols, ``""`` where that is unknown; None: the id is no date.

    Examples
    --------
    >>> date_in("1-Sep"), date_in("2021-03-05"), date_in("1-Mar"), date_in("3/1/2021"), date_in("TP53")
    ('SEPTIN1', 'MARCHF5', 'MARCHF1 or MTARC1', '', None)
    """
    match = next((m for pattern in _DATES if (m := pattern.fullmatch(identifier))), None)
    if match is None:
        return None
    groups = match.groupdict()
    if not groups:
        return ""
    month = groups["month"].lower()
    name = _MONTHS[int(month) - 1] if month.isdecimal() and 1 <= int(month) <= 12 else month[:3]
    return _meant(name, int(groups["day"]))


def _meant(month: str, day: int) -> str:
    found = (text for m, first, last, text in _REPAIRS if m == month and first <= day <= last)
    return next(found, "").format(day)


def serial_date(identifier: str) -> str | None:
    """Say which gene a spreadsheet's day number was; None where it is no such number."""
    if not identifier.isdecimal() or int(identifier) not in SERIALS:
        return None
    date = _EPOCH + dt.timedelta(days=int(identifier))
    return _meant(_MONTHS[date.month - 1], date.day)


def id_kinds(ids: Sequence[str]) -> dict[str, int]:
    """Count ids by kind (Ensembl, RefSeq, Entrez, symbol or other), the most frequent first."""
    kinds = Counter(
        next((kind for kind, pattern in _KINDS if pattern.fullmatch(i)), "symbol or other") for i in ids
    )
    return dict(kinds.most_common())


def current_symbols(ids: Sequence[str]) -> dict[str, str]:
    """Current symbol of the ids that are an alias, a former symbol, or a date of one possible gene.

    An alias whose current symbol is itself a feature is left alone: two features of one symbol are no
    correction.
    """
    present, known = set(ids), known_symbols()
    found: dict[str, str] = {}
    for i in ids:
        symbol = known[i][0] if i in known else date_in(i) or ""
        if symbol and _SINGLE.fullmatch(symbol) and symbol not in present:
            found[i] = symbol
    twice = {s for s, n in Counter(found.values()).items() if n > 1}
    return {i: s for i, s in found.items() if s not in twice}


def check_ids(ids: Sequence[str], name: str, problems: Problems) -> dict[str, int]:
    """Tell ids of several kinds, versions of one gene, and outdated symbols; all as warnings.

    Parameters
    ----------
    ids : sequence of str
        Cleaned.
    name : str
        What problems call the file.
    problems : Problems
        Added: E-COUNT-031, E-COUNT-038.

    Returns
    -------
    dict of str to int
        :func:`id_kinds`.
    """
    kinds = id_kinds(ids)
    systems = [k for k in kinds if k != "symbol or other" and kinds[k] >= max(2, 0.01 * len(ids))]
    if len(systems) > 1 or (systems and kinds.get("symbol or other", 0) > 0.2 * len(ids)):
        told = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        problems.add(
            "E-COUNT-038",
            f"The gene ids are of several kinds: {told}. A gene may stand in the matrix under two names.",
            remedy="Use ids of one kind.",
            file=name,
            severity="warning",
        )
    plain = Counter(without_version(i) for i in dict.fromkeys(ids))  # ids given twice are told elsewhere
    again = [i for i, n in plain.items() if n > 1]
    if again:
        problems.add(
            "E-COUNT-038",
            f"{len(again)} genes stand in the matrix with several versions, as {again[0]!r}; each stays a "
            "feature of its own.",
            remedy="Use one annotation for all libraries, or sum the rows of one gene.",
            file=name,
            value=again[0],
            severity="warning",
        )
    known = known_symbols()
    old = [i for i in ids if i in known]
    if old:
        shown = ", ".join(f"{i} ({known[i][0]})" for i in old[:5])
        problems.add(
            "E-COUNT-031",
            f"{len(old)} gene ids are aliases or former symbols: {shown}{', ...' if len(old) > 5 else ''}. "
            "The ids stay; var['symbol'] holds the current symbol where no other row has it.",
            remedy="Nothing need be done; a genes table overrides this.",
            file=name,
            value=old[0],
            severity="warning",
        )
    return kinds

"""Symbols for gene ids, from a table that the study brings.

The first column of the table holds the ids of the matrix. The symbol is taken from the column named
``gene_name``, ``symbol`` or one of the other usual names. Ids are compared as text; an Ensembl id with a
version (``ENSG00000153563.16``) is also looked up without it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems

__all__ = ["labels", "map_symbols"]

_SYMBOL_COLUMNS: Final = (
    "gene_name",
    "symbol",
    "gene_symbol",
    "hgnc_symbol",
    "external_gene_name",
    "genename",
    "genesymbol",
    "gene",
    "name",
)
_VERSION: Final = re.compile(r"(ENS[A-Z]*\d+)\.\d+")


def map_symbols(ids: Sequence[str], table: pd.DataFrame, name: str, *, problems: Problems) -> list[str]:
    """Symbol of each id, empty where the table has none.

    Parameters
    ----------
    ids : sequence of str
    table : DataFrame
        Text; the first column holds ids.
    name : str
        What problems call the table.
    problems : Problems
        Added: E-SHEET-001 without a symbol column, E-SHEET-006 when no id is found, both errors; E-SHEET-005
        for an id with two symbols (the first is kept) and E-COUNT-017 for ids without one, both warnings.

    Returns
    -------
    list of str
    """
    columns = {str(c).strip().casefold(): c for c in table.columns[1:]}
    column = next((columns[c] for c in _SYMBOL_COLUMNS if c in columns), None)
    if column is None:
        problems.add(
            "E-SHEET-001",
            f"The genes table has no column of symbols; it has {', '.join(map(str, table.columns))}.",
            remedy="Name the column gene_name or symbol; the first column holds the ids of the matrix.",
            file=name,
            row=1,
        )
        return [""] * len(ids)
    found: dict[str, str] = {}
    conflicts: list[str] = []
    for key, value in zip(_texts(table.iloc[:, 0]), _texts(table[column]), strict=True):
        if key and value and found.setdefault(key, value) != value:
            conflicts.append(key)
    if conflicts:
        problems.add(
            "E-SHEET-005",
            f"{len(conflicts)} ids have two symbols, as {conflicts[0]!r}; the first symbol is kept.",
            remedy="Give each id one line.",
            file=name,
            value=conflicts[0],
            severity="warning",
        )
    symbols = [found.get(i) or found.get(_VERSION.sub(r"\1", i), "") for i in ids]
    unmapped = [i for i, symbol in zip(ids, symbols, strict=True) if not symbol]
    if len(unmapped) == len(ids):
        problems.add(
            "E-SHEET-006",
            f"None of the {len(ids)} genes of the matrix, such as {ids[0]!r}, is in the first column of the "
            f"genes table, such as {next(iter(found), '')!r}.",
            remedy="Put the ids of the matrix into the first column.",
            file=name,
            column=str(table.columns[0]),
            value=ids[0],
        )
    elif unmapped:
        problems.add(
            "E-COUNT-017",
            f"{len(unmapped)} of {len(ids)} genes have no symbol in the genes table; they keep their id.",
            remedy="Nothing need be done; a newer table may name more.",
            file=name,
            value=unmapped[0],
            severity="warning",
        )
    return symbols


def _texts(column: pd.Series) -> list[str]:
    return [value.strip() if isinstance(value, str) else "" for value in column.tolist()]


def labels(ids: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """Names for people: the symbol, with the id where two genes share it; the id where there is none.

    Examples
    --------
    >>> labels(["1", "2", "3", "4"], ["A", "B", "B", ""])
    ['A', 'B (2)', 'B (3)', '4']
    """
    times = Counter(s for s in symbols if s)
    return [
        i if not symbol else symbol if times[symbol] == 1 else f"{symbol} ({i})"
        for i, symbol in zip(ids, symbols, strict=True)
    ]

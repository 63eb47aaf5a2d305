"""Symbols for gene ids, from a table that the study brings.

The first column of the table holds the ids of the matrix. The symbol is taken from the column named
``gene_name``, ``symbol`` or one of the other usual names. Ids are compared as text; an Ensembl id with a
version (``ENSG00000153563.16``) is also looked up without it, and an id that is not in the first column among
the aliases (columns ``alias``, ``previous`` and the like, separated by ``|``, ``;`` or ``,``), where one gene
alone has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, cast

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problems
from pdbiomarker.expression.identifiers import without_version

__all__ = ["gene_features", "labels", "map_symbols", "merge_genes"]

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
_ALIAS_COLUMNS: Final = (
    "alias",
    "aliases",
    "alias_symbol",
    "previous",
    "prev_symbol",
    "previous_symbols",
    "synonyms",
)
_SEPARATORS: Final = re.compile(r"[|;,]")


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
    aliases = _aliases(table, columns, _texts(table[column]))
    symbols = [found.get(i) or found.get(without_version(i)) or aliases.get(i, "") for i in ids]
    by_alias = [i for i in ids if i not in found and without_version(i) not in found and i in aliases]
    if by_alias:
        problems.add(
            "E-COUNT-031",
            f"{len(by_alias)} ids are found only among the aliases of the genes table, as {by_alias[0]!r} "
            f"({aliases[by_alias[0]]}).",
            remedy="Nothing need be done; check that no other row is the same gene.",
            file=name,
            value=by_alias[0],
            severity="warning",
        )
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


def _aliases(table: pd.DataFrame, columns: Mapping[str, Hashable], symbols: Sequence[str]) -> dict[str, str]:
    """Aliases and former symbols that only one gene has, with its symbol."""
    found: dict[str, set[str]] = {}
    for name in (columns[c] for c in _ALIAS_COLUMNS if c in columns):
        for text, symbol in zip(_texts(table[name]), symbols, strict=True):
            for alias in _SEPARATORS.split(text):
                if alias.strip() and symbol:
                    found.setdefault(alias.strip(), set()).add(symbol)
    return {alias: next(iter(own)) for alias, own in found.items() if len(own) == 1}


def merge_genes(adata: AnnData) -> tuple[AnnData, pd.DataFrame]:
    """Sum the features of one symbol, and report what was merged and what has none.

    Parameters
    ----------
    adata : AnnData, biopsies x genes
        Counts, with ``var["symbol"]``.

    Returns
    -------
    AnnData, biopsies x symbols
        In the order of first appearance; features without a symbol keep their id. Layers are left out.
    DataFrame
        One row for each feature of `adata`: id, symbol, feature (its name in the result), status
        (``kept``, ``merged``, ``no symbol``) and reads.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> var = pd.DataFrame({"symbol": ["A", "A", ""]}, index=["1", "2", "3"])
    >>> merged, report = merge_genes(AnnData(np.array([[1.0, 2.0, 3.0]]), var=var))
    >>> merged.var_names.tolist(), merged.X.tolist(), report["status"].tolist()
    (['A', '3'], [[3.0, 3.0]], ['merged', 'merged', 'no symbol'])
    """
    ids = [str(i) for i in adata.var_names]
    symbols = [s if isinstance(s, str) else "" for s in adata.var["symbol"].tolist()]
    names = [s or i for s, i in zip(symbols, ids, strict=True)]
    codes, labels_ = pd.factorize(np.asarray(names, dtype=object))
    x = np.asarray(adata.X, dtype=np.float64)
    sums = np.zeros((adata.n_obs, len(labels_)))
    np.add.at(sums.T, codes, x.T)
    first = np.unique(codes, return_index=True)[1]
    var = cast("pd.DataFrame", adata.var).iloc[first].copy()
    var.index = pd.Index([str(n) for n in labels_], dtype=str)
    times = np.bincount(codes)
    status = [
        "merged" if times[c] > 1 else "kept" if s else "no symbol"
        for c, s in zip(codes.tolist(), symbols, strict=True)
    ]
    report = pd.DataFrame(
        {"id": ids, "symbol": symbols, "feature": names, "status": status, "reads": np.nansum(x, axis=0)}
    )
    return AnnData(X=sums, obs=cast("pd.DataFrame", adata.obs).copy(), var=var, uns=dict(adata.uns)), report


def _texts(column: pd.Series) -> list[str]:
    return [value.strip() if isinstance(value, str) else "" for value in column.tolist()]


def gene_features(ids: Sequence[str], symbols: Sequence[str], *, kind: str, unit: str) -> pd.DataFrame:
    """Give the features of an assay of genes: one row per gene, whose values start at 0.

    Parameters
    ----------
    ids, symbols : sequence of str
        Of each gene; a symbol may be empty.
    kind, unit : str
        Such as ``count`` and ``reads``.
    """
    n = len(ids)
    return pd.DataFrame(
        {
            "kind": [kind] * n,
            "unit": [unit] * n,
            "lower": np.zeros(n),
            "upper": np.full(n, np.nan),
            "lloq": np.full(n, np.nan),
            "family": [""] * n,
            "label": labels(ids, symbols),
            "expected_direction": np.zeros(n, dtype=np.int64),
            "symbol": list(symbols),
        },
        index=pd.Index(ids, dtype=str),
    )


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

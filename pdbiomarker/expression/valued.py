"""From values that a reader has read to an assay: the pieces that every reader of values shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import Problems
from pdbiomarker.provenance import sha256_file
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import nearest

__all__ = ["VALUE_KINDS", "feature_table", "source_of", "tell_unclaimed", "value_assay"]

#: The kinds of values that are no counts.
VALUE_KINDS: Final = ("intensity", "density", "proportion", "score", "signature")
_UNITS: Final = {"density": "cells/mm2", "score": "points"}


def feature_table(features: Sequence[str], kind: str, *, unit: str | None = None) -> pd.DataFrame:
    """Make the table `var` of an assay: one row a feature, every column with its default.

    Parameters
    ----------
    features : sequence of str
        Their ids, each once.
    kind : str
        One of :data:`VALUE_KINDS`.
    unit : str, optional
        Default: that of the kind.

    Returns
    -------
    DataFrame
        Index: the ids; ``kind, unit, lower, upper, lloq, uloq, family, label, expected_direction``. `lower`
        and `upper` bound the kind, `lloq` and `uloq` are limits of quantification of the whole feature in
        its unit (NaN: none).
    """
    n = len(features)
    columns: dict[str, Any] = {
        "kind": [kind] * n,
        "unit": [_UNITS.get(kind, "") if unit is None else unit] * n,
        "lower": np.full(n, 0.0 if kind in {"density", "proportion"} else np.nan),
        "upper": np.full(n, 1.0 if kind == "proportion" else np.nan),
        "lloq": np.full(n, np.nan),
        "uloq": np.full(n, np.nan),
        "family": [""] * n,
        "label": list(features),
        "expected_direction": np.zeros(n, dtype=np.int64),
    }
    return pd.DataFrame(columns, index=pd.Index(list(features), dtype=str))


def value_assay(
    x: pd.DataFrame,
    var: pd.DataFrame,
    *,
    side: pd.DataFrame | None = None,
    obs: pd.DataFrame | None = None,
    problems: Problems,
    source: Mapping[str, str],
) -> AnnData:
    """Put values together as an assay.

    Parameters
    ----------
    x : DataFrame, biopsies x features
        Index: biopsy ids; columns: the ids of `var`, in its order. Values of the feature's kind, NaN = not
        measured; a value beyond a limit stands at the limit.
    var : DataFrame
        From :func:`feature_table`.
    side : DataFrame, biopsies x features, optional
        -1 where the value is known to be at most `x`, 0 observed, 1 at least `x`: the model is told so.
    obs : DataFrame, optional
        Index: biopsy ids. Facts of the measurement: ``batch`` (a term of the formula of that name means it),
        others for the tables of quality.
    problems : Problems
        What was told: it travels with the assay, see :func:`problems_of`.
    source : mapping of str to str
        Reader, file, sha256: kept in ``uns["provenance"]``.

    Returns
    -------
    AnnData
    """
    index = pd.Index([str(b) for b in x.index], dtype=str)
    facts = pd.DataFrame(index=index) if obs is None else obs.set_axis(index)
    adata = AnnData(X=np.ascontiguousarray(x.to_numpy(dtype=np.float64)), obs=facts, var=var)
    if side is not None and side.to_numpy().any():
        adata.layers["censored"] = np.ascontiguousarray(side.to_numpy(dtype=np.float64))
    keep_problems(adata, problems)
    adata.uns["provenance"] = dict(source)
    return adata


def source_of(path: Path, name: str, reader: str, **said: str) -> dict[str, str]:
    """Say where values come from, for ``uns["provenance"]``."""
    return {"reader": reader, "file": name, "sha256": sha256_file(path), **said}


def tell_unclaimed(
    samples: Sequence[str],
    known: Sequence[str],
    *,
    file: str,
    what: str,
    problems: Problems,
    controls: Sequence[str] = (),
) -> None:
    """Quarantine samples of a file that no biopsy of the study is called; refuse a file without any other.

    Parameters
    ----------
    samples : sequence of str
        As the file names them, each once.
    known : sequence of str
        The study's biopsies.
    file : str
        For the problems.
    what : str
        What the file calls a sample: ``column``, ``sample``.
    problems : Problems
    controls : sequence of str
        Those of them that are no biopsies by their nature: passed over.
    """
    biopsies = set(known)
    unknown = [sample for sample in samples if sample not in biopsies and sample not in set(controls)]
    for sample in unknown:
        problems.add(
            "E-SHEET-006",
            f"The {what} {sample!r} is no biopsy of the study; it is left out.",
            remedy=nearest(sample, sorted(known)),
            file=file,
            row=1 if what == "column" else None,
            column=sample if what == "column" else None,
            value=sample,
            severity="quarantine",
            item=sample,
        )
    if not biopsies & set(samples):
        problems.add(
            "E-SHEET-006",
            f"No {what} of the table is a biopsy of the study.",
            remedy=(
                "Head the columns with the ids of biopsies.csv; features are the rows."
                if what == "column"
                else f"Name every {what} by its biopsy_id, as in biopsies.csv."
            ),
            file=file,
            row=1,
        )

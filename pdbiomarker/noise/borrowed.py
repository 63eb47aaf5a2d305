"""Noise borrowed from other studies, with its source: for studies without replicates."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

from pdbiomarker.errors import Problems
from pdbiomarker.noise.estimate import Noise, Scale
from pdbiomarker.reference import reference_path
from pdbiomarker.tables import load_yaml, nearest, validate_yaml

__all__ = ["borrow_noise", "borrowed_noises"]

FILE = "noise.yaml"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    feature: str = Field(min_length=1)
    scale: Literal["log2", "logit", "identity", "percentage points"]
    of: Literal["transcripts"] | None = None
    sigma: float = Field(gt=0, strict=False)
    df: float = Field(gt=0, strict=False)
    basis: Literal[
        "replicate biopsies", "replicate cores", "serial sections", "regions", "technical replicates",
        "untreated pairs", "treated pairs",
    ]  # fmt: skip
    bound: Literal["none", "lower", "upper"]
    population: str
    source: str = Field(min_length=1)
    note: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: str
    entries: list[_Entry]


def _read(path: str | Path | None) -> _File:
    file = reference_path(FILE) if path is None else Path(path)
    problems = Problems()
    document = load_yaml(file, problems)
    content = None
    if document is not None:
        content = validate_yaml(_File, document, code="E-NOISE-004", problems=problems)
    problems.raise_if_any()
    return content or _File(version="", entries=[])


def borrowed_noises(path: str | Path | None = None) -> pd.DataFrame:
    """List what can be borrowed.

    Parameters
    ----------
    path : path, optional
        A file of your own; default ``reference/noise.yaml``.

    Returns
    -------
    DataFrame
        ``feature`` (a name, or a pattern with ``*``), ``scale, of, sigma, df, basis, bound, population,
        source, note``.

    Raises
    ------
    InputError
        E-NOISE-004 and E-FILE-...: the file cannot be used.
    """
    return pd.DataFrame([entry.model_dump() for entry in _read(path).entries])


def borrow_noise(
    feature: str,
    scale: Scale,
    *,
    path: str | Path | None = None,
    level: float = 0.95,
    transcripts: bool = True,
) -> Noise:
    """Borrow the noise of a feature from another study; the result is marked as borrowed.

    Parameters
    ----------
    feature : str
        The first entry that fits by name or pattern, and by scale, is taken; a name fits before a pattern.
    scale : {"log2", "logit", "identity"}
    path : path, optional
        A file of your own; default ``reference/noise.yaml``.
    level : float
        Of the confidence limits, chi-squared with the df of the source.
    transcripts : bool
        Whether the feature is measured by transcripts: an entry ``of: transcripts`` is lent to no other, for
        a protein varies otherwise than the transcript whose name it bears.

    Raises
    ------
    InputError
        E-NOISE-003: nothing to borrow (the nearest features are named); E-NOISE-004: the file cannot be used.
    """
    entries = _read(path).entries
    named = [e for e in entries if fnmatch.fnmatchcase(feature, e.feature)]
    fitting = [e for e in named if e.scale == scale and (e.of is None or transcripts)]
    fitting.sort(key=lambda e: e.feature != feature)
    if not fitting:
        problems = Problems()
        others = sorted({e.scale for e in named if e.scale != scale})
        elsewhere = f" There is one on another scale: {', '.join(others)}." if others else ""
        if any(e.scale == scale for e in named):
            elsewhere = " There is one of transcripts, which this feature is not."
        problems.add(
            "E-NOISE-003",
            f"No noise of {feature!r} on the {scale} scale can be borrowed.{elsewhere}",
            remedy=nearest(feature, sorted({e.feature for e in entries}))
            + " Or write a file of your own in the format of reference/noise.yaml.",
            column="feature",
            value=feature,
        )
        problems.raise_if_any()
    entry = fitting[0]
    low, high = (
        entry.sigma * np.sqrt(entry.df / stats.chi2.ppf(q, entry.df))
        for q in ((1 + level) / 2, (1 - level) / 2)
    )
    notes = [f"borrowed from {entry.population}: another assay, tumour or reading may differ"]
    notes += [entry.note] if entry.note else []
    return Noise(
        feature=feature,
        scale=scale,
        sigma=entry.sigma,
        df=entry.df,
        basis=entry.basis,
        low=float(low),
        high=float(high),
        bound=entry.bound,
        borrowed=True,
        source=entry.source,
        level=level,
        notes=tuple(notes),
    )

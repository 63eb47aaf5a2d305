"""One road for every assay: the values of each kind brought to the scale of the model, with their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.normalize.filtering import CountFilter, filter_by_expr
from pdbiomarker.normalize.kinds import TRANSFORMS, BoolArray, Limits, Raw
from pdbiomarker.normalize.limits import LAYER, bounded
from pdbiomarker.normalize.quality_weights import voom_quality_weights
from pdbiomarker.normalize.size_factors import (
    FACTORS,
    Normalization,
    norm_factors,
    stable_factors,
    stable_genes,
)
from pdbiomarker.normalize.trend import voom
from pdbiomarker.tables import nearest

__all__ = ["NormalizeOptions", "normalize"]


@dataclass(frozen=True)
class NormalizeOptions:
    """What may be chosen in :func:`normalize`.

    Attributes
    ----------
    filter_by : {"visits", "design", "none"}
        What tells the size of the smallest group to the filter of counts: the visits (where they are not
        given, the design; without either, all libraries are one group), the design, or no filter at all
        (a gene without a single read is never tested).
    count_filter : CountFilter
        Limits of the filter, by default edgeR's.
    span : float
        Share of the genes in each window of the voom trend.
    limits : Limits
        Below these counts a transformed density or proportion is not primary.
    normalization : {"tmm", "tmmwsp", "rle", "uq", "deseq", "none"}
        The rule for library sizes; see :mod:`pdbiomarker.normalize.size_factors`.
    quality_weights : bool
        Give whole libraries weights beside those of voom.
    stable : tuple of str
        Scale libraries by these genes instead (ids or symbols); ``("auto",)`` chooses them by
        :func:`~pdbiomarker.normalize.size_factors.stable_genes`. For the sensitivity row on composition.
    """

    filter_by: Literal["visits", "design", "none"] = "visits"
    count_filter: CountFilter = field(default_factory=CountFilter)
    span: float = 0.5
    limits: Limits = field(default_factory=Limits)
    normalization: Normalization = "tmm"
    quality_weights: bool = False
    stable: tuple[str, ...] = ()


def normalize(
    adata: AnnData,
    design: FloatArray | None = None,
    *,
    visits: Sequence[str] | None = None,
    options: NormalizeOptions | None = None,
) -> AnnData:
    """Bring every feature to the scale of the model, by its kind.

    Parameters
    ----------
    adata : AnnData, biopsies x features
        An assay: ``var["kind"]``, `X` raw with NaN = not measured, and for densities and proportions the
        layers `numerator` and `denominator`.
    design : array, biopsies x coefficients, optional
        Fixed effects, for the voom trend of counts; may be rank-deficient. Default one mean.
    visits : sequence of str, biopsies, optional
        Visit of each biopsy: the groups of the filter of counts, and the visits at which a density must
        have enough cells.
    options : NormalizeOptions, optional

    Returns
    -------
    AnnData
        A new object with ``layers["y"]`` and ``layers["w"]`` (float64; y NaN and w 0 where there is no
        value), ``layers["censored"]`` where values lie beyond a limit (y is then that of the limit; see
        :mod:`pdbiomarker.normalize.limits`), and in `var`: `tested` (False for a feature without any usable
        value; it stays), `note` (why not, and cautions, joined by ``; ``) and `primary_ok` (False where
        counts are too small for this transform to decide). With counts also ``obs["norm_factor"]`` and
        ``obs["effective_library_size"]``, ``obs["quality_weight"]`` where asked for, ``uns["voom_trend"]``
        with arrays x and y, and ``uns["normalization"]`` with the rule in words.

        ===========  ===========================================  ==========
        kind         y                                            w
        ===========  ===========================================  ==========
        count        log2 CPM on scaled library sizes (TMM)       voom trend
        density      log2((n + 1/2) / area)                       1
        proportion   ln((k + 1/2) / (n - k + 1/2))                1
        score        as it is                                     1
        signature    as it is                                     1
        intensity    log2                                         1
        ===========  ===========================================  ==========

    Raises
    ------
    AssayError
        E-ASSAY-001: an unknown kind, a design or visits that do not fit the biopsies, impossible numerators;
        E-COUNT-002, 003: counts that are negative or fractional.

    References
    ----------
    Robinson and Oshlack 2010, doi 10.1186/gb-2010-11-3-r25; Law et al. 2014, doi 10.1186/gb-2014-15-2-r29;
    Chen et al. 2016, doi 10.12688/f1000research.8987.2.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz")
    >>> pb.normalize(counts).layers["y"].shape  # log2 CPM, with voom's weights in layers["w"]
    (12, 100)
    """
    options = options or NormalizeOptions()
    problems = Problems()
    kinds = _kinds(adata, design, visits, problems)
    problems.raise_if_any(AssayError)
    result = adata.copy()
    x = np.array(adata.X, dtype=np.float64)
    work = _Work(
        y=np.full(x.shape, np.nan),
        w=np.zeros(x.shape),
        notes=[[] for _ in range(adata.n_vars)],
        primary_ok=np.ones(adata.n_vars, dtype=bool),
    )
    context = _Context(design, visits, options, problems)
    limited: list[list[str]] = [[] for _ in range(adata.n_vars)]
    x, side = bounded(adata, x, limited, problems)
    for kind in dict.fromkeys(kinds.tolist()):
        columns = np.flatnonzero(kinds == kind)
        fill = _counts if kind == "count" else _others
        fill(result, x, columns, work, context)
    problems.raise_if_any(AssayError)
    tested = np.isfinite(work.y).any(axis=0)
    for notes, told in zip(work.notes, limited, strict=True):
        notes.extend(told)
    for k in np.flatnonzero(~tested):
        if not work.notes[k]:
            work.notes[k].append("not measured in any of these biopsies")
    result.layers["y"], result.layers["w"] = work.y, work.w
    side = np.where(np.isfinite(work.y), side, 0.0)
    if LAYER in result.layers:
        del result.layers[LAYER]
    if side.any():
        result.layers[LAYER] = side
    result.var["tested"] = tested
    result.var["note"] = pd.array(["; ".join(notes) for notes in work.notes], dtype="str")
    result.var["primary_ok"] = work.primary_ok & tested
    return result


@dataclass(frozen=True)
class _Work:
    """What is filled in, kind by kind."""

    y: FloatArray
    w: FloatArray
    notes: list[list[str]]
    primary_ok: BoolArray


@dataclass(frozen=True)
class _Context:
    design: FloatArray | None
    visits: Sequence[str] | None
    options: NormalizeOptions
    problems: Problems


def _kinds(
    adata: AnnData, design: FloatArray | None, visits: Sequence[str] | None, problems: Problems
) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Kind of each feature, once what was given fits together."""
    if "kind" not in adata.var:
        problems.add("E-ASSAY-001", "The assay has no var column 'kind'.", remedy="Say what each feature is.")
        return np.zeros(0, dtype=object)
    kinds = adata.var["kind"].astype(str).to_numpy(dtype=object)
    known = ["count", *TRANSFORMS]
    for kind in dict.fromkeys(k for k in kinds.tolist() if k not in known):
        problems.add(
            "E-ASSAY-001",
            f"{int((kinds == kind).sum())} features are of an unknown kind.",
            remedy=nearest(kind, known),
            column="kind",
            value=kind,
        )
    if visits is not None and len(visits) != adata.n_obs:
        problems.add(
            "E-ASSAY-001",
            f"There are {len(visits)} visits for {adata.n_obs} biopsies.",
            remedy="Give one visit for each biopsy of the assay.",
        )
    if design is not None and (design.ndim != 2 or design.shape[0] != adata.n_obs):
        problems.add(
            "E-ASSAY-001",
            f"The design has shape {design.shape} for {adata.n_obs} biopsies.",
            remedy="Give one row for each biopsy of the assay.",
        )
    elif design is not None and not np.isfinite(design).all():
        rows = [str(b) for b in adata.obs_names[~np.isfinite(design).all(axis=1)]]
        problems.add(
            "E-ASSAY-001",
            f"The design has missing values in {len(rows)} biopsies, such as {rows[0]!r}.",
            remedy="Leave out biopsies without a value for a column of the formula.",
        )
    return kinds


def _counts(
    result: AnnData,
    x: FloatArray,
    columns: np.ndarray[tuple[int], np.dtype[np.intp]],
    work: _Work,
    c: _Context,
) -> None:
    """Filter, library sizes, log2 CPM and voom weights, on the biopsies that have reads."""
    counts = x[:, columns]
    names = result.var_names[columns]
    for code, what, bad in (
        ("E-COUNT-002", "negative", counts < 0),
        ("E-COUNT-003", "fractional", np.isfinite(counts) & (counts != np.floor(counts))),
        ("E-COUNT-004", "infinite", np.isinf(counts)),
    ):
        if bad.any():
            biopsy, gene = np.argwhere(bad)[0]
            c.problems.add(
                code,
                f"{int(bad.sum())} counts are {what}, the first in biopsy {result.obs_names[biopsy]!r}.",
                remedy="Give raw counts, or name the kind of these features as it is.",
                column=str(names[gene]),
                value=counts[biopsy, gene],
            )
    if c.problems.errors:
        return
    measured = np.nansum(counts, axis=1) > 0
    reads = counts[measured].T
    complete = np.isfinite(reads).all(axis=1)
    kept = complete.copy()
    kept[complete] = _enough(reads[complete], measured, c)
    for k, gene in enumerate(columns.tolist()):
        if not measured.any() or kept[k]:
            continue
        if not complete[k]:
            work.notes[gene].append("a count is missing in a measured biopsy: not tested")
        elif not reads[k].any():
            work.notes[gene].append("no read in any biopsy: not tested")
        else:
            work.notes[gene].append("too few counts to test (filterByExpr)")
    factor, size = np.full(result.n_obs, np.nan), np.full(result.n_obs, np.nan)
    usable = reads[kept]
    if measured.any() and kept.any():
        factor[measured], rule = _factors(usable, result, columns[kept], c)
        size[measured] = usable.sum(axis=0) * factor[measured]
        design = None if c.design is None else c.design[measured]
        inside = np.ix_(measured, columns[kept])
        if c.options.quality_weights:
            weighted = voom_quality_weights(usable, design, size[measured])
            work.y[inside], work.w[inside], trend = weighted.E.T, weighted.weights.T, weighted.trend
            quality = np.full(result.n_obs, np.nan)
            quality[measured] = weighted.sample_weights
            result.obs["quality_weight"] = quality
            rule += "; weights of whole libraries beside those of voom"
        else:
            fitted = voom(usable, design, size[measured], span=c.options.span)
            work.y[inside], work.w[inside], trend = fitted.E.T, fitted.weights.T, fitted.trend
        if trend is not None:
            result.uns["voom_trend"] = {"x": trend.x, "y": trend.y}
        result.uns["normalization"] = {"method": c.options.normalization, "rule": rule}
    result.obs["norm_factor"], result.obs["effective_library_size"] = factor, size


def _factors(
    usable: FloatArray, result: AnnData, columns: np.ndarray[tuple[int], np.dtype[np.intp]], c: _Context
) -> tuple[FloatArray, str]:
    """Factors of the libraries on the genes that passed the filter, and the rule in words."""
    wanted = c.options.stable
    if not wanted:
        method = c.options.normalization
        return norm_factors(usable, method), FACTORS[method]
    if wanted == ("auto",):
        genes = stable_genes(usable)
        return stable_factors(usable, genes), f"the {genes.size} most stable genes (composition)"
    ids = np.asarray(result.var_names[columns], dtype=object)
    symbols = result.var["symbol"].to_numpy(dtype=object)[columns] if "symbol" in result.var else ids
    genes = np.flatnonzero(np.isin(ids.astype(str), wanted) | np.isin(symbols.astype(str), wanted))
    return stable_factors(usable, genes), f"{genes.size} genes named as stable (composition)"


def _enough(reads: FloatArray, measured: BoolArray, c: _Context) -> BoolArray:
    """Genes that pass the filter."""
    if reads.shape[1] == 0 or c.options.filter_by == "none":
        return reads.any(axis=1)
    group = None
    if c.options.filter_by == "visits" and c.visits is not None:
        group = [v for v, ok in zip(c.visits, measured, strict=True) if ok]
    design = None if c.design is None else c.design[measured]
    return filter_by_expr(reads, group, design=design, limits=c.options.count_filter)


def _others(
    adata: AnnData,
    x: FloatArray,
    columns: np.ndarray[tuple[int], np.dtype[np.intp]],
    work: _Work,
    c: _Context,
) -> None:
    """Transform the features of one kind; every value has weight 1."""
    unknown = np.full((adata.n_obs, columns.size), np.nan)
    layers = {
        name: np.asarray(adata.layers[name], dtype=np.float64)[:, columns]
        if name in adata.layers
        else unknown
        for name in ("numerator", "denominator")
    }
    names = [str(n) for n in adata.var_names[columns]]
    kind = str(adata.var["kind"].iloc[int(columns[0])])
    raw = Raw(names, x[:, columns], layers["numerator"], layers["denominator"], c.visits)
    scaled = TRANSFORMS[kind](raw, c.options.limits, c.problems)
    y = np.where(np.isfinite(scaled.y), scaled.y, np.nan)
    work.y[:, columns] = y
    work.w[:, columns] = np.isfinite(y)
    work.primary_ok[columns] = scaled.primary_ok
    for gene, notes in zip(columns.tolist(), scaled.notes, strict=True):
        work.notes[gene].extend(notes)

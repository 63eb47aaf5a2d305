"""Tables of quality in words: of slides, libraries and expression, with what is usual of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pandas as pd

from pdbiomarker.ihc.measure import SHARP, SHARP_FIELDS
from pdbiomarker.report.blocks import key_of, plain_table, table_of
from pdbiomarker.report.content import Column, Table

__all__ = ["quality_table"]

Columns = list[tuple[str, Column]]
#: What every flag of a far value ends with: in the table the caption says it once.
_FAR_WORDS: Final = " robust SD from the median"


def quality_table(name: str, frame: pd.DataFrame) -> Table:
    """Show what a person reads of a table of quality; the file of results has the rest.

    Parameters
    ----------
    name : str
        The table's name in the result, such as ``rna``; one of slides is known by its column ``slide_id``.
    frame : DataFrame
        Not empty.
    """
    if "slide_id" in frame.columns:
        return _slides(name, frame)
    known: dict[str, Callable[[pd.DataFrame], Table]] = {
        "libraries": _libraries,
        "rna": _expression,
        "rna_components": _components,
    }
    if name in known:
        return known[name](frame)
    words = name.replace("_", " ")
    return plain_table(key_of("qc", name), f"Quality: {words} (n = {len(frame):,}).", frame)


def _slides(name: str, frame: pd.DataFrame) -> Table:
    white = [f"white_{c}" for c in ("red", "green", "blue")]
    if set(white) <= set(frame.columns):
        points = zip(*(frame[c] for c in white), strict=True)
        frame = frame.assign(
            white=["/".join("–" if pd.isna(v) else f"{float(v):.0f}" for v in point) for point in points]
        )
    columns: Columns = [
        *[("slide_id", Column("slide", "id")), ("biopsy_id", Column("biopsy", "id"))],
        *[("status", Column("status")), ("tissue_mm2", Column("tissue (mm²)", "number"))],
        *[("n_cells", Column("cells", "number")), ("white", Column("white (R/G/B)", "id"))],
        ("focus_ratio", Column("focus", "number")),
        *[("focus", Column("edge strength", "number")), ("nodata_share", Column("no-data share", "number"))],
        ("artefact_share", Column("artefact share", "number")),
    ]
    low, high = SHARP_FIELDS
    focus = (
        f" Focus: fine detail over coarse detail; sharp fields have {low:g} to {high:g}, and below "
        f"{SHARP:g} a slide is reported as out of focus."
    )
    caption = (
        f"Quality: {name} (n = {len(frame):,}).{focus if 'focus_ratio' in frame else ''} Every column is in "
        "the results' qc_slides.csv."
    )
    return table_of(key_of("qc", name), caption, _whole(frame, "n_cells"), columns)


def _libraries(frame: pd.DataFrame) -> Table:
    columns: Columns = [
        *[("biopsy_id", Column("biopsy", "id")), *_assay(frame)],
        *[("batch", Column("batch")), ("library_size", Column("reads", "number"))],
        *[("n_libraries", Column("libraries", "number")), ("libraries", Column("which libraries"))],
    ]
    caption = f"Quality: libraries, summed to biopsies (n = {len(frame):,} biopsies)."
    return table_of("qc-libraries", caption, _whole(frame, "library_size"), columns)


def _expression(frame: pd.DataFrame) -> Table:
    flags = [str(f).replace(_FAR_WORDS, "") if isinstance(f, str) else "" for f in frame["flags"]]
    frame = _whole(frame.assign(flags=flags), "library_size", "genes_detected")
    columns: Columns = [
        *[("biopsy_id", Column("biopsy", "id")), *_assay(frame)],
        *[("visit", Column("visit")), ("batch", Column("batch")), ("site", Column("site"))],
        *[("library_size", Column("reads", "number")), ("genes_detected", Column("genes seen", "number"))],
        ("top_50_share", Column("share of the 50 largest genes", "number")),
        *[("handling_score", Column("handling", "number")), ("immune_stroma", Column("tissue", "number"))],
        *((f"pc{k}", Column(f"component {k}", "number", minor=True)) for k in (1, 2, 3)),
        ("flags", Column("unusual")),
    ]
    unusual = sum(bool(f) for f in flags)
    caption = (
        f"Quality: expression (n = {len(frame):,} biopsies, {unusual} unusual). Share of the 50 largest "
        "genes: of all reads, 0 to 1. Handling: score of genes that answer to delay and trauma at sampling. "
        "Tissue: scores of CD8 T cells, myeloid cells and stroma together, less their mean over the "
        "biopsies. Unusual: what lies more than 5 robust standard deviations from the median of the "
        "biopsies, with its distance, or fewer than half of the usual genes."
    )
    return table_of("qc-rna", caption, frame, columns)


def _components(frame: pd.DataFrame) -> Table:
    named = frame.assign(component=[str(c).removeprefix("pc") for c in frame["component"]])
    columns: Columns = [
        *[*_assay(frame), ("component", Column("component"))],
        ("share", Column("share of the variance of expression", "number")),
        *((c, Column(f"of it explained by {c}", "number")) for c in ("visit", "batch", "site")),
    ]
    caption = (
        f"Components of expression (n = {len(frame)}): the share of the variance that each holds, and the "
        "share of a component that visit, batch or site explains (R squared), all 0 to 1; – where there is "
        "one level only, or one for each biopsy."
    )
    return table_of("qc-rna-components", caption, named, columns)


def _assay(frame: pd.DataFrame) -> Columns:
    """The column of assays, where there are several."""
    several = "assay" in frame.columns and frame["assay"].nunique() > 1
    return [("assay", Column("assay"))] if several else []


def _whole(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Counts as whole numbers, where they are."""
    for name in names:
        if name in frame.columns and bool((frame[name].dropna() % 1 == 0).all()):
            frame = frame.assign(**{name: frame[name].astype("Int64")})
    return frame

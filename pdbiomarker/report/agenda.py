"""The agenda of a review meeting: which blocks of the report are slides, in which order, with what message.

A deck that shows everything shows nothing. The messages of the meeting come first, in the order in which
they are discussed; what is looked up stands behind a divider; the rest is in the workbook and the page, and
the last slide names it. The other formats show everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import pandas as pd

from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import RATIO_KINDS, Result
from pdbiomarker.report.content import Block, Level, Section, Table, Text, ThumbnailRow, Thumbnails
from pdbiomarker.report.findings import primary_rows
from pdbiomarker.report.messages import largest_changes, messages

__all__ = ["rank_of", "with_agenda"]

#: Start of a block's key, and how many of that kind may be slides: the first ones of the document.
_MAIN: Final[tuple[tuple[str, int], ...]] = (
    *(("cuts-results", 1), ("cuts-pairs", 1), ("flow-table", 0), ("flow-", 1)),
    *(("paired-", 8), ("waterfall-", 8), ("primary-forest", 1), ("thumbnails", 1)),
    *(("decisions-cohort", 1), ("dose-levels", 1), ("honesty-checks", 1)),
    *(("forest-", 3), ("heat-map", 1), ("volcano-", 2)),
    *(("exposure-", 1), ("concordance-", 1), ("response-", 1), ("landmark-", 1), ("blood-", 1)),
    *(("swimmer", 1), ("size-waterfall", 1), ("efficacy-rates", 1), ("km-pfs", 1)),
    *(("concentration", 1), ("dlt", 1)),
)
_APPENDIX: Final[tuple[str, ...]] = (
    *(
        "cuts-items",
        "estimand",
        "unused",
        "problems-quarantine",
        "identity-suspects",
        "identity-matrix",
        "noise-table",
    ),
    *("variance-components", "curves-"),
)
#: Sections whose figures of single features are for reading, not for the meeting.
_NOT_SHOWN: Final = frozenset({"signatures", "change-exposure"})
#: Tables and complete results that hold the numbers of a figure, by the start of its key.
_SOURCES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("primary-forest", ("primary-effects", "pd_change")),
    ("flow-", ("flow-table", "accountability", "dispositions")),
    ("paired-", ("changes", "pd_change")),
    ("waterfall-", ("changes", "responders", "pairs")),
    ("curves-", ("decisions_curves", "decisions-cohort")),
    ("sensitivity-", ("pd_change", "honesty_offset", "honesty_leave_one_out")),
    ("regression-", ("changes", "honesty_regression_to_the_mean")),
    ("tipping-", ("honesty_missing_second_biopsy",)),
    ("thresholds-", ("honesty_threshold",)),
    ("variance-components", ("noise_components",)),
    ("volcano-", ("pd_change",)),
    ("heat-map", ("changes",)),
    ("exposure-", ("link_exposure", "link-exposure", "changes")),
    ("response-", ("link_response", "link-response", "changes")),
    ("landmark-", ("link_response", "link-response")),
    ("concordance-", ("link_concordance", "link-concordance")),
    ("blood-", ("link_blood", "link-blood")),
    ("swimmer", ("clinical_swimmer", "clinical_timeline")),
    ("size-waterfall", ("clinical_waterfall", "clinical_joined")),
    ("spider", ("clinical_spider", "clinical_joined")),
    *((f"km-{name}", (f"clinical_km_{name}", "clinical_km_medians")) for name in ("pfs", "os", "dor")),
    ("concentration", ("clinical_pk_samples", "clinical_pk_summary")),
    ("dose-", ("clinical_joined",)),
    ("auc-to-biopsy-", ("clinical_joined",)),
    ("concentration-at-biopsy-", ("clinical_joined",)),
    ("ada-titres", ("clinical_ada_samples",)),
    ("identity-", ("qc_identity",)),
    ("identity-matrix-", ("qc_likeness", "qc_identity")),
    ("components-", ("qc_rna", "qc-rna")),
    ("truth-", ("truth", "pd_change")),
)


def with_agenda(
    sections: Sequence[Section], result: Result, review: Review | None = None
) -> tuple[Section, ...]:
    """Give every block its message, its place in the meeting, and every figure the source of its numbers.

    Parameters
    ----------
    sections : sequence of Section
    result : PDResult
    review : Review, optional
    """
    told = messages(result, review)
    used: dict[str, int] = {}
    out = []
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Text):
                blocks.append(block)
                continue
            level = _level(section.key, block.key, used)
            if isinstance(block, Thumbnails):
                blocks.append(_with_messages(block, result))
                continue
            message = block.message or told.get(block.key) or told.get(block.key.partition("-")[0], "")
            if isinstance(block, Table):
                blocks.append(dataclasses.replace(block, message=message, level=level))
            else:
                sources = block.sources or _sources(block.key)
                blocks.append(dataclasses.replace(block, message=message, level=level, sources=sources))
        out.append(dataclasses.replace(section, blocks=tuple(blocks)))
    return tuple(out)


def rank_of(block: Block) -> int:
    """Place of a block in the meeting; blocks of one kind keep the order of the document."""
    key = getattr(block, "key", "")
    starts = [start for start, _ in _MAIN] + list(_APPENDIX)
    return next((place for place, start in enumerate(starts) if key.startswith(start)), len(starts))


def _level(section: str, key: str, used: dict[str, int]) -> Level:
    for start, most in _MAIN:
        if key.startswith(start) and not key.startswith("concentration-at"):
            used[start] = used.get(start, 0) + 1
            if used[start] > most or (section in _NOT_SHOWN and not key.startswith("forest-")):
                return "workbook"
            return "main"
    return "appendix" if key.startswith(_APPENDIX) else "workbook"


def _sources(key: str) -> tuple[str, ...]:
    starts = sorted((s for s, _ in _SOURCES if key.startswith(s)), key=len)
    return dict(_SOURCES)[starts[-1]] if starts else ()


def _with_messages(block: Thumbnails, result: Result) -> Thumbnails:
    """Put who has the largest and who has the smallest change of the first primary feature on slides."""
    changes = largest_changes(result)
    shown: dict[str, str] = {}
    rows = primary_rows(result)
    if len(changes) and len(rows):
        ratio = rows["kind"].iloc[0] in RATIO_KINDS and rows["kind"].iloc[0] != "proportion"
        label = str(rows["label"].iloc[0] or rows["feature"].iloc[0])
        pictured = {row.participant for row in block.rows}
        own = changes[changes["participant_id"].astype(str).isin(pictured)]
        for place, name in ((0, "largest"), (-1, "smallest")) if len(own) > 1 else ((0, "only"),):
            if len(own):
                shown[str(own["participant_id"].iloc[place])] = _of(
                    own.iloc[place], label, ratio, name, len(changes)
                )
    rows_ = tuple(dataclasses.replace(row, message=shown.get(row.participant, "")) for row in block.rows)
    return dataclasses.replace(block, rows=_first(rows_))


def _of(row: pd.Series, label: str, ratio: bool, name: str, n: int) -> str:
    value = float(row["change"])
    size = f"× {format_number(2.0**value)}" if ratio else format_number(value)
    of = f"the {name} of {n} changes" if n > 1 else "the only change"
    return f"Participant {row['participant_id']}: {label} {size}, {of}"


def _first(rows: tuple[ThumbnailRow, ...]) -> tuple[ThumbnailRow, ...]:
    """Where no participant has a change to show, the first one stands for the others."""
    if not rows or any(row.message for row in rows):
        return rows
    said = f"Slides of participant {rows[0].participant}, the first of {len(rows)}"
    return (dataclasses.replace(rows[0], message=said), *rows[1:])

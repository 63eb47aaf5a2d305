"""Change in blood against change in the tumour."""

from __future__ import annotations

from typing import Final

import pandas as pd

from pdbiomarker.change import PDResult
from pdbiomarker.link.association import spearman
from pdbiomarker.link.found import Link, link_row, link_table
from pdbiomarker.link.values import change_table, find_measured, unused

__all__ = ["NO_SURROGATE", "blood_tumor"]

NO_SURROGATE: Final = (
    "Change in blood is no surrogate for change in the tumour: expansion in blood without recruitment to the "
    "tumour, and the reverse, are both known. A correlation here would not change that; read both."
)


def blood_tumor(
    result: PDResult, blood: str, tumor: str, *, contrast: str | None = None, seed: int | None = None
) -> Link:
    """Relate the change of a blood feature to the change of a tumour feature, by participant.

    Parameters
    ----------
    result : PDResult
    blood, tumor : str
        ``assay:feature``; samples and biopsies need not be the same: participants are matched.
    contrast : str, optional
        Default: the plan's first change.
    seed : int, optional
        Of permutations; default: the plan's.

    Returns
    -------
    Link
        `points`: one row per participant, ``blood`` and ``tumor`` changes on their model scales.

    Raises
    ------
    InputError
        E-LINK-001: no such feature or contrast.
    """
    b, t = find_measured(result, blood, contrast), find_measured(result, tumor, contrast)
    own, other = change_table(result, b), change_table(result, t)
    points = pd.DataFrame({"blood": own["change"], "tumor": other["change"]})
    points["used"] = own["used"] & other["used"]
    why = [
        ""
        if ok
        else "no pair in blood"
        if not has_b and has_t
        else "no pair in tumour"
        if has_b
        else "neither"
        for ok, has_b, has_t in zip(points["used"], own["used"], other["used"], strict=True)
    ]
    points["why"] = pd.Series(why, index=points.index, dtype=object)
    used = points[points["used"]]
    drawn = result.plan.seed if seed is None else seed
    found = spearman(used["blood"], used["tumor"], seed=drawn)
    rows = [
        link_row("changes", "Spearman correlation of changes", found, unit="correlation", note="no surrogate")
    ]
    note = " ".join(part for part in (unused(points), NO_SURROGATE) if part)
    return Link(
        "blood",
        b.reference,
        t.reference,
        b.label,
        t.label,
        b.contrast,
        link_table(rows, b.reference, t.reference, contrast=b.contrast),
        points.reset_index(),
        note,
        facts={"kinds": (b.kind, t.kind), "units": (b.unit, t.unit)},
    )

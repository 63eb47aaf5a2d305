"""Whether a biopsy is adequate, whether its tumour is lost to treatment, and where it was taken.

A biopsy on treatment in which no tumour is left is no failure of quality if a reader who did not know the
visit documented the bed of a regressed tumour: that is an outcome, and leaving such biopsies out removes
responders. With no bed documented it may as well be a missed lesion, and it is not evaluable. What is
measured in tumour nests is undefined in a bed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.study import AdequacyRule, Study, worst
from pdbiomarker.study.rules import Quality

__all__ = ["adequacy", "in_tumour", "lesion_table", "regression_bed"]

#: Words of a site that name a lymph node; "nodule" is none.
_NODE = re.compile(r"\b(lymph\s*nod(e|es|al)|lymphatic|node|nodes|nodal|ln)\b", re.IGNORECASE)
#: Features that need tumour: of nests, and scores over tumour cells.
_IN_TUMOUR = re.compile(r"(_nest|_tumou?r|_tps|_cps)(_|$)", re.IGNORECASE)
_OF_LIBRARIES: Final = frozenset({"count", "intensity"})


def adequacy(study: Study, assay: str | None = None) -> pd.DataFrame:
    """Apply the adequacy rules of ``study.yaml`` to every biopsy.

    Parameters
    ----------
    study : Study
    assay : str, optional
        Rules for single assays are asked in these; without an assay, only rules for all of them are. A rule
        on a column of libraries.csv is asked of every library of the biopsy, in assays made of libraries.

    Returns
    -------
    DataFrame, indexed by biopsy_id
        ``adequate`` (bool), ``quality`` (``Pass``, ``Pass at Risk`` or ``Fail``), ``tumour_lost`` (bool: it
        fails, and only rules that ask for tumour) and ``reason``: every rule that the biopsy fails or passes
        at risk, or that cannot be judged because the value was not recorded.
    """
    rules = [rule for rule in study.spec.adequacy.values() if rule.asked_of(_asked(study, assay))]
    rows = []
    for biopsy, row in study.biopsies.iterrows():
        judged: list[tuple[AdequacyRule, Quality, str]] = []
        for rule in rules:
            values = (
                [row[rule.column]] if rule.column in row.index else _of_libraries(study, rule, biopsy, assay)
            )
            judged += [(rule, *rule.judge(value)) for value in values]
        failed = [rule for rule, quality, _ in judged if quality == "Fail"]
        quality = worst([quality for _, quality, _ in judged])
        told = [reason for _, found, reason in judged if reason and found == quality]
        rows.append(
            {
                "adequate": quality != "Fail",
                "quality": quality,
                "tumour_lost": bool(failed) and all(rule.tumor for rule in failed),
                "reason": "; ".join(dict.fromkeys(told)),
            }
        )
    columns = ["adequate", "quality", "tumour_lost", "reason"]
    frame = pd.DataFrame(rows, index=study.biopsies.index, columns=columns)
    return frame.astype({"adequate": bool, "tumour_lost": bool})


def _asked(study: Study, assay: str | None) -> str | None:
    """The assay that a rule names: signatures and cell types follow the assay that they are made from."""
    if assay is None:
        return None
    names = [spec.name for spec in study.spec.assays]
    return next(
        (n for n in sorted(names, key=len, reverse=True) if assay in (n,) or assay.startswith(f"{n}_")), assay
    )


def _of_libraries(study: Study, rule: AdequacyRule, biopsy: object, assay: str | None) -> list[object]:
    if rule.column not in study.libraries:
        return [None]
    source = _asked(study, assay)
    kinds = {spec.name: spec.kind for spec in study.spec.assays}
    if source is not None and kinds.get(source, "count") not in _OF_LIBRARIES:
        return []
    return study.libraries.loc[study.libraries["biopsy_id"] == biopsy, rule.column].tolist()


def regression_bed(study: Study) -> pd.Series:
    """Give of every biopsy whether a reader documented a regression bed, and was blinded: in words.

    Returns
    -------
    Series of str, indexed by biopsy_id
        ``blinded``, ``not blinded`` (or not recorded), ``no`` or ``not documented``.
    """
    n = len(study.biopsies)
    bed = study.biopsies["regression_bed"].tolist() if "regression_bed" in study.biopsies else [None] * n
    blind = (
        study.biopsies["bed_reader_blinded"].tolist()
        if "bed_reader_blinded" in study.biopsies
        else [None] * n
    )
    words = [
        "blinded"
        if found == "yes" and reader == "yes"
        else "not blinded"
        if found == "yes"
        else "no"
        if found == "no"
        else "not documented"
        for found, reader in zip(bed, blind, strict=True)
    ]
    return pd.Series(words, index=study.biopsies.index, dtype=object)


def in_tumour(features: Sequence[str]) -> np.ndarray:
    """Tell which features are measured in tumour, so that they are undefined where none is left.

    Examples
    --------
    >>> in_tumour(["CD8_density_nest", "CD8_density_tissue", "PDL1_tps"]).tolist()
    [True, False, True]
    """
    return np.array([bool(_IN_TUMOUR.search(str(name))) for name in features], dtype=bool)


def lesion_table(study: Study) -> pd.DataFrame:
    """Say of every biopsy which lesion it is of, and whether that is a lymph node.

    Returns
    -------
    DataFrame, indexed by biopsy_id
        ``lesion`` (text or None) and ``node`` (``yes``, ``no`` or empty: neither the column `node` nor a site
        tells).
    """
    biopsies = study.biopsies
    n = len(biopsies)

    def column(name: str) -> list[object]:
        return biopsies[name].tolist() if name in biopsies else [None] * n

    nodes = []
    for given, site in zip(column("node"), column("site"), strict=True):
        if isinstance(given, str):
            nodes.append(given)
        else:
            nodes.append("" if not isinstance(site, str) else "yes" if _NODE.search(site) else "no")
    lesions = [value if isinstance(value, str) else None for value in column("lesion_id")]
    return pd.DataFrame({"lesion": lesions, "node": nodes}, index=biopsies.index, dtype=object)

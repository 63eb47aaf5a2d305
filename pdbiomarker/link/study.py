"""Every link that a result allows: which features, exposures and pairs, and one table of each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

import pandas as pd

from pdbiomarker.change import PDResult
from pdbiomarker.link.blood import blood_tumor
from pdbiomarker.link.concordance import concordance
from pdbiomarker.link.exposure import exposure_pd
from pdbiomarker.link.found import LINK_COLUMNS, Link
from pdbiomarker.link.response import OUTCOMES, computed_outcomes, response_pd
from pdbiomarker.pairing import specimen_of

__all__ = ["GENE_OF_MARKER", "MOST_FEATURES", "Links", "concordance_pairs", "link_study"]

#: The transcript of a protein that panels stain; upper case, without hyphens.
GENE_OF_MARKER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CD8": "CD8A",
        "CD3": "CD3E",
        "CD4": "CD4",
        "CD20": "MS4A1",
        "CD68": "CD68",
        "CD163": "CD163",
        "FOXP3": "FOXP3",
        "GZMB": "GZMB",
        "PRF1": "PRF1",
        "PD1": "PDCD1",
        "PDL1": "CD274",
        "CD274": "CD274",
        "KI67": "MKI67",
        "MKI67": "MKI67",
        "NKP46": "NCR1",
        "NCR1": "NCR1",
        "CD56": "NCAM1",
        "LAG3": "LAG3",
    }
)
#: Features of the primary family that are related to exposure and outcome.
MOST_FEATURES: Final = 40
_STAINED: Final = ("density", "proportion", "score")
_TRANSCRIBED: Final = frozenset({"count", "intensity"})


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """The links of a result.

    Attributes
    ----------
    exposure, response, concordance, blood : tuple of Link
    note : str
        What was not related, and why.
    """

    exposure: tuple[Link, ...] = ()
    response: tuple[Link, ...] = ()
    concordance: tuple[Link, ...] = ()
    blood: tuple[Link, ...] = ()
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.exposure or self.response or self.concordance or self.blood)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Give the tables of the kinds that have links: ``exposure, response, concordance, blood``."""
        out = {}
        for kind in ("exposure", "response", "concordance", "blood"):
            parts = [link.table for link in getattr(self, kind)]
            if parts:
                out[kind] = pd.concat(parts, ignore_index=True)[list(LINK_COLUMNS)]
        return out


def link_study(result: PDResult) -> Links:
    """Relate the primary family to dose and outcomes, assays to one another, and blood to tumour.

    Parameters
    ----------
    result : PDResult

    Returns
    -------
    Links
        Exposure: ``dose_mg`` of participants.csv where it differs between participants. Response: where it
        was computed from ``clinical/``, or participants.csv has any of :data:`pdbiomarker.link.OUTCOMES`.
        Concordance: the plan's pairs, else :func:`concordance_pairs`. Blood: every primary feature of an
        assay of blood, else its first, with every primary feature of the tumour. Each for every contrast
        that is a change.
    """
    contrasts = list(result.changes["contrast"].unique())
    features, blood = _features(result)
    shown, people = features[:MOST_FEATURES], result.study.participants
    dosed = "dose_mg" in people and people["dose_mg"].nunique() > 1
    told = computed_outcomes(result) is not None or any(
        c in people and people[c].notna().any() for c in OUTCOMES
    )
    pairs = [pair for pair in concordance_pairs(result) if all(_exists(result, ref) for ref in pair)]
    lost = [p for p in result.plan.concordance if not all(_exists(result, ref) for ref in p)]
    notes = [f"{' and '.join(p)}: the result does not have both." for p in lost]
    if len(features) > len(shown):
        notes.append(f"{len(features) - len(shown)} more primary features are not related to anything.")
    return Links(
        tuple(exposure_pd(result, f, "dose_mg", contrast=c) for c in contrasts for f in shown if dosed),
        tuple(response_pd(result, f, contrast=c) for c in contrasts for f in shown if told),
        tuple(concordance(result, a, b, contrast=c) for c in contrasts for a, b in pairs),
        tuple(blood_tumor(result, b, f, contrast=c) for c in contrasts for b in blood for f in shown),
        " ".join(notes),
    )


def _features(result: PDResult) -> tuple[list[str], list[str]]:
    """Primary features of the tumour, and features of blood: primary ones, else the first of an assay."""
    rows = result.table[(result.table["family"] == "primary") & (result.table["set"] == "strict")]
    primary = list(dict.fromkeys(f"{a}:{f}" for a, f in zip(rows["assay"], rows["feature"], strict=True)))
    bloody = [a for a in result.study.assays if specimen_of(result.study, a) == "blood"]
    tumor = [f for f in primary if f.partition(":")[0] not in bloody]
    blood = []
    for assay in bloody:
        own = [f for f in primary if f.partition(":")[0] == assay]
        blood += own or [f"{assay}:{f}" for f in result.study.assays[assay].var_names[:1]]
    return tumor, blood[:MOST_FEATURES]


def concordance_pairs(result: PDResult) -> list[tuple[str, str]]:
    """Give the pairs of features to compare: the plan's, else each stained marker and its transcript.

    Returns
    -------
    list of (assay:feature, assay:feature)
        Of a marker's features the first that is primary, else the first density, proportion or score.
    """
    if result.plan.concordance:
        return [(a, b) for a, b in result.plan.concordance]
    genes = _genes(result)
    primary = set(result.table.loc[result.table["family"] == "primary", "feature"])
    out: list[tuple[str, str]] = []
    for assay, data in result.study.assays.items():
        var = cast("pd.DataFrame", data.var)
        stained = [str(f) for f, kind in zip(var.index, var["kind"], strict=True) if kind in _STAINED]
        kinds = var["kind"].astype(str).to_dict()
        markers: dict[str, list[str]] = {}
        for feature in stained:
            markers.setdefault(_marker(feature), []).append(feature)
        for marker, own in markers.items():
            best = min(own, key=lambda f: (f not in primary, _STAINED.index(kinds[f]), own.index(f)))
            for gene in genes.get(GENE_OF_MARKER.get(marker, ""), []):
                if gene.partition(":")[0] != assay:
                    out.append((f"{assay}:{best}", gene))
    return out


def _marker(feature: str) -> str:
    return feature.partition("_")[0].upper().replace("-", "")


def _genes(result: PDResult) -> dict[str, list[str]]:
    """Symbols of transcripts to their features, by name or label."""
    wanted, out = set(GENE_OF_MARKER.values()), dict[str, list[str]]()
    for assay, data in result.study.assays.items():
        var = cast("pd.DataFrame", data.var)
        labels: Sequence[str] = var["label"].astype(str).tolist() if "label" in var else [""] * len(var)
        for feature, label, kind in zip(var.index, labels, var["kind"], strict=True):
            symbol = next((s for s in (str(feature), label) if s in wanted), None)
            if symbol is not None and kind in _TRANSCRIBED:
                out.setdefault(symbol, []).append(f"{assay}:{feature}")
    return out


def _exists(result: PDResult, reference: str) -> bool:
    assay, _, feature = reference.partition(":")
    return assay in result.study.assays and feature in result.study.assays[assay].var_names

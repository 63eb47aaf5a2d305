"""The analysis sets: which biopsies count, and which sets say something of their own in a study."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pdbiomarker.pairing.quality import lesion_table
from pdbiomarker.study import Study

__all__ = ["PAIRED_SETS", "SETS", "sets_of_study"]

#: The analysis sets: what counts as usable.
SETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "strict": "adequate biopsies; a participant with only one of the two visits contributes to the model",
        "immune_evaluable": "adequate biopsies, and those on treatment that have lost their tumour where a "
        "blinded reader documented a regression bed",
        "strict_pairs": "adequate biopsies; participants with both visits only",
        "same_lesion_pairs": "adequate biopsies; participants with both visits of one lesion, no lymph node",
        "node_pairs": "adequate biopsies; participants with both visits of lymph nodes",
        "all_biopsied": "every biopsy that was measured, adequate or not",
    }
)

#: Sets of complete pairs only.
PAIRED_SETS: Final = frozenset({"strict_pairs", "same_lesion_pairs", "node_pairs"})
_FEWEST_NODES: Final = 2


def sets_of_study(study: Study) -> tuple[str, ...]:
    """Give the sets that can differ in a study, in their order.

    `immune_evaluable` needs a documented regression bed, `same_lesion_pairs` a participant with another
    lesion or a lymph node, `node_pairs` two participants with several biopsies of nodes. The others are
    always there.
    """
    found = ["strict", "strict_pairs", "all_biopsied"]
    if "regression_bed" in study.biopsies and (study.biopsies["regression_bed"] == "yes").any():
        found.append("immune_evaluable")
    places = lesion_table(study).assign(person=study.biopsies["participant_id"])
    several = places.groupby("person")["lesion"].nunique() > 1
    if several.any() or (places["node"] == "yes").any():
        found.append("same_lesion_pairs")
    nodes = places[places["node"] == "yes"].groupby("person").size() > 1
    if int(nodes.sum()) >= _FEWEST_NODES:
        found.append("node_pairs")
    return tuple(name for name in SETS if name in found)

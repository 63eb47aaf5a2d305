"""Stains that the drug itself may block: a fall of PD-L1 under a drug that binds PD-L1 can be an artefact.

An antibody in the tissue can cover the epitope of the assay's antibody, and an antibody against
immunoglobulin can detect the drug instead. Neither touches RNA: counts of the gene are not masked.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["antigen_of", "masking"]

#: Antigens that are known to be both stained and bound by drugs of this field, with their other names.
_ALIASES: Final = {"PD-L1": ("PDL1", "CD274", "B7H1"), "PD-1": ("PD1", "PDCD1", "CD279")}
#: Of these antigens verdicts are capped until somebody says what the drug binds.
_ASKED: Final = ("PD-L1",)
#: Kinds that are no stain.
_RNA: Final = frozenset({"count", "signature"})


def antigen_of(feature: str, label: str, kind: str) -> str:
    """The antigen that a stained feature shows, of those a drug may bind; empty where it is none of them.

    Examples
    --------
    >>> antigen_of("PDL1_tps_tissue", "PD-L1 tumour proportion score", "proportion")
    'PD-L1'
    >>> antigen_of("CD274", "CD274", "count")
    ''
    """
    if kind in _RNA:
        return ""
    marker, named = _plain(re.split(r"[_ ]", feature)[0]), _plain(label)
    for antigen, others in _ALIASES.items():
        if marker in {_plain(antigen), *others} or named.startswith((_plain(antigen), *others)):
            return antigen
    return marker


def masking(feature: str, label: str, kind: str, drug_binds: tuple[str, ...] | None) -> str:
    """Why the stain of a feature may have been blocked by the drug; empty where it was not."""
    antigen = antigen_of(feature, label, kind)
    if not antigen:
        return ""
    if drug_binds is None:
        if antigen not in _ASKED:
            return ""
        return f"not declared whether the drug binds {antigen}, which would mask its epitope"
    bound = {_canonical(name) for name in drug_binds}
    if _canonical(antigen) in bound:
        return f"the drug binds {antigen}: its epitope may be masked, and a fall can be an artefact"
    return ""


def _canonical(name: str) -> str:
    plain = _plain(name)
    return next((a for a, others in _ALIASES.items() if plain in {_plain(a), *others}), plain)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())

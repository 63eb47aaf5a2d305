"""What the class of a cell says: its kind, and whether and how strongly it is stained."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

from pdbiomarker.ihc.regions import COMPARTMENTS
from pdbiomarker.ihc.score import TUMOUR

__all__ = ["MEANINGS", "CellClass", "compartment_of", "read_class"]

_GRADES: Final[Mapping[str, int]] = {
    "negative": 0,
    "0": 0,
    "0+": 0,
    "1+": 1,
    "1": 1,
    "2+": 2,
    "2": 2,
    "3+": 3,
    "3": 3,
}
_KINDS: Final[Mapping[str, str]] = {
    "tumor": TUMOUR,
    "tumour": TUMOUR,
    "tumor cell": TUMOUR,
    "tumor cells": TUMOUR,
    "tumour cell": TUMOUR,
    "tumour cells": TUMOUR,
    "lymphocyte": "lymphocyte",
    "lymphocytes": "lymphocyte",
    "immune cell": "lymphocyte",
    "immune cells": "lymphocyte",
    "macrophage": "macrophage",
    "macrophages": "macrophage",
    "stroma": "other",
    "stromal": "other",
    "other": "other",
    "neutrophil": "other",
    "neutrophils": "other",
    "eosinophil": "other",
    "plasma cell": "other",
    "plasma cells": "other",
    "necrosis": "excluded",
    "ignore": "excluded",
    "ignore*": "excluded",
    "artifact": "excluded",
    "artefact": "excluded",
}
#: What `classes` may declare a text to mean; two of them with a colon between, as in ``tumour: positive``.
MEANINGS: Final = (
    "negative",
    "positive",
    "1+",
    "2+",
    "3+",
    TUMOUR,
    "lymphocyte",
    "macrophage",
    "other",
    "excluded",
)
_UNSET: Final = frozenset({"", "unclassified", "none"})
_NO_PLACE: Final = frozenset(
    {"", "root object (image)", "root object", "image", "pathannotationobject", "annotation"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class CellClass:
    """A class, understood.

    Attributes
    ----------
    grade : int or None
        0 to 3; None where the class does not say.
    graded : bool
        False where it says "positive" and no more.
    kind : str
        ``tumour``, ``lymphocyte``, ``macrophage``, ``other``, ``excluded`` or "" where it does not say.
    """

    grade: int | None
    graded: bool = True
    kind: str = ""


def read_class(text: str, marker: str, declared: Mapping[str, str]) -> CellClass | None:
    """Understand the text of a class.

    Parameters
    ----------
    text : str
        QuPath's ``Tumor: Positive``, ``2+``, ``Immune cells: Negative``; a phenotype such as ``CD3+CD8-``.
    marker : str
        Of the panel: which sign of a phenotype counts.
    declared : mapping of str to str
        Text -> one of :data:`MEANINGS`, for what is not known.

    Returns
    -------
    CellClass or None
        None where it is not known.

    Examples
    --------
    >>> read_class("Tumor: 2+", "PD-L1", {}).grade, read_class("CD3+CD8-", "CD8", {}).grade
    (2, 0)
    """
    if text in declared:
        return read_class(declared[text], marker, {})
    if text.casefold() in _UNSET:
        return CellClass(None)
    grade: int | None = None
    graded, kind = True, ""
    for part in re.split(r"\s*:\s*", text):
        meaning = declared.get(part, part).casefold()
        if meaning == "positive":
            grade, graded = 1, False
        elif meaning in _GRADES:
            grade = _GRADES[meaning]
        elif meaning in _KINDS:
            kind = _KINDS[meaning]
        elif meaning in MEANINGS:
            kind = meaning
        else:
            sign = _phenotype(part, marker)
            if sign is None:
                return None
            grade, graded = sign, sign == 0
    return CellClass(grade, graded, kind)


def _phenotype(text: str, marker: str) -> int | None:
    """Give the sign that a phenotype gives the marker; None where it does not name it.

    ``PD-L1+`` and ``PDL1+`` are one marker, ``CD80+`` is not CD8, and in ``CD8-alpha`` the dash is no sign.
    """
    letters = re.sub(r"[\s_-]", "", marker)
    spelled = r"[\s_-]?".join(re.escape(letter) for letter in letters)
    signs = set(re.findall(rf"(?<![A-Za-z0-9])(?i:{spelled})\s?([+\-−])(?![a-z0-9])", text))
    return int(signs == {"+"}) if len(signs) == 1 else None


def compartment_of(text: str) -> str | None:
    """Compartment of the name of a region or of QuPath's parent; ``tissue`` for none, None for an unknown."""
    plain = text.strip().casefold()
    inner = re.fullmatch(r"annotation \((.*)\)", plain)
    plain = (inner[1] if inner else plain).strip().rstrip("*").strip()
    if plain in _NO_PLACE or plain in {"tissue", "region*", "region", "whole tissue", "annotation"}:
        return "tissue"
    return plain if plain in {"margin", "excluded"} else COMPARTMENTS.get(plain)

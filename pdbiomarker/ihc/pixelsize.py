"""Microns per pixel: from the file, or from the sheet, never guessed.

A density is cells per mm2, so an unknown pixel size would make it meaningless, and the 72 or 96 dots per
inch that many programs write by default would make it absurd. Accepted are: the physical size in
OME-XML, ``MPP`` in an Aperio description, TIFF resolution tags in centimetres or inches that make sense
for a microscope, and the value of the sheet. File and sheet must agree within 2 %.
"""

from __future__ import annotations

import math
import re
from typing import Final

from defusedxml import ElementTree

from pdbiomarker.errors import ItemError, Problem

__all__ = ["OmeImage", "agree", "from_aperio", "from_ome", "from_resolution", "refuse"]

PLAUSIBLE_UM: Final = (0.05, 5.0)
_TOLERANCE: Final = 0.02
_CENTIMETRE, _INCH = 3, 2
_UM_PER: Final = {
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "pm": 1e-6,
    "in": 25400.0,
}


class OmeImage:
    """What the first image of an OME-XML block says.

    Attributes
    ----------
    size : tuple of int
        SizeX, SizeY, SizeZ, SizeC, SizeT (1 where not stated; 0 where X or Y are not).
    physical : tuple of float or None
        Width and height of a pixel in micrometres, where stated in a unit of length.
    """

    def __init__(self, size: tuple[int, int, int, int, int], physical: tuple[float, float] | None) -> None:
        self.size = size
        self.physical = physical


def refuse(code: str, message: str, file: str, *, remedy: str, value: object = None) -> ItemError:
    """Build the error that quarantines one slide."""
    shown = None if value is None else str(value)
    return ItemError(Problem(code, message, remedy, file, value=shown, severity="quarantine"))


def damaged_tile(file: str, index: int) -> ItemError:
    """Build the error of a slide of which one tile does not decode."""
    return refuse(
        "E-SLIDE-002",
        f"Tile {index} is damaged: it does not decode completely.",
        file,
        remedy="Copy or export the slide again.",
        value=index,
    )


def from_ome(xml: str, file: str) -> OmeImage | None:
    """Read size and pixel size of the first image of an OME-XML block; None when it is no OME-XML."""
    try:
        root = ElementTree.fromstring(xml, forbid_dtd=True)  # no entities, and nothing that declares them
    except (ElementTree.ParseError, ValueError) as error:
        raise refuse(
            "E-SLIDE-001",
            f"The OME-XML of the file cannot be read ({type(error).__name__}).",
            file,
            remedy="Export the slide again.",
        ) from error
    pixels = next((node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    sizes = []
    for axis, default in (("X", 0), ("Y", 0), ("Z", 1), ("C", 1), ("T", 1)):
        text = pixels.get(f"Size{axis}")
        if text is not None and not re.fullmatch(r"\d{1,12}", text):
            raise refuse(
                "E-SLIDE-006",
                f"OME-XML states a Size{axis} that is not a whole number.",
                file,
                remedy="Export the slide again.",
                value=text,
            )
        sizes.append(default if text is None else int(text))
    physical = [
        _ome_length(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "XY"
    ]
    known = physical[0] is not None and physical[1] is not None
    pair = (physical[0] or 0.0, physical[1] or 0.0) if known else None
    return OmeImage((sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]), pair)


def _ome_length(text: str | None, unit: str) -> float | None:
    factor = _UM_PER.get(unit.strip())
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value * factor if factor is not None and math.isfinite(value) else None


def from_aperio(description: str) -> tuple[float, float] | None:
    """``MPP = 0.2271`` of an Aperio image description."""
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.eE+-]+)", description)
    try:
        value = float(found.group(1)) if found else math.nan
    except ValueError:
        return None
    return (value, value) if math.isfinite(value) and value > 0 else None


def from_resolution(x: float, y: float, unit: int) -> tuple[float, float] | None:
    """TIFF resolution tags; None when without a unit of length or not those of a microscope (72 dpi)."""
    um = {_CENTIMETRE: 1e4, _INCH: 25400.0}.get(unit)
    if um is None or x <= 0 or y <= 0 or not (math.isfinite(x) and math.isfinite(y)):
        return None
    pair = (um / x, um / y)
    low, high = PLAUSIBLE_UM
    return pair if all(low <= size <= high for size in pair) else None


def agree(stated: tuple[float, float] | None, sheet: float | None, file: str) -> float:
    """Settle the pixel size from what file and sheet state.

    Returns
    -------
    float
        Micrometres per pixel: the file's value, or the sheet's where the file has none.

    Raises
    ------
    ItemError
        E-SLIDE-003 when neither states it, E-SLIDE-004 when they differ by more than 2 %, E-SLIDE-010 when
        a value is implausible or differs between x and y.
    """
    low, high = PLAUSIBLE_UM
    if stated is not None:
        x, y = stated
        if not (low <= x <= high and low <= y <= high):
            raise refuse(
                "E-SLIDE-010",
                f"The file states a pixel of {x:g} x {y:g} um; {low}-{high} um is plausible.",
                file,
                remedy="Correct the file's metadata.",
                value=f"{x:g}",
            )
        if abs(x - y) > _TOLERANCE * min(x, y):
            raise refuse(
                "E-SLIDE-010",
                f"The file states a pixel of {x:g} x {y:g} um: not square.",
                file,
                remedy="Export the slide with square pixels.",
                value=f"{x:g} x {y:g}",
            )
    if sheet is not None and not (math.isfinite(sheet) and low <= sheet <= high):
        raise refuse(
            "E-SLIDE-010",
            f"The sheet states {sheet:g} um per pixel; {low}-{high} um is plausible.",
            file,
            remedy="Give mpp in micrometres per pixel.",
            value=sheet,
        )
    if stated is None and sheet is None:
        raise refuse(
            "E-SLIDE-003",
            "The size of a pixel is known neither from the file nor from the sheet.",
            file,
            remedy="State mpp (micrometres per pixel) in slides.csv.",
        )
    if stated is None:
        return float(sheet or 0.0)
    size = math.sqrt(stated[0] * stated[1])
    if sheet is not None and abs(size - sheet) > _TOLERANCE * min(size, sheet):
        raise refuse(
            "E-SLIDE-004",
            f"The file states {size:.4g} um per pixel, the sheet {sheet:.4g}.",
            file,
            remedy="Correct the sheet, or leave its mpp empty.",
            value=f"{sheet:g}",
        )
    return size

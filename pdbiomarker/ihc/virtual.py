"""Slides in vendors' layouts (NDPI, MRXS, SCN, BIF, VMS, Philips TIFF ...), read by openslide.

openslide is the fallback: what tifffile reads is read several times faster and checked tile by tile. Weaker
here, and told in the documentation: openslide shows damaged JPEG data as pixels without a word.

A slide is cut to the bounds of what was scanned where the file states them, as QuPath does: position (0, 0)
is the corner of the bounds. Pixels with an alpha below 255 were not scanned, or only in part: no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.pixelsize import refuse
from pdbiomarker.ihc.reader import MAX_PIXELS, MAX_SIDE, Facts, load_extra

__all__ = ["VIRTUAL_SUFFIXES", "VirtualReader", "companions"]

#: Suffixes of formats that only openslide reads; the content decides for TIFF files.
VIRTUAL_SUFFIXES: Final = frozenset({".mrxs", ".vms", ".vmu", ".czi", ".svslide"})
_BOUNDS: Final = (
    "openslide.bounds-x",
    "openslide.bounds-y",
    "openslide.bounds-width",
    "openslide.bounds-height",
)
_MAX_READ: Final = 2**28  # pixels at once: openslide takes 4 bytes for each


class VirtualReader:
    """A slide as openslide sees it, cut to what was scanned.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingExtraError
        When openslide is not installed.
    ItemError
        E-SLIDE-001 (not readable), E-SLIDE-002 (parts of the slide are missing), E-SLIDE-006 (claims more
        than a slide has).
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        openslide = load_extra("openslide", "openslide-python", "openslide")
        self._error: type[Exception] = openslide.OpenSlideError
        _check_companions(path)
        try:
            self._slide: Any = openslide.OpenSlide(str(path))
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            raise refuse(
                "E-SLIDE-001",
                f"openslide cannot read the slide ({type(error).__name__}).",
                self._name,
                remedy="Copy the slide again, with all its files; or export it as OME-TIFF.",
            ) from error
        try:
            properties = self._slide.properties
            self._corner, size = self._bounds(properties, self._slide.dimensions)
            self._scales = [float(scale) for scale in self._slide.level_downsamples]
            self._shapes = tuple(
                (max(1, int(size[0] / scale + 1e-6)), max(1, int(size[1] / scale + 1e-6)))
                for scale in self._scales
            )
            self.stated_mpp = _mpp(properties)
            vendor = str(properties.get("openslide.vendor", "unknown"))
            self.facts = Facts(f"openslide:{vendor}", _has_profile(properties))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, the finest first."""
        return self._shapes

    def _bounds(
        self, properties: Mapping[str, str], dimensions: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Corner and size (y, x) of what was scanned, in pixels of level 0."""
        width, height = dimensions
        try:
            x, y, w, h = (int(properties[key]) for key in _BOUNDS)
        except (KeyError, ValueError):
            x, y, w, h = 0, 0, width, height
        if max(width, height) > MAX_SIDE or max(w, h) > MAX_SIDE or w * h > MAX_PIXELS:
            raise refuse(
                "E-SLIDE-006",
                f"The image claims {w} x {h} px: more than any slide has.",
                self._name,
                remedy="Check the file; export the slide again.",
                value=f"{w} x {h}",
            )
        if not (min(x, y) >= 0 and 0 < w <= width - x and 0 < h <= height - y):
            raise refuse(
                "E-SLIDE-006",
                f"The scanned part, {w} x {h} px at ({x}, {y}), leaves the image, {width} x {height} px.",
                self._name,
                remedy="Export the slide again.",
            )
        return (y, x), (h, w)

    def read(
        self, level: int, y: int, x: int, h: int, w: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
        """Pixels of a region (Y, X, 3), and which of them were not scanned (None: none)."""
        if h * w > _MAX_READ:
            raise refuse(
                "E-SLIDE-006",
                f"A region of {w} x {h} px is more than is read at once.",
                self._name,
                remedy="Read the slide in smaller regions or at a coarser level.",
            )
        scale = self._scales[level]
        place = (self._corner[1] + round(x * scale), self._corner[0] + round(y * scale))
        try:
            rgba = np.asarray(self._slide.read_region(place, level, (w, h)))
        except (self._error, OSError, ValueError) as error:
            raise refuse(
                "E-SLIDE-002",
                f"The region at ({y}, {x}) of level {level} is damaged: it does not decode.",
                self._name,
                remedy="Copy the slide again, with all its files.",
            ) from error
        missing = rgba[..., 3] < 255
        pixels = np.ascontiguousarray(rgba[..., :3])
        if not missing.any():
            return pixels, None
        pixels[missing] = 255
        return pixels, missing


def companions(path: Path) -> list[Path]:
    """Give the other files of a slide that is more than one file: those in the folder beside an MRXS."""
    if path.suffix.lower() != ".mrxs":
        return []
    folder = path.with_suffix("")
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _check_companions(path: Path) -> None:
    if path.suffix.lower() == ".mrxs" and not (path.with_suffix("") / "Slidedat.ini").is_file():
        raise refuse(
            "E-SLIDE-002",
            f"The folder {path.stem!r} with the slide's data is not beside the .mrxs file, or not complete.",
            path.name,
            remedy="Copy the .mrxs file together with its folder.",
        )


def _mpp(properties: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        return float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None


def _has_profile(properties: Mapping[str, str]) -> bool:
    return (
        str(properties.get("openslide.icc-size", "0")).isdigit()
        and int(properties.get("openslide.icc-size", 0)) > 0
    )

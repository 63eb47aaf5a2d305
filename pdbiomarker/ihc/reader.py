"""What every reader of slides has: levels, a pixel size, regions. And a cache of tiles, and extras.

A reader copies from a file's metadata only what an analysis needs (:class:`Facts` and the pixel size): names,
barcodes, dates and paths of the scanning computer stay in the file. Label and macro images are never decoded.
"""

from __future__ import annotations

import dataclasses
import importlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import MissingExtraError

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "Facts",
    "LayoutElsewhere",
    "Reader",
    "TileCache",
    "assemble_tiles",
    "load_extra",
]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Larger claims are refused before anything is allocated: the largest scans have about 2 x 10^10 pixels.
MAX_SIDE: Final = 2**20
MAX_PIXELS: Final = 6 * 10**10
_CACHE_BYTES: Final = 64 * 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is told of a slide's file; nothing in it comes from free text.

    Attributes
    ----------
    format : str
        ``tiff``, ``svs``, ``ome-tiff``, ``png``, ``jpeg``, ``dicom``, or ``openslide:`` and the vendor.
    icc_profile : bool
        Whether the file carries a colour profile. Colours are used as they are stored: the profile is not
        applied, because optical densities are relative to the glass of the same slide.
    """

    format: str
    icc_profile: bool = False


class Reader(Protocol):
    """A file as levels of pixels."""

    stated_mpp: tuple[float, float] | None
    facts: Facts

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, the finest first."""

    def read(self, level: int, y: int, x: int, h: int, w: int) -> tuple[Pixels, Mask | None]:
        """Pixels of a region (Y, X, 3), and which of them the file holds no data for (None: none)."""

    def close(self) -> None:
        """Close the file."""


class LayoutElsewhere(Exception):  # noqa: N818 - a message between readers, not an error of the input
    """A TIFF that is laid out in a vendor's way: another reader knows it."""


class TileCache:
    """The tiles that were decoded last, up to 64 MB. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int], decode: Callable[[], Pixels]) -> Pixels:
        """Return a tile by (level, index), decoded where it is not at hand."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        tile = decode()
        with self._lock:
            self._bytes += tile.nbytes - (self._tiles[key].nbytes if key in self._tiles else 0)
            self._tiles[key] = tile
            while self._bytes > _CACHE_BYTES and len(self._tiles) > 1:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= oldest.nbytes
        return tile


def assemble_tiles(
    region: tuple[int, int, int, int],
    tile: tuple[int, int],
    shape: tuple[int, int],
    fetch: Callable[[int, int, tuple[slice, slice]], Pixels | None],
) -> tuple[Pixels, Mask | None]:
    """Put a region together from the tiles that it touches.

    Parameters
    ----------
    region : y, x, h, w
    tile, shape : two ints
        Height and width of a tile, and of the level.
    fetch : callable
        ``(row, column, part) -> pixels`` of that part of the tile; None where the file has no data for it.

    Returns
    -------
    pixels : array of uint8, shape (h, w, 3)
        White where there is no data.
    missing : array of bool, shape (h, w), or None
    """
    y, x, h, w = region
    out = np.empty((h, w, 3), np.uint8)
    missing: Mask | None = None
    for row, column in _touched(region, tile):
        top, left = row * tile[0], column * tile[1]
        y0, y1 = max(y, top), min(y + h, top + tile[0], shape[0])
        x0, x1 = max(x, left), min(x + w, left + tile[1], shape[1])
        target = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        found = fetch(row, column, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)))
        if found is None:
            missing = np.zeros((h, w), bool) if missing is None else missing
            missing[target] = True
            out[target] = 255
        else:
            out[target] = found
    return out, missing


def _touched(region: tuple[int, int, int, int], tile: tuple[int, int]) -> Iterator[tuple[int, int]]:
    y, x, h, w = region
    for row in range(y // tile[0], (y + h - 1) // tile[0] + 1):
        for column in range(x // tile[1], (x + w - 1) // tile[1] + 1):
            yield row, column


def load_extra(module: str, package: str, extra: str) -> Any:
    """Import an optional dependency.

    Raises
    ------
    MissingExtraError
        With the line that installs it, such as ``pip install 'pdbiomarker[dicom]'``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, extra) from error

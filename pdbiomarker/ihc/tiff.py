"""TIFF files as tiles: a plan made from the header alone, then only the tiles that are asked for.

Nothing is decoded, and no array is allocated, before the header has been checked against the file: sizes,
number of tiles, their offsets and byte counts, and the ratio of promised pixels to stored bytes.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import struct
import threading
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import tifffile

from pdbiomarker.ihc import pixelsize
from pdbiomarker.ihc.jpegscan import is_whole
from pdbiomarker.ihc.pixelsize import damaged_tile, refuse
from pdbiomarker.ihc.reader import MAX_PIXELS, MAX_SIDE, Facts, LayoutElsewhere, TileCache, assemble_tiles

__all__ = ["TiffReader"]

_MAX_PAGES: Final = 512
_MAX_SEGMENT_BYTES: Final = 256 * 2**20
_MAX_RATIO: Final = 1000
_NONE, _JPEG = 1, 7
_CODECS: Final = {1, 5, 7, 8, 32773, 32946, 33005, 34712, 50000, 50001, 34927}
_RGB, _YCBCR = 2, 6
_APERIO_YCC = 33003
_PROFILE, _ORIENTATION = 34675, 274
# Vendors that do not lay their slides out as a TIFF viewer expects: strips that hold whole images
# (Hamamatsu), several scanned areas (Leica), overlapping tiles (Ventana), padded levels (Philips).
_ELSEWHERE: Final = ("is_scn", "is_bif", "is_philips")
_SAME_SIZE: Final = 0.8  # a further image of this share of the first one's sides is a second main image

logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclasses.dataclass(slots=True)
class _Level:
    """One resolution: its page and how its segments (tiles or strips) lie."""

    page: Any
    height: int
    width: int
    rows: int
    columns: int
    across: int
    samples: int
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


class TiffReader:
    """A TIFF, OME-TIFF or Aperio SVS file as levels of tiles.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    LayoutElsewhere
        The file is laid out or compressed in a vendor's way that is not read here.
    ItemError
        E-SLIDE-001 (not readable), E-SLIDE-002 (cut short), E-SLIDE-005 (not 8-bit RGB), E-SLIDE-006
        (claims that the file cannot hold).
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._size = path.stat().st_size
        self._stream: BinaryIO = path.open("rb")
        self._cache = TileCache()
        self._reading = threading.Lock()
        try:
            self._tiff = tifffile.TiffFile(self._stream, name=self._name)
            if self._tiff.tiff.is_ndpi:
                raise LayoutElsewhere("ndpi")  # noqa: TRY301 - told to the caller below
            pages = self._pages()
            for flag in _ELSEWHERE:
                if getattr(self._tiff, flag):
                    raise LayoutElsewhere(flag.removeprefix("is_"))  # noqa: TRY301 - told to the caller below
            self._check_pages(pages)
            self.stated_mpp, ome = self._metadata(pages[0])
            self._levels = [self._plan(page) for page in self._resolutions(pages)]
            self._check_ome(ome)
            self.facts = Facts(_format(pages[0]), _PROFILE in pages[0].tags)
        except (
            tifffile.TiffFileError,
            OSError,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            OverflowError,
            AttributeError,
            ZeroDivisionError,
            MemoryError,
            struct.error,
        ) as error:
            self.close()
            raise refuse(
                "E-SLIDE-001",
                f"The TIFF cannot be read ({type(error).__name__}).",
                self._name,
                remedy="Export or copy the slide again.",
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, the finest first."""
        return tuple((level.height, level.width) for level in self._levels)

    @property
    def directories(self) -> tuple[int, ...]:
        """Where the directory of every level stands in the file, the finest first."""
        return tuple(int(level.page.offset) for level in self._levels)

    # -- the plan ----------------------------------------------------------------------------------------

    def _pages(self) -> list[Any]:
        found = []
        for index in range(_MAX_PAGES + 1):
            try:
                found.append(self._tiff.pages[index])
            except IndexError:
                break
        if not found:
            raise refuse(
                "E-SLIDE-002",
                "The TIFF has no image: its directory is missing or cut off.",
                self._name,
                remedy="Copy the slide again.",
            )
        if len(found) > _MAX_PAGES:
            raise refuse(
                "E-SLIDE-006",
                f"The TIFF has more than {_MAX_PAGES} pages.",
                self._name,
                remedy="Export a single brightfield plane.",
            )
        return found

    def _check_pages(self, pages: list[Any]) -> None:
        """Refuse what would leave open which image is the slide, or which way up it is."""
        top = pages[0]
        orientation = top.tags.get(_ORIENTATION)
        if orientation is not None and int(orientation.value) != 1:
            raise refuse(
                "E-SLIDE-005",
                f"The image is stored mirrored or turned (orientation {int(orientation.value)}).",
                self._name,
                remedy="Export the slide upright, so that positions and regions fit.",
                value=int(orientation.value),
            )
        for page in pages[1:]:
            width, height = int(page.imagewidth), int(page.imagelength)
            if width >= _SAME_SIZE * top.imagewidth and height >= _SAME_SIZE * top.imagelength:
                raise refuse(
                    "E-SLIDE-006",
                    f"The file holds several images of full size ({top.imagewidth} x {top.imagelength} and "
                    f"{width} x {height} px): which is the slide is unknown.",
                    self._name,
                    remedy="Export one brightfield plane, with its own pyramid.",
                )

    def _metadata(self, page: Any) -> tuple[tuple[float, float] | None, pixelsize.OmeImage | None]:
        description = page.description or ""
        ome = pixelsize.from_ome(description, self._name) if "<OME" in description[:4000] else None
        if ome is not None and ome.physical is not None:
            return ome.physical, ome
        if description.startswith("Aperio"):
            return pixelsize.from_aperio(description), ome
        x, y = (_rational(page, name) for name in ("XResolution", "YResolution"))
        unit = page.tags.get("ResolutionUnit")
        return pixelsize.from_resolution(x, y, _INCH_DEFAULT if unit is None else int(unit.value)), ome

    def _check_ome(self, ome: pixelsize.OmeImage | None) -> None:
        if ome is None:
            return
        width, height, z, _, t = ome.size
        top = self._levels[0]
        if (width and width != top.width) or (height and height != top.height):
            raise refuse(
                "E-SLIDE-006",
                f"OME-XML states {width} x {height} px, the image has {top.width} x {top.height}.",
                self._name,
                remedy="Export the slide again.",
            )
        if z * t > 1:
            raise refuse(
                "E-SLIDE-006",
                f"OME-XML states {z} planes and {t} time points; a slide has one.",
                self._name,
                remedy="Export a single brightfield plane.",
                value=f"SizeZ={z}, SizeT={t}",
            )

    def _resolutions(self, pages: list[Any]) -> list[Any]:
        """The main image and its reductions: sub-directories (OME), else later tiled pages of its shape."""
        top = pages[0]
        if top.subifds:
            others = list(top.pages or [])
        else:
            # Aperio's thumbnail, label and macro are strips, some of them flagged as reductions.
            svs = _format(top) == "svs"
            others = [p for p in pages[1:] if p.is_tiled or (p.is_reduced and not svs)]
        levels = [top]
        for page in others[:_MAX_PAGES]:
            if not _is_reduction(page, top):
                continue
            if page.imagewidth < levels[-1].imagewidth and page.imagelength < levels[-1].imagelength:
                levels.append(page)
        return levels

    def _plan(self, page: Any) -> _Level:
        height, width = int(page.imagelength), int(page.imagewidth)
        if height <= 0 or width <= 0:
            raise refuse(
                "E-SLIDE-006",
                f"The image claims {width} x {height} px.",
                self._name,
                remedy="Copy or export the slide again.",
            )
        if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
            raise refuse(
                "E-SLIDE-006",
                f"The image claims {width} x {height} px: more than any slide has.",
                self._name,
                remedy="Check the file; export the slide again.",
                value=f"{width} x {height}",
            )
        self._check_kind(page)
        rows = int(page.tilelength) if page.is_tiled else min(int(page.rowsperstrip), height)
        columns = int(page.tilewidth) if page.is_tiled else width
        if rows <= 0 or columns <= 0:
            raise refuse(
                "E-SLIDE-006",
                f"The image claims tiles of {columns} x {rows} px.",
                self._name,
                remedy="Export the slide again.",
            )
        across, down = math.ceil(width / columns), math.ceil(height / rows)
        offsets = np.asarray(page.dataoffsets, dtype=np.int64)
        counts = np.asarray(page.databytecounts, dtype=np.int64)
        level = _Level(page, height, width, rows, columns, across, int(page.samplesperpixel), offsets, counts)
        self._check_segments(level, across * down)
        return level

    def _check_kind(self, page: Any) -> None:
        if int(page.compression) == _APERIO_YCC or int(page.compression) not in _CODECS:
            raise LayoutElsewhere(f"compressed by scheme {int(page.compression)}")
        bits = page.bitspersample
        photometric, samples = int(page.photometric), int(page.samplesperpixel)
        colour = photometric == _RGB or (
            photometric == _YCBCR and int(page.compression) in {_JPEG, 34712, 33005}
        )
        plain = bits == 8 and int(page.sampleformat) == 1 and int(page.planarconfig) == 1
        if not (colour and plain and samples in {3, 4}):
            raise refuse(
                "E-SLIDE-005",
                f"The image is not 8-bit RGB: {samples} channel(s) of {bits} bits, "
                f"{getattr(page.photometric, 'name', photometric)}.",
                self._name,
                remedy="Export the brightfield image as 8-bit RGB.",
            )

    def _check_segments(self, level: _Level, expected: int) -> None:
        offsets, counts = level.offsets, level.counts
        if not len(offsets) == len(counts) == expected:
            raise refuse(
                "E-SLIDE-006",
                f"The image needs {expected} tiles and lists {min(len(offsets), len(counts))}.",
                self._name,
                remedy="Copy or export the slide again.",
            )
        segment = level.rows * level.columns * level.samples
        raw_strips = int(level.page.compression) == _NONE and not level.page.is_tiled
        if segment > _MAX_SEGMENT_BYTES and not raw_strips:
            raise refuse(
                "E-SLIDE-006",
                f"One tile would take {segment / 2**20:.0f} MB.",
                self._name,
                remedy="Save the slide as a tiled TIFF.",
            )
        stored = (offsets > 0) & (counts > 0)
        if np.any(offsets < 0) or np.any(counts < 0) or np.any(offsets[stored] + counts[stored] > self._size):
            beyond = int(np.sum(offsets[stored] + counts[stored] > self._size))
            raise refuse(
                "E-SLIDE-002",
                f"{beyond} of {expected} tiles lie beyond the end of the file: it is cut short.",
                self._name,
                remedy="Copy the slide again.",
            )
        if _overlap(offsets[stored], counts[stored]):
            raise refuse(
                "E-SLIDE-002",
                "Tiles lie over one another in the file: its table of tiles is damaged.",
                self._name,
                remedy="Copy or export the slide again.",
            )
        promised = float(stored.sum()) * segment
        held = float(counts[stored].sum())
        if raw_strips and held < level.height * level.width * level.samples * stored.mean():
            raise refuse(
                "E-SLIDE-002",
                "The uncompressed image is shorter than its size demands.",
                self._name,
                remedy="Copy the slide again.",
            )
        if stored.any() and promised > _MAX_RATIO * max(held, 1.0):
            raise refuse(
                "E-SLIDE-006",
                f"The image claims {promised / max(held, 1.0):.0f} times its stored bytes.",
                self._name,
                remedy="Check the file; export the slide again.",
            )

    # -- pixels ------------------------------------------------------------------------------------------

    def read(
        self, level: int, y: int, x: int, h: int, w: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
        """Pixels of a region (Y, X, 3), and which of them the file holds no data for (None: none)."""
        plan = self._levels[level]
        raw = int(plan.page.compression) == _NONE and not plan.page.is_tiled

        def fetch(row: int, column: int, part: tuple[slice, slice]) -> npt.NDArray[np.uint8] | None:
            index = row * plan.across + column
            if plan.offsets[index] == 0 or plan.counts[index] == 0:
                return None
            if raw:
                return self._raw_rows(plan, index, (part[0].start, part[0].stop))[:, part[1]]
            return self._cache.get((level, index), lambda: self._segment(level, index))[part]

        return assemble_tiles((y, x, h, w), (plan.rows, plan.columns), (plan.height, plan.width), fetch)

    def _raw_rows(self, plan: _Level, index: int, rows: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Rows of an uncompressed strip, without reading the others."""
        stride = plan.width * plan.samples
        with self._reading:
            self._stream.seek(int(plan.offsets[index]) + rows[0] * stride)
            data = self._stream.read((rows[1] - rows[0]) * stride)
        if len(data) < (rows[1] - rows[0]) * stride:
            raise damaged_tile(self._name, index)
        image = np.frombuffer(data, np.uint8).reshape(-1, plan.width, plan.samples)
        return self._opaque(image)

    def _segment(self, level: int, index: int) -> npt.NDArray[np.uint8]:
        """One decoded tile or strip (rows, columns, 3)."""
        plan = self._levels[level]
        with self._reading:
            self._stream.seek(int(plan.offsets[index]))
            data = self._stream.read(int(plan.counts[index]))
        if int(plan.page.compression) == _JPEG and not (
            b"\xff\xd9" in data[-16:] and is_whole(data, plan.page.jpegtables)
        ):
            raise damaged_tile(self._name, index)
        try:
            decoded = plan.page.decode(data, index, jpegtables=plan.page.jpegtables)[0]
        except Exception as error:  # each codec of imagecodecs raises its own class, derived from Exception
            raise damaged_tile(self._name, index) from error
        if decoded is None:
            raise damaged_tile(self._name, index)
        row, column = divmod(index, plan.across)
        inside = (slice(plan.height - row * plan.rows), slice(plan.width - column * plan.columns))
        return self._opaque(decoded.reshape(decoded.shape[-3:])[inside])  # beyond the image is padding

    def _opaque(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if image.dtype != np.uint8 or image.shape[-1] not in {3, 4}:
            raise refuse(
                "E-SLIDE-005",
                f"A tile decodes to {image.shape[-1]} channel(s) of {image.dtype}.",
                self._name,
                remedy="Export the brightfield image as 8-bit RGB.",
            )
        if image.shape[-1] == 4:
            if np.any(image[..., 3] != 255):
                raise refuse(
                    "E-SLIDE-005",
                    "The image is partly transparent: its colour there is undefined.",
                    self._name,
                    remedy="Export the brightfield image as 8-bit RGB without transparency.",
                )
            return np.ascontiguousarray(image[..., :3])
        return image


_INCH_DEFAULT = 2


def _format(page: Any) -> str:
    description = page.description or ""
    if description.startswith("Aperio"):
        return "svs"
    return "ome-tiff" if "<OME" in description[:4000] else "tiff"


def _overlap(offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> bool:
    """Whether two tiles share a part of their bytes; that they share all of them is how blanks are saved."""
    apart = np.unique(np.column_stack([offsets, counts]), axis=0)
    return bool(np.any(apart[:-1].sum(axis=1) > apart[1:, 0]))


def _rational(page: Any, name: str) -> float:
    tag = page.tags.get(name)
    if tag is None:
        return 0.0
    numerator, denominator = tag.value
    return float(numerator) / float(denominator) if denominator else 0.0


def _is_reduction(page: Any, top: Any) -> bool:
    """Whether a page shows the same field at a coarser scale (label and macro images do not)."""
    description = (page.description or "").lower()
    if any(word in description.splitlines()[-1] if description else False for word in ("label ", "macro ")):
        return False
    if page.subfiletype and int(page.subfiletype) & 8:
        return False
    width, height = int(page.imagewidth), int(page.imagelength)
    if width <= 0 or height <= 0 or width >= top.imagewidth or height >= top.imagelength:
        return False
    across, down = top.imagewidth / width, top.imagelength / height
    return bool(abs(across - down) <= max(0.01 * across, across / width, down / height))

"""Brightfield slides: one face for SVS, OME-TIFF, TIFF, PNG, JPEG, DICOM and vendors' formats, tile by tile.

tifffile and imagecodecs read what they can; openslide reads NDPI, MRXS and other vendors' layouts, and
wsidicom reads DICOM, where they are installed. A slide is opened by its header; pixels are decoded only where
they are read. Label and macro images are never read. The resampler works on a grid fixed to the slide, so
that a pixel at a given resolution has one value, however the slide is cut into tiles.
"""

from __future__ import annotations

import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import ItemError, MissingExtraError
from pdbiomarker.ihc import pixelsize
from pdbiomarker.ihc.compiled import kernel
from pdbiomarker.ihc.dicom import DicomReader, dicom_series, is_dicom
from pdbiomarker.ihc.pixelsize import refuse
from pdbiomarker.ihc.plain import JPEG_MAGIC, PNG_MAGIC, PlainReader
from pdbiomarker.ihc.reader import Facts, LayoutElsewhere, Reader
from pdbiomarker.ihc.tiff import TiffReader
from pdbiomarker.ihc.virtual import VIRTUAL_SUFFIXES, VirtualReader, companions
from pdbiomarker.provenance import sha256_file, sha256_json

__all__ = ["Slide", "open_slide", "slide_hash"]

_TIFF_MAGIC: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_BAND_BYTES: Final = 24 * 2**20

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Slide:
    """An open slide. Use :func:`open_slide`.

    Attributes
    ----------
    name : str
        The file's name.
    mpp : float
        Micrometres per pixel of level 0.
    shape : tuple of int
        Height and width of level 0.
    levels : tuple of tuple of int
        Height and width of every level, the finest first.
    facts : Facts
        The file's format, and whether it carries a colour profile.
    """

    def __init__(self, name: str, reader: Reader, mpp: float) -> None:
        self.name = name
        self.mpp = mpp
        self._reader = reader
        self.facts: Facts = reader.facts
        self.levels = reader.shapes
        self.shape = self.levels[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def level_mpp(self, level: int) -> float:
        """Micrometres per pixel of a level."""
        height, width = self.levels[level]
        ratio = max(self.shape[0], self.shape[1]) / max(height, width)
        return self.mpp * ratio

    def read(self, y: int, x: int, h: int, w: int, *, level: int = 0) -> Pixels:
        """Pixels of a region, decoding only the tiles it touches.

        Parameters
        ----------
        y, x, h, w : int
            Upper left corner and size, in pixels of the level.
        level : int
            0 is the finest.

        Returns
        -------
        array of uint8, shape (h, w, 3)
            Red, green, blue. Parts the file holds no data for are white.

        Raises
        ------
        ValueError
            When the region is empty or leaves the slide.
        ItemError
            E-SLIDE-002 when a tile is damaged.
        """
        return self.read_masked(y, x, h, w, level=level)[0]

    def read_masked(self, y: int, x: int, h: int, w: int, *, level: int = 0) -> tuple[Pixels, Mask | None]:
        """As :meth:`read`, and which pixels the file holds no data for (None: all are there)."""
        height, width = self.levels[level]
        if h <= 0 or w <= 0 or y < 0 or x < 0 or y + h > height or x + w > width:
            raise ValueError(
                f"region {h} x {w} at ({y}, {x}) is not inside level {level}, {height} x {width}"
            )
        return self._reader.read(level, y, x, h, w)

    def grid(self, mpp: float) -> tuple[int, int]:
        """Height and width of the slide resampled to `mpp` (whole pixels only, at least one)."""
        return max(int(self.shape[0] * self.mpp / mpp + 1e-9), 1), max(
            int(self.shape[1] * self.mpp / mpp + 1e-9), 1
        )

    def resample(self, y: int, x: int, h: int, w: int, mpp: float) -> tuple[Pixels, Mask | None]:
        """A region at `mpp` micrometres per pixel, by averaging areas on a grid fixed to the slide.

        Parameters
        ----------
        y, x, h, w : int
            In pixels of :meth:`grid`.
        mpp : float
            Not finer than the slide's own. The coarsest level that is fine enough is read.

        Returns
        -------
        pixels : array of uint8, shape (h, w, 3)
        missing : array of bool, shape (h, w), or None
            Where any part of the pixel has no data.

        Raises
        ------
        ValueError
            When `mpp` is finer than the slide: detail would be invented.
        """
        if not mpp >= self.mpp * (1 - 1e-6):
            raise ValueError(f"{mpp:g} um per pixel is finer than the slide, {self.mpp:g}")
        level = self._level_for(mpp)
        height, width = self.levels[level]
        step_y, step_x = _step(height, self, mpp, 0), _step(width, self, mpp, 1)
        if (step_y, step_x) == (1.0, 1.0):
            return self.read_masked(y, x, h, w, level=level)
        out = np.empty((h, w, 3), np.uint8)
        missing: Mask | None = None
        first_x, weight_x = _taps(x, w, step_x, width)
        left, right = int(first_x[0]), min(int(first_x[-1]) + len(weight_x), width)
        rows = max(1, int(_BAND_BYTES / (12 * (right - left) * max(step_y, 1))))
        for top in range(0, h, rows):
            count = min(rows, h - top)
            first_y, weight_y = _taps(y + top, count, step_y, height)
            low, high = int(first_y[0]), min(int(first_y[-1]) + len(weight_y), height)
            source, gaps = self.read_masked(low, left, high - low, right - left, level=level)
            band = _average(source, (first_y - low, weight_y), (first_x - left, weight_x))
            out[top : top + count] = np.rint(band).astype(np.uint8)
            if gaps is not None:
                missing = np.zeros((h, w), bool) if missing is None else missing
                share = _average(
                    gaps[..., None].view(np.uint8), (first_y - low, weight_y), (first_x - left, weight_x)
                )
                missing[top : top + count] = share[..., 0] > 0
        return out, missing

    def thumbnail(self, mpp: float = 8.0) -> Pixels:
        """The whole slide at `mpp` (the slide's own where that is coarser), shape (Y, X, 3), uint8."""
        return self.thumbnail_masked(mpp)[0]

    def thumbnail_masked(self, mpp: float = 8.0) -> tuple[Pixels, Mask]:
        """As :meth:`thumbnail`, and which of its pixels have no data."""
        size = max(mpp, self.mpp)
        height, width = self.grid(size)
        image, missing = self.resample(0, 0, height, width, size)
        return image, np.zeros(image.shape[:2], bool) if missing is None else missing

    def _level_for(self, mpp: float) -> int:
        """The coarsest level that is not coarser than `mpp`."""
        fine = [i for i in range(len(self.levels)) if self.level_mpp(i) <= mpp * 1.001]
        return fine[-1] if fine else 0


def _step(size: int, slide: Slide, mpp: float, axis: int) -> float:
    """Pixels of the level per pixel of the grid, along one axis."""
    step = size / slide.shape[axis] * mpp / slide.mpp
    return 1.0 if abs(step - 1) < 1e-6 else step


def _taps(
    start: int, count: int, step: float, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """For `count` grid pixels from `start`: first source pixel, and weights (taps, count) of sum 1."""
    edges = np.arange(start, start + count + 1, dtype=np.float64) * step
    edges = np.minimum(edges, size)
    low, high = edges[:-1], edges[1:]
    first = np.minimum(np.floor(low).astype(np.int64), size - 1)
    taps = int(np.ceil(step)) + 1
    cells = first + np.arange(taps)[:, None]
    weights = np.clip(np.minimum(cells + 1, high) - np.maximum(cells, low), 0, None)
    total = weights.sum(axis=0)
    weights[0, total == 0] = 1.0
    return first, (weights / np.maximum(weights.sum(axis=0), 1e-12)).astype(np.float32)


def _average(
    source: npt.NDArray[np.uint8],
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
    columns: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Weighted sums of rows, then columns, in the order of their taps: no value depends on its place."""
    out = np.empty((len(rows[0]), len(columns[0]), source.shape[2]), np.float32)
    _area_means(np.ascontiguousarray(source), *rows, *columns, out)
    return out


@kernel
def _area_means(
    source: npt.NDArray[np.uint8],
    first_row: npt.NDArray[np.int64],
    row_weights: npt.NDArray[np.float32],
    first_column: npt.NDArray[np.int64],
    column_weights: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    height, width, channels = source.shape
    flat = source.reshape(height, width * channels)
    line = np.empty(width * channels, np.float32)
    for i in range(len(first_row)):
        line[:] = 0
        for tap in range(len(row_weights)):
            weight = row_weights[tap, i]
            if weight > 0:
                row = flat[min(first_row[i] + tap, height - 1)]
                for k in range(len(line)):
                    line[k] += weight * np.float32(row[k])
        for j in range(len(first_column)):
            for c in range(channels):
                total = np.float32(0)
                for tap in range(len(column_weights)):
                    weight = column_weights[tap, j]
                    if weight > 0:
                        total += weight * line[min(first_column[j] + tap, width - 1) * channels + c]
                out[i, j, c] = total


def open_slide(path: str | Path, *, mpp: float | None = None) -> Slide:
    """Open a slide: SVS, OME-TIFF, plain or tiled TIFF, PNG, JPEG; DICOM; NDPI, MRXS and others by openslide.

    Parameters
    ----------
    path : path
        A regular file; for DICOM a file of the slide's series, or the folder of its files.
    mpp : float, optional
        Micrometres per pixel from the sheet, where the file does not state it.

    Returns
    -------
    Slide
        A context manager.

    Raises
    ------
    ItemError
        E-FILE-001/002/004 (no such file, no regular file, empty), E-SLIDE-001 (not an image that is read
        here), E-SLIDE-002 (cut short), E-SLIDE-003, -004, -010 (pixel size unknown, contradictory,
        implausible), E-SLIDE-005 (not 8-bit RGB, or turned), E-SLIDE-006 (claims more than the file can hold,
        or several images), E-SLIDE-020 (the reader of the format is not installed).

    Examples
    --------
    >>> with open_slide("slide.svs") as slide:  # doctest: +SKIP
    ...     corner = slide.read(0, 0, 256, 256)
    """
    file = Path(path)
    try:
        reader = _reader(file)
    except MissingExtraError as error:
        reason, _, remedy = str(error).partition(" Remedy: ")
        raise refuse(
            "E-SLIDE-020", f"The slide's format needs a package: {reason}", file.name, remedy=remedy
        ) from error
    try:
        return Slide(file.name, reader, pixelsize.agree(reader.stated_mpp, mpp, file.name))
    except BaseException:
        reader.close()
        raise


def slide_hash(path: str | Path) -> str:
    """SHA-256 of a slide's content; of a slide of several files (MRXS, DICOM), that of all their hashes.

    A DICOM slide that cannot be read, or whose reader is not installed, is hashed as what is named.

    Examples
    --------
    >>> slide_hash("slide.svs") == sha256_file("slide.svs")  # doctest: +SKIP
    True
    """
    file = Path(path)
    files = [file, *companions(file)]
    if file.is_dir() or is_dicom(file):
        try:
            files = dicom_series(file)
        except (ItemError, MissingExtraError):
            beside = [file] if file.is_file() else sorted(file.iterdir())
            files = [part for part in beside if part.is_file()]
    hashes = sorted(sha256_file(part) for part in files)
    return hashes[0] if len(hashes) == 1 else sha256_json(hashes)


def _reader(file: Path) -> Reader:
    magic = _magic(file)
    if magic is None or magic[128:132] == b"DICM":
        return DicomReader(file)
    if file.suffix.lower() in VIRTUAL_SUFFIXES:
        return VirtualReader(file)
    if magic.startswith(_TIFF_MAGIC):
        try:
            return TiffReader(file)
        except LayoutElsewhere as layout:
            return _elsewhere(file, layout)
    if magic.startswith((PNG_MAGIC, JPEG_MAGIC)):
        return PlainReader(file)
    raise refuse(
        "E-SLIDE-001",
        "The file is no SVS, TIFF, PNG, JPEG, DICOM, NDPI or MRXS image, whatever its name says.",
        file.name,
        remedy="Export the slide as SVS, OME-TIFF, TIFF or PNG.",
        value=file.suffix,
    )


def _elsewhere(file: Path, layout: LayoutElsewhere) -> Reader:
    """Read a vendor's TIFF by openslide, and tell both reasons where openslide cannot either."""
    try:
        return VirtualReader(file)
    except ItemError as error:
        if error.problem.code != "E-SLIDE-001":
            raise
        raise refuse(
            "E-SLIDE-005",
            f"The TIFF is laid out in a way that is not read here ({layout}), nor by openslide.",
            file.name,
            remedy="Export the slide as OME-TIFF with JPEG, LZW, Deflate or Zstandard.",
        ) from error


def _magic(file: Path) -> bytes | None:
    """First bytes of a file; None for a folder."""
    if str(file).startswith(("http:/", "https:/", "s3:/", "gs:/", "ftp:/", "file:/")):
        raise refuse(
            "E-FILE-002",
            "The slide is an address, not a file.",
            file.name,
            remedy="Copy the slide to this computer.",
        )
    try:
        status = file.stat()
    except (OSError, ValueError) as error:
        raise refuse(
            "E-FILE-001", "There is no such slide file.", file.name, remedy="Correct the path."
        ) from error
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise refuse(
            "E-FILE-002",
            "The slide is not a regular file.",
            file.name,
            remedy="Give the path of an image file.",
        )
    if status.st_size == 0:
        raise refuse("E-FILE-004", "The slide file is empty.", file.name, remedy="Copy the slide again.")
    try:
        with file.open("rb") as stream:
            return stream.read(132)
    except OSError as error:
        raise refuse(
            "E-SLIDE-001",
            f"The slide cannot be opened ({type(error).__name__}).",
            file.name,
            remedy="Check that the file may be read.",
        ) from error

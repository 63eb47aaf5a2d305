"""DICOM whole slide images, by wsidicom: the files of one series, each a level of the pyramid.

The headers are read first, and of them only what is listed here: no name, id, date or barcode is looked at.
Label, overview and thumbnail instances are left closed. A level that wsidicom could not open, which it would
pass over without a word, is found by comparing with the headers.

A frame that a sparse level lacks is no data, not glass. JPEG frames must end with their closing marker.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import ItemError
from pdbiomarker.ihc.jpegscan import is_whole
from pdbiomarker.ihc.pixelsize import damaged_tile, refuse
from pdbiomarker.ihc.reader import MAX_PIXELS, MAX_SIDE, Facts, TileCache, assemble_tiles, load_extra

__all__ = ["DicomReader", "dicom_series", "is_dicom"]

_PREAMBLE: Final = 132
_WSI_CLASS: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
_TAGS: Final = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "ImageType",
    "Rows",
    "Columns",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixFocalPlanes",
    "NumberOfOpticalPaths",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "PhotometricInterpretation",
    "DimensionOrganizationType",
    "ConcatenationUID",
    "OpticalPathSequence",
)
_MAX_FILES: Final = 4096
_MAX_TILE: Final = 2**14
_MAX_RATIO: Final = 1000
_JPEG: Final = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_COLOURS: Final = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})

logging.getLogger("wsidicom").setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True, slots=True)
class _Header:
    """What the header of one file says."""

    path: Path
    series: str
    kind: str
    height: int
    width: int
    tile: tuple[int, int]
    frames: int
    planes: int
    full: bool
    part: bool
    colour: str
    icc_profile: bool


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its preamble."""
    try:
        with path.open("rb") as stream:
            return stream.read(_PREAMBLE)[128:] == b"DICM"
    except OSError:
        return False


def dicom_series(path: Path) -> list[Path]:
    """Give the files of a slide: all of the folder, or those beside a file that share its series.

    Raises
    ------
    ItemError
        E-FILE-002 when a folder holds no DICOM slide, E-SLIDE-006 when it holds several.
    """
    return [header.path for header in _volume(path)]


def _volume(path: Path) -> list[_Header]:
    """Headers of the levels of the slide, the largest first."""
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_dicom(file))
    if len(files) > _MAX_FILES:
        raise refuse(
            "E-SLIDE-006",
            f"The folder holds more than {_MAX_FILES} DICOM files.",
            path.name,
            remedy="Put each slide into a folder of its own.",
        )
    headers = [header for header in (_header(file) for file in files) if header is not None]
    if not path.is_dir():
        own = [header.series for header in headers if header.path.name == path.name]
        headers = [header for header in headers if header.series in own]
    volume = sorted(
        (header for header in headers if header.kind == "VOLUME"),
        key=lambda h: (-h.height * h.width, h.path.name),
    )
    if not volume:
        raise refuse(
            "E-FILE-002" if path.is_dir() else "E-SLIDE-001",
            "There is no DICOM whole slide image in it.",
            path.name,
            remedy="Give a slide file, or a folder with the DICOM files of one slide.",
        )
    if len({header.series for header in volume}) > 1:
        raise refuse(
            "E-SLIDE-006",
            f"The folder holds {len({h.series for h in volume})} slides; which is meant is unknown.",
            path.name,
            remedy="Name one file of the slide, or put each slide into a folder of its own.",
        )
    return volume


def _header(path: Path) -> _Header | None:
    """Read a file's header; None where it is no whole slide image."""
    pydicom = load_extra("pydicom", "wsidicom", "dicom")
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        if str(found.get("SOPClassUID", "")) != _WSI_CLASS:
            return None
        kind = [str(part) for part in found.ImageType]
        paths = found.get("OpticalPathSequence") or []
        return _Header(
            path=path,
            series=str(found.SeriesInstanceUID),
            kind=kind[2] if len(kind) > 2 else "",
            height=int(found.TotalPixelMatrixRows),
            width=int(found.TotalPixelMatrixColumns),
            tile=(int(found.Rows), int(found.Columns)),
            frames=int(found.get("NumberOfFrames", 1)),
            planes=int(found.get("TotalPixelMatrixFocalPlanes", 1) or 1)
            * int(found.get("NumberOfOpticalPaths", 1) or 1),
            full=str(found.get("DimensionOrganizationType", "")) == "TILED_FULL",
            part="ConcatenationUID" in found,
            colour=f"{found.SamplesPerPixel} channel(s) of {found.BitsAllocated} bits, "
            f"{found.PhotometricInterpretation}",
            icc_profile=any("ICCProfile" in optical for optical in paths),
        )
    except Exception as error:  # pydicom raises many classes on a damaged file
        raise _unreadable(path.name, error) from error


class DicomReader:
    """A DICOM whole slide image.

    Parameters
    ----------
    path : Path
        A file of the slide, or the folder of its files.

    Raises
    ------
    MissingExtraError
        When wsidicom is not installed.
    ItemError
        E-FILE-002, E-SLIDE-001 (not readable), E-SLIDE-002 (cut short), E-SLIDE-005 (not 8-bit RGB),
        E-SLIDE-006 (several slides, focal planes or optical paths; claims more than the files can hold).
    """

    def __init__(self, path: Path) -> None:
        wsidicom = load_extra("wsidicom", "wsidicom", "dicom")
        self._name = path.name
        self._point = load_extra("wsidicom.geometry", "wsidicom", "dicom").Point
        headers = _volume(path)
        for header in headers:
            self._check(header)
        self._cache = TileCache()
        try:
            self._wsi: Any = wsidicom.WsiDicom.open([header.path for header in headers])
        except Exception as error:  # wsidicom and pydicom raise many classes on a damaged file
            raise _unreadable(self._name, error) from error
        try:
            self._images = [level.default_instance.image_data for level in self._wsi.pyramid.levels]
            self._compare(headers)
            self.stated_mpp = self._mpp()
            self.facts = Facts("dicom", any(header.icc_profile for header in headers))
        except ItemError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise _unreadable(self._name, error) from error

    def close(self) -> None:
        """Close the files."""
        self._wsi.close()

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, the finest first."""
        return tuple((image.image_size.height, image.image_size.width) for image in self._images)

    def _check(self, header: _Header) -> None:
        """Compare what a header claims with what the file can hold."""
        height, width, (rows, columns) = header.height, header.width, header.tile
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
            raise self._claim(f"The image claims {width} x {height} px.")
        if not (0 < rows <= _MAX_TILE and 0 < columns <= _MAX_TILE):
            raise self._claim(f"The image claims tiles of {columns} x {rows} px.")
        if header.planes > 1:
            raise self._claim("The slide has several focal planes or optical paths; one is read.")
        channels = header.colour.split()
        if (channels[0], channels[3]) != ("3", "8") or channels[-1] not in _COLOURS:
            raise refuse(
                "E-SLIDE-005",
                f"The image is not 8-bit RGB: {header.colour}.",
                self._name,
                remedy="Export the brightfield image as 8-bit RGB.",
            )
        expected = math.ceil(height / rows) * math.ceil(width / columns)
        if header.frames > expected or (header.full and not header.part and header.frames != expected):
            raise self._claim(f"The image needs {expected} tiles and lists {header.frames}.")
        stored = max(header.path.stat().st_size, 1)
        if header.frames * rows * columns * 3 > _MAX_RATIO * stored:
            raise self._claim(f"The image claims more than {_MAX_RATIO} times its stored bytes.")

    def _compare(self, headers: Sequence[_Header]) -> None:
        """Find levels that were passed over."""
        wanted = {(header.height, header.width) for header in headers}
        if set(self.shapes) != wanted:
            raise refuse(
                "E-SLIDE-002",
                f"{len(wanted)} levels are listed and {len(self.shapes)} can be read: a file is damaged.",
                self._name,
                remedy="Copy all files of the slide again.",
            )

    def _mpp(self) -> tuple[float, float] | None:
        spacing = self._images[0].pixel_spacing
        return None if spacing is None else (float(spacing.width) * 1000, float(spacing.height) * 1000)

    def read(
        self, level: int, y: int, x: int, h: int, w: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
        """Pixels of a region (Y, X, 3), and which of them the slide holds no data for (None: none)."""
        image = self._images[level]
        z, path = image.default_z, image.default_path
        across = image.tiled_size.width

        def fetch(row: int, column: int, part: tuple[slice, slice]) -> npt.NDArray[np.uint8] | None:
            point = self._point(column, row)
            if image.is_sparse(point, z, path):
                return None
            tile = self._cache.get(
                (level, row * across + column), lambda: self._decode(image, point, row * across + column)
            )
            return tile[part]

        size = (image.tile_size.height, image.tile_size.width)
        return assemble_tiles((y, x, h, w), size, self.shapes[level], fetch)

    def _decode(self, image: Any, point: Any, index: int) -> npt.NDArray[np.uint8]:
        try:
            encoded = bytes(image.get_encoded_tile(point, image.default_z, image.default_path))
            whole = str(image.transfer_syntax) not in _JPEG or (
                b"\xff\xd9" in encoded[-16:] and is_whole(encoded)
            )
            tile: npt.NDArray[np.uint8] = np.asarray(image.decoder.decode(encoded) if whole else [])
        except Exception as error:  # each codec raises its own class
            raise damaged_tile(self._name, index) from error
        if tile.dtype != np.uint8 or tile.shape != (image.tile_size.height, image.tile_size.width, 3):
            raise damaged_tile(self._name, index)
        return tile

    def _claim(self, message: str) -> ItemError:
        return refuse("E-SLIDE-006", message, self._name, remedy="Check the files; export the slide again.")


def _unreadable(name: str, error: Exception) -> ItemError:
    return refuse(
        "E-SLIDE-001",
        f"The DICOM slide cannot be read ({type(error).__name__}).",
        name,
        remedy="Copy all files of the slide again.",
    )

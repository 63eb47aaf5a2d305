"""PNG and JPEG fields: the header is read and the file checked to its end before anything is decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.jpegscan import is_whole
from pdbiomarker.ihc.pixelsize import refuse
from pdbiomarker.ihc.reader import Facts

__all__ = ["JPEG_MAGIC", "PNG_MAGIC", "PlainReader"]

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC: Final = b"\xff\xd8\xff"
_MAX_PIXELS: Final = 100_000_000
_MAX_FILE: Final = 512 * 2**20
_PNG_COLOUR: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_APP1, _APP2 = 0xE1, 0xE2
_EXIF: Final = b"Exif\x00\x00"
_ORIENTATION: Final = 274
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class PlainReader:
    """A PNG or JPEG field, decoded whole at the first read: one level, no pixel size of its own.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ItemError
        E-SLIDE-002 (cut short), E-SLIDE-005 (not 8-bit RGB, or turned), E-SLIDE-006 (more than 100 million
        pixels: such an image belongs into a tiled TIFF).
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self.stated_mpp: tuple[float, float] | None = None
        self._profile = False
        if path.stat().st_size > _MAX_FILE:
            raise refuse(
                "E-SLIDE-006",
                "A PNG or JPEG of more than 512 MB.",
                self._name,
                remedy="Save the slide as a tiled TIFF.",
            )
        self._data = path.read_bytes()
        self._png = self._data.startswith(PNG_MAGIC)
        width, height = self._check_png() if self._png else self._check_jpeg()
        if width <= 0 or height <= 0 or width * height > _MAX_PIXELS:
            raise refuse(
                "E-SLIDE-006",
                f"The image claims {width} x {height} px.",
                self._name,
                remedy="Save the slide as a tiled TIFF.",
                value=f"{width} x {height}",
            )
        if width * height * 3 > 1000 * len(self._data):
            raise refuse(
                "E-SLIDE-006",
                "The image claims more than 1,000 times its stored bytes.",
                self._name,
                remedy="Check the file.",
            )
        self.facts = Facts("png" if self._png else "jpeg", self._profile)
        self._shape = (height, width)
        self._pixels: npt.NDArray[np.uint8] | None = None

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width: one level."""
        return (self._shape,)

    def close(self) -> None:
        """Drop the pixels."""
        self._pixels = None
        self._data = b""

    def read(self, level: int, y: int, x: int, h: int, w: int) -> tuple[npt.NDArray[np.uint8], None]:
        """Pixels of a region (Y, X, 3); such files have no missing parts."""
        del level
        if self._pixels is None:
            self._pixels = self._decode()
        return self._pixels[y : y + h, x : x + w].copy(), None

    def _decode(self) -> npt.NDArray[np.uint8]:
        if not self._png and not is_whole(self._data):
            raise self._cut()
        try:
            image = imagecodecs.png_decode(self._data) if self._png else imagecodecs.jpeg8_decode(self._data)
        except Exception as error:  # the codecs' own classes derive from Exception alone
            raise self._cut() from error
        if image.shape[:2] != self._shape or image.dtype != np.uint8 or image.ndim != 3:
            raise self._kind("an unexpected layout")
        if image.shape[2] == 4:
            if np.any(image[..., 3] != 255):
                raise self._kind("partly transparent: its colour there is undefined")
            image = np.ascontiguousarray(image[..., :3])
        pixels: npt.NDArray[np.uint8] = image
        return pixels

    def _check_png(self) -> tuple[int, int]:
        """Width and height; every chunk is walked and its checksum tested, to the closing one."""
        data, at = self._data, len(PNG_MAGIC)
        header: tuple[int, ...] | None = None
        transparent = False
        while True:
            if at + 12 > len(data):
                raise self._cut()
            length, kind = struct.unpack_from(">I4s", data, at)
            end = at + 12 + length
            if end > len(data):
                raise self._cut()
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != checksum:
                raise self._cut()
            if kind == b"IHDR" and length == 13:
                header = struct.unpack_from(">IIBB", data, at + 8)
            transparent |= kind == b"tRNS"
            self._profile |= kind == b"iCCP"
            if kind == b"eXIf":
                self._check_upright(data[at + 8 : end - 4])
            if kind == b"IEND":
                break
            at = end
        if header is None:
            raise self._cut()
        width, height, depth, colour = header
        if depth != 8 or colour not in {2, 6} or transparent:
            raise self._kind(f"{depth}-bit {_PNG_COLOUR.get(colour, 'of unknown colour type')}")
        return width, height

    def _check_jpeg(self) -> tuple[int, int]:
        """Width and height from the frame header; the closing marker must be there."""
        data, at = self._data, 2
        while at + 4 <= len(data):
            if data[at] != 0xFF:
                break
            marker = data[at + 1]
            if marker == 0xFF or 0xD0 <= marker <= 0xD8:
                at += 1 if marker == 0xFF else 2
                continue
            (length,) = struct.unpack_from(">H", data, at + 2)
            if marker in _START_OF_FRAME and at + 10 <= len(data):
                depth, height, width, samples = struct.unpack_from(">BHHB", data, at + 4)
                if depth != 8 or samples != 3:
                    raise self._kind(f"{samples} channel(s) of {depth} bits")
                if b"\xff\xd9" not in data[-64:]:
                    raise self._cut()
                return width, height
            if marker == _APP1 and data.startswith(_EXIF, at + 4):
                self._check_upright(data[at + 4 + len(_EXIF) : at + 2 + length])
            self._profile |= marker == _APP2 and data.startswith(b"ICC_PROFILE", at + 4)
            at += 2 + length
        raise self._cut()

    def _check_upright(self, exif: bytes) -> None:
        """Refuse an image that a viewer would turn: positions would not be those that people see."""
        turned = _orientation(exif)
        if turned != 1:
            raise refuse(
                "E-SLIDE-005",
                f"The image is stored mirrored or turned (orientation {turned}).",
                self._name,
                remedy="Save the image upright, so that positions and regions fit.",
                value=turned,
            )

    def _cut(self) -> Exception:
        return refuse(
            "E-SLIDE-002", "The image is cut short or damaged.", self._name, remedy="Copy the file again."
        )

    def _kind(self, found: str) -> Exception:
        return refuse(
            "E-SLIDE-005",
            f"The image is not 8-bit RGB: {found}.",
            self._name,
            remedy="Export the brightfield image as 8-bit RGB.",
        )


def _orientation(exif: bytes) -> int:
    """Orientation of an EXIF block: 1 (upright) where it states none, or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(min(count, 256)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if (tag, kind) == (_ORIENTATION, 3):
                return int(value)
    except struct.error:
        return 1
    return 1

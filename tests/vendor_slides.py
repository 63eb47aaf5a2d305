"""Small slides in vendors' layouts for tests: MRXS (index, data, ini) and NDPI (a TIFF with its tags)."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

MRXS_TILE = 64
_SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"


def _jpeg(tile: Pixels) -> bytes:
    return imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), level=98)


def write_mrxs(
    path: Path,
    image: Pixels,
    *,
    mpp: float = 0.5,
    at: tuple[int, int] = (2, 2),
    grid: tuple[int, int] = (6, 8),
) -> Path:
    """Two levels. The image lies at tile `at` (row, column) of an empty grid; black tiles are left out."""
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(_jpeg(np.full((32, 32, 3), 9, np.uint8)))
    data = b""
    levels: list[list[tuple[int, int, int]]] = []
    for factor in (1, 2):
        small = image if factor == 1 else _halved(image)
        items = []
        for y in range(0, small.shape[0], MRXS_TILE):
            for x in range(0, small.shape[1], MRXS_TILE):
                tile = small[y : y + MRXS_TILE, x : x + MRXS_TILE]
                if not tile.any():
                    continue
                row, column = at[0] + factor * y // MRXS_TILE, at[1] + factor * x // MRXS_TILE
                encoded = _jpeg(tile)
                items.append((row * grid[1] + column, len(data), len(encoded)))
                data += encoded
        levels.append(items)
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(_index(levels))
    (folder / "Slidedat.ini").write_text(_ini(grid, mpp), encoding="utf-8-sig")
    return path


def _halved(image: Pixels) -> Pixels:
    h, w = image.shape[:2]
    return np.rint(image.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))).astype(np.uint8)


def _index(levels: list[list[tuple[int, int, int]]]) -> bytes:
    head = b"01.02" + _SLIDE_ID.encode()
    table = len(head) + 8
    at = table + 4 * len(levels)
    pointers, body = b"", b""
    for items in levels:
        pointers += struct.pack("<i", at + len(body))
        page = at + len(body) + 8
        body += struct.pack("<ii", 0, page) + struct.pack("<ii", len(items), 0)
        for image, offset, length in items:
            body += struct.pack("<iiii", image, offset, length, 0)
    return head + struct.pack("<ii", table, at + len(body)) + pointers + body + bytes(8)


def _ini(grid: tuple[int, int], mpp: float) -> str:
    text = f"""[GENERAL]
SLIDE_ID = {_SLIDE_ID}
IMAGENUMBER_X = {grid[1]}
IMAGENUMBER_Y = {grid[0]}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 2
HIER_0_VAL_0_SECTION = L0
HIER_0_VAL_1_SECTION = L1
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
"""
    for level in (0, 1):
        text += f"""[L{level}]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {mpp * 2**level}
MICROMETER_PER_PIXEL_Y = {mpp * 2**level}
IMAGE_FORMAT = JPEG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {MRXS_TILE}
DIGITIZER_HEIGHT = {MRXS_TILE}
IMAGE_CONCAT_FACTOR = {level}
"""
    return text


def write_ndpi(path: Path, image: Pixels, *, mpp: float = 0.5) -> Path:
    """One level, one JPEG strip, and the tags by which the format is known; then a macro image."""
    tags = [
        (65420, "I", 1, 1, True),
        (65422, "i", 1, 0, True),
        (65423, "i", 1, 0, True),
        (65424, "i", 1, 0, True),
        (65442, "s", 0, "NDP-4711", True),
    ]
    with tifffile.TiffWriter(path) as tiff:
        for pixels, lens in ((image, 20.0), (np.full((64, 96, 3), (255, 0, 255), np.uint8), -1.0)):
            tiff.write(
                pixels,
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 98},
                rowsperstrip=pixels.shape[0],
                resolution=(1e4 / mpp, 1e4 / mpp),
                resolutionunit="CENTIMETER",
                extratags=[*tags, (65421, "f", 1, lens, True)],
                metadata=None,
            )
    return path

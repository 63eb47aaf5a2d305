"""A TIFF of given tags and given tiles, with nothing else in it."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from pdbiomarker.ihc.privacy.directories import SUB_IFDS

__all__ = ["Image", "Value", "write_tiff"]

#: (type, values as bytes in little-endian order, number of values)
type Value = tuple[int, bytes, int]
_CLASSIC_LIMIT: Final = 4_000_000_000
_LONG, _LONG8, _ASCII = 4, 16, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """One image to write.

    Attributes
    ----------
    tags : mapping of int to Value
        All but where its tiles lie.
    segments : tuple of (int, int)
        Offset and bytes of every tile in the source; 0, 0 for one that is not there.
    tiled : bool
        Tiles, else strips.
    clean : callable
        What is written of a segment.
    """

    tags: Mapping[int, Value]
    segments: tuple[tuple[int, int], ...]
    tiled: bool
    clean: Callable[[bytes], bytes]


def write_tiff(source: BinaryIO, target: Path, images: Sequence[Image], *, below: bool) -> None:
    """Write images one after the other, tile by tile.

    Parameters
    ----------
    source : stream
        Where the tiles come from.
    target : Path
        Overwritten.
    images : sequence of Image
        The slide first, then its reductions.
    below : bool
        The reductions stand below the first (SubIFDs, as OME-TIFF has them), else behind it.
    """
    promised = sum(length for image in images for _, length in image.segments)
    entries = sum(len(image.segments) for image in images)
    big = promised + 32 * entries + (1 << 20) > _CLASSIC_LIMIT
    with target.open("wb") as out:
        out.write(bytes(16 if big else 8))
        placed = [_copy(source, out, image) for image in images]
        offsets = [0] * len(images)
        # From the last to the first: a directory names those that follow it or stand below it.
        for i in reversed(range(len(images))):
            following = 0 if below or i + 1 == len(images) else offsets[i + 1]
            tags = {**images[i].tags, **_places(images[i].tiled, placed[i], big=big)}
            if below and i == 0 and len(images) > 1:
                tags[SUB_IFDS] = _pointers(offsets[1:], big=big)
            offsets[i] = _directory(out, tags, following, big=big)
        out.seek(0)
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, offsets[0]) if big else b""
        out.write(head or struct.pack("<2sHI", b"II", 42, offsets[0]))


def _copy(source: BinaryIO, out: BinaryIO, image: Image) -> list[tuple[int, int]]:
    """Copy the segments of an image; those that share their bytes in the source share them here."""
    placed: dict[tuple[int, int], tuple[int, int]] = {}
    found = []
    for offset, length in image.segments:
        if not offset or not length:
            found.append((0, 0))
            continue
        if (offset, length) not in placed:
            source.seek(offset)
            data = image.clean(source.read(length))
            _align(out)
            placed[offset, length] = (out.tell(), len(data))
            out.write(data)
        found.append(placed[offset, length])
    return found


def _places(tiled: bool, placed: Sequence[tuple[int, int]], *, big: bool) -> dict[int, Value]:
    offsets, counts = (324, 325) if tiled else (273, 279)
    return {
        offsets: _pointers([start for start, _ in placed], big=big),
        counts: _pointers([length for _, length in placed], big=big),
    }


def _pointers(values: Sequence[int], *, big: bool) -> Value:
    letter, kind = ("Q", _LONG8) if big else ("I", _LONG)
    return kind, struct.pack(f"<{len(values)}{letter}", *values), len(values)


def _directory(out: BinaryIO, tags: Mapping[int, Value], following: int, *, big: bool) -> int:
    letter, inline = ("Q", 8) if big else ("I", 4)
    entries = []
    for code, (kind, data, count) in sorted(tags.items()):
        if len(data) <= inline:
            value = data + bytes(inline - len(data))
        else:
            _align(out)
            value = struct.pack(f"<{letter}", out.tell())
            out.write(data)
        entries.append(struct.pack(f"<HH{letter}", code, kind, count) + value)
    _align(out)
    start = out.tell()
    out.write(struct.pack("<Q" if big else "<H", len(entries)))
    out.write(b"".join(entries) + struct.pack(f"<{letter}", following))
    return start


def _align(out: BinaryIO) -> None:
    out.write(bytes(out.tell() % 2))

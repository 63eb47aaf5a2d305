"""The directories of a TIFF, as they stand in the file: every tag with its bytes, and where those bytes lie.

A reader of pixels looks for what it needs; this looks at everything, so that what a file holds can be listed
and what a copy holds can be proved. Classic TIFF and BigTIFF; all sizes are checked against the file first.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["Directory", "Tag", "TiffLayout", "read_layout"]

_MAX_DIRECTORIES: Final = 512
_MAX_TAGS: Final = 4096
_MAX_VALUE: Final = 256 * 2**20
SUB_IFDS: Final = 330
#: Bytes of one value, by the number of its type.
SIZES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
}
SIZES_BIG: Final = frozenset({16, 17, 18})
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 17: "q", 18: "Q", 6: "b", 8: "h", 9: "i"}
_OFFSETS, _COUNTS = (273, 324), (279, 325)


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """One tag.

    Attributes
    ----------
    code, kind, count : int
        Its number, the number of its type, and how many values it has.
    data : bytes
        The values as they stand in the file.
    order : {"<", ">"}
        Byte order.
    """

    code: int
    kind: int
    count: int
    data: bytes
    order: str

    def integers(self) -> tuple[int, ...]:
        """Return the values of an integer tag; empty for any other."""
        letter = _INTEGERS.get(self.kind)
        return () if letter is None else struct.unpack(f"{self.order}{self.count}{letter}", self.data)


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """One image: its tags, and the reductions below it.

    Attributes
    ----------
    offset : int
        Where it stands in the file.
    tags : dict of int to Tag
    below : tuple of Directory
        Those that its tag SubIFDs names.
    """

    offset: int
    tags: dict[int, Tag]
    below: tuple[Directory, ...]

    def number(self, code: int, default: int = 0) -> int:
        """Return the first value of an integer tag."""
        values = self.tags[code].integers() if code in self.tags else ()
        return values[0] if values else default

    def segments(self) -> tuple[tuple[int, int], ...]:
        """Return offset and bytes of every tile or strip."""
        offsets, counts = (
            next((self.tags[code].integers() for code in codes if code in self.tags), ())
            for codes in (_OFFSETS, _COUNTS)
        )
        return tuple(zip(offsets, counts, strict=False))

    def walk(self) -> Iterator[Directory]:
        """Give the directory and all below it."""
        yield self
        for one in self.below:
            yield from one.walk()


@dataclasses.dataclass(frozen=True, slots=True)
class TiffLayout:
    """All directories of a file, and the stretches of it that they and their values take.

    Attributes
    ----------
    big : bool
        BigTIFF.
    order : {"<", ">"}
    directories : tuple of Directory
        The chain; those below stand in them.
    spans : tuple of (int, int)
        Start and end of the header, of every directory and of every value outside its directory.
    size : int
        Bytes of the file.
    """

    big: bool
    order: str
    directories: tuple[Directory, ...]
    spans: tuple[tuple[int, int], ...]
    size: int

    def every(self) -> Iterator[Directory]:
        """Give every directory, those below included."""
        for one in self.directories:
            yield from one.walk()

    def gaps(self) -> list[tuple[int, int]]:
        """Give the stretches that belong to no header, directory, value, tile or strip."""
        taken = [*self.spans, (self.size, self.size)]
        for one in self.every():
            taken += [(start, start + length) for start, length in one.segments() if start and length]
        found, at = [], 0
        for start, end in sorted(taken):
            if start > at:
                found.append((at, min(start, self.size)))
            at = max(at, end)
        return found


def read_layout(path: Path) -> TiffLayout:
    """Read all directories of a TIFF.

    Raises
    ------
    ValueError
        The file is no TIFF, or its directories do not fit into it.
    OSError
        It cannot be read.
    """
    with path.open("rb") as stream:
        return _Walker(stream, path.stat().st_size).walk()


class _Walker:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self._spans: list[tuple[int, int]] = []
        self._seen: set[int] = set()
        self._big, self._order = False, "<"

    def walk(self) -> TiffLayout:
        head = self._read(0, 8)
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self._order:
            raise ValueError("it does not begin as a TIFF")
        version = self._unpack("H", head[2:4])
        if version not in {42, 43}:
            raise ValueError("it does not begin as a TIFF")
        self._big = version == 43
        length = 16 if self._big else 8
        self._spans.append((0, length))
        head = self._read(0, length)
        at = self._unpack("Q", head[8:16]) if self._big else self._unpack("I", head[4:8])
        chain = []
        while at:
            directory, at = self._directory(at)
            chain.append(directory)
        if not chain:
            raise ValueError("it has no image")
        return TiffLayout(self._big, self._order, tuple(chain), tuple(sorted(self._spans)), self._size)

    def _directory(self, at: int, depth: int = 0) -> tuple[Directory, int]:
        if at in self._seen or len(self._seen) >= _MAX_DIRECTORIES or depth > 8:
            raise ValueError("its directories run in a circle, or are too many")
        self._seen.add(at)
        number_format, entry, pointer = ("Q", 20, 8) if self._big else ("H", 12, 4)
        width = struct.calcsize(f"{self._order}{number_format}")
        count = self._unpack(number_format, self._read(at, width))
        if count > _MAX_TAGS:
            raise ValueError(f"a directory claims {count} tags")
        block = self._read(at + width, count * entry + pointer)
        self._spans.append((at, at + width + len(block)))
        tags: dict[int, Tag] = {}
        for i in range(count):
            tag = self._tag(block[i * entry : (i + 1) * entry])
            if tag.code in tags:
                raise ValueError(f"tag {tag.code} stands twice in a directory")
            tags[tag.code] = tag
        following = self._unpack("Q" if self._big else "I", block[count * entry :])
        below = tags[SUB_IFDS].integers() if SUB_IFDS in tags else ()
        lower = []
        for one in below:  # each may have others behind it in a chain of its own
            place = one
            while place:
                directory, place = self._directory(place, depth + 1)
                lower.append(directory)
        return Directory(at, tags, tuple(lower)), following

    def _tag(self, entry: bytes) -> Tag:
        code, kind = struct.unpack(f"{self._order}HH", entry[:4])
        count = self._unpack("Q" if self._big else "I", entry[4 : 12 if self._big else 8])
        value = entry[12:] if self._big else entry[8:]
        each = 8 if kind in SIZES_BIG else SIZES.get(kind)
        if each is None:
            raise ValueError(f"tag {code} is of the unknown type {kind}")
        length = each * count
        if length > min(_MAX_VALUE, self._size):
            raise ValueError(f"tag {code} claims {length} bytes")
        if length <= len(value):
            return Tag(code, kind, count, value[:length], self._order)
        start = self._unpack("Q" if self._big else "I", value)
        data = self._read(start, length)
        self._spans.append((start, start + length))
        return Tag(code, kind, count, data, self._order)

    def _read(self, at: int, length: int) -> bytes:
        if at < 0 or at + length > self._size:
            raise ValueError("a directory or a value lies beyond the end of the file")
        self._stream.seek(at)
        return self._stream.read(length)

    def _unpack(self, letter: str, data: bytes) -> int:
        return int(struct.unpack(f"{self._order}{letter}", data)[0])

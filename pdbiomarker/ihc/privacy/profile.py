"""A colour profile (ICC) without its texts: curves and matrices stay, maker, date and description go."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["clean_profile", "dropped_parts"]

_HEADER: Final = 128
_MOST_TAGS: Final = 100
#: Parts that say how colours are to be computed, all of them numbers.
_COLOUR: Final = frozenset(
    {b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"bkpt", b"chad", b"lumi", b"rTRC", b"gTRC", b"bTRC", b"kTRC"}
    | {f"{a}2{b}{i}".encode() for a, b in (("A", "B"), ("B", "A")) for i in range(3)}
    | {b"gamt"}
)
_NUMBERS: Final = frozenset({b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA "})
_TEXT: Final = b"colour profile"


def clean_profile(profile: bytes) -> bytes:
    """Return the profile with its colour parts only; empty when it cannot be followed.

    The header keeps version, class and colour spaces; maker, model, creator, date and id are zeroed. The
    description and copyright that the standard asks for are neutral words.
    """
    parts: list[tuple[bytes, bytes]] = [(b"cprt", _text()), (b"desc", _description())]
    own = _parts(profile)
    parts += [(name, data) for name, data in own if _is_colour(name, data)]
    return _built(profile[:_HEADER], sorted(parts)) if own else b""


def dropped_parts(profile: bytes) -> bytes:
    """Return the parts of a profile that :func:`clean_profile` leaves out, one behind the other."""
    return b"\0".join(data for name, data in _parts(profile) if not _is_colour(name, data))


def _is_colour(name: bytes, data: bytes) -> bool:
    return name in _COLOUR and data[:4] in _NUMBERS


def _parts(profile: bytes) -> list[tuple[bytes, bytes]]:
    """Give the parts of a profile that lie in it; none when it cannot be followed."""
    if len(profile) < _HEADER + 4 or profile[36:40] != b"acsp":
        return []
    count = struct.unpack(">I", profile[_HEADER : _HEADER + 4])[0]
    table = profile[_HEADER + 4 : _HEADER + 4 + 12 * count]
    if count > _MOST_TAGS or len(table) < 12 * count:
        return []
    found = []
    for i in range(count):
        name, start, length = struct.unpack(">4sII", table[12 * i : 12 * i + 12])
        data = profile[start : start + length]
        if len(data) == length:
            found.append((name, data))
    return found


def _built(head: bytes, parts: list[tuple[bytes, bytes]]) -> bytes:
    at = _HEADER + 4 + 12 * len(parts)
    table, body = b"", b""
    placed: dict[bytes, int] = {}
    for name, data in parts:
        if data not in placed:  # curves are often shared
            placed[data] = at + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, placed[data], len(data))
    clean = bytearray(head)
    for start, end in ((4, 8), (24, 36), (40, 44), (48, 64), (80, 128)):  # maker, date, platform, model, id
        clean[start:end] = bytes(end - start)
    clean[0:4] = struct.pack(">I", at + len(body))
    return bytes(clean) + struct.pack(">I", len(parts)) + table + body


def _text() -> bytes:
    return b"text" + bytes(4) + _TEXT + b"\0"


def _description() -> bytes:
    ascii_part = struct.pack(">I", len(_TEXT) + 1) + _TEXT + b"\0"
    return b"desc" + bytes(4) + ascii_part + bytes(8) + bytes(2) + bytes(1) + bytes(67)

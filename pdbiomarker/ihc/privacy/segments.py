"""Tiles without their comments: the coded pixels byte for byte, nothing beside them.

A JPEG or JPEG 2000 tile is a stream of its own and may hold comments, EXIF, XMP, a thumbnail, or anything
after its end. Those parts are left out; the coded pixels and the tables to decode them are not touched.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

__all__ = ["clean_segment"]

_JPEG: Final = frozenset({7})
_JPEG_2000: Final = frozenset({33003, 33004, 33005, 34712})
_DEFLATE: Final = frozenset({8, 32946})
_NONE: Final = 1
# Markers of JPEG that decoding needs: frames, Huffman and arithmetic tables, quantisation, restarts, lines.
_NEEDED: Final = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD}) - {0xC8}
# Adobe's segment says how the colours are coded, JFIF's that they are YCbCr: numbers, of this length.
_ADOBE, _ADOBE_LENGTH = 0xEE, 14
_JFIF, _JFIF_LENGTH = 0xE0, 16
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_J2K_START, _J2K_TILE, _J2K_COMMENT = b"\xff\x4f", 0xFF90, 0xFF64


def clean_segment(data: bytes, compression: int, expected: int) -> bytes:
    """Return a tile or strip, or the tables that tiles share, without what is no pixel.

    Parameters
    ----------
    data : bytes
        As it stands in the file.
    compression : int
        Number of the TIFF tag.
    expected : int
        Bytes of the pixels when they are not compressed.

    Raises
    ------
    ValueError
        The stream cannot be followed, so that nothing can be said of what it holds.
    """
    if not data:
        return data
    if compression in _JPEG:
        return _clean_jpeg(data)
    if compression in _JPEG_2000:
        return _clean_codestream(data)
    if compression in _DEFLATE:
        return _clean_deflate(data)
    if compression == _NONE:
        return data[:expected]
    return data


def _clean_jpeg(data: bytes) -> bytes:
    if data[:2] != b"\xff\xd8":
        raise ValueError("a JPEG tile does not begin as one")
    kept, at = [data[:2]], 2
    while True:
        start = at
        if data[at : at + 1] != b"\xff":
            raise ValueError("a JPEG tile holds what is no segment of it")
        while data[at : at + 1] == b"\xff":  # fill bytes
            at += 1
        if at >= len(data):
            raise ValueError("a JPEG tile has no end")
        marker = data[at]
        at += 1
        if marker == _EOI:
            return b"".join([*kept, b"\xff\xd9"])
        if marker in {0x00, 0x01, _SOI, *range(0xD0, 0xD8)}:
            raise ValueError("a JPEG tile holds a marker out of place")
        length = int.from_bytes(data[at : at + 2], "big")
        end = at + length
        if length < 2 or end > len(data):
            raise ValueError("a segment of a JPEG tile is cut short")
        if marker == _SOS:
            found = _AFTER_SCAN.search(data, end)
            if found is None:
                raise ValueError("a JPEG tile has no end")
            kept.append(data[start : found.start()])
            at = found.start()
            continue
        if marker in _NEEDED:
            kept.append(data[start:end])
        elif marker == _ADOBE and length >= _ADOBE_LENGTH and data[at + 2 : at + 7] == b"Adobe":
            kept.append(b"\xff\xee" + struct.pack(">H", _ADOBE_LENGTH) + data[at + 2 : at + _ADOBE_LENGTH])
        elif marker == _JFIF and length >= _JFIF_LENGTH and data[at + 2 : at + 7] == b"JFIF\0":
            plain = data[at + 2 : at + _JFIF_LENGTH - 2] + bytes(2)  # without its thumbnail
            kept.append(b"\xff\xe0" + struct.pack(">H", _JFIF_LENGTH) + plain)
        at = end


def _clean_codestream(data: bytes) -> bytes:
    """Leave the comments of the main header of a JPEG 2000 stream out."""
    if data[:2] != _J2K_START:
        raise ValueError("a JPEG 2000 tile does not begin as a codestream")
    kept, at = [data[:2]], 2
    while True:
        head = data[at : at + 4]
        if len(head) < 4:
            raise ValueError("a JPEG 2000 tile is cut short")
        marker, length = struct.unpack(">HH", head)
        if marker == _J2K_TILE:
            break
        if marker < 0xFF00 or at + 2 + length > len(data):
            raise ValueError("the header of a JPEG 2000 tile cannot be followed")
        if marker != _J2K_COMMENT:
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    end = data.rfind(b"\xff\xd9")
    if end < at:
        raise ValueError("a JPEG 2000 tile has no end")
    return b"".join([*kept, data[at : end + 2]])


def _clean_deflate(data: bytes) -> bytes:
    """Cut what follows the end of a deflate stream."""
    stream = zlib.decompressobj()
    piece, rest = b"", data
    while not stream.eof:
        piece = stream.decompress(rest, 1 << 20)
        rest = stream.unconsumed_tail
        if not piece and not rest and not stream.eof:
            raise ValueError("a deflate tile has no end")
    return data[: len(data) - len(stream.unused_data)]

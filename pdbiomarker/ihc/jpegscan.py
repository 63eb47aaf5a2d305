"""Whether the inside of a JPEG is sound: its coded data are walked to their end, as no decoder tells.

A JPEG has no checksum, and decoders show damage as wrong pixels without a word. What they pass over is tested
here (ITU-T T.81, annexes A, B and F): every code is one of the table; no block has more than 64 coefficients;
none is larger than 8-bit samples can make; restart markers come in their turn; the last block ends where the
closing marker begins. Damage that by chance leaves all of it true is not found. Walked are baseline and
extended sequential Huffman JPEGs of 8 bits in one scan, as scanners write them; of the others
nothing is said.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.compiled import kernel

__all__ = ["is_whole"]

Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
#: Tables (8, _ROW) by class and number; blocks of a unit (n, 3): component, tables; largest size of each
#: coefficient (components, 64); quantiser of the mean (components,); units; units between restarts.
_Layout = tuple[Int64, Int64, Int64, Int64, int, int]

_START, _END, _SCAN, _HUFFMAN, _QUANTISERS, _RESTART = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD
_SEQUENTIAL: Final = {0xC0, 0xC1}
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A table: entries by the next 9 bits (length << 8 | symbol; 0: a longer code), then by length the first code
# beyond (left-aligned to 16 bits) and what added to a code gives the place of its symbol, then the symbols.
_FAST = 9
_BEYOND, _SHIFT, _SYMBOLS = 512, 512 + 17, 512 + 34
_ROW: Final = _SYMBOLS + 256
# The mean of 8-bit samples is at most 1,024 as a coefficient; so are the others (T.81, A.3.3), which encoders
# that sharpen may take somewhat beyond.
_MEAN: Final = 1024
_LARGEST: Final = 1280


def is_whole(data: bytes, tables: bytes | None = None) -> bool:
    """Whether nothing speaks against the coded data of a JPEG.

    Parameters
    ----------
    data : bytes
        A JPEG, or a tile of a TIFF. What follows its end is not looked at.
    tables : bytes, optional
        The tables that its tiles share (TIFF tag 347).

    Returns
    -------
    bool
        False: it is damaged. True: it is sound as far as that shows, or of a kind that is not walked.
    """
    start = max((end for marker, _, end in _segments(data) if marker == _SCAN), default=0)
    layout = _layout(tables or b"", bytes(data[:start])) if start else None
    return layout is None or bool(_walk(np.frombuffer(data, np.uint8), start, *layout))


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment, the first start of a scan being the last."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker in {_START, _END} or end > len(data):
            return
        yield marker, data[at + 4 : end], end
        if marker == _SCAN:
            return
        at = end


@functools.lru_cache(maxsize=64)
def _layout(shared: bytes, header: bytes) -> _Layout | None:
    """How the coded data are to be read; None: not of the kind that is walked, or not understood."""
    try:
        return _read_layout(shared, header)
    except (IndexError, KeyError, ValueError, ZeroDivisionError, struct.error):
        return None  # a damaged header: the decoder says what is wrong


def _read_layout(shared: bytes, header: bytes) -> _Layout | None:
    tables = np.zeros((8, _ROW), np.int64)
    known: set[int] = set()
    quantisers: dict[int, Int64] = {}
    frame, scan, interval = b"", b"", 0
    for marker, content, _ in (*_segments(shared), *_segments(header)):
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL or frame:
                return None
            frame = content
        elif marker == _HUFFMAN:
            known |= _read_codes(content, tables)
        elif marker == _QUANTISERS:
            quantisers |= _read_quantisers(content)
        elif marker == _RESTART:
            (interval,) = struct.unpack(">H", content)
        elif marker == _SCAN:
            scan = content
    bits, height, width, n = struct.unpack_from(">BHHB", frame)
    if bits != 8 or not (height and width and n) or scan[0] != n:
        return None
    components = np.frombuffer(frame, np.uint8, 3 * n, 6).reshape(n, 3).astype(int)
    chosen = np.frombuffer(scan, np.uint8, 2 * n, 1).reshape(n, 2).astype(int)
    across, down = components[:, 1] >> 4, components[:, 1] & 15
    if n == 1:  # a lone component is not grouped into units, whatever its sampling
        across = down = np.ones(1, int)
    if np.any(components[:, 0] != chosen[:, 0]) or min(across.min(), down.min()) < 1:
        return None
    rows = np.column_stack([np.arange(n), chosen[:, 1] >> 4, 4 + (chosen[:, 1] & 15)])
    if not known.issuperset(rows[:, 1:].ravel().tolist()):
        return None
    units = -(-width // (8 * across.max())) * -(-height // (8 * down.max()))
    steps = np.stack([quantisers[number] for number in components[:, 2].tolist()])
    largest = np.floor(np.log2(_LARGEST / steps + 1)).astype(np.int64) + 1
    blocks = np.repeat(rows, across * down, axis=0).astype(np.int64)
    return tables, blocks, largest, np.ascontiguousarray(steps[:, 0]), int(units), interval


def _read_quantisers(content: bytes) -> dict[int, Int64]:
    found, at = {}, 0
    while at < len(content):
        kind = ">u2" if content[at] >> 4 else ">u1"
        steps = np.frombuffer(content, kind, 64, at + 1).astype(np.int64)
        found[content[at] & 15] = np.maximum(steps, 1)
        at += 1 + 64 * int(kind[-1])
    return found


def _read_codes(content: bytes, tables: Int64) -> set[int]:
    """Write tables of codes into their rows; which rows."""
    found, at = set(), 0
    while at < len(content):
        row = 4 * (content[at] >> 4) + (content[at] & 15)
        lengths = np.frombuffer(content, np.uint8, 16, at + 1).astype(np.int64)
        n = int(lengths.sum())
        if row >= len(tables) or n > 256 or float(np.sum(lengths / 2.0 ** np.arange(1, 17))) > 1:
            raise ValueError("no table of codes")
        tables[row] = 0
        tables[row, _SYMBOLS : _SYMBOLS + n] = np.frombuffer(content, np.uint8, n, at + 17)
        _assign(lengths, tables[row])
        found.add(row)
        at += 17 + n
    return found


@kernel
def _assign(lengths: Int64, table: Int64) -> None:
    code, place = 0, 0
    for length in range(1, 17):
        table[_SHIFT + length] = place - code
        for _ in range(lengths[length - 1]):
            if length <= _FAST:
                first = code << (_FAST - length)
                for entry in range(first, first + (1 << (_FAST - length))):
                    table[entry] = (length << 8) | table[_SYMBOLS + place]
            code += 1
            place += 1
        table[_BEYOND + length] = code << (16 - length)
        code <<= 1


@kernel
def _refill(data: Bytes, at: int, bits: int, held: int, lent: int) -> tuple[int, int, int, int]:
    """Take bytes until more than 40 bits wait; beyond the data, or at a marker, zeros are lent."""
    bits &= (1 << held) - 1
    while held <= 40:
        byte = 0
        if at < len(data) and data[at] != 0xFF:
            byte = int(data[at])
            at += 1
        elif at + 1 < len(data) and data[at + 1] == 0:
            byte = 0xFF
            at += 2
        else:
            lent += 8
        bits = (bits << 8) | byte
        held += 8
    return at, bits, held, lent


@kernel
def _symbol(tables: Int64, row: int, bits: int, held: int) -> tuple[int, int]:
    """Length of the next code and its symbol; a length of 17 where there is no such code."""
    entry = tables[row, (bits >> (held - _FAST)) & 0x1FF]
    if entry != 0:
        return entry >> 8, entry & 0xFF
    ahead = (bits >> (held - 16)) & 0xFFFF
    length = _FAST + 1
    while length <= 16 and ahead >= tables[row, _BEYOND + length]:
        length += 1
    if length > 16:
        return length, 0
    return length, tables[row, _SYMBOLS + tables[row, _SHIFT + length] + (ahead >> (16 - length))]


@kernel
def _at_marker(data: Bytes, at: int) -> int:
    """Where the last of several fill bytes stands."""
    while at + 1 < len(data) and data[at] == 0xFF and data[at + 1] == 0xFF:
        at += 1
    return at


@kernel
def _walk(  # noqa: PLR0912 - one loop over the coefficients
    data: Bytes,
    start: int,
    tables: Int64,
    blocks: Int64,
    largest: Int64,
    steps: Int64,
    units: int,
    interval: int,
) -> bool:
    """Walk the coded data. `held` bits wait in `bits`; `lent` of them lie beyond the data."""
    at, bits, held, lent, turn = start, 0, 0, 0, 0
    means = np.zeros(len(steps), np.int64)
    for unit in range(units):
        if interval and unit and unit % interval == 0:
            at = _at_marker(data, at)
            if held - lent >= 8 or at + 1 >= len(data) or data[at] != 0xFF or data[at + 1] != 0xD0 + turn:
                return False
            at, bits, held, lent, turn = at + 2, 0, 0, 0, (turn + 1) % 8
            means[:] = 0
        for block in range(len(blocks)):
            component = blocks[block, 0]
            k = 0
            while k < 64:
                if held < 32:
                    at, bits, held, lent = _refill(data, at, bits, held, lent)
                length, symbol = _symbol(tables, blocks[block, 2 if k else 1], bits, held)
                if length > 16:
                    return False
                held -= length
                if k:
                    run, size = symbol >> 4, symbol & 15
                    if size == 0:
                        if run == 0:
                            break
                        if run != 15 or k + 16 > 64:
                            return False
                        k += 16
                        continue
                    k += run
                    if k > 63 or size > largest[component, k]:
                        return False
                    held -= size
                elif symbol:
                    if symbol > 11:
                        return False
                    held -= symbol
                    value = (bits >> held) & ((1 << symbol) - 1)
                    means[component] += value if value >> (symbol - 1) else value - (1 << symbol) + 1
                    if abs(means[component]) > _MEAN // steps[component] + 1:
                        return False
                k += 1
        if held < lent:
            return False
    at = _at_marker(data, at)
    return held - lent < 8 and at + 1 < len(data) and data[at] == 0xFF and data[at + 1] != 0

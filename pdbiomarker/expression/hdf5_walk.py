"""Reads an HDF5 file whole, as a program of its own that may hang or crash: ``hdf5_walk.py FILE SECONDS``.

On a damaged file the HDF5 library may loop for ever, run out of memory or crash. This program is the one that
does (:mod:`pdbiomarker.expression.hdf5_probe` starts it). It needs h5py and numpy only. What h5py raises is
not told: the readers meet the same, if they read that part at all.

Each step (a link, an attribute, a slice of an array) may use so much time of the processor and not more: then
the system ends the program with SIGPROF. A slow disk or a busy machine does not count.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

try:
    import resource
    import signal
except ImportError:  # no such limits on Windows: the program that waits has one
    resource = signal = None  # type: ignore[assignment]

__all__ = ["FREE", "MAX_DEPTH", "MAX_ITEMS", "MAX_RATIO", "POINTER"]

#: An array may promise so much whatever is stored of it, bytes.
FREE: Final = 64 * 2**20
#: Beyond that, at most so many bytes for each that is stored: no compression of real data reaches it.
MAX_RATIO: Final = 1100
MAX_DEPTH: Final = 16
MAX_ITEMS: Final = 100_000
#: Bytes of a text of any length, in memory, at least.
POINTER: Final = 16

#: Bytes read at a time; one chunk may be larger, up to the second number.
_SLICE: Final = 16 * 2**20
_LARGEST: Final = 512 * 2**20
#: Chunks read at a time, and bytes reckoned for a text of any length.
_CHUNKS: Final = 1000
_TEXT: Final = 160
#: No slice of an array is begun later than this many seconds after the first.
_READING: Final = 20.0
#: Address space, bytes.
_SPACE: Final = 4 * 2**30


#: Seconds of the processor for a step, and for each 100 MB of an array that it reads: of the command line.
_seconds = 3.0


def main(path: str) -> str:
    """Walk a file; say what is wrong with it, nothing where all steps came to an end."""
    size = Path(path).stat().st_size
    _bound(size)
    try:
        _again()
        with h5py.File(path, "r") as file:
            datasets, promised = [], 0
            for item in _objects(file):
                _attributes(item)
                sizes = _step(_sizes, item) if isinstance(item, h5py.Dataset) else None
                if sizes is not None:
                    promised += sizes[1]
                    datasets.append((*sizes, item))
            if promised > 4 * FREE and promised > MAX_RATIO * size:
                return ""  # refused for that
            # texts first: they lie in heaps that point to each other; then what is small
            datasets.sort(key=lambda found: found[:2])
            until = time.monotonic() + _READING
            for _, claimed, stored, item in datasets:
                if claimed <= FREE or claimed <= MAX_RATIO * stored:
                    _step(_read, item, until)
            _again()
    except MemoryError:
        return "it promises more than fits into the memory"
    except Exception:  # told by what reads the file
        return ""
    return ""


def _bound(size: int) -> None:
    if resource is not None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        whole = int(2 * _READING + 20 + size / 1e7)
        for kind, most in (
            (resource.RLIMIT_AS, _SPACE),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, whole),
        ):
            hard = resource.getrlimit(kind)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with suppress(OSError, ValueError):  # a system without this limit
                resource.setrlimit(kind, (least, hard))


def _again(size: int = 0) -> None:
    """Begin a step."""
    if signal is not None:
        signal.setitimer(signal.ITIMER_PROF, _seconds * (1 + size / 1e8))


def _step[T](do: Callable[..., T], *of: Any) -> T | None:
    """Do a step; None for what h5py refuses."""
    _again()
    try:
        return do(*of)
    except MemoryError:
        raise
    except Exception:  # told by what reads the file
        return None


def _objects(file: h5py.File) -> Iterator[Any]:
    """Groups, arrays and types, each once; links to other files are left."""
    yield file
    seen = {_step(_address, file)}
    waiting: list[Any] = [file]
    while waiting:
        group = waiting.pop()
        names: list[str] = _step(list, group) or []
        for name in names:
            link = _step(partial(group.get, getlink=True), name)
            if not isinstance(link, h5py.HardLink):
                continue
            item = _step(group.__getitem__, name)
            address = _step(_address, item)
            if item is None or address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_ITEMS:
                return
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)


def _address(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _attributes(item: Any) -> None:
    names: list[str] = _step(list, item.attrs) or []
    for name in names:
        _step(item.attrs.__getitem__, name)


def _sizes(item: h5py.Dataset) -> tuple[bool, int, int] | None:
    """Whether it is of numbers, bytes promised and stored; None for data of other files, and for no data."""
    if item.external or item.is_virtual or item.shape is None:
        return None
    texts = bool(item.dtype.hasobject)
    each = max(int(item.dtype.itemsize), POINTER if texts else 1)
    claimed = each * max(math.prod(item.shape), math.prod(item.chunks or (0,)))
    return not texts, claimed, int(item.id.get_storage_size())


def _read(item: h5py.Dataset, until: float) -> None:
    """Read an array band by band, as long as there is time; what a single band makes too large is left."""
    shape, chunks = item.shape, item.chunks or (1,)
    if not shape:
        np.asarray(item[()])
        return
    across = math.prod(shape[1:])
    row = across * (_TEXT if item.dtype.hasobject else int(item.dtype.itemsize))
    tiles = math.prod(-(-n // c) for n, c in zip(shape[1:], chunks[1:], strict=False))
    bands = (
        min(_SLICE // max(1, row * chunks[0]), _CHUNKS // max(1, tiles))
        if item.chunks
        else _SLICE // max(1, row)
    )
    rows = max(1, bands) * chunks[0]
    if rows * row > _LARGEST or math.prod(chunks) * item.dtype.itemsize > _LARGEST:
        return
    for start in range(0, shape[0], rows):
        if time.monotonic() > until:
            return
        _again(rows * row)
        with suppress(Exception):  # told by what reads the file
            np.asarray(item[start : start + rows])


if __name__ == "__main__":
    _seconds = float(sys.argv[2])
    sys.stdout.write(main(sys.argv[1]) + "\n")
    sys.stdout.flush()
    os._exit(0)  # closing the library is not a step

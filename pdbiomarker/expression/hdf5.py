"""HDF5 files from elsewhere: what is looked at before anything of them is read.

A file of 2 kB may promise an array of a terabyte, name other files of the machine as its data, or hold a
sparse matrix whose pointers lead out of its arrays. The library allocates, follows and reads as it is told;
so everything is checked first, by the headers alone and, for sparse matrices, slice by slice. Before that,
:func:`~pdbiomarker.expression.hdf5_probe.structure_problem` tries whether the library survives the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import h5py
import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import Problems
from pdbiomarker.expression.hdf5_walk import FREE, MAX_DEPTH, MAX_ITEMS, MAX_RATIO, POINTER

__all__ = ["check_hdf5", "foreign_data", "parts_fault", "pointer_fault", "sparse_faults", "unsafe_items"]

_SLICE: Final = 4_000_000
_PARTS: Final = ("indptr", "indices", "data")
#: Of the encoding of sparse matrices in AnnData files.
_VERSION: Final = "0.1.0"
_SPARSE: Final = {"csr_matrix": 0, "csc_matrix": 1}


def check_hdf5(file: h5py.File, name: str, problems: Problems) -> None:
    """Refuse an AnnData file that may not be read: E-ASSAY-002 for each place with a fault.

    Parameters
    ----------
    file : h5py.File
    name : str
        What problems call it.
    problems : Problems
    """
    remedy = "Write a file that holds all of its data."
    found = [(p, "The file takes data from another file; that is not followed.") for p in foreign_data(file)]
    if not found:
        remedy = "Write it again from its source."
        faults = list(unsafe_items(file)) or list(sparse_faults(file))
        found = [(p, f"The file is damaged, or not what it claims to be: {why}.") for p, why in faults]
    for place, message in found:
        problems.add("E-ASSAY-002", message, remedy=remedy, file=name, column=place)


def foreign_data(group: h5py.Group) -> Iterator[str]:
    """Names, below a group, of links to other files and of data that are stored in other files."""
    for place, item in _items(group):
        if isinstance(item, h5py.ExternalLink) or (
            isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)
        ):
            yield place


def unsafe_items(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Find what may not be read: the place in the file, and why.

    Yields
    ------
    tuple of str
        Arrays that promise far more than is stored, groups that contain themselves, too many items. Data of
        other files are named by :func:`foreign_data`, damaged sparse matrices by :func:`sparse_faults`.
    """
    promised = 0
    for number, (place, item) in enumerate(_items(file)):
        if number >= MAX_ITEMS:
            yield place, f"the file holds more than {MAX_ITEMS:,} items"
            return
        if isinstance(item, str):
            yield place, item
        elif isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual:
            claimed, stored = _claimed(item), int(item.id.get_storage_size())
            promised += claimed
            if claimed > FREE and claimed > MAX_RATIO * stored:
                yield place, f"the array promises {claimed:.3g} bytes and {stored:,} are stored"
    size = int(file.id.get_filesize())
    if promised > 4 * FREE and promised > MAX_RATIO * size:
        yield "/", f"the arrays promise {promised:.3g} bytes together and the file has {size:,}"


def _items(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset | h5py.ExternalLink | str]]:
    """Give arrays, links to other files and, as text, what is wrong with a group; links inside are left."""
    waiting: list[tuple[h5py.Group, tuple[object, ...]]] = [(group, (h5py.h5o.get_info(group.id).addr,))]
    while waiting:
        one, above = waiting.pop()
        for name in one:
            place = f"{str(one.name).rstrip('/')}/{name}"
            link = one.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield place, link
            elif not isinstance(link, h5py.SoftLink):  # where that leads is looked at under its own name
                item = one[name]
                if isinstance(item, h5py.Dataset):
                    yield place, item
                elif isinstance(item, h5py.Group):
                    address = h5py.h5o.get_info(item.id).addr
                    if address in above or len(above) > MAX_DEPTH:
                        yield place, "the group contains itself, or lies too deep"
                    else:
                        waiting.append((item, (*above, address)))


def _claimed(item: h5py.Dataset) -> int:
    """Bytes that reading an array whole would take; at least one of its chunks."""
    shape = item.shape or ()
    each = max(int(item.dtype.itemsize), POINTER if item.dtype.hasobject else 1)
    chunk = math.prod(item.chunks) if item.chunks else 0
    return max(math.prod(int(n) for n in shape), chunk) * each


def sparse_faults(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Find sparse matrices whose pointers or numbers of columns lead out of them: the place, and why.

    A sparse library would read memory that is not the matrix's, or put counts into other genes.
    """
    places = ["X", "raw/X", *(f"layers/{name}" for name in file.get("layers", ()))]
    for place in places:
        matrix = file.get(place)
        kind = str(matrix.attrs.get("encoding-type", "")) if isinstance(matrix, h5py.Group) else ""
        if not isinstance(matrix, h5py.Group) or kind not in _SPARSE:
            continue
        fault = _sparse_fault(matrix, _SPARSE[kind])
        if fault:
            yield place, fault


def _sparse_fault(matrix: h5py.Group, major: int) -> str:
    fault = parts_fault(matrix)
    if fault:
        return fault
    parts = [matrix[name] for name in _PARTS]
    shape = [int(n) for n in np.ravel(matrix.attrs.get("shape", ()))]
    if len(shape) != 2 or min(shape) < 0:
        return "the sparse matrix has no shape of two numbers"
    pointers = np.asarray(parts[0][:], dtype=np.int64)
    fault = pointer_fault(matrix, pointers, shape[major])
    for start in range(0, parts[1].shape[0] if not fault else 0, _SLICE):
        numbers = np.asarray(parts[1][start : start + _SLICE])
        if numbers.size and (numbers.min() < 0 or numbers.max() >= shape[1 - major]):
            bad = numbers[(numbers < 0) | (numbers >= shape[1 - major])][0]
            return f"the matrix names position {bad} of {shape[1 - major]}"
    return fault


def parts_fault(matrix: h5py.Group) -> str:
    """Say what is wrong with the arrays of a sparse matrix, by their headers."""
    parts = [matrix.get(name) for name in _PARTS]
    if not all(isinstance(part, h5py.Dataset) and len(part.shape or ()) == 1 for part in parts):
        return f"the sparse matrix lacks {' or '.join(_PARTS)}"
    if any(part.dtype.kind not in kinds for part, kinds in zip(parts, ("iu", "iu", "iufb"), strict=True)):
        return f"{', '.join(_PARTS)} of the sparse matrix are not all numbers"
    version = str(matrix.attrs.get("encoding-version", _VERSION))
    return "" if version == _VERSION else f"its encoding is version {version}; {_VERSION} is read"


def pointer_fault(matrix: h5py.Group, pointers: npt.NDArray[np.int64], rows: int) -> str:
    """Say what is wrong with the pointers of a sparse matrix; nothing where they fit its arrays."""
    stored, named = int(matrix["data"].shape[0]), int(matrix["indices"].shape[0])
    faults = (
        (pointers.size != rows + 1, f"there are {pointers.size} pointers for {rows} rows"),
        (named != stored, f"{named} columns for {stored} counts"),
        (pointers.size > 0 and pointers[0] != 0, "the first pointer is not 0"),
        (bool((np.diff(pointers) < 0).any()), "pointers fall"),
        (pointers.size > 0 and pointers[-1] != stored, f"the last pointer is not the {stored} counts stored"),
    )
    return next((why for bad, why in faults if bad), "")

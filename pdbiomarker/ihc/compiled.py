"""Compiled kernels: plain loops over arrays, turned into machine code at their first call.

What was compiled is kept on disk, beside the module or in the user's cache folder, so that only the first
run pays for it. Where neither can be written (a read-only installation without a home), the kernels are
compiled again in each process. None of them reorders floating-point sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from numba import njit

__all__ = ["kernel"]


def kernel[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call; it runs without the interpreter's lock.

    Parameters
    ----------
    function : callable
        Arrays and numbers only.

    Returns
    -------
    callable
        ``py_func`` is the function as it was written.
    """
    try:
        compiled = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache can be written
        compiled = njit(nogil=True)(function)
    return cast("Callable[P, R]", compiled)

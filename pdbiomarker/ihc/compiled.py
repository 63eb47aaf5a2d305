"""Compiled kernels: plain loops over arrays, turned into machine code at their first call.

What was compiled is kept on disk, beside the module or in the user's cache folder, so that only the first
run pays for it. Where neither can be written (a read-only installation without a home), the kernels are
compiled again in each process. None of them reorders floating-point sums.

numba keeps its files without a checksum, and knows a kernel by its own text only, not by that of the kernels
that it calls. Beside the files of each kernel therefore lies a seal: the sha256 of the modules of this room
and of each file. What has no seal, or differs from it, is not loaded but made again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from numba import njit
from numba.core.caching import FunctionCache

from pdbiomarker.provenance import sha256_file, sha256_json, write_text

__all__ = ["kernel"]

_LOG = logging.getLogger(__name__)


@functools.cache
def _code() -> str:
    """Hash of the modules that hold kernels."""
    return sha256_json({path.name: sha256_file(path) for path in Path(__file__).parent.glob("*.py")})


class _SealedCache(FunctionCache):
    """The files of one kernel, loaded only when they are what was saved by this version of the code."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if not self._is_sound():
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk or a folder that became read-only: keep none
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
            write_text(self._seal(), json.dumps({"code": _code(), "files": self._hashes()}) + "\n")

    def _seal(self) -> Path:
        return Path(self.cache_path) / f"{self._impl.filename_base}.sha256.json"

    def _hashes(self) -> dict[str, str]:
        files = sorted(Path(self.cache_path).glob(f"{self._impl.filename_base}.*nb[ci]"))
        return {file.name: sha256_file(file) for file in files}

    def _is_sound(self) -> bool:
        """Whether the files are those of the seal; tell when they were, and are no more."""
        try:
            found = self._hashes()
            seal = json.loads(self._seal().read_text(encoding="utf-8"))
            code, files = seal["code"], seal["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if code == _code() and files != found:
            _LOG.warning(
                "E-RUN-052 %s: the machine code differs from what was kept of it; it is made again.",
                self._impl.filename_base,
            )
        return bool(code == _code() and files == found)


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
    compiled: Any = njit(nogil=True)(function)
    with contextlib.suppress(RuntimeError):  # no folder for the files can be written
        cache = _SealedCache(function)  # type: ignore[no-untyped-call]
        setattr(compiled, "_cache", cache)  # noqa: B010 - numba has no public way to it
    return cast("Callable[P, R]", compiled)

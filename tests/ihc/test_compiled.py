"""Kernels where nothing can be kept on disk."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numba.core import caching
from numpy.typing import NDArray

from pdbiomarker.ihc import labels
from pdbiomarker.ihc.compiled import kernel


def add_one(values: NDArray[np.int32]) -> None:
    for i in range(len(values)):
        values[i] += 1


def test_a_kernel_works_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    compiled, values = kernel(add_one), np.arange(4, dtype=np.int32)
    compiled(values)
    np.testing.assert_array_equal(values, [1, 2, 3, 4])
    assert not compiled.stats.cache_path


def test_a_kernel_is_kept_on_disk() -> None:
    labels.relabel(np.ones((3, 3), np.int32))
    assert labels._relabel.stats.cache_path


def test_the_package_does_not_load_the_compiler() -> None:
    code = "import sys, pdbiomarker, pdbiomarker.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

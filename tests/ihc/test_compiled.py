"""Kernels where nothing can be kept on disk."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from pdbiomarker.ihc import labels
from pdbiomarker.ihc.compiled import kernel


def test_a_kernel_works_without_a_place_for_its_cache() -> None:
    # a function without a source file has no cache folder: the case of a read-only installation
    space: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x\n", space)  # noqa: S102
    twice = kernel(space["twice"])  # type: ignore[arg-type]
    assert twice(21) == 42
    assert not twice.stats.cache_path


def test_a_kernel_is_kept_on_disk() -> None:
    labels.relabel(np.ones((3, 3), np.int32))
    assert labels._relabel.stats.cache_path


def test_the_package_does_not_load_the_compiler() -> None:
    code = "import sys, pdbiomarker, pdbiomarker.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Files on which the HDF5 library hangs or dies are refused; sound ones are read, and tried once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from bad_inputs.fuzz import TARGETS, mutated

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.expression import hdf5_probe, hdf5_walk
from pdbiomarker.expression.cellfile import open_cells
from pdbiomarker.expression.hdf5_probe import structure_problem


def sound(path):
    adata = ad.AnnData(np.arange(6.0).reshape(2, 3), obs=pd.DataFrame(index=["a", "b"]))
    adata.write_h5ad(path)
    return path


def program(monkeypatch, text):
    """Let the tried program be this text; give the paths that it is started for."""
    started = []

    def command(path):
        started.append(path)
        return [sys.executable, "-c", text]

    monkeypatch.setattr(hdf5_probe, "_command", command)
    return started


@pytest.mark.parametrize(("seed", "at"), [(1, 11), (2, 78)])
def test_what_the_fuzzer_hung_on_is_refused(tmp_path, monkeypatch, seed, at):
    """Zeros in the global heap. That it hangs is by hand: h5py alone does not return on either."""
    monkeypatch.setattr(hdf5_probe, "_STEP", 0.5)
    path = tmp_path / "a.h5ad"
    draw = random.Random(f"counts h5ad/{seed}/{at}")  # noqa: S311 -- not for secrets
    path.write_bytes(mutated(TARGETS["counts h5ad"].seed(), draw))
    before = time.monotonic()
    problem = structure_problem(path, "a.h5ad", "E-ASSAY-002")
    assert problem is not None
    assert problem.code == "E-ASSAY-002"
    assert "did not come to an end" in problem.message
    assert time.monotonic() - before < 30
    with pytest.raises(AssayError, match="did not come to an end"):  # tried once: at once now
        expression.read_counts(path)
    with pytest.raises(AssayError, match=r"E-CELL-001.*did not come to an end"), open_cells(path, "a.h5ad"):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os; os.abort()", "crashed (SIGABRT)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("import os; os._exit(9)", "crashed (exit 9)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "did not come to an end"),
        ("import time; time.sleep(60)", "did not come to an end"),
        ("print('it promises more than fits into the memory')", "more than fits into the memory"),
    ],
)
def test_how_the_program_ends_is_told(tmp_path, monkeypatch, text, said):
    program(monkeypatch, text)
    monkeypatch.setattr(hdf5_probe, "_SECONDS", 1 if "sleep" in text else 60)
    problem = structure_problem(sound(tmp_path / "a.h5ad"), "a.h5ad", "E-CELL-001")
    assert problem is not None
    assert problem.message.startswith("The file is damaged: ")
    assert said in problem.message
    assert problem.remedy


@pytest.mark.parametrize(
    "text", ["raise ImportError", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_what_says_nothing_of_the_file_is_not_kept(tmp_path, monkeypatch, text):
    started = program(monkeypatch, text)
    path = sound(tmp_path / "a.h5ad")
    for _ in range(2):
        problem = structure_problem(path, "a.h5ad", "E-ASSAY-002")
        assert problem is not None
        assert "could not be tried" in problem.message
        assert str(tmp_path) not in str(problem)
    assert len(started) == 2


def test_a_sound_file_is_tried_once_until_it_changes(tmp_path, monkeypatch):
    path = sound(tmp_path / "a.h5ad")
    assert structure_problem(path, "a.h5ad", "E-ASSAY-002") is None
    started = program(monkeypatch, "")
    assert structure_problem(path, "a.h5ad", "E-ASSAY-002") is None
    assert started == []
    os.utime(path, (1, 1))
    assert structure_problem(path, "a.h5ad", "E-ASSAY-002") is None
    assert started == [str(path)]


def test_odd_but_sound_files_pass_and_no_other_file_is_opened(tmp_path, monkeypatch):
    """Empty, scalar, wide, packed and many-chunked arrays, circles of links, a type of its own, no values."""
    other = tmp_path / "other.h5"
    os.mkfifo(other)  # who opens it waits for ever
    monkeypatch.setattr(hdf5_probe, "_SECONDS", 20)
    path = tmp_path / "-a.h5"
    with h5py.File(path, "w") as file:
        file["scalar"] = 3
        file["text"] = "one"
        file["texts"] = np.array(["a", "b"] * 1000, dtype=object)
        file["none"] = h5py.Empty("f8")
        file["type"] = np.dtype("f8")
        file.create_dataset("empty", (0, 5), "i4", maxshape=(None, 5))
        file.create_dataset("packed", data=np.zeros((1000, 300)), chunks=(7, 100), compression="gzip")
        file.create_dataset("tiny", data=np.arange(5000), chunks=(1,))
        file.create_dataset("promise", (10**12,), "i1", chunks=(1 << 20,), compression="gzip")
        file.create_group("group")["up"] = file["/"]
        file["group"].attrs["long"] = np.arange(5000)
        file["soft"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink(str(other), "/x")
        file.create_dataset("raw", (4,), "f8", external=[(str(other), 0, 32)])
    assert structure_problem(path, "-a.h5", "E-ASSAY-002") is None
    done = subprocess.run(hdf5_probe._command(str(path)), capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
    assert done.stderr == ""


@pytest.mark.parametrize("chunks", [None, (1, 3), (4, 2)])
def test_chunks_are_read_whole(tmp_path, monkeypatch, chunks):
    """Every row once, in slices of at most 16 MB: by counting what is asked of the array."""
    monkeypatch.setattr(hdf5_walk, "_again", lambda size=0: None)
    monkeypatch.setattr(hdf5_walk, "_SLICE", 64)
    values = np.arange(30.0).reshape(10, 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=values, chunks=chunks)
    asked = []

    class Array:
        def __init__(self, item):
            self.shape, self.chunks, self.dtype, self.item = item.shape, item.chunks, item.dtype, item

        def __getitem__(self, rows):
            asked.extend(range(*rows.indices(10)))
            assert self.item[rows].nbytes <= max(64, 8 * 3 * (chunks or (1,))[0])
            return self.item[rows]

    with h5py.File(tmp_path / "a.h5") as file:
        hdf5_walk._read(Array(file["a"]), time.monotonic() + 60)
    assert asked == list(range(10))

"""The same bytes whatever surrounds a run: order of rows, workers, locale, time zone, hash seed, folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
from fault_kills import surroundings
from shuffled import shuffle_study, whole_study
from small_study import fingerprint

import pdbiomarker as pb

#: Names, by their hash or the line of a row, the very files that were read.
_NAMES_INPUTS = re.compile(r"manifest\.json|\.done/(change|clinical|decide|report)\.json")
_HASH = re.compile(rb"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")  # whole, and short as on the front page


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_study(tmp_path_factory.mktemp("bytes") / "study")


@pytest.fixture(scope="module")
def whole(study: Path) -> Path:
    return pb.run_study(study, study.parent / "whole", workers=2, progress=False).out


def test_fault_51_the_order_of_the_rows_of_every_sheet_leaves_no_trace(
    study: Path, whole: Path, tmp_path: Path
) -> None:
    """But for what names the files that were read: their sha256, and the line of its sheet a row stood on."""
    other = shuffle_study(study, tmp_path / "study", seed=2)
    out = pb.run_study(other, tmp_path / "out", workers=1, progress=False).out
    ours, theirs = fingerprint(out), fingerprint(whole)
    assert set(ours) == set(theirs)
    differ = {name for name in ours if ours[name] != theirs[name] and not _NAMES_INPUTS.fullmatch(name)}
    named = {"results/study.json", "review.html", "assays/rna.h5ad", "assays/rna_signatures.h5ad"}
    assert differ == named, sorted(differ - named)
    assert _without_places(out) == _without_places(whole)
    pages = [_HASH.sub(b"", (folder / "review.html").read_bytes()) for folder in (out, whole)]
    assert pages[0] == pages[1]
    for name in ("rna", "rna_signatures"):
        found = [_assay(folder / "assays" / f"{name}.h5ad") for folder in (out, whole)]
        unlike = {key for key in found[0] if found[0][key] != found[1].get(key)}
        assert unlike == {"uns/provenance/sha256"}
        assert set(found[0]) == set(found[1])


def _without_places(out: Path) -> Any:
    content = json.loads((out / "results" / "study.json").read_text(encoding="utf-8"))
    frames = [content[name] for name in ("participants", "biopsies", "libraries", "slides")]
    for frame in [*frames, *content["clinical"].values()]:
        frame["columns"].pop("line", None)
    del content["facts"]["inputs"]
    return content


def _assay(path: Path) -> dict[str, bytes]:
    """The bytes of every array of an h5ad file."""
    found: dict[str, bytes] = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = repr(item[()].tolist() if item.shape else item[()]).encode()

    with h5py.File(path) as file:
        file.visititems(add)
    return found


@pytest.mark.parametrize(
    "around",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "11"},
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "America/St_Johns", "OMP_NUM_THREADS": "2"},
    ],
    ids=["ascii", "turkish"],
)
def test_fault_51_52_workers_locale_time_zone_hash_seed_and_folder_leave_no_trace(
    study: Path, whole: Path, tmp_path: Path, around: dict[str, str]
) -> None:
    """Where the locale is not installed, C takes its place: the run itself works in C.UTF-8 anyway."""
    done = subprocess.run(
        [sys.executable, "-m", "pdbiomarker", "run", str(study), "-o", "out", "--workers", "1", "--quiet"],
        env=surroundings(**around),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert fingerprint(tmp_path / "out") == fingerprint(whole)

"""Disk and memory run out: named, nothing half-written, old files whole, gone on with when there is room."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from fault_kills import Event, Runs, arguments, hooked, strays
from small_study import fingerprint

import pdbiomarker as pb
from pdbiomarker.errors import ResourceError
from pdbiomarker.ihc.outputs import write_cells_geojson
from pdbiomarker.provenance import atomic_path, write_text
from pdbiomarker.run import trip
from pdbiomarker.run.jobs import Ended, Job, run_jobs
from pdbiomarker.run.reports import report_results
from pdbiomarker.run.results import write_assay
from pdbiomarker.tables import write_table

_OLD = b"the file of an earlier run\n"


# --- disk ---


def test_fault_42_a_run_that_has_no_room_is_refused_before_it_starts(
    study: Path, small_disk: Callable[[int], Path]
) -> None:
    """A real disk of 32 MB; the estimate is never below 64 MB."""
    out = small_disk(32) / "out"
    with pytest.raises(ResourceError, match=r"E-RUN-004 .* has 3\d MB free") as caught:
        pb.run_study(study, out, progress=False)
    assert caught.value.exit_code == 5
    assert not out.exists()


def test_fault_42_a_disk_that_fills_up_in_any_stage_is_named_and_gone_on_with(
    run: Runs, study: Path, whole: tuple[Path, list[Event]], small_disk: Callable[[int], Path]
) -> None:
    """The disk is filled before a process writes its first file; then somebody frees it, four times over."""
    disk = small_disk(96)
    out, log = disk / "out", disk.parent / "events.txt"
    jobs = ("slide-P01-T|slides/", "change|results", "report|.partial-")
    for before in [*(f"pdbiomarker {job}" for job in jobs), "MainProcess|.partial-"]:  # last, the manifest
        started = run(arguments(study, out), {**hooked(out, log), "FAULT_FILL_BEFORE": before})
        assert started.wait() == 5, before
        told = started.log.read_text(encoding="utf-8")
        assert "No space left on device" in told, before
        assert "free" in told.lower()
        assert "Traceback" not in told
        (disk / "filler").unlink()
        assert strays(out) == [], before
    assert run(arguments(study, out), {}).wait() == 0
    assert fingerprint(out) == fingerprint(whole[0])
    assert strays(out) == []


def _csv(path: Path, result: Any) -> None:
    write_table(pd.concat([result.table] * 20, ignore_index=True), path)


def _h5ad(path: Path, result: Any) -> None:
    write_assay(ad.AnnData(np.random.default_rng(1).normal(size=(400, 300))), path)


def _parquet(path: Path, result: Any) -> None:
    draw = np.random.default_rng(1).normal(size=100_000)
    with atomic_path(path) as partial:
        pd.DataFrame({"x": draw}).to_parquet(partial, index=False, compression="zstd")


def _json(path: Path, result: Any) -> None:
    write_text(path, "1,\n" * 200_000)


def _geojson(path: Path, result: Any) -> None:
    n = 5_000
    cells = pd.DataFrame({"x_um": np.arange(n) / 3, "y_um": np.arange(n) / 7, "area_um2": 30.0, "class": 1})
    write_cells_geojson(cells, path, mpp=0.5, slide_id="S")


def _excel(path: Path, result: Any) -> None:
    big = pd.concat([result.table] * 20, ignore_index=True)
    dataclasses.replace(result, table=big).to_excel(path)


def _report(path: Path, result: Any) -> None:
    report_results(result, path)


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "table.csv": _csv,
    "assay.h5ad": _h5ad,
    "cells.parquet": _parquet,
    "facts.json": _json,
    "cells.geojson": _geojson,
    "tables.xlsx": _excel,
    "review.html": _report,
    "review.pptx": _report,
    "review.xlsx": _report,
}


@pytest.mark.parametrize("name", WRITERS)
def test_fault_42_41_on_a_full_disk_every_writer_keeps_the_old_file(
    name: str,
    whole: tuple[Path, list[Event]],
    small_disk: Callable[[int], Path],
    request: pytest.FixtureRequest,
) -> None:
    """The formats of a report are bytes in memory, all written in one place: one of them here, --slow all."""
    if name in {"review.html", "review.pptx"} and not request.config.getoption("--slow"):
        pytest.skip("needs --slow")
    disk = small_disk(24)
    target = disk / name
    target.write_bytes(_OLD)
    with (disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(disk).free - (16 << 10)))
    given = whole[0] if name.startswith("review.") else pb.read_result(whole[0])
    with pytest.raises((OSError, ResourceError)) as caught:
        WRITERS[name](target, given)
    assert isinstance(caught.value, ResourceError) or caught.value.errno == errno.ENOSPC, caught.value
    assert sorted(p.name for p in disk.iterdir()) == sorted([name, "filler"])
    assert target.read_bytes() == _OLD
    (disk / "filler").unlink()
    if name.startswith("review."):
        return
    WRITERS[name](target, given)
    assert target.read_bytes() != _OLD


# --- memory, crashes, hanging: the item is left out with its cause, and the others go on ---


def test_fault_54_a_worker_that_crashes_hangs_or_runs_out_of_memory_loses_its_own_slide_only(
    study: Path,
    whole: tuple[Path, list[Event]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "failing.py").write_text(
        "import os, signal, time\n"
        "def crash(*, tell, **rest): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def swell(*, tell, **rest): return len(bytearray(1 << 46))\n"
        "def hang(*, tell, **rest): time.sleep(600)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    fails = {"slide-P01-S": "crash", "slide-P01-T": "swell", "slide-P02-S": "hang"}

    def failing(jobs: Sequence[Job], **options: Any) -> Iterator[Ended]:
        changed = [
            dataclasses.replace(job, function=f"failing:{fails[job.name]}", seconds=1.5)
            if job.name in fails
            else job
            for job in jobs
        ]
        return run_jobs(changed, **options)

    monkeypatch.setattr(trip, "run_jobs", failing)
    outcome = pb.run_study(study, tmp_path / "out", workers=2, progress=False)
    assert outcome.exit_code == 4
    told = {p.item: (p.code, p.message) for p in outcome.problems if p.severity == "quarantine"}
    assert {item: code for item, (code, _) in told.items()} == dict.fromkeys(
        ("P01-S", "P01-T", "P02-S"), "E-RUN-005"
    )
    assert signal.SIGSEGV.name in told["P01-S"][1]
    assert "memory ran out" in told["P01-T"][1]
    assert "more than 2 s" in told["P02-S"][1]
    ours, theirs = fingerprint(outcome.out), fingerprint(whole[0])
    same = [name for name in theirs if name.startswith("slides/P02-T/")]
    assert len(same) == 6
    assert all(ours[name] == theirs[name] for name in same)
    monkeypatch.undo()
    again = pb.run_study(study, tmp_path / "out", workers=2, progress=False)  # they are tried again
    assert again.exit_code == 0
    assert fingerprint(again.out) == theirs

"""Runs a case and says what is wrong with what came of it; a worker does so within bounds."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.case import At, Case
from bad_inputs.readers import OURS, READERS, Found, warm

from pdbiomarker.errors import Problem
from pdbiomarker.expression import hdf5_probe

#: The examples of the error catalogue: code, case and what is told of it.
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "error_examples.csv"
#: No reader may take longer (seconds), or more memory than this beyond what the interpreter holds.
LONGEST = 20.0
#: How much longer it may take where each line is counted (`make coverage`), those of the compiler too.
_COUNTED = 20.0 if "COVERAGE_FILE" in os.environ else 1.0
MEMORY = 2 * 2**30
#: Making an input may take a while the first time: compiled code, a whole run of a small study.
_PATIENCE = 240.0 * _COUNTED
#: Codes whose place is the file as a whole.
_OF_A_FILE = re.compile(r"E-(FILE-\d+|COUNT-00[1239]|COUNT-010|COUNT-016|COUNT-033|SLIDE-\d+|LANE-\d+|CELL-\d+|"
                        r"CELLS-\d+|REGION-\d+|CDISC-\d+|ASSAY-002|STUDY-002|SHEET-0(03|09|11|18|19)|CLIN-001|RUN-003|RUN-060)")  # fmt: skip


def run_case(case: Case) -> list[str]:
    """Make and read the input of a case; give what is wrong, nothing where all is as it should be."""
    if case.reader.startswith("slide"):
        warm()
    with tempfile.TemporaryDirectory(prefix="bad") as name:
        root = Path(name)
        (root / "in").mkdir()
        (root / "elsewhere").mkdir()
        path = case.make(root / "in")
        before = _files(root)
        started = time.monotonic()
        with _inside(root / "elsewhere"), _strict_warnings():
            try:
                found = READERS[case.reader](path)
            except OURS as error:
                return [f"{type(error).__name__} is not refused as input: {error}"]
            except BaseException:  # whatever it is: it is a fault
                return ["a traceback: " + traceback.format_exc()[-1500:]]
        wrong = [*_judged(case, found, root), *_unlike_its_example(case, found)]
        if time.monotonic() - started > LONGEST * _COUNTED:
            wrong.append(f"it took longer than {LONGEST:g} s")
        if _files(root) != before:
            wrong.append(f"files were written: {sorted(set(_files(root)) ^ set(before))}")
        return wrong


def _files(root: Path) -> dict[str, int]:
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(root))] = path.lstat().st_size
    return found


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="The 'future.infer_string' option is deprecated")
        yield


def _judged(case: Case, found: Found, root: Path) -> list[str]:
    expect, told = case.expect, list(found.problems)
    wrong = [fault for problem in told for fault in _manners(problem, root)]
    grades = {"error": "error", "quarantine": "quarantine", "warning": "warning", "handled": ""}
    grade = grades[expect.outcome]
    for severity in ("error", "quarantine", "warning"):
        codes = {p.code for p in told if p.severity == severity}
        due = {at.code for at in expect.ats} if severity == grade else set()
        allowed = due | set(expect.beside)
        if not due <= codes or not codes <= allowed:
            wrong.append(f"{severity}: {sorted(codes)} told, {sorted(due)} expected")
    wrong += [f"not told: {at} {at.value!r}" for at in expect.ats if not _among(at, told, grade)]
    if expect.outcome == "error" and found.value is not None and case.reader in _ALL_OR_NOTHING:
        wrong.append("refused, and yet a result was given")
    if expect.get is not None and not wrong:
        wrong += _compared(expect.get(found.value), expect.want)
    if wrong:
        wrong += [f"    told: {p.severity} {p}" for p in told[:8]] or ["    nothing was told"]
    return wrong


def told(case: Case) -> list[Problem]:
    """Make and read the input of a case; give what is told."""
    if case.reader.startswith("slide"):
        warm()
    with tempfile.TemporaryDirectory(prefix="bad") as name:
        root = Path(name)
        (root / "in").mkdir()
        with _inside(root), _strict_warnings():
            return list(READERS[case.reader](case.make(root / "in")).problems)


@cache
def _examples() -> list[dict[str, str]]:
    with EXAMPLES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _unlike_its_example(case: Case, found: Found) -> list[str]:
    """What the error catalogue shows of this input, where it is not what is told."""
    said = {str(problem) for problem in found.problems}
    shown = [row["told"] for row in _examples() if row["case"] == case.id]
    return [f"docs/error_examples.csv shows what is not told: {text}" for text in shown if text not in said]


_ALL_OR_NOTHING = {"study folder", "plan", "plan of a study", "formula", "counts", "panel", "decision rule"}


def _among(at: At, told: list[Problem], grade: str) -> bool:
    return any(
        p.code == at.code
        and p.severity == grade
        and (not at.place or p.place == at.place)
        and (at.value in (p.value or "") or at.value in p.message)
        and (not at.item or p.item == at.item)
        for p in told
    )


def _manners(problem: Problem, root: Path) -> list[str]:
    """What a message lacks: a place, a reason, a remedy; and what it must not hold."""
    faults = []
    sentence = problem.message.strip().split("\n")[0]  # a formula's position follows on lines of its own
    if not sentence.endswith((".", "?", "!", ":")):
        faults.append(f"no whole sentence: {problem}")
    if not problem.remedy.strip():
        faults.append(f"no remedy: {problem}")
    place = problem.row is not None or problem.column is not None or problem.value is not None
    if not place and problem.item is None and not _OF_A_FILE.fullmatch(problem.code):
        faults.append(f"no place in the file: {problem}")
    if not problem.file and problem.column is None and problem.value is None:
        faults.append(f"no file: {problem}")
    if str(root) in str(problem):
        faults.append(f"names a folder outside the study: {problem}")
    if "Traceback" in str(problem) or len(str(problem)) > 1200:
        faults.append(f"too long, or a traceback: {str(problem)[:200]}")
    return faults


def _compared(got: Any, want: Any) -> list[str]:
    if _same(got, want):
        return []
    return [f"a wrong answer: {got!r}, not {want!r}"]


def _same(got: Any, want: Any) -> bool:
    if isinstance(want, float):
        if math.isnan(want):
            return bool(np.isnan(got))
        return bool(np.isclose(float(got), want, rtol=1e-9, atol=0))
    if isinstance(want, range):
        return want.start <= float(got) <= want.stop
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(_same(got[k], want[k]) for k in want)
    if isinstance(want, list | tuple) and isinstance(got, list | tuple):
        return len(got) == len(want) and all(_same(g, w) for g, w in zip(got, want, strict=True))
    return bool(got == want)


# --- within bounds -------------------------------------------------------------------------------------


def bound_memory() -> None:
    """Let this process take no more than :data:`MEMORY` beyond what it holds."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def be_quick() -> None:
    """Give a file on which the HDF5 library hangs up sooner, in this process."""
    hdf5_probe._STEP = 1.0  # type: ignore[misc]


def _serve(pipe: Connection) -> None:
    from bad_inputs.corpus import CASES

    cases = {case.id: case for case in CASES}
    if sys.platform == "linux":
        bound_memory()
    be_quick()
    pipe.send(None)
    while (wanted := pipe.recv()) is not None:
        try:
            pipe.send(run_case(cases[wanted]))
        except BaseException:  # a fault of the case itself must reach the test
            pipe.send(["the case cannot be run: " + traceback.format_exc()[-1500:]])


class Apart:
    """A process of its own that answers requests; it is ended and started anew when it hangs or dies.

    `serve` takes the other end of the pipe: it sends something when it is ready, then an answer to each
    request until that is None.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        self._serve = serve
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._serve, args=(theirs,))
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def ask(self, request: object, *, patience: float) -> tuple[Any, str]:
        """Give the answer, or None and why there is none."""
        try:
            self._pipe.send(request)
            if self._pipe.poll(patience):
                return self._pipe.recv(), ""
            fault = f"it hangs: no answer in {patience:g} s"
        except (EOFError, OSError):
            self._process.join(20)
            fault = f"the process died, exit code {self._process.exitcode}"
        self.close()
        self._start()
        return None, fault

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


class Worker:
    """Runs cases in a process of its own, with bounded memory."""

    def __init__(self) -> None:
        self._process = Apart(_serve)

    def run(self, case_id: str) -> list[str]:
        """Give what is wrong with a case; a hang and a death of the process are faults too."""
        verdict, fault = self._process.ask(case_id, patience=_PATIENCE)
        return [fault] if fault else verdict

    def close(self) -> None:
        """End the process."""
        self._process.close()


class Here:
    """Reads the cases in this process, so that a tool can tell which lines a case reaches."""

    def run(self, case_id: str) -> list[str]:
        """Give what is wrong with a case."""
        from bad_inputs.corpus import CASES

        be_quick()
        return run_case(next(case for case in CASES if case.id == case_id))

    def close(self) -> None:
        """Nothing was started."""

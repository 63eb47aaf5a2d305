"""Run the tests of its room against each mutant: ``python tests/mutation/run.py mutants.json results.csv``.

First the tests of all rooms run once, unchanged, to learn which test reaches which line and how long it
takes. Then each mutant is written into a copy of the tree, and the tests that reach its line run there until
one fails: the quickest first, those of the room before others, up to a budget of seconds. A mutant is killed
by a failed test or by time; what no test of its room reaches survives.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from rooms import ROOMS, ROOT, room_of

#: Seconds of tests that one mutant is given (as measured without it), and their number.
BUDGET, MOST = 25.0, 250
#: Seconds beside them before a mutant counts as one that never ends: the product is loaded anew for each.
PATIENCE = 30.0
FIELDS = ("room", "file", "line", "operator", "before", "after", "verdict", "tests", "seconds")
#: One process of these serves every mutant of a worker: the packages of others are loaded once.
_PRELOAD = (
    "numpy scipy.stats scipy.optimize scipy.linalg scipy.sparse pandas anndata pytest h5py openpyxl yaml"
)


class Reach:
    """Which tests reach a line, and what they cost."""

    def __init__(self, lines: dict[str, dict[str, list[str]]], seconds: dict[str, float]) -> None:
        self.lines, self.seconds = lines, seconds
        self._module: dict[str, list[str]] = defaultdict(list)
        for test in seconds:
            self._module[test.partition("::")[0]].append(test)

    def tests(self, mutant: dict[str, Any], budget: float, *, wide: bool = False) -> list[str]:
        """The tests for a mutant, the quickest first; the seconds of all are within the budget.

        Those of its room or, where wide, of every room.
        """
        own = room_of(mutant["room"]).tests
        found: set[str] = set()
        for context in self.lines.get(mutant["file"], {}).get(str(mutant["line"]), []):
            test, _, phase = context.rpartition("|")
            # A fixture of a whole module runs in the first test that asks for it.
            found |= set(self._module[test.partition("::")[0]]) if phase == "setup" else {test}
        ours = [test for test in found if test in self.seconds and (wide or test.startswith(own))]
        ours.sort(key=lambda t: (not t.startswith(own[0]), self.seconds[t], t))
        chosen: list[str] = []
        for test in ours[:MOST]:
            budget -= self.seconds[test]
            if budget < 0 and chosen:
                break
            chosen.append(test)
        return chosen


def reach(folder: Path, workers: int) -> Reach:
    """Run the tests of all rooms once, each with the lines that it reaches."""
    paths = sorted({test for room in ROOMS for test in room.tests})
    report = folder / "seconds.jsonl"
    surroundings = {
        **os.environ,
        "COVERAGE_FILE": str(folder / "reached"),
        "PDBIOMARKER_SECONDS": str(report),
    }
    surroundings["PYTHONPATH"] = str(ROOT / "tests")
    command = [sys.executable, "-m", "pytest", *paths, "-q", "-n", str(workers), "--dist", "worksteal", "-m"]
    command += ["not slow and not browser", "--here", "-p", "no:cacheprovider", "-p", "mutation.seconds"]
    command += ["--cov=pdbiomarker", "--cov-context=test", "--cov-report="]
    subprocess.run(command, cwd=ROOT, env=surroundings, check=False)
    return reach_of(folder / "reached", report)


def reach_of(measured: Path, report: Path) -> Reach:
    """Read what a run of tests reached (coverage with ``--cov-context=test``) and what each of them took.

    A run may hold more tests than those of the rooms, or be one that was broken off.
    """
    import coverage

    data = coverage.CoverageData(str(measured))
    data.read()
    ours = {str(ROOT / file): file for room in ROOMS for file in room.files()}
    lines = {
        ours[name]: {str(line): sorted(set(found)) for line, found in data.contexts_by_lineno(name).items()}
        for name in data.measured_files()
        if name in ours
    }
    seconds: dict[str, float] = defaultdict(float)
    failed = set()
    for text in report.read_text(encoding="utf-8").splitlines():
        entry = json.loads(text)
        seconds[entry["test"]] += entry["seconds"]
        if entry["outcome"] == "failed":
            failed.add(entry["test"])
    print(
        f"{len(seconds)} tests; {len(failed)} fail unchanged and are left out: {sorted(failed)[:20]}",
        flush=True,
    )
    return Reach(lines, {test: spent for test, spent in seconds.items() if test not in failed})


class Copy:
    """A copy of the tree in which mutants live one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        skip = shutil.ignore_patterns(".*", "__pycache__", "docs", "notebooks", "mutation", "demo")
        shutil.copytree(ROOT, folder, ignore=skip, symlinks=True)
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("_build", "*.png"))
        surroundings = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PDBIOMARKER_SHARED": os.environ.get("PDBIOMARKER_SHARED", str(ROOT.parent / "shared")),
        }
        command = [sys.executable, str(Path(__file__).with_name("served.py")), *_PRELOAD.split()]
        self.server = subprocess.Popen(
            command, cwd=folder, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def judge(self, mutant: dict[str, Any], tests: list[str], limit: float) -> str:
        """``killed``, ``timeout`` or ``survived``."""
        path = self.folder / mutant["file"]
        original = path.read_bytes()
        start, end = mutant["start"], mutant["start"] + mutant["length"]
        path.write_bytes(original[:start] + mutant["after"].encode() + original[end:])
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        try:
            self.server.stdin.write(json.dumps({"tests": tests, "limit": limit}) + "\n")
            self.server.stdin.flush()
            return json.loads(self.server.stdout.readline())["verdict"]
        finally:
            path.write_bytes(original)

    def close(self) -> None:
        """End its server and remove the copy."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(
    mutants: list[dict[str, Any]],
    found: Reach,
    *,
    workers: int,
    budget: float,
    patience: float,
    wide: bool,
    out: Path,
) -> None:
    """Judge all mutants and write the table, a row as soon as it is known."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        copies: Queue[Copy] = Queue()
        for number in range(workers):
            copies.put(Copy(Path(name) / f"tree{number}"))

        def one(mutant: dict[str, Any]) -> dict[str, Any]:
            tests = found.tests(mutant, budget, wide=wide)
            begun, verdict = time.monotonic(), "not reached"
            if tests:
                copy = copies.get()
                limit = patience + 4 * sum(found.seconds[test] for test in tests)
                verdict = copy.judge(mutant, tests, limit)
                copies.put(copy)
            spent = round(time.monotonic() - begun, 1)
            return {
                **{k: mutant[k] for k in FIELDS[:6]},
                "verdict": verdict,
                "tests": len(tests),
                "seconds": spent,
            }

        with ThreadPoolExecutor(workers) as pool:
            reached = [mutant for mutant in mutants if found.tests(mutant, budget, wide=wide)]
            for control in () if wide else pool.map(one, _controls(reached)):
                if control["verdict"] != "survived":
                    raise SystemExit(f"the tests of {control['room']} fail on unchanged code: {control}")
            for number, row in enumerate(pool.map(one, mutants)):
                writer.writerow(row)
                stream.flush()
                if number % 20 == 0:
                    print(f"{number} of {len(mutants)} after {time.monotonic() - started:.0f} s", flush=True)
        while not copies.empty():
            copies.get().close()


def _controls(mutants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A change of nothing in each room: its tests must pass."""
    first = {mutant["room"]: mutant for mutant in reversed(mutants)}
    return [{**mutant, "after": mutant["before"]} for mutant in first.values()]


def main() -> None:
    """Read the mutants, learn what reaches them, judge them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutants", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of tests for one mutant")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="raise it on a busy machine")
    parser.add_argument("--wide", action="store_true", help="the tests of every room, for survivors")
    parser.add_argument("--reach", type=Path, help="what reaches what: read if it exists, else written")
    options = parser.parse_args()
    if options.reach is not None and options.reach.exists():
        known = Reach(**json.loads(options.reach.read_text(encoding="utf-8")))
    else:
        with tempfile.TemporaryDirectory() as name:
            known = reach(Path(name), options.workers)
        if options.reach is not None:
            options.reach.write_text(
                json.dumps({"lines": known.lines, "seconds": known.seconds}), encoding="utf-8"
            )
    mutants = json.loads(options.mutants.read_text(encoding="utf-8"))
    asked = {key: getattr(options, key) for key in ("workers", "budget", "patience", "wide", "out")}
    run(mutants, known, **asked)


if __name__ == "__main__":
    main()

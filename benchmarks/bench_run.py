"""The whole road on a simulated study of 60 slides: wall time, CPU time and memory of all processes together.

Usage: python benchmarks/bench_run.py [--study FOLDER] [--participants N] [--workers N]

Without a study one is simulated (31 participants give 59 to 62 slides of the size of the demonstration). The
memory is the largest sum over the processes of the run, each with its share of what they have in common
(PSS), sampled four times a second; the CPU time is the sum over processes as last seen, so a little too
small. On a machine that does other work, the wall time says more about that work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pdbiomarker as pb

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--participants", type=int, default=31)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        study = options.study
        if study is None:
            study = Path(name) / "study"
            pb.simulate_study(study, seed=11, n_participants=options.participants)
        out = Path(name) / "out"
        command = [sys.executable, "-m", "pdbiomarker", "run", str(study), "-o", str(out)]
        begun = time.monotonic()
        run = subprocess.Popen([*command, "--workers", str(options.workers)], start_new_session=True)
        seconds: dict[int, float] = {}
        peak = largest = 0
        while run.poll() is None:
            sizes = []
            for pid in _session(run.pid):
                try:
                    seconds[pid] = _cpu(pid)
                    sizes.append(_pss(pid))
                except (OSError, ValueError, StopIteration):
                    continue
            peak, largest = max(peak, sum(sizes)), max([largest, *sizes])
            time.sleep(0.25)
        wall = time.monotonic() - begun
        print(f"exit {run.returncode}; {len(list((out / 'slides').iterdir()))} slides measured")
        print(f"wall {wall:.0f} s; CPU {sum(seconds.values()):.0f} s; load {os.getloadavg()[1]:.1f}")
        print(f"peak of all processes {peak / 1024:.0f} MB, of one {largest / 1024:.0f} MB")
        print((out / "run.log").read_text(encoding="utf-8"))
    return int(run.returncode)


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def _cpu(pid: int) -> float:
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _pss(pid: int) -> int:
    """Kilobytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


if __name__ == "__main__":
    sys.exit(main())

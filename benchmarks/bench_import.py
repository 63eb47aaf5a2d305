"""Cost of `import pdbiomarker` and `pdbiomarker --help` beside `python -c "import numpy"`.

Each command runs in a process of its own, several times, in turn, so that what else the machine does hits
all alike; medians of wall time and the largest peak memory are printed.

    python benchmarks/bench_import.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("pdbiomarker")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import pdbiomarker": [sys.executable, "-c", "import pdbiomarker"],
    "pdbiomarker --help": [str(SCRIPT), "--help"],
    "pdbiomarker version": [str(SCRIPT), "version"],
    "import pandas": [sys.executable, "-c", "import pandas"],
    "pdbiomarker.read_study": [sys.executable, "-c", "import pdbiomarker as pb; pb.read_study"],
}


def measure(command: list[str]) -> tuple[float, float]:
    """Return wall time in seconds and peak memory in MB of one run."""
    started = time.perf_counter()
    sink = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, sink, 1), (os.POSIX_SPAWN_DUP2, sink, 2)]
    child = os.posix_spawn(command[0], command, dict(os.environ), file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    os.close(sink)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main(runs: int) -> None:
    for command in COMMANDS.values():
        measure(command)  # once to warm the file cache
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            found[name].append(measure(command))
    numpy = statistics.median(seconds for seconds, _ in found["import numpy"])
    print(f"{'command':<24} {'median s':>9} {'min s':>7} {'x numpy':>8} {'peak MB':>8}   ({runs} runs each)")
    for name, values in found.items():
        seconds = [s for s, _ in values]
        middle = statistics.median(seconds)
        memory = max(m for _, m in values)
        print(f"{name:<24} {middle:>9.3f} {min(seconds):>7.3f} {middle / numpy:>8.2f} {memory:>8.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)

"""Whether enough of the package was run by the tests: ``python tests/coverage_limits.py coverage.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LINES, BRANCHES = 95.0, 90.0


def main(report: Path) -> int:
    """Print the shares and the modules that lack most; 1 where a limit is missed."""
    found = json.loads(report.read_text(encoding="utf-8"))
    totals = found["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    lacking = {
        name: file["summary"]["missing_lines"] + file["summary"]["missing_branches"]
        for name, file in found["files"].items()
    }
    for name, number in sorted(lacking.items(), key=lambda item: -item[1])[:20]:
        print(f"{number:5d} lines and branches not run: {name}")
    print(f"lines {lines:.2f} % (at least {LINES}), branches {branches:.2f} % (at least {BRANCHES})")
    return int(lines < LINES or branches < BRANCHES)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

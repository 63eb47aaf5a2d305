"""The corpus of bad and odd inputs: all cases, their files on request, and the page that lists them.

::

    python tests/bad_inputs/corpus.py --page docs/bad_inputs.md      renew the page
    python tests/bad_inputs/corpus.py --files FOLDER                 write every input, to look at
    python tests/bad_inputs/corpus.py --examples docs/error_examples.csv   renew the examples of the catalogue
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bad_inputs import assays, clinic, entries, settings, sheets, slides
from bad_inputs.case import Case

CASES = (*settings.CASES, *sheets.CASES, *clinic.CASES, *assays.CASES, *slides.CASES, *entries.CASES)
_LONGEST_EXAMPLE = 600
OUTCOMES = ("error", "quarantine", "warning", "handled")
_HEAD = """# Bad and odd inputs

What becomes of {n} inputs that are broken, hostile or only unusual. Each is made by a script
(`tests/bad_inputs/`), read by the product within 2 GB and 20 s, and judged by a test: what must be told, with file,
line and column; that every message has a reason and a remedy; that nothing else happens, no file is written, and no
number is given that is not the right one. This page is written by the same script, and a test compares the two.

- **error**: the input is refused before any work, every fault of it at once.
- **quarantine**: the item is left out with its reason, the rest goes on.
- **warning**: it is read, and told.
- **handled**: it is read as it is meant, silently; the last column says by what that is known.

`python tests/bad_inputs/corpus.py --files FOLDER` writes all of them, to look at.
{waits}
## By reader and outcome

"""


def page() -> str:
    """The page that lists the cases."""
    waiting = [case for case in CASES if case.waits]
    text = ""
    if waiting:
        text = "\n## Not done yet\n\n" + "".join(f"- `{c.id}`: {c.waits}.\n" for c in waiting)
    parts = [_HEAD.format(n=len(CASES), waits=text)]
    groups = list(dict.fromkeys(case.id.partition("/")[0] for case in CASES))
    counts = Counter((case.id.partition("/")[0], case.expect.outcome) for case in CASES)
    parts.append("| input | " + " | ".join(OUTCOMES) + " | all |\n|---" + "|---:" * 5 + "|\n")
    for group in groups:
        row = [counts[group, outcome] for outcome in OUTCOMES]
        parts.append(f"| {group} | " + " | ".join(str(n or "") for n in row) + f" | {sum(row)} |\n")
    total = Counter(case.expect.outcome for case in CASES)
    row = [total[outcome] for outcome in OUTCOMES]
    parts.append("| **all** | " + " | ".join(map(str, row)) + f" | {sum(row)} |\n")
    for group in groups:
        parts.append(
            f"\n## {group}\n\n| input | how it is made | outcome | told, or known by |\n|---|---|---|---|\n"
        )
        parts += [_row(case) for case in CASES if case.id.partition("/")[0] == group]
    return "".join(parts)


def _row(case: Case) -> str:
    expect = case.expect
    said = "; ".join(dict.fromkeys(str(at) for at in expect.ats))
    if expect.oracle:
        said = f"{said}; {expect.oracle}" if said else expect.oracle
    what = case.id.partition("/")[2]
    return f"| {_cell(what)} | {_cell(case.how)} | {expect.outcome} | {_cell(said)} |\n"


def _cell(text: str) -> str:
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    shown = re.sub(r"[<>&]", lambda m: {"<": "&lt;", ">": "&gt;", "&": "&amp;"}[m[0]], shown)
    return shown.replace("|", "\\|")


def write_files(folder: Path) -> None:
    """Write every input below a folder, one folder each."""
    for number, case in enumerate(CASES, start=1):
        target = folder / f"{number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', case.id)[:50]}"
        target.mkdir(parents=True)
        case.make(target)


def write_examples(path: Path) -> None:
    """Write, for each code, the shortest message that is told of an input made for it."""
    from bad_inputs.judge import told

    found: dict[str, tuple[str, str]] = {}
    for case in CASES:
        codes = {at.code for at in case.expect.ats}
        for problem in told(case) if codes and not case.waits else ():
            text = str(problem)
            plain = text.isascii() and text.replace("\n", "").isprintable() and len(text) < _LONGEST_EXAMPLE
            if problem.code in codes and plain:
                found[problem.code] = min(
                    found.get(problem.code, (text, case.id)), (text, case.id), key=_size
                )
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["code", "case", "told"])
        rows.writerows([code, case, text] for code, (text, case) in sorted(found.items()))


def _size(example: tuple[str, str]) -> tuple[int, str]:
    return len(example[0]), example[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--examples", type=Path)
    options = parser.parse_args()
    if options.page is not None:
        options.page.write_text(page(), encoding="utf-8", newline="\n")
    if options.files is not None:
        write_files(options.files)
    if options.examples is not None:
        write_examples(options.examples)


if __name__ == "__main__":
    main()

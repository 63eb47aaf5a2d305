"""The rooms whose tests are put to the proof: their modules, their tests, and how many mutants of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The sample is the same whenever the code is the same.
SEED = 20261126


@dataclass(frozen=True)
class Room:
    """Part of the package; paths are globs below the repository."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    mutants: int

    def files(self) -> list[str]:
        """Modules of the room, sorted."""
        found = {path for glob in self.modules for path in ROOT.glob(glob)}
        return sorted(path.relative_to(ROOT).as_posix() for path in found)


_READING = "tests/bad_inputs/test_corpus.py"
ROOMS = (
    Room("mixed", ("pdbiomarker/mixed/**/*.py",), ("tests/mixed", "tests/change"), 140),
    Room(
        "pairing",
        ("pdbiomarker/pairing/*.py",),
        ("tests/pairing", "tests/test_pairing.py", "tests/change"),
        70,
    ),
    Room("noise", ("pdbiomarker/noise/*.py",), ("tests/noise", "tests/decide"), 60),
    Room("decide", ("pdbiomarker/decide/*.py",), ("tests/decide", "tests/plan"), 90),
    Room(
        "scores",
        ("pdbiomarker/ihc/score*.py",),
        ("tests/ihc/test_scores.py", "tests/ihc/test_exports.py"),
        40,
    ),
    Room(
        "tables", ("pdbiomarker/tables/*.py",), ("tests/test_tables.py", "tests/test_study.py", _READING), 40
    ),
    Room(
        "study",
        ("pdbiomarker/study/*.py",),
        ("tests/test_study.py", "tests/test_study_clinical.py", "tests/pairing", _READING),
        50,
    ),
    Room(
        "plan", ("pdbiomarker/plan/*.py",), ("tests/test_plan.py", "tests/plan", "tests/change", _READING), 40
    ),
    Room(
        "expression readers",
        tuple(
            f"pdbiomarker/expression/{name}.py"
            for name in (
                "checks",
                "counts",
                "formats",
                "matrix",
                "values",
                "cellfile",
                "hdf5*",
                "h5ad",
                "ncounter/*",
            )
        ),
        ("tests/expression", "tests/test_expression_files.py", _READING),
        60,
    ),
)


def room_of(name: str) -> Room:
    """Room by its name."""
    return next(room for room in ROOMS if room.name == name)

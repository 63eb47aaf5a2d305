"""The demonstration: a simulated trial, and the whole road on the files it left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.provenance import code_version, completed, recorded_steps, sha256_json
from pdbiomarker.run import RunOutcome, run_study
from pdbiomarker.run.jobs import Job, run_jobs
from pdbiomarker.run.progress import Display
from pdbiomarker.run.trip import value_of

__all__ = ["PARTIAL_STUDY", "run_demo"]

#: Where a trial is drawn before it is whole.
PARTIAL_STUDY: Final = "study.partial"
_STEP: Final = "simulate"


def run_demo(
    folder: str | Path,
    *,
    seed: int = 1,
    n_participants: int = 12,
    formats: Sequence[str] = ("html",),
    workers: int | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Simulate a small serial-biopsy trial and run the whole road on it.

    Parameters
    ----------
    folder : str or Path
        New, empty, or that of an earlier demonstration. Gets ``study/`` and ``results/``.
    seed, n_participants : int
        As for :func:`pdbiomarker.simulate_study`.
    formats, workers, fresh, progress
        As for :func:`pdbiomarker.run_study`.

    Returns
    -------
    RunOutcome
        Of the run on ``folder/study``.

    Raises
    ------
    InputError
        E-RUN-006: the folder holds other things.
    """
    root = Path(folder)
    key = sha256_json([code_version(), seed, n_participants])
    if completed(root, _STEP, key) is None:
        _check_ours(root)
        with Display(shown=progress) as display:
            display.begin(_STEP)
            arguments = {"folder": str(root.absolute()), "seed": seed, "n_participants": n_participants}
            job = Job(_STEP, "pdbiomarker.run.steps:simulate_trial", {**arguments, "key": key})
            (ended,) = run_jobs([job], tell=lambda _, done, of: display.at(_STEP, done, of))
            value_of(ended)
            display.end(_STEP, f"{n_participants} participants, seed {seed}")
        fresh = fresh or (root / "results").exists()
    return run_study(
        root / "study", root / "results", formats=formats, workers=workers, fresh=fresh, progress=progress
    )


def _check_ours(root: Path) -> None:
    entries = sorted(p.name for p in root.iterdir()) if root.is_dir() else [root.name] * root.exists()
    entries = [name for name in entries if name != PARTIAL_STUDY]
    if entries and _STEP not in recorded_steps(root):
        problems = Problems()
        problems.add(
            "E-RUN-006",
            f"The folder is not that of a demonstration: it holds {', '.join(entries[:3])}.",
            remedy="Give a new or an empty folder to -o; nothing was changed.",
            file=str(root),
        )
        raise InputError(problems)

"""The Snakemake workflow is killed, or a step of it, and the same command goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fault_kills import Event, Kill, Runs, arguments, hooked, strays
from small_study import fingerprint
from snakemake_study import workflows

import pdbiomarker as pb

pytestmark = pytest.mark.slow
_SEED = 9


def test_fault_43_a_workflow_is_killed_again_and_again_and_gone_on_with(
    study: Path, whole: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    """One results folder, killed three times: Snakemake with its step, Snakemake alone, the step alone.

    At an event of the seed among those of a stage; `campaign.py --workflow` does it more often.
    """
    draw = random.Random(_SEED)  # noqa: S311 - reproducible, not secret
    start, out = workflows(tmp_path), tmp_path / "out"
    for kill in (
        Kill("group", "slides", event=draw.randint(1, 8), below="slides/"),
        Kill("leader", "change", event=draw.randint(1, 20), below="results/"),
        Kill("lead", "report", event=1, below=".done/"),
    ):
        ended = start(arguments(study, out), hooked(out, tmp_path / f"{kill.who}.txt", kill)).wait(600)
        assert ended == (0 if kill.who == "lead" else -9), kill  # Snakemake takes a step again by itself
    assert fingerprint(out) == fingerprint(whole[0])
    assert strays(out) == []
    assert pb.verify(out) == []


def test_fault_43_what_a_workflow_began_a_run_finishes(
    run: Runs, study: Path, whole: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    out, kill = tmp_path / "out", Kill("group", "change", event=3, below="results/")
    started = workflows(tmp_path)(arguments(study, out), hooked(out, tmp_path / "events.txt", kill))
    assert started.wait(600) == -9
    assert run(arguments(study, out), {}).wait() == 0
    assert fingerprint(out) == fingerprint(whole[0])
    assert "complete before" in (out / "run.log").read_text(encoding="utf-8")

"""The Snakemake workflow is killed, or a step of it, and the same command goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fault_kills import Event, Kill, Runs, arguments, hooked, strays
from small_study import copy, fingerprint
from snakemake_study import workflows

import pdbiomarker as pb

pytestmark = pytest.mark.slow
_SEED = 9


def test_fault_43_a_workflow_is_killed_again_and_again_and_gone_on_with(
    run: Runs, study: Path, whole: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    """One results folder, killed three times: Snakemake with its step, Snakemake alone, a step alone.

    At events that a seed draws; `campaign.py --workflow` does it more often. What the first
    kill left a `run` finishes, too.
    """
    draw = random.Random(_SEED)  # noqa: S311 - reproducible, not secret
    start, out = workflows(tmp_path), tmp_path / "out"
    for kill in (
        Kill("group", "slides", event=draw.randint(20, 40), below="slides/"),
        Kill("leader", "change", event=draw.randint(1, 20), below="results/"),
        Kill("lead", "report", event=1, below=".done/"),
    ):
        ended = start(arguments(study, out), hooked(out, tmp_path / f"{kill.who}.txt", kill)).wait(600)
        assert ended == (0 if kill.who == "lead" else -9), kill  # Snakemake takes a step again by itself
        if kill.stage == "slides":
            left = copy(out, tmp_path / "left")
            assert run(arguments(study, left), {}).wait() == 0
            assert "complete before" in (left / "run.log").read_text(encoding="utf-8")
            assert fingerprint(left) == fingerprint(whole[0])
    assert fingerprint(out) == fingerprint(whole[0])
    assert strays(out) == []
    assert pb.verify(out) == []

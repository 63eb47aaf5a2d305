"""The workflow through sbatch of a SLURM of one node: the bytes of a local run, one bad slide among them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import fingerprint, small_study
from snakemake_study import HOSTILE, WORKFLOW, snakemake, write_config

import pdbiomarker as pb

SCRIPT = Path(__file__).parent / "cluster.sh"


def _lacking() -> str:
    """Why there can be no cluster here; empty: there can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [
        name for name in ("sbatch", "slurmctld", "slurmd", "munged") if shutil.which(name, path=path) is None
    ]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "only root can start a SLURM"
    return "this machine has a SLURM of its own" if Path("/etc/slurm/slurm.conf").exists() else ""


pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(bool(_lacking()), reason=_lacking() or "-"),
]


@pytest.fixture
def cluster() -> Iterator[Path]:
    """A running cluster; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a short path: a socket lies in it
    try:
        subprocess.run([SCRIPT, "start", folder], check=True, timeout=120)
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=False, timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def test_through_sbatch_it_gives_the_bytes_of_a_local_run(cluster: Path, tmp_path: Path) -> None:
    study = small_study(tmp_path / HOSTILE / "study")
    bad = study / "slides" / "P02-T.tif"
    bad.write_bytes(bad.read_bytes()[:3000])
    write_config(tmp_path, study)
    often = ("--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1")
    profile = ("--profile", str(WORKFLOW / "profiles" / "slurm"), "--latency-wait", "5", *often)
    ended = snakemake(tmp_path, *profile, "--configfile", "config.json", seconds=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "finished with 1 quarantined items (exit status 4)" in ended.stdout + ended.stderr
    jobs = (cluster / "log" / "jobs.log").read_text(encoding="utf-8").splitlines()
    assert len(jobs) == 4, jobs  # check, two batches, and the rest as one
    assert all("JobState=COMPLETED" in job for job in jobs)
    assert not list(tmp_path.rglob("ran")), "a shell ran what stands in a name"
    assert pb.run_study(study, tmp_path / "local", progress=False).exit_code == 4
    assert fingerprint(tmp_path / "the 'results'") == fingerprint(tmp_path / "local")

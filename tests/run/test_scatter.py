"""Batches of slides: how large, how steady, and what makes one of them be taken again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_study import copy, replace, small_study

from pdbiomarker.errors import InputError
from pdbiomarker.provenance import mark_done
from pdbiomarker.run import scatter as module
from pdbiomarker.run.scatter import Cost, cut, scatter
from pdbiomarker.run.work import WorkFolder, look_of
from pdbiomarker.run.workflow import Jobs

#: One slide of the small study a batch.
SINGLE = Cost(minutes_per_job=0.06, threads=1)
CONFIG = {
    "when_changed": "renew",
    "formats": ["html", "xlsx"],
    "retries": 2,
    "slides": {
        "threads": 2,
        "minutes_per_job": 60,
        "minutes_per_slide": 0.05,
        "minutes_per_gb": 30,
        "mem_mb": 1500,
        "mem_mb_per_thread": 2000,
    },
    "steps": {"change": {"mem_mb": 8000, "minutes": 120}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("scatter") / "a study's $(touch x) {b}")


def slides(n: int, seed: int = 1) -> list[dict[str, Any]]:
    sizes = np.random.default_rng(seed).lognormal(np.log(8e8), 0.6, n)
    return [{"slide_id": f"S{k:05d}", "bytes": int(size)} for k, size in enumerate(sizes)]


def test_400_slides_are_not_400_jobs() -> None:
    cost = Cost()
    batches = cut(slides(400), cost)
    minutes = [sum(cost.minutes(s["bytes"]) for s in batch) / cost.threads for batch in batches]
    assert [s for batch in batches for s in batch] == slides(400)
    assert 80 <= len(batches) <= 180  # about 6,800 core minutes of slides
    assert all(m <= cost.minutes_per_job or len(b) == 1 for m, b in zip(minutes, batches, strict=True))
    assert np.mean(minutes) >= cost.minutes_per_job / 2


def test_small_slides_share_a_job_and_a_large_one_has_its_own() -> None:
    small = [{"slide_id": str(k), "bytes": 1000} for k in range(30)]
    large = {"slide_id": "large", "bytes": int(9e9)}
    assert cut(small, Cost()) == [small]
    assert cut([large, large], Cost()) == [[large], [large]]
    assert cut([], Cost()) == []


def test_a_new_slide_changes_the_batches_near_it_alone() -> None:
    before = slides(400)
    after = [*before[:120], {"slide_id": "S00119b", "bytes": int(2e9)}, *before[120:]]
    old = {tuple(s["slide_id"] for s in batch) for batch in cut(before, Cost())}
    new = {tuple(s["slide_id"] for s in batch) for batch in cut(after, Cost())}
    assert len(old - new) <= 8
    assert len(old & new) >= len(old) - 8


def test_the_token_of_a_batch_changes_with_its_own_slides(study: Path, tmp_path: Path) -> None:
    here, work = copy(study, tmp_path / "study"), tmp_path / "work"

    def tokens() -> dict[str, str]:
        return {name: b.token for name, b in scatter(here, work, cost=SINGLE).batches.items()}

    first = tokens()
    assert list(first) == ["P01-S", "P01-T", "P02-S", "P02-T"]
    replace(here / "plan.yaml", "seed: 1", "seed: 2")
    replace(here / "participants.csv", "P01,10", "P01,12")
    assert tokens() == first
    replace(here / "slides.csv", "P02-S.tif,B2", "P02-S.tif,B7")
    second = tokens()
    assert {name for name in first if first[name] != second[name]} == {"P02-S"}
    old = (here / "slides" / "P01-T.tif").stat()
    os.utime(here / "slides" / "P01-T.tif", ns=(old.st_atime_ns, old.st_mtime_ns - 10**12))  # an older file
    third = tokens()
    assert {name for name in first if third[name] != second[name]} == {"P01-T"}


def test_the_study_is_read_when_it_changed(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, work = copy(study, tmp_path / "study"), tmp_path / "work"
    first = scatter(here, work, cost=SINGLE)
    assert {Path(path).name for path in first.inputs} >= {"study.yaml", "plan.yaml", "counts.csv.gz"}
    assert not first.clinical
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_jobs", lambda _: pytest.fail("the study was read again"))
        assert scatter(here, work, cost=SINGLE) == first
    replace(here / "slides.csv", "P02-S,P02-S", "P02-A,P02-S")
    assert list(scatter(here, work, cost=SINGLE).batches) == ["P01-S", "P01-T", "P02-A", "P02-T"]


def test_a_refused_study_has_no_batches(study: Path, tmp_path: Path) -> None:
    here = copy(study, tmp_path / "study")
    (here / "participants.csv").unlink()
    found = scatter(here, tmp_path / "work")
    assert found.batches == {}
    assert str(here / "study.yaml") in found.inputs
    assert not (tmp_path / "work").exists()


def test_what_the_rules_ask_for(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = Jobs({**CONFIG, "study": str(study), "results": "out"})
    wildcards = SimpleNamespace(batch="P01-S")
    shared = ["--out", f"{tmp_path}/out", "--work", f"{tmp_path}/out.work", "--wait", "600"]
    assert jobs.arguments() == [str(study), *shared]
    assert jobs.report_arguments() == [*jobs.arguments(), "--format", "html,xlsx"]
    assert jobs.check_arguments() == [*jobs.report_arguments(), "--fresh"]
    assert [jobs.slides_mem_mb(wildcards, attempt) for attempt in (1, 2)] == [5500, 11000]
    assert jobs.slides_runtime(wildcards, 3) == 3 * jobs.slides_runtime(wildcards, 1)
    assert [jobs.tries_left(wildcards, attempt) for attempt in (1, 2, 3)] == [2, 1, 0]
    assert jobs.mem_mb("change")(wildcards, 2) == 16000
    assert jobs.files(wildcards) == []  # Snakemake would read {b} and $( ): the token alone tells of these
    plain = Jobs({**CONFIG, "study": str(copy(study, tmp_path / "it's plain")), "results": "out"})
    assert [Path(path).parts[-3:] for path in plain.files(wildcards)] == [
        ("it's plain", "slides", f"P0{p}-{v}.tif") for p in "12" for v in "ST"
    ]
    given = Jobs(
        {**CONFIG, "study": str(study), "results": "out", "plan": "-p.yaml", "when_changed": "refuse"}
    )
    assert given.arguments()[-2:] == ["--plan", f"{tmp_path}/-p.yaml"]
    assert given.check_arguments() == given.report_arguments()


@pytest.mark.parametrize("name", ["{b}", "$(x)", "`x`", 'a"b', "a\\b"])
@pytest.mark.parametrize("key", ["results", "work"])
def test_folders_that_snakemake_would_read_otherwise_are_refused(
    study: Path, tmp_path: Path, key: str, name: str
) -> None:
    with pytest.raises(InputError, match="E-RUN-044"):
        Jobs({**CONFIG, "study": str(study), "results": f"{tmp_path}/o", key: f"{tmp_path}/{name}"})


def test_a_step_whose_output_changed_is_complete_no_more(study: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", WorkFolder(tmp_path / "work")
    for name in ("results/pd_change.csv", "results/noise.csv"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("a\n", encoding="utf-8")
    for step, name in (("change", "results/pd_change.csv"), ("decide", "results/noise.csv")):
        mark_done(out, step, "k", outputs=[out / name])

    def left(edit: Callable[[], object]) -> set[str]:
        for step in ("change", "decide"):
            kept.write_step(step, look_of(out, [step]))
        edit()
        scatter(study, kept.path, out=out, cost=SINGLE)
        return {path.stem for path in kept.path.glob("*.json")} - {"scatter"}

    assert left(lambda: None) == {"change", "decide"}
    assert left(lambda: os.utime(out / "results" / "pd_change.csv", (1, 1))) == {"change", "decide"}
    assert left(lambda: os.utime(out / "results" / "noise.csv", (1, 1))) == {"change"}
    assert left(lambda: (out / "results" / "pd_change.csv").write_bytes(b"")) == {"decide"}
    assert left((out / ".done" / "decide.json").unlink) == {"change"}

"""The Snakemake workflow on one machine: the bytes of a run, what an edit re-runs, hostile names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from small_study import fingerprint, replace, small_study
from snakemake_study import HOSTILE, WORKFLOW, jobs_of, ran_in, snakemake, write_config

import pdbiomarker as pb

LOCAL = ("--profile", str(WORKFLOW / "profiles" / "local"), "--cores", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a study in a folder of a hostile name, and its config."""
    root = tmp_path_factory.mktemp("workflow")
    small_study(root / HOSTILE / "study")
    write_config(root, root / HOSTILE / "study")
    return root


@pytest.fixture(scope="module")
def done(folder: Path) -> Path:
    """The results folder of the workflow."""
    ended = snakemake(folder, *LOCAL, "--configfile", "config.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the 'results': finished (exit status 0)" in ended.stdout + ended.stderr
    return folder / "the 'results'"


@pytest.mark.slow
def test_the_workflow_gives_the_bytes_of_a_run(folder: Path, done: Path) -> None:
    alone = pb.run_study(folder / HOSTILE / "study", folder / "alone", progress=False)
    assert fingerprint(done) == fingerprint(alone.out)
    assert pb.verify(done) == []
    assert not list(folder.rglob("ran")), "a shell ran what stands in a name"
    logs = {p.name for p in (folder / "the 'results'.work" / "logs").iterdir()}
    assert logs >= {"check.log", "change.log", "review.log", "manifest.log", "slides"}
    assert len(list((folder / "the 'results'.work" / "benchmarks" / "slides").iterdir())) == 2
    assert pb.run_study(folder / HOSTILE / "study", done, progress=False).steps_made == ()


@pytest.mark.slow
def test_an_edit_runs_again_what_it_touches(folder: Path, done: Path) -> None:
    study, log = folder / HOSTILE / "study", folder / "the 'results'.work" / "logs" / "slides" / "P02-S.log"
    options = (*LOCAL, "--configfile", "config.json")
    assert jobs_of(snakemake(folder, *options, "--dry-run")) == {}
    (done / "review.html").write_bytes(b"")  # as after a full disk, or by hand
    assert jobs_of(snakemake(folder, *options, "--dry-run")) == {"review": 1, "manifest": 1, "all": 1}
    replace(study / "plan.yaml", "seed: 1", "seed: 2")
    assert ran_in(snakemake(folder, *options, "--until", "slides")) == ["check"]
    replace(study / "slides.csv", "P02-S.tif,B2", "P02-S.tif,B7")
    assert ran_in(snakemake(folder, *options, "--until", "slides")) == ["check", "slides"]
    assert "2 of batch P02-S, 1 complete before" in log.read_text(encoding="utf-8")


def test_the_workflow_is_clean_and_has_the_form_of_the_catalogue(folder: Path) -> None:
    ended = snakemake(folder, "--lint", "--configfile", "config.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    catalogue = yaml.safe_load(
        (WORKFLOW.parent / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8")
    )
    assert set(catalogue["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (WORKFLOW / "config" / "README.md").is_file()


def test_every_rule_is_one_call_whose_words_are_quoted() -> None:
    rules = [text for path in sorted((WORKFLOW / "rules").glob("*.smk")) for text in _rules(path)]
    assert len(rules) == 7
    for text in rules:
        for part in (
            "input:",
            "output:",
            "log:",
            "benchmark:",
            "threads:",
            "mem_mb=",
            "runtime=",
            "retries:",
        ):
            assert f"    {part}" in text, (part, text)
        shell = text.partition("    shell:\n")[2]
        assert shell.count("pdbiomarker step ") == 1
        for name in [word.partition("}")[0] for word in shell.split("{")[1:]]:
            assert name.endswith(":q") or name in {"threads", "resources.tries_left"}, name


def _rules(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert "run:" not in text
    assert "lambda" not in text
    return [f"rule {part}" for part in re.split(r"^(?:rule|checkpoint) ", text, flags=re.MULTILINE)[1:]]


def test_the_default_configuration_is_complete() -> None:
    schema = yaml.safe_load((WORKFLOW / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))
    config = yaml.safe_load((WORKFLOW / "config" / "config.yaml").read_text(encoding="utf-8"))
    assert set(config) == set(schema["properties"])
    assert set(config["slides"]) == set(schema["properties"]["slides"]["properties"])
    assert set(config["steps"]) == set(schema["properties"]["steps"]["required"])


def test_a_wrong_configuration_is_refused(folder: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path, folder / HOSTILE / "study", when_changed="perhaps")
    ended = snakemake(tmp_path, *LOCAL, "--configfile", str(path), "--dry-run")
    assert ended.returncode != 0
    assert "perhaps" in ended.stdout + ended.stderr
    assert json.loads(path.read_text(encoding="utf-8"))["when_changed"] == "perhaps"

"""The reference files: found, listed, and equal to their manifest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pdbiomarker import reference
from pdbiomarker.cli import app
from pdbiomarker.decide.rules import preset, presets
from pdbiomarker.errors import InputError
from pdbiomarker.expression import read_signature
from pdbiomarker.expression.identifiers import known_symbols
from pdbiomarker.expression.identity import sex_of
from pdbiomarker.ihc import read_panel
from pdbiomarker.noise import borrowed_noises
from pdbiomarker.provenance import sha256_file
from pdbiomarker.reference import MANIFEST, find_reference, list_reference, read_manifest, reference_path
from pdbiomarker.study.schedule import Schedule, ScheduleKeys, schedules


def test_every_reference_file_is_in_the_manifest_with_its_hash():
    rows = read_manifest()
    assert [row.path for row in rows] == [name for name in list_reference() if name != MANIFEST]
    for row in rows:
        assert row.sha256 == sha256_file(reference_path(row.path)), f"{row.path}: run 'make reference'"
        assert row.source
        assert row.version
        assert row.licence
        assert re.fullmatch(r"[0-9a-f]{64}", row.sha256)


def test_paths():
    assert reference_path("").is_dir()
    assert reference_path("panels/cd8.yaml").is_file()
    assert "panels/cd8.yaml" in list_reference("panels")
    assert list_reference("nothing here") == []


@pytest.mark.parametrize(
    ("name", "code", "remedy"),
    [
        ("../pyproject.toml", "E-FILE-006", "below the folder"),
        ("/etc/passwd", "E-FILE-006", "below the folder"),
        ("panels/../../LICENSE", "E-FILE-006", "below the folder"),
        ("panels/cd88.yaml", "E-FILE-001", "'panels/cd8.yaml'"),
        ("panels/\0", "E-FILE-001", "Nearest"),
    ],
)
def test_names_that_are_refused(name, code, remedy):
    with pytest.raises(InputError) as caught:
        reference_path(name)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.value == name.replace("\0", r"\x00")  # control characters are spelt out
    assert remedy in problem.remedy


def test_an_installed_package_carries_its_own_copy(tmp_path, monkeypatch):
    package = tmp_path / "pdbiomarker"
    shutil.copytree(reference_path(""), package / "_reference")
    monkeypatch.setattr(reference, "__file__", str(package / "reference.py"))
    assert reference_path("panels/cd8.yaml") == (package / "_reference/panels/cd8.yaml").resolve()
    assert Path(MANIFEST).name in list_reference()


READERS = {
    "decisions": preset,
    "genes": lambda name: {"sex": lambda: sex_of(np.ones((1, 1)), ["UTY"]), "symbols": known_symbols}[name](),
    "noise.yaml": lambda _: borrowed_noises(),
    "panels": read_panel,
    "signatures": read_signature,
    "windows": ScheduleKeys.model_validate,
}


@pytest.mark.parametrize("path", [name for name in list_reference() if name != MANIFEST])
def test_every_reference_file_is_read_by_its_name(path):
    """No file without a reader: what travels with the package is used."""
    assert READERS[path.partition("/")[0]](Path(path).stem) is not None


def test_noise_that_can_be_borrowed_says_where_it_is_from():
    table = borrowed_noises()
    assert table["source"].str.len().min() > 20
    assert table["population"].str.len().min() > 20
    assert set(presets()) == {Path(name).stem for name in list_reference("decisions")}


def test_a_schedule_by_name():
    assert schedules() == ["q3w", "q4w"]
    assert ScheduleKeys.model_validate("q4w").schedule() == Schedule()
    assert ScheduleKeys.model_validate("q3w").schedule() == Schedule(cycle_days=21)
    with pytest.raises(ValueError, match=r"no schedule of that name.*q3w"):
        ScheduleKeys.model_validate("q3")


@pytest.mark.parametrize("name", ["cd8", "CD8.yaml", "panels/cd8.yaml"])
def test_a_reference_file_is_found_by_path_or_name(name):
    assert find_reference(name).path == "panels/cd8.yaml"


def test_a_name_of_no_reference_file_is_told_with_the_nearest():
    with pytest.raises(InputError, match=r"E-REF-080.*'cd8'"):
        find_reference("cd88")


def test_the_command_lists_and_shows():
    listed = CliRunner().invoke(app, ["reference"])
    assert listed.exit_code == 0
    assert [line.partition("  ")[0] for line in listed.stdout.splitlines()] == [
        r.path for r in read_manifest()
    ]
    shown = CliRunner().invoke(app, ["reference", "q3w"])
    head, _, text = shown.stdout.partition("\n")
    assert head.startswith("# windows/q3w.yaml, version 1, BSD-3-Clause, sha256 ")
    assert text == reference_path("windows/q3w.yaml").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["reference", "nothing-like-it"]).exit_code == 3

"""The reference files: found, listed, and equal to their manifest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pdbiomarker import reference
from pdbiomarker.errors import InputError
from pdbiomarker.provenance import sha256_file
from pdbiomarker.reference import MANIFEST, list_reference, read_manifest, reference_path


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
    assert problem.value == name
    assert remedy in problem.remedy


def test_an_installed_package_carries_its_own_copy(tmp_path, monkeypatch):
    package = tmp_path / "pdbiomarker"
    shutil.copytree(reference_path(""), package / "_reference")
    monkeypatch.setattr(reference, "__file__", str(package / "reference.py"))
    assert reference_path("panels/cd8.yaml") == (package / "_reference/panels/cd8.yaml").resolve()
    assert Path(MANIFEST).name in list_reference()

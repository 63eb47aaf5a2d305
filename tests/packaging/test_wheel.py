"""The wheel: what is in it and what is not; with --slow, that it installs alone and runs."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.packaging.environments import ROOT, build_wheel, extras, install, run_demo, uv, wheel_files

PAGES = ("study_folder.md", "results.md", "glossary.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        uv()
    except FileNotFoundError:
        pytest.skip("uv is not installed")
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def _below(folder: Path, *, but: str = "") -> set[str]:
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(folder).as_posix() for p in files if p.suffix != (but or "none")}


def test_the_wheel_holds_the_package_its_reference_and_pages_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in wheel_files(wheel) if ".dist-info/" not in name}
    expected = {f"pdbiomarker/{name}" for name in _below(ROOT / "pdbiomarker")}
    expected |= {f"pdbiomarker/_reference/{name}" for name in _below(ROOT / "reference")}
    expected |= {f"pdbiomarker/_docs/{name}" for name in PAGES}
    assert inside == expected
    assert {Path(name).suffix for name in inside} <= {
        *(".py", ".typed", ".md", ".csv", ".tsv", ".yaml"),
        *(".css", ".js", ".jinja"),
    }


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    about = {n.rpartition("/")[2]: n for n in wheel_files(wheel) if ".dist-info/" in n}
    assert set(about) == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_dependency_has_a_floor() -> None:
    """Without one, the lowest version that the wheel allows could not be tested."""
    project = _pyproject()["project"]
    needs = [*project["dependencies"], *(n for e in project["optional-dependencies"].values() for n in e)]
    assert [need for need in needs if ">=" not in need] == []


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for() -> None:
    """The same, neither less nor more; only names differ where conda-forge has another one."""
    told = _pyproject()
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    names = {"matplotlib": "matplotlib-base", "opencv-python-headless": "py-opencv"}
    needs = (Requirement(need) for need in told["project"]["dependencies"])
    expected = {names.get(need.name, need.name): need.specifier for need in needs}
    expected["python"] = SpecifierSet(told["project"]["requires-python"])
    assert _conda(recipe["requirements"]["run"]) == expected
    builders = {need.name: need.specifier for need in map(Requirement, told["build-system"]["requires"])}
    assert _conda(recipe["requirements"]["host"]) == builders | {
        "python": expected["python"],
        "pip": SpecifierSet(),
    }


def _conda(needs: list[str]) -> dict[str, SpecifierSet]:
    """Requirements of a recipe: each is named once."""
    found = [need.partition(" ") for need in needs]
    assert len({name for name, _, _ in found}) == len(found)
    return {name: SpecifierSet(bounds) for name, _, bounds in found}


def test_the_conda_recipe_says_what_the_project_says() -> None:
    told = _pyproject()["project"]
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["package"] == {"name": told["name"], "version": told["version"]}
    assert recipe["about"]["summary"] == told["description"]
    assert recipe["about"]["license"] == told["license"]
    scripts = [f"{name} = {target}" for name, target in told["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts


def test_the_container_is_given_all_that_the_build_reads() -> None:
    """Of the checkout it has what is copied, each to its own place, and nothing else."""
    told = _pyproject()
    copied = set()
    for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY "):
            *sources, target = line.split()[1:]
            for source in sources:
                assert (ROOT / source).exists(), source
                place = Path(target, Path(source).name) if target.endswith("/") else Path(target)
                assert place == Path(source)
            copied |= set(sources)
    wheel = told["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], *told["project"]["license-files"]}
    assert copied == needed | {"pyproject.toml", "constraints.txt", told["project"]["readme"]}


def test_the_container_installs_extras_that_exist_on_a_python_that_is_supported() -> None:
    told = _pyproject()["project"]
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM \S+/python:(\d+\.\d+)-", lines, re.MULTILINE)
    assert base is not None
    assert f"Programming Language :: Python :: {base.group(1)}" in told["classifiers"]
    asked = re.search(r"pip install .*'\.\[(.*)\]'", lines)
    assert asked is not None
    assert set(asked.group(1).split(",")) <= set(extras())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_wheel_installs_alone_and_runs_elsewhere(
    wheel: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--slow"):
        pytest.skip("with --slow; all interpreters: make wheel")
    install(wheel, tmp_path / "env", python=sys.executable, resolution="highest")
    (tmp_path / "away").mkdir()
    assert run_demo(tmp_path / "env", tmp_path / "away", participants=4).is_file()

"""The wheel: what is in it and what is not; with --slow, that it installs alone and runs."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from tests.packaging.environments import ROOT, build_wheel, install, run_demo, uv, wheel_files

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


def test_every_dependency_has_a_floor() -> None:
    """Without one, the lowest version that the wheel allows could not be tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], *(n for e in project["optional-dependencies"].values() for n in e)]
    assert [need for need in needs if ">=" not in need] == []


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for() -> None:
    """Same floors; only names differ where conda-forge has another one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {"matplotlib": "matplotlib-base", "opencv-python-headless": "py-opencv"}
    recipe = (ROOT / "conda/recipe.yaml").read_text(encoding="utf-8")
    for need in project["dependencies"]:
        name, _, versions = need.partition(">=")
        assert f"- {names.get(name, name)} >={versions}\n" in recipe, need
    assert f'version: "{project["version"]}"' in recipe


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

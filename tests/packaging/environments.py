"""Install the wheel alone into environments of their own and try it there: ``make wheel``.

Nothing of the checkout is on the way of the installed package but the tests. Interpreters are those of this
machine; one that is not here is told and makes the run fail. Where one environment fails the others are
tried all the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What a change of numpy, pandas, scipy and their like would move: models, sheets, pairs, counts, scores,
#: decisions, a whole report.
TESTS = (
    "tests/mixed", "tests/formula", "tests/test_study.py", "tests/test_tables.py", "tests/pairing",
    "tests/expression", "tests/normalize", "tests/change/test_analysis.py", "tests/ihc/test_scores.py",
    "tests/ihc/test_stain.py", "tests/clinical/test_nca.py", "tests/decide/test_evaluate.py",
    "tests/report/test_html.py", "tests/report/test_formats.py",
)  # fmt: skip
#: What a report of a run names: the packages whose versions move numbers.
NAMED = ("numpy", "scipy", "pandas", "anndata", "scikit-image", "numba", "statsmodels", "matplotlib")
#: The tests' own needs, beside what the wheel brings.
TOOLS = ("pytest>=8.4", "hypothesis>=6.130", "pypdf>=6")


def uv() -> str:
    """Give the path of uv: on the path, or where ``make setup`` puts it."""
    found = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    if not Path(found).is_file():
        raise FileNotFoundError("uv is needed: run 'make setup'")
    return found


def extras() -> list[str]:
    """Names of the optional parts of the package, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"])


def _run(command: Sequence[str | Path], folder: Path, **variables: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    subprocess.run(list(map(str, command)), cwd=folder, env={**kept, **variables}, check=True)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout into a folder."""
    _run([uv(), "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def wheel_files(wheel: Path) -> list[str]:
    """Names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def install(wheel: Path, target: Path, *, python: str, resolution: str, tools: Sequence[str] = ()) -> None:
    """Make an environment with the wheel, at the highest or lowest versions that it allows.

    Parameters
    ----------
    wheel, target : Path
    python : str
        Such as ``"3.13"``, or the path of an interpreter.
    resolution : {"highest", "lowest-direct"}
        ``lowest-direct`` takes the floors of pyproject.toml for what is named there.
    tools : sequence of str
        Requirements besides.
    """
    _run([uv(), "venv", "--quiet", "--python", python, target], wheel.parent, UV_PYTHON_DOWNLOADS="never")
    pins = target / "pins.txt"
    interpreter = target / "bin" / "python"
    compiled = [uv(), "pip", "compile", "--quiet", "--python", interpreter, "--resolution", resolution]
    _run([*compiled, ROOT / "pyproject.toml", "-o", pins], wheel.parent)
    command = [uv(), "pip", "install", "--quiet", "--python", interpreter, "-r", pins, wheel, *tools]
    _run(command, wheel.parent)


def resolve(extra: str, *, python: str, resolution: str, folder: Path) -> Path:
    """Find versions that fit together for the package with an extra, and install none of them."""
    pins = folder / f"{extra}-{Path(python).name}-{resolution}.txt"
    command = [uv(), "pip", "compile", "--quiet", "--python", python, "--resolution", resolution]
    _run(
        [*command, "--extra", extra, ROOT / "pyproject.toml", "-o", pins], folder, UV_PYTHON_DOWNLOADS="never"
    )
    return pins


def versions(environment: Path) -> str:
    """The Python of an environment, and its versions of the packages that move numbers."""
    code = (
        "import platform, importlib.metadata as m, sys\n"
        "named = (f'{name} {m.version(name)}' for name in sys.argv[1:])\n"
        "print(f'Python {platform.python_version()}', *named, sep=', ')"
    )
    command = [environment / "bin" / "python", "-c", code, *NAMED]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run_demo(environment: Path, folder: Path, *, participants: int = 12) -> Path:
    """Run ``pdbiomarker demo`` of an environment from a folder outside the checkout; give the report."""
    command = [environment / "bin" / "pdbiomarker", "demo", "--quiet", "--participants", str(participants)]
    _run([*command, "-o", "demo"], folder)
    _run([environment / "bin" / "pdbiomarker", "verify", "demo/results"], folder)
    return folder / "demo/results/review.html"


def run_tests(environment: Path) -> None:
    """Run the tests against the installed package: from the checkout, whose package is not on the path."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not browser"]
    _run([environment / "bin" / "pytest", *options, *TESTS], ROOT)


def try_wheel(wheel: Path, place: Path, *, python: str, resolution: str, tests: bool) -> str:
    """Install, run the demo and, where asked for, the tests; say with which versions."""
    (place / "away").mkdir(parents=True)
    install(wheel, place / "env", python=python, resolution=resolution, tools=TOOLS if tests else ())
    run_demo(place / "env", place / "away")
    if tests:
        run_tests(place / "env")
    for extra in extras():
        resolve(extra, python=python, resolution=resolution, folder=place)
    return versions(place / "env")


def main() -> int:
    """Try the wheel in every environment that is asked for; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="may be repeated; default: 3.12 and 3.13")
    parser.add_argument("--resolution", action="append", choices=["highest", "lowest-direct"])
    parser.add_argument("--tests", action="store_true", help="run the tests too, not the demo alone")
    given = parser.parse_args()
    said = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        for python in given.python or ["3.12", "3.13"]:
            for resolution in given.resolution or ["highest"]:
                place = folder / f"{Path(python).name}-{resolution}"
                options = {"python": python, "resolution": resolution, "tests": given.tests}
                try:
                    said[place.name] = f"ok: {try_wheel(wheel, place, **options)}"
                except subprocess.CalledProcessError as error:
                    said[place.name] = f"FAILED: {' '.join(map(str, error.cmd))}"
                shutil.rmtree(place, ignore_errors=True)
                sys.stdout.write(f"{place.name}: {said[place.name]}\n")
                sys.stdout.flush()
    sys.stdout.write("".join(f"{name}: {text}\n" for name, text in said.items()))
    return int(any(text.startswith("FAILED") for text in said.values()))


if __name__ == "__main__":
    sys.exit(main())

"""The examples in docstrings run and give what they say; the main functions have one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import pdbiomarker as pb
from pdbiomarker.simulate import TrialDesign

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
#: What a reader looks up first.
MAIN = (
    "Plan.read",
    "accountability",
    "check",
    "expression.read_counts",
    "expression.signature_scores",
    "explain",
    "init_study",
    "mixed.fit",
    "noise.choose_noise",
    "normalize",
    "pairs",
    "pd_change",
    "plot.paired",
    "plot.waterfall",
    "read_study",
    "report",
    "simulate_study",
)


def _names() -> list[str]:
    """Modules with examples, found in their text so that the others need not be loaded."""
    folder = Path(pb.__file__).parent
    modules = [m.name for m in pkgutil.walk_packages([str(folder)], "pdbiomarker.") if ".cli" not in m.name]
    return sorted(name for name in modules if ">>>" in _source(folder, name).read_text(encoding="utf-8"))


def _source(folder: Path, name: str) -> Path:
    path = folder.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which examples start: it holds a small simulated study, ``trial``."""
    folder = tmp_path_factory.mktemp("examples")
    design = TrialDesign(missing=0, inadequate=0, out_of_window=0, repeated=0)
    pb.simulate_study(folder / "trial", n_participants=6, slides=False, genes=100, design=design)
    return folder


@pytest.fixture
def inside(trial: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(trial)
    monkeypatch.setitem(mpl.rcParams, "backend", "Agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("name", _names())
@pytest.mark.usefixtures("inside")
def test_examples_of_docstrings(name: str) -> None:
    failed = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failed.failed == 0


@pytest.mark.parametrize("name", MAIN)
def test_a_main_function_has_an_example(name: str) -> None:
    found: object = pb
    for part in name.split("."):
        found = getattr(found, part)
    assert ">>>" in (inspect.getdoc(found) or "")


@pytest.mark.usefixtures("inside")
def test_examples_of_the_pages_for_engineers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/howto/extend.md: its files are written, and its lines run in their order."""
    page = Path(__file__).parents[1] / "docs" / "howto" / "extend.md"
    text = page.read_text(encoding="utf-8")
    pattern = r"^`([\w.]+\.(?:yaml|csv))`:\n\n```\w+\n(.*?)^```"
    for file, body in re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE):
        (tmp_path / file).write_text(body, encoding="utf-8")
    pb.simulate_study(tmp_path / "trial", n_participants=2, slides=False, genes=100)
    ids = pb.read_study(tmp_path / "trial").biopsies.index[:4]
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(>>>.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    source = re.sub(r'\["B1".*?"B4"\]', repr(list(ids)), "\n".join(blocks))
    test = doctest.DocTestParser().get_doctest(source, {}, page.name, page.name, 0)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test)
    assert runner.failures == 0

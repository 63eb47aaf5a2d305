"""Every bad or odd input has its expected outcome, within bounds; the page of them is current."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs.case import Case
from bad_inputs.corpus import CASES, OUTCOMES, page
from bad_inputs.judge import Here, Worker

from pdbiomarker.errors import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def worker(request: pytest.FixtureRequest) -> Iterator[Worker | Here]:
    """One process for all cases: at most 2 GB, started anew after a hang or a death."""
    found = Here() if request.config.getoption("--here") else Worker()
    yield found
    found.close()


def _param(case: Case) -> object:
    marks = [pytest.mark.xfail(reason=case.waits, strict=True)] if case.waits else []
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", list(map(_param, CASES)))
def test_outcome(worker: Worker | Here, case: Case) -> None:
    wrong = worker.run(case.id)
    assert not wrong, "\n".join([case.how, *wrong])


def test_the_corpus_is_large_and_of_every_outcome() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
    assert len(ids) >= 300
    assert {case.expect.outcome for case in CASES} == set(OUTCOMES)


def test_every_expected_code_exists() -> None:
    codes = {at.code for case in CASES for at in case.expect.ats}
    codes |= {code for case in CASES for code in case.expect.beside}
    assert codes <= CATALOGUE.keys()


def test_a_handled_input_has_an_oracle() -> None:
    assert [c.id for c in CASES if c.expect.outcome == "handled" and not c.expect.oracle] == []


def test_the_page_is_current() -> None:
    """Renew it by `python tests/bad_inputs/corpus.py --page docs/bad_inputs.md`."""
    assert (ROOT / "docs" / "bad_inputs.md").read_text(encoding="utf-8") == page()


def test_every_problem_of_a_file_says_what_to_do() -> None:
    """Each call that adds a problem with a file names a remedy."""
    lacking = []
    for path in sorted((ROOT / "pdbiomarker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "add"
            ):
                continue
            first = node.args[0] if node.args else None
            code = isinstance(first, ast.Constant) and str(first.value).startswith("E-")
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if code and "file" in given:
                remedy = given.get("remedy")
                if remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value):
                    lacking.append(f"{path.name}:{node.lineno}")
    assert lacking == []

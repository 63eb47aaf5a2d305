"""The 35 traps of a serial-biopsy trial, and the tests that cover them.

A test that covers a trap carries its number in its name: ``test_trap_07_...``, in the test file of its room.
Here the tests are read, not run: each trap of the list must have one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

HERE = Path(__file__).parent
_NAME = re.compile(r"test_trap_0*(\d+)_\w+")

#: Each trap in one line.
TRAPS: Final[Mapping[int, str]] = {
    1: "Regions, tiles or cells of one biopsy are taken for independent observations.",
    2: "A z-test where six participants call for a t-test with small-sample degrees of freedom.",
    3: "A participant variance of zero, or negatively correlated pairs, break the paired inference.",
    4: "Participants with one biopsy are dropped, or used, without saying which.",
    5: "A percentage change from a baseline of zero; a mean of percentages in place of a ratio of means.",
    6: "The logarithm of zero: an arbitrary offset decides what is significant.",
    7: "The wrong denominator of a density: means of regions, necrosis as area, cells counted twice.",
    8: "The wrong size of a pixel, or none, or coordinates of another level of the pyramid.",
    9: "Baselines in one staining run and on-treatment biopsies in another: batch and visit are one.",
    10: "Archival and fresh tissue are both taken for the baseline, or mixed by an unstated rule.",
    11: "Dates on the wrong side of the first dose, a day 0, partial dates, unscheduled visits.",
    12: "The second biopsy is of another lesion, or of a lymph node full of lymphocytes.",
    13: "A library or slide belongs to another participant.",
    14: "Regression to the mean reads as a benefit of those with low baselines.",
    15: "Tissue changes from biopsy to surgery without any treatment.",
    16: "Leaving out biopsies without tumour leaves out those who responded.",
    17: "The drug covers the antigen, or is stained itself: a fall of PD-L1 that is none.",
    18: "False discoveries: several contrasts, filters by the same contrast, thresholds after the data.",
    19: "A score of a signature depends on who else is scored, missing genes, or an old symbol.",
    20: "An influx of immune cells moves most genes, and size factors move with it.",
    21: "A percentage of three cells weighs as much as one of three thousand.",
    22: "A ratio of two markers with no cell of the second.",
    23: "Values below the limit of quantification are spelt in several ways, or put at half of it.",
    24: "Rows of several readers are counted as several assessments.",
    25: "Responses that were not confirmed, or confirmed too early, or follow a progression.",
    26: "A time from the wrong day: a response from its confirmation, an event after missed scans.",
    27: "Immortal time: survival by a change that one must live to show.",
    28: "Titres on a logarithm are read as linear; a missing baseline; a positive last sample.",
    29: "Non-compartmental analysis with the maximum in the slope, few points, or another unit.",
    30: "Dose levels follow one another in time, and so do lots, readers and learning.",
    31: "Stars and small p-values where five pairs cannot give one.",
    32: "Another order of rows, number of workers, locale or spreadsheet gives other bytes or other ids.",
    33: "Labels of slides, dates of participants or metadata of files leave with the report.",
    34: "Two visits in one window, an id used twice, a slide of two participants.",
    35: "Data from after the cut-off leak into the analysis.",
}


def trap_tests() -> dict[int, list[str]]:
    """The tests of each trap, as ``file::name``, found by reading every test file."""
    found: dict[int, list[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                match = _NAME.fullmatch(node.name)
                if match:
                    found.setdefault(int(match[1]), []).append(f"{path.relative_to(HERE)}::{node.name}")
    return found


FOUND = trap_tests()


def test_the_list_is_whole() -> None:
    assert sorted(TRAPS) == list(range(1, 36))
    assert set(FOUND) <= set(TRAPS)


@pytest.mark.parametrize("number", sorted(TRAPS))
def test_every_trap_has_a_test(number: int) -> None:
    assert FOUND.get(number), f"no test_trap_{number:02d}_...: {TRAPS[number]}"

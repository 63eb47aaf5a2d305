"""What the plan's key ``decisions`` asks: rules by name or file, features, noise, and what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.change import PDResult
from pdbiomarker.decide.inputs import Declared
from pdbiomarker.decide.review import Review, primary_features, review_of
from pdbiomarker.decide.rules import Rule, preset, read_rule
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.plan import Plan

__all__ = ["check_decisions", "decision_files", "named_rule", "review_of_plan"]

_SUFFIXES: Final = (".yaml", ".yml")


def decision_files(plan: Plan) -> list[str]:
    """Files of the study folder that the decisions of a plan name: rules, and noise to borrow."""
    asked = plan.decisions
    named = [rule for rule in asked.get("rules", ()) if rule.endswith(_SUFFIXES)]
    return [*named, *([asked["noise"]] if asked.get("noise") else [])]


def check_decisions(plan: Plan, folder: Path) -> None:
    """Refuse rules that do not exist or cannot be read, before any work.

    Raises
    ------
    InputError
        Every fault: E-RULE-001 and E-RULE-002, E-RULE-010 (a file outside the study folder), E-FILE-...
    """
    problems = Problems()
    for text in plan.decisions.get("rules", ()):
        try:
            named_rule(text, folder)
        except InputError as error:
            problems.extend(error.problems)
    noise = plan.decisions.get("noise")
    if noise and not _inside(noise, folder):
        _refuse_outside(noise, problems)
    problems.raise_if_any()


def named_rule(text: str, folder: Path | None = None) -> Rule | str:
    """A preset's name as it is, a file (of the study folder, where one is given) as the rule in it."""
    if not text.endswith(_SUFFIXES):
        preset(text)
        return text
    if folder is None:
        return read_rule(text)
    problems = Problems()
    if not _inside(text, folder):
        _refuse_outside(text, problems)
    problems.raise_if_any()
    return read_rule(folder / text)


def _inside(name: str, folder: Path) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links that lead to one another
        return False


def _refuse_outside(name: str, problems: Problems) -> None:
    problems.add(
        "E-RULE-010",
        "A file that the plan's decisions name lies outside the study folder.",
        remedy="Copy it into the study folder, so that the folder holds all that the result rests on.",
        file="plan.yaml",
        column="decisions",
        value=name,
    )


def review_of_plan(
    result: PDResult, folder: Path | None = None, *, declared: Declared | None = None
) -> Review | None:
    """Decide what the plan of a result asks; None where it names no feature and has no primary family.

    Parameters
    ----------
    result : PDResult
    folder : Path, optional
        The study folder, which holds the files that the plan names; default: where the study was read from.
    declared : Declared, optional
        Facts about blinding, staining and the drug.
    """
    asked: Mapping[str, Any] = result.plan.decisions
    if not asked.get("features") and not primary_features(result):
        return None
    home = folder or result.study.path or Path()
    noise = asked.get("noise")
    return review_of(
        result,
        [named_rule(text, home) for text in asked.get("rules", ())],
        asked.get("features", ()),
        declared=declared,
        noise=None if noise is None else home / noise,
    )

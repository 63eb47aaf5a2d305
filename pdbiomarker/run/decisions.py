"""Decisions for a results folder: the tables, and back from them.

::

    results/decisions_cohort.csv, decisions_dose_levels.csv, decisions_participants.csv
    results/decisions_operating.csv, decisions_curves.csv    how often each rule errs
    results/responders.csv, responder_rates.csv              who changed by more than noise
    results/noise.csv, noise_components.csv
    results/dose_response.csv, dose_trend.csv
    results/honesty_checks.csv, honesty_<check>.csv          a row for each check, and its table
    results/review.json                                      rules, declared facts, types of the columns
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from pdbiomarker.decide import Decisions, Declared, Review, review_of
from pdbiomarker.decide.asked import named_rule
from pdbiomarker.decide.review import DECISIONS, TABLES
from pdbiomarker.decide.rules import rule_of
from pdbiomarker.errors import Problems, StudyError
from pdbiomarker.provenance import write_text
from pdbiomarker.run.results import kinds_of, read_result, read_typed
from pdbiomarker.tables import write_table

__all__ = ["decide_results", "read_review", "write_review"]

_REVIEW: Final = "review.json"


def decide_results(
    results: str | Path,
    out: str | Path,
    *,
    rules: Sequence[str] = (),
    features: Sequence[str] = (),
    declared: Declared | None = None,
    noise: str | Path | None = None,
) -> list[Path]:
    """Apply decision rules to a results folder and write what they rest on.

    Parameters
    ----------
    results : path
        What ``pdbiomarker run`` or ``change`` left.
    out : path
        A folder; made when missing.
    rules : sequence of str
        Names of presets, or YAML files; default: every preset but those of
        :data:`pdbiomarker.decide.NOT_BY_DEFAULT`.
    features : sequence of str
        ``assay:feature``; default: the plan's family ``primary``.
    declared : Declared, optional
        Facts beside those of study.yaml and of the plan's lock.
    noise : path, optional
        A file to borrow noise from; default ``reference/noise.yaml``.

    Returns
    -------
    list of Path
        ``decisions_cohort.csv`` first, then the other tables: per dose level, per participant, operating
        characteristics, noise and its components, responders, dose trend, honesty checks.

    Raises
    ------
    InputError
        E-RULE-003: no feature named and no primary family; and what :func:`pdbiomarker.decide.review_of`
        refuses.
    """
    result = read_result(results)
    chosen = [named_rule(text) for text in dict.fromkeys(rules)]
    review = review_of(result, chosen, features, declared=declared, noise=noise)
    made = write_review(review, Path(out))
    return sorted(made, key=lambda path: path.name != "decisions_cohort.csv")


def write_review(review: Review, folder: Path) -> list[Path]:
    """Write a review as tables, and what its tables do not hold as ``review.json``; give the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {f"decisions_{name}": getattr(review.decisions, name) for name in DECISIONS}
    tables |= {name: getattr(review, name) for name in TABLES}
    tables |= {_detail_file(name): table for name, table in review.details.items()}
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        write_table(table if len(table.columns) else pd.DataFrame({"feature": []}, dtype=object), written[-1])
    content = {
        "contrast": review.contrast,
        "features": list(review.features),
        "declared": {**review.declared.facts(), "lock_said": review.declared.lock_said},
        "rules": [rule.model_dump() for rule in review.decisions.rules],
        "checks": list(review.details),
        "tables": {name: kinds_of(table) for name, table in tables.items()},
    }
    written.append(folder / _REVIEW)
    write_text(written[-1], json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return written


def _detail_file(check: str) -> str:
    return f"honesty_{check.replace(' ', '_')}"


def read_review(path: str | Path) -> Review | None:
    """Read the decisions of a results folder back; None where it holds none.

    Parameters
    ----------
    path : path
        What ``pdbiomarker run STUDY -o OUT`` left, or the folder that ``pdbiomarker decide`` wrote.

    Raises
    ------
    StudyError
        E-FILE-005: a file of them cannot be read.
    """
    out = Path(path)
    folder = out / "results" if (out / "results" / _REVIEW).is_file() else out
    if not (folder / _REVIEW).is_file():
        return None
    try:
        return _read(folder, json.loads((folder / _REVIEW).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems = Problems()
        problems.add(
            "E-FILE-005",
            f"The decisions cannot be read back ({type(error).__name__}: {error}).",
            remedy="Run `pdbiomarker verify` on the folder, then the study again into it.",
            file=_REVIEW,
        )
        raise StudyError(problems) from error


def _read(folder: Path, content: Mapping[str, Any]) -> Review:
    tables = {
        name: read_typed(folder / f"{name}.csv", kinds) if kinds else pd.DataFrame()
        for name, kinds in content["tables"].items()
    }
    rules = tuple(rule_of(row) for row in content["rules"])
    return Review(
        decisions=Decisions(rules=rules, **{name: tables[f"decisions_{name}"] for name in DECISIONS}),
        **{name: tables[name] for name in TABLES},
        details={check: tables[_detail_file(check)] for check in content["checks"]},
        contrast=content["contrast"],
        features=tuple(content["features"]),
        declared=Declared.of(content["declared"]),
    )

"""Decisions for a results folder: noise, responders, rules and honesty checks as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.decide import (
    Declared,
    Rule,
    checks_table,
    decide,
    honesty_checks,
    preset,
    presets,
    read_rule,
)
from pdbiomarker.errors import Problems
from pdbiomarker.noise import choose_noise, components_table, counting_of, noise_table, responders
from pdbiomarker.run.results import read_result
from pdbiomarker.tables import write_table

__all__ = ["decide_results", "rule_named"]


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
        Names of presets, or YAML files; default: every preset.
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
        characteristics, noise and its components, responders, honesty checks.

    Raises
    ------
    InputError
        E-RULE-003: no feature named and no primary family; and what :func:`pdbiomarker.decide.decide`
        refuses.
    """
    result = read_result(results)
    chosen: list[Rule] = [rule_named(text) for text in dict.fromkeys(rules or presets())]
    asked = list(dict.fromkeys(features)) or _primary(result)
    estimates, reasons = choose_noise(result.study, asked, path=noise)
    decisions = decide(result, chosen, asked, noise=estimates, declared=declared)
    contrast = next(iter(result.plan.contrasts))
    called, checked = [], []
    for feature in asked:
        own = estimates.get(feature)
        checks = honesty_checks(result, feature, noise=own, contrast=contrast)
        checked.append(checks_table(checks, feature))
        rows = _changes(result, feature, contrast)
        if own is not None and len(rows):
            counting = _counting(result, feature, rows)
            called.append(responders(rows, own, counting=counting).table.assign(feature=feature))
    made = {p.stem: p for p in decisions.write(out)}
    folder = Path(out)
    for name, table in (
        ("noise", noise_table(estimates, reasons)),
        ("noise_components", components_table(estimates)),
        ("responders", pd.concat(called, ignore_index=True) if called else pd.DataFrame({"feature": []})),
        ("honesty_checks", pd.concat(checked, ignore_index=True)),
    ):
        made[name] = folder / f"{name}.csv"
        write_table(table, made[name])
    order = ["decisions_cohort", *(name for name in made if name != "decisions_cohort")]
    return [made[name] for name in order]


def rule_named(text: str) -> Rule:
    """Give a rule: a preset by its name, or a file that ends in .yaml."""
    return read_rule(text) if text.endswith((".yaml", ".yml")) else preset(text)


def _primary(result: PDResult) -> list[str]:
    rows = result.table[(result.table["family"] == "primary") & (result.table["set"] == "strict")]
    found = list(dict.fromkeys(f"{a}:{f}" for a, f in zip(rows["assay"], rows["feature"], strict=True)))
    if not found:
        problems = Problems()
        problems.add(
            "E-RULE-003",
            "The plan has no family 'primary', so the features to decide on are not known.",
            remedy="Name them, such as --feature ihc:CD8_density_tissue.",
            column="features",
        )
        problems.raise_if_any()
    return found


def _changes(result: PDResult, feature: str, contrast: str) -> pd.DataFrame:
    assay, _, name = feature.partition(":")
    rows = result.changes
    inside = (rows["assay"] == assay) & (rows["feature"] == name) & (rows["contrast"] == contrast)
    inside &= rows["set"] == "strict"
    changes = rows.loc[inside, ["participant_id", "change", "baseline_biopsy", "on_biopsy"]]
    people = pd.DataFrame({"participant_id": result.study.participants.index.to_numpy(dtype=object)})
    # Participants without a pair keep their row.
    return people.merge(changes, on="participant_id", how="left")


def _counting(result: PDResult, feature: str, rows: pd.DataFrame) -> NDArray[np.float64] | None:
    """Variance of each change from counting cells: the sum over both biopsies."""
    assay, _, name = feature.partition(":")
    variance = counting_of(result.study.assays[assay], name)
    if variance is None:
        return None
    parts = [variance.reindex(rows[c].to_numpy()).to_numpy() for c in ("baseline_biopsy", "on_biopsy")]
    return np.asarray(parts[0] + parts[1], dtype=float)

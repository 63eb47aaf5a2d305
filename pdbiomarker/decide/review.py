"""Everything that is decided of a result, in one object: noise, responders, rules, trend, honesty checks.

`review_of` makes it, ``pdbiomarker run`` and ``pdbiomarker decide`` write it as tables, the report and the
figures read it. Nothing of it is computed twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.change.families import resolve_families
from pdbiomarker.decide.checks import checks_table, honesty_checks
from pdbiomarker.decide.evaluate import Decisions, decide
from pdbiomarker.decide.honesty import Check, reliability_of
from pdbiomarker.decide.inputs import DecideOptions, Declared, expected_direction_of
from pdbiomarker.decide.rules import Rule, default_presets, preset, turned
from pdbiomarker.decide.trend import dose_levels, dose_trend
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise, choose_noise, components_table, counting_of, noise_table, responders
from pdbiomarker.plan import declared_of

__all__ = ["DECISIONS", "TABLES", "Review", "features_to_decide", "primary_features", "review_of"]

Array = NDArray[np.float64]

#: Tables of :class:`Decisions` that a review holds.
DECISIONS: Final = ("participants", "dose_levels", "cohort", "operating", "curves")
#: The other tables of a review, by the names of their fields and files.
TABLES: Final = (
    *("responders", "responder_rates", "noise", "noise_components"),
    *("dose_response", "dose_trend", "honesty_checks"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Review:
    """What was decided, and what it rests on; every table has the column ``feature`` (``assay:feature``).

    Attributes
    ----------
    decisions : Decisions
        Verdicts per participant, dose level and cohort; their probabilities under stated truths. Their column
        ``feature`` is the feature's own name, beside ``assay``.
    responders : DataFrame
        See :class:`pdbiomarker.noise.Responders`, with ``feature`` and ``baseline`` (model scale).
    responder_rates : DataFrame
        Rates of responders with the chance of such a call by noise alone.
    noise, noise_components : DataFrame
        What :func:`pdbiomarker.noise.noise_table` and ``components_table`` give, and the ``reliability`` of a
        baseline with its limits.
    dose_response, dose_trend : DataFrame
        Mean change of each dose level, and the trend over them.
    honesty_checks : DataFrame
        One row a check: ``feature, check, question, finding, verdict``.
    details : mapping of str to DataFrame
        The table of each check, by its name, over all features.
    contrast : str
    features : tuple of str
        ``assay:feature``.
    declared : Declared
    """

    decisions: Decisions
    responders: pd.DataFrame
    responder_rates: pd.DataFrame
    noise: pd.DataFrame
    noise_components: pd.DataFrame
    dose_response: pd.DataFrame
    dose_trend: pd.DataFrame
    honesty_checks: pd.DataFrame
    details: Mapping[str, pd.DataFrame]
    contrast: str
    features: tuple[str, ...]
    declared: Declared

    def of(self, table: str, feature: str) -> pd.DataFrame:
        """The rows of a feature (``assay:feature``) in one of the tables, or in the table of a check.

        A check that was not made of any feature (offsets, where nothing is counted) has no rows.
        """
        nothing = pd.DataFrame({"feature": []}, dtype=object)
        held = getattr(self, table) if table in TABLES else self.details.get(table, nothing)
        rows = held[held["feature"] == feature] if "feature" in held else held.iloc[:0]
        return rows.reset_index(drop=True)

    def verdicts(self, feature: str, level: str = "cohort") -> pd.DataFrame:
        """The rows of a feature in one of the tables of the decisions, see :data:`DECISIONS`."""
        held = cast("pd.DataFrame", getattr(self.decisions, level))
        if not len(held):
            return held
        assay, _, name = feature.partition(":")
        rows = held[(held["feature"] == name) & ((held["assay"] == assay) if "assay" in held else True)]
        return rows.reset_index(drop=True)

    def _repr_html_(self) -> str:
        return self.decisions._repr_html_()


def primary_features(result: PDResult) -> tuple[str, ...]:
    """The features of the plan's family ``primary``, as ``assay:feature``; empty without one."""
    rows = result.table[(result.table["family"] == "primary") & (result.table["set"] == "strict")]
    return tuple(dict.fromkeys(f"{a}:{f}" for a, f in zip(rows["assay"], rows["feature"], strict=True)))


def features_to_decide(result: PDResult, features: Sequence[str] = ()) -> tuple[str, ...]:
    """The features asked for, each with its full name; without any, those of the plan's family ``primary``.

    Raises
    ------
    InputError
        E-PLAN-003: a name that fits no feature; E-RULE-003: none asked for and no primary family.
    """
    if features:
        plan = dataclasses.replace(result.plan, families={"decisions": tuple(features)}, adjust={})
        found = resolve_families(plan, result.study.assays)
        return tuple(f"{a}:{f}" for (a, f), family in found.items() if family == "decisions")
    own = primary_features(result)
    if not own:
        problems = Problems()
        problems.add(
            "E-RULE-003",
            "The plan has no family 'primary', so the features to decide on are not known.",
            remedy="Name them, such as --feature ihc:CD8_density_tissue, or under 'decisions' in the plan.",
            column="features",
        )
        problems.raise_if_any()
    return own


def review_of(
    result: PDResult,
    rules: Sequence[Rule | str] = (),
    features: Sequence[str] = (),
    *,
    declared: Declared | None = None,
    noise: str | Path | Mapping[str, Noise] | None = None,
    options: DecideOptions | None = None,
) -> Review:
    """Decide on features of a result and keep everything that the decisions rest on.

    Parameters
    ----------
    result : PDResult
    rules : sequence of Rule or str
        Names of presets, which follow the direction a feature is expected to take, or rules, which are
        applied as they are. Default: every preset but those of :data:`~pdbiomarker.decide.NOT_BY_DEFAULT`.
    features : sequence of str
        ``assay:feature``; default: the plan's family ``primary``.
    declared : Declared, optional
        Facts beside those of study.yaml and of the plan's lock, which always count.
    noise : path, or mapping of ``assay:feature`` to Noise, optional
        A file to borrow noise from, or the noise itself; default: replicates of the study, else
        ``reference/noise.yaml``, else the spread of the treated pairs as a bound from above.
    options : DecideOptions, optional
        Default: the plan's first contrast of two visits that has pairs, dose levels by ``dose_mg``, curves.

    Returns
    -------
    Review

    Raises
    ------
    InputError
        E-RULE-002 and E-RULE-003: a rule, feature, contrast or column that does not exist; E-PLAN-003: a name
        that fits no feature; E-NOISE-004: the file cannot be used.
    """
    asked = features_to_decide(result, features)
    facts = declared_of(result.study, result.plan, declared)
    given = options or DecideOptions(curves=True, seed=int(result.plan.seed))
    given = dataclasses.replace(given, contrast=given.contrast or _contrast(result))
    contrast = str(given.contrast)
    pairs = {feature: _pairs(result, feature, contrast) for feature in asked}
    if isinstance(noise, Mapping):
        estimates: dict[str, Noise] = dict(noise)
        reasons = {f: "No noise was given." for f in asked if f not in estimates}
    else:
        changes = {feature: rows["change"].to_numpy(dtype=float) for feature, rows in pairs.items()}
        estimates, reasons = choose_noise(result.study, asked, path=noise, changes=changes)
    parts = [
        _decided(result, rules or default_presets(), feature, noise=estimates, facts=facts, options=given)
        for feature in asked
    ]
    checks = {f: honesty_checks(result, f, noise=estimates.get(f), contrast=contrast) for f in asked}
    called = {
        f: responders(pairs[f], estimates[f], counting=_counting(result, f, pairs[f]))
        for f in asked
        if f in estimates
    }
    doses = _doses(result)
    return Review(
        decisions=_joined(parts),
        responders=_stacked({f: _with_baseline(r.table, pairs[f]) for f, r in called.items()}),
        responder_rates=_stacked({f: r.summary for f, r in called.items()}),
        noise=_reliable(noise_table(estimates, reasons), estimates, pairs),
        noise_components=components_table(estimates),
        dose_response=_stacked({f: dose_levels(rows["change"], doses) for f, rows in pairs.items()}),
        dose_trend=_stacked(
            {f: dose_trend(rows["change"], doses, seed=given.seed) for f, rows in pairs.items()}
        ),
        honesty_checks=pd.concat([checks_table(c, f) for f, c in checks.items()], ignore_index=True),
        details=_details(checks),
        contrast=contrast,
        features=asked,
        declared=facts,
    )


def _contrast(result: PDResult) -> str:
    """The plan's first contrast that has evaluable pairs; without any, the first."""
    names = list(result.plan.contrasts)
    told = result.pairs
    paired = set(told.loc[told["evaluable"].astype(bool), "contrast"]) if len(told) else set()
    return next((name for name in names if name in paired), names[0])


def _decided(
    result: PDResult,
    rules: Sequence[Rule | str],
    feature: str,
    *,
    noise: Mapping[str, Noise],
    facts: Declared,
    options: DecideOptions,
) -> Decisions:
    """Decisions on one feature: presets follow its expected direction."""
    assay, _, name = feature.partition(":")
    way = expected_direction_of(result.study, assay, name)
    own = [turned(preset(r), way) if isinstance(r, str) else r for r in rules]
    return decide(result, own, [feature], noise=noise, declared=facts, options=options)


def _joined(parts: Sequence[Decisions]) -> Decisions:
    frames = {
        name: pd.concat([f for f in (getattr(p, name) for p in parts) if len(f.columns)], ignore_index=True)
        if any(len(getattr(p, name).columns) for p in parts)
        else pd.DataFrame()
        for name in DECISIONS
    }
    rules = dict.fromkeys((rule.name, rule.direction) for part in parts for rule in part.rules)
    known = {(rule.name, rule.direction): rule for part in parts for rule in part.rules}
    return Decisions(rules=tuple(known[key] for key in rules), **frames)


def _stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of features below one another, ``feature`` first."""
    frames = []
    for feature, table in tables.items():
        own = table.copy()
        own.insert(0, "feature", feature)
        frames.append(own)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"feature": []}, dtype=object)


def _details(checks: Mapping[str, Sequence[Check]]) -> dict[str, pd.DataFrame]:
    """The table of each check over all features."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for feature, own in checks.items():
        for check in own:
            tables.setdefault(check.name, {})
            if len(check.table):
                tables[check.name][feature] = _undated(check.table)
    return {name: _stacked(own) for name, own in tables.items()}


def _undated(table: pd.DataFrame) -> pd.DataFrame:
    """Calendar dates as days since the first of them: dates of participants stay out of results."""
    if not {"first", "last"} <= set(table.columns):
        return table
    days = {c: pd.to_datetime(table[c], format="ISO8601") for c in ("first", "last")}
    start = days["first"].min()
    return table.assign(**{c: (day - start).dt.days for c, day in days.items()})


def _pairs(result: PDResult, feature: str, contrast: str) -> pd.DataFrame:
    """Every participant's change and baseline (model scale) of the strict set; without a pair NaN."""
    assay, _, name = feature.partition(":")
    rows = result.changes
    rows = rows[rows["feature"] == name]
    inside = (rows["assay"] == assay) & (rows["contrast"] == contrast) & (rows["set"] == "strict")
    changes = rows.loc[inside, ["participant_id", "change", "baseline_biopsy", "on_biopsy"]]
    people = pd.DataFrame({"participant_id": result.study.participants.index.to_numpy(dtype=object)})
    found = people.merge(changes, on="participant_id", how="left")
    data = result.study.assays[assay]
    y = np.asarray(data.layers["y"], dtype=float)[:, data.var_names.get_loc(name)]
    values = pd.Series(y, index=data.obs_names.to_numpy(dtype=object))
    return found.assign(baseline=values.reindex(found["baseline_biopsy"].to_numpy()).to_numpy())


def _counting(result: PDResult, feature: str, rows: pd.DataFrame) -> Array | None:
    """Variance of each change from counting cells: the sum over both biopsies."""
    assay, _, name = feature.partition(":")
    variance = counting_of(result.study.assays[assay], name)
    if variance is None:
        return None
    parts = [variance.reindex(rows[c].to_numpy()).to_numpy() for c in ("baseline_biopsy", "on_biopsy")]
    return np.asarray(parts[0] + parts[1], dtype=float)


def _with_baseline(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    out = table.copy()
    out.insert(1, "baseline", pairs["baseline"].to_numpy(dtype=float))
    return out


def _reliable(
    table: pd.DataFrame, noise: Mapping[str, Noise], pairs: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Add the reliability of a baseline, 1 - sigma^2 / Var(baseline), with its range over sigma's limits."""
    rows: list[tuple[Any, ...]] = []
    for feature in table["feature"]:
        own = pairs.get(str(feature))
        first = np.array([]) if own is None else own["baseline"].dropna().to_numpy(dtype=float)
        known = feature in noise and len(first) > 2 and np.ptp(first) > 0
        rows.append(reliability_of(noise[feature], first) if known else (np.nan,) * 3)
    columns = ["reliability", "reliability_low", "reliability_high"]
    return table.assign(**{c: [row[i] for row in rows] for i, c in enumerate(columns)})


def _doses(result: PDResult) -> Array:
    people = result.study.participants
    if "dose_mg" not in people:
        return np.full(len(people), np.nan)
    return pd.to_numeric(people["dose_mg"], errors="coerce").to_numpy(dtype=float)

"""`decide`: rules applied to a result, per participant, per dose level and for the cohort.

Every group has a row for every rule and feature: what was asked, what was seen, the verdict, and how often
the rule gives that verdict when the drug does nothing and when it does what the rule is to find.

**Caps.** A verdict is lowered from ``go`` to ``consider`` where no pair of the group was stained in one run
(drug and run cannot be told apart), where nobody declares that the plan was locked before unblinding or its
lock says otherwise, where biopsies were not read blinded, where lots changed without a bridge, and where the
drug may mask the stain (PD-L1 under a drug that binds PD-L1). The row says why, and the rule's own verdict
stays beside it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.decide.inputs import DecideOptions, Declared, Feature, doses_of, features_of
from pdbiomarker.decide.judge import CONSIDER, GO, NOT_EVALUABLE, STOP, VERDICTS, Judged, Trials, judge
from pdbiomarker.decide.masking import masking
from pdbiomarker.decide.operating import Setting, operating_characteristics
from pdbiomarker.decide.rules import BayesRate, ResponderCount, Rule, preset, rule_sha256
from pdbiomarker.decide.words import criterion, observed, responder, shown
from pdbiomarker.noise import Noise
from pdbiomarker.plan import declared_of, rule_is_locked
from pdbiomarker.tables import write_table

__all__ = ["DECISION_COLUMNS", "DecideOptions", "Decisions", "Declared", "decide"]

Array = NDArray[np.float64]

#: Columns of the three tables of :class:`Decisions`, in order.
DECISION_COLUMNS: Final = (
    *("rule", "assay", "feature", "contrast", "level", "unit", "n_evaluable", "criterion", "observed"),
    *("verdict", "rule_verdict", "capped_by", "p_if_inert", "p_if_target", "target", "sigma", "sigma_basis"),
    "note",
)
#: Probabilities that differ by more than this over the limits of sigma are told.
_TOLD_DIFFERENCE: Final = 0.02
#: True folds of a curve besides none, and multiples of the threshold on the identity scale.
_FOLDS: Final = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
_STEPS: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_SHARE: Final = {GO: "p_go", CONSIDER: "p_consider", STOP: "p_stop", NOT_EVALUABLE: "p_not_evaluable"}


@dataclasses.dataclass(frozen=True, eq=False)
class Decisions:
    """Verdicts with what they rest on.

    Attributes
    ----------
    participants, dose_levels, cohort : DataFrame
        Columns :data:`DECISION_COLUMNS`. `level` is ``participant``, ``dose level`` or ``cohort``, `unit` the
        participant, the dose or the study. `rule_verdict` is the verdict before caps. `p_if_inert` and
        `p_if_target` are the probabilities of the row's verdict, caps included, where the drug changes
        nothing and where the true fold change is `target`; of a participant's row, for that one participant.
    operating : DataFrame
        See :func:`~pdbiomarker.decide.operating_characteristics`; with ``feature, level, unit``.
    rules : tuple of Rule
    curves : DataFrame
        The same for the cohort over a grid of true effects, where it was asked for
        (``DecideOptions.curves``).
    """

    participants: pd.DataFrame
    dose_levels: pd.DataFrame
    cohort: pd.DataFrame
    operating: pd.DataFrame
    rules: tuple[Rule, ...]
    curves: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    def write(self, folder: str | Path) -> list[Path]:
        """Write the four tables as CSV into a folder; give their paths."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        made = []
        for name in ("participants", "dose_levels", "cohort", "operating"):
            path = target / f"decisions_{name}.csv"
            write_table(getattr(self, name), path)
            made.append(path)
        return made

    def _repr_html_(self) -> str:
        columns = ["rule", "feature", "criterion", "observed", "verdict", "capped_by", "p_if_inert"]
        return str(self.cohort[[*columns, "p_if_target"]].to_html(index=False))


def decide(
    result: PDResult,
    rules: Sequence[Rule | str],
    features: Sequence[str],
    *,
    noise: Mapping[str, Noise],
    declared: Declared | None = None,
    options: DecideOptions | None = None,
) -> Decisions:
    """Apply decision rules to a result.

    Parameters
    ----------
    result : PDResult
        Its strict analysis set is judged.
    rules : sequence of Rule or str
        Rules, or names of presets.
    features : sequence of str
        ``assay:feature``, as in the plan's families.
    noise : mapping of feature to Noise
        By ``assay:feature``, or by the feature's name. Without one, only rules that need
        none are judged.
    declared : Declared, optional
        Facts beside those of study.yaml and the lock of the plan, see
        :func:`pdbiomarker.plan.declared_of`; what nobody declares caps verdicts.
    options : DecideOptions, optional

    Returns
    -------
    Decisions

    Raises
    ------
    InputError
        E-RULE-002: no such preset; E-RULE-003: a feature, contrast or column that the result does not have,
        or noise on another scale than the feature's.
    """
    chosen = tuple(preset(rule) if isinstance(rule, str) else rule for rule in rules)
    given = options or DecideOptions()
    facts = declared_of(result.study, result.plan, declared)
    found = features_of(result, features, noise, given, facts)
    doses = doses_of(result, given)
    tables: dict[str, list[dict[str, Any]]] = {"participant": [], "dose level": [], "cohort": []}
    operating: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    for feature in found:
        groups = [("dose level", name, members) for name, members in doses]
        everybody = np.ones(len(feature.people), dtype=bool)
        for rule in chosen:
            own = _of_rule(facts, rule, feature, result)
            for level, unit, members in [*groups, ("cohort", result.study.spec.id, everybody)]:
                group = _Group(rule, feature, level, unit, members)
                row, told, judged = _judge_group(group, own, given)
                tables[level].append(row)
                if told is not None:
                    operating.append(told)
                if level == "cohort":
                    tables["participant"] += _participants(group, judged, told, own)
                    curves += [] if told is None or not given.curves else [_curve(group, given)]
    frames = {level: pd.DataFrame(rows, columns=list(DECISION_COLUMNS)) for level, rows in tables.items()}
    whole, grid = (
        pd.concat(rows, ignore_index=True) if rows else pd.DataFrame() for rows in (operating, curves)
    )
    return Decisions(frames["participant"], frames["dose level"], frames["cohort"], whole, chosen, grid)


def _stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _of_rule(facts: Declared, rule: Rule, feature: Feature, result: PDResult) -> Declared:
    """The facts for one rule: where there is a lock, the rule itself must stand in it.

    A preset that follows a feature expected to fall stands in the lock as it is written, upward.
    """
    written = [rule]
    if feature.expected_direction < 0 and rule.direction == "down":
        written.append(rule.model_copy(update={"direction": "up"}))
    known = [rule_is_locked(result.study, one.name, rule_sha256(one)) for one in written]
    if not facts.plan_locked or any(one is not False for one in known):
        return facts
    return dataclasses.replace(facts, plan_locked=False, lock_said=f"the rule {rule.name} is not in the lock")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Group:
    rule: Rule
    feature: Feature
    level: str
    unit: str
    members: NDArray[np.bool_]

    @property
    def evaluable(self) -> NDArray[np.bool_]:
        told = np.isfinite(self.feature.baseline) & np.isfinite(self.feature.on)
        return np.asarray(told & self.members)

    @property
    def fits(self) -> bool:
        """Whether the rule is for this feature."""
        return any(fnmatch.fnmatchcase(self.feature.name, pattern) for pattern in self.rule.features)


def _trials(group: _Group) -> Trials:
    f, inside = group.feature, group.evaluable
    sigma = np.nan if f.noise is None else f.noise.sigma
    df = np.inf if f.noise is None else f.noise.df
    return Trials(
        f.baseline[None, inside], f.on[None, inside], f.baselines[None, :], np.array([sigma]), df,
        f.scale,
    )  # fmt: skip


def _judge_group(
    group: _Group, facts: Declared, options: DecideOptions
) -> tuple[dict[str, Any], pd.DataFrame | None, Judged]:
    rule, feature = group.rule, group.feature
    trials = _trials(group)
    n = int(group.evaluable.sum())
    if group.fits:
        judged = judge(rule, trials)
    else:
        reason = f"the rule is for {', '.join(rule.features)}"
        judged = Judged(np.array([NOT_EVALUABLE]), np.array([np.nan]), reason=reason)
    code = int(judged.verdict[0])
    caps = _caps(feature, group.evaluable, facts) if code != NOT_EVALUABLE else []
    told = None
    judged_any = code != NOT_EVALUABLE or judged.responder is not None
    if options.n_sims and n >= 2 and group.fits and judged_any:
        told = _operating(group, options)
    row = _row(group, judged, code, caps, told)
    return row, told, judged


def _setting(group: _Group, options: DecideOptions) -> tuple[Noise, Setting, str]:
    """The noise and the trial that simulated ones are to be like, and what to say of the noise."""
    feature, n = group.feature, int(group.evaluable.sum())
    noise, note = feature.noise, ""
    if noise is None:
        # Only rules of the mean are judged without noise; the spread of the changes stands for it.
        change = (feature.on - feature.baseline)[group.evaluable]
        sigma = float(change.std(ddof=1) / np.sqrt(2))
        noise = Noise(feature.name, feature.scale, sigma, np.inf, "treated pairs", bound="upper")
        note = "noise from the spread of the changes"
    baselines = feature.baselines
    setting = Setting(
        n=n,
        n_baselines=len(baselines),
        baseline_mean=float(baselines.mean()) if len(baselines) else 0.0,
        baseline_sd=float(baselines.std(ddof=1)) if len(baselines) > 1 else 0.0,
        sd_response=options.sd_response,
    )
    return noise, setting, note


def _operating(group: _Group, options: DecideOptions) -> pd.DataFrame:
    feature = group.feature
    noise, setting, note = _setting(group, options)
    truths = _truths(group.rule, feature)
    sigmas = [noise, *([dataclasses.replace(noise, sigma=noise.high)] if np.isfinite(noise.high) else [])]
    parts = [
        operating_characteristics(
            group.rule, one, setting, truths=truths, n_sims=options.n_sims, seed=options.seed
        ).assign(at=at)
        for one, at in zip(sigmas, ("sigma", "upper limit of sigma"), strict=False)
    ]
    told = pd.concat(parts, ignore_index=True)
    told.insert(1, "feature", feature.name)
    told.insert(2, "level", group.level)
    told.insert(3, "unit", group.unit)
    return told.assign(note=note)


def _curve(group: _Group, options: DecideOptions) -> pd.DataFrame:
    """Probabilities of the verdicts over a grid of true effects, at sigma."""
    noise, setting, note = _setting(group, options)
    if group.feature.scale == "identity":
        step = _truths(group.rule, group.feature)[0]
        grid = [step * x for x in _STEPS]
    else:
        grid = list(_FOLDS)
    told = operating_characteristics(
        group.rule, noise, setting, truths=grid, n_sims=options.n_sims, seed=options.seed
    )
    told.insert(1, "feature", group.feature.name)
    return told.assign(note=note)


def _truths(rule: Rule, feature: Feature) -> list[float]:
    """True effects to simulate, the target last: folds; on the identity scale multiples of the threshold."""
    if feature.scale != "identity":
        return [*rule.truths, rule.target]
    least = getattr(rule, "points", None)
    if isinstance(rule, ResponderCount | BayesRate):
        least = rule.participant.points
    if not least and feature.noise is not None:
        least = feature.noise.limit()
    return [least, 2 * least] if least else [1.0]


def _caps(feature: Feature, members: NDArray[np.bool_], facts: Declared) -> list[str]:
    caps = []
    shares = feature.shares_run[members]
    known = [s for s in shares if s is not None]
    if known and len(known) == len(shares) and not any(known):
        caps.append("baseline and on-treatment samples never share a staining run")
    why = f" ({facts.lock_said})" if facts.lock_said else ""
    if facts.plan_locked is None:
        caps.append(f"not declared that the plan was locked before unblinding{why}")
    elif not facts.plan_locked:
        caps.append(f"the plan was not locked before unblinding{why}")
    together = len(known) == len(shares) and all(known)
    caps += facts.caps(share_run=True if together else None)
    masked = masking(feature.name, feature.label, feature.kind, facts.drug_binds)
    return [*caps, masked] if masked else caps


def _row(
    group: _Group, judged: Judged, code: int, caps: Sequence[str], told: pd.DataFrame | None
) -> dict[str, Any]:
    rule, feature = group.rule, group.feature
    inside = group.evaluable
    capped = code == GO and bool(caps)
    target = _truths(rule, feature)[-1]
    chances = [_chance(told, truth, code, capped=bool(caps)) for truth in (None, target)]
    notes = [judged.reason]
    if any(s is None for s in feature.shares_run[group.evaluable]):
        notes.append("staining runs not recorded for every pair")
    sigma = np.nan if feature.noise is None else feature.noise.sigma
    notes += feature.facts.cautions(f"{feature.assay}:{feature.name}", scale=feature.scale, sigma=sigma)
    masked = [c for c in caps if "mask" in c]
    # A verdict that is not capped may rest on a masked stain all the same: a stop on a fall, for one.
    notes += [] if capped else masked
    if feature.noise is not None and feature.noise.borrowed:
        notes.append(f"noise borrowed: {feature.noise.source}")
    high = _chance(told, None, code, capped=bool(caps), at="upper limit of sigma")
    if np.isfinite(high) and abs(high - chances[0]) > _TOLD_DIFFERENCE:
        notes.append(f"at the upper limit of sigma its chance if inert is {high:.0%}")
    if told is not None and told["note"].iloc[0]:
        notes.append(str(told["note"].iloc[0]))
    return {
        "rule": rule.name,
        "assay": feature.assay,
        "feature": feature.name,
        "contrast": feature.contrast,
        "level": group.level,
        "unit": group.unit,
        "n_evaluable": int(group.evaluable.sum()),
        "criterion": criterion(rule, feature.scale),
        "observed": observed(
            rule, judged, baseline=feature.baseline[inside], on=feature.on[inside], scale=feature.scale
        ),
        "verdict": VERDICTS[CONSIDER if capped else code],
        "rule_verdict": VERDICTS[code],
        "capped_by": "; ".join(caps) if capped else "",
        "p_if_inert": chances[0],
        "p_if_target": chances[1],
        "target": target,
        "sigma": np.nan if feature.noise is None else feature.noise.sigma,
        "sigma_basis": "" if feature.noise is None else _basis(feature.noise),
        "note": "; ".join(n for n in notes if n),
    }


def _basis(noise: Noise) -> str:
    bound = {"none": "", "lower": ", bounded from below", "upper": ", bounded from above"}[noise.bound]
    return f"{'borrowed, ' if noise.borrowed else ''}{noise.basis}{bound}"


def _chance(
    told: pd.DataFrame | None, truth: float | None, code: int, *, capped: bool, at: str = "sigma"
) -> float:
    """Probability of the row's verdict; under a cap, go counts as consider. Truth None: inert."""
    row = _told_row(told, truth, at)
    if row is None:
        return np.nan
    names = ["p_go", "p_consider"] if capped and code in {GO, CONSIDER} else [_SHARE[code]]
    return float(sum(float(row[name]) for name in names))


def _told_row(told: pd.DataFrame | None, truth: float | None, at: str) -> pd.Series | None:
    if told is None:
        return None
    rows = told[(told["at"] == at) & (told["inert"] if truth is None else told["truth"] == truth)]
    return rows.iloc[0] if len(rows) else None


def _participants(
    group: _Group, judged: Judged, told: pd.DataFrame | None, facts: Declared
) -> list[dict[str, Any]]:
    """One row a participant; nobody is left out."""
    rule, feature = group.rule, group.feature
    evaluable, order = group.evaluable, np.cumsum(group.evaluable) - 1
    base = _row(group, judged, NOT_EVALUABLE, [], None)
    scale = feature.scale
    own = responder(rule, scale) if isinstance(rule, ResponderCount | BayesRate) else criterion(rule, scale)
    target = _truths(rule, feature)[-1]
    rows = []
    for i, person in enumerate(feature.people):
        code, seen, note = NOT_EVALUABLE, "", str(feature.why[i])
        caps: list[str] = []
        if evaluable[i]:
            seen = shown(float(feature.on[i] - feature.baseline[i]), feature.scale)
            if judged.responder is None:
                note = judged.reason or "the rule judges groups, not participants"
            else:
                code = GO if judged.responder[0, order[i]] else STOP
                caps = _caps(feature, np.arange(len(evaluable)) == i, facts)
                if feature.shares_run[i] is None:
                    note = "staining runs not recorded"
        capped = code == GO and bool(caps)
        row = base | {"level": "participant", "unit": str(person), "n_evaluable": int(evaluable[i])}
        row |= {"criterion": own, "observed": seen, "rule_verdict": VERDICTS[code]}
        row |= {
            "verdict": VERDICTS[CONSIDER if capped else code],
            "capped_by": "; ".join(caps) if capped else "",
        }
        for name, truth in (("p_if_inert", None), ("p_if_target", target)):
            row[name] = _own_chance(told, truth, code)
        rows.append(row | {"note": note})
    return rows


def _own_chance(told: pd.DataFrame | None, truth: float | None, code: int) -> float:
    row = _told_row(told, truth, "sigma")
    if row is None or code == NOT_EVALUABLE:
        return np.nan
    once = float(row["p_responder"])
    return once if code == GO else 1 - once

"""`decide`: rules applied to a result, per participant, per dose level and for the cohort.

Every group has a row for every rule and feature: what was asked, what was seen, the verdict, and how often
the rule gives that verdict when the drug does nothing and when it does what the rule is to find.

**Caps.** A verdict is lowered from ``go`` to ``consider`` where no pair of the group was stained in one run
(drug and run cannot be told apart), and where nobody declares that the plan was locked before unblinding. The
row says why, and the rule's own verdict stays beside it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.change import PDResult
from pdbiomarker.decide.judge import CONSIDER, GO, NOT_EVALUABLE, STOP, VERDICTS, Judged, Trials, judge
from pdbiomarker.decide.operating import Setting, operating_characteristics
from pdbiomarker.decide.rules import BayesRate, ResponderCount, Rule, preset
from pdbiomarker.decide.words import criterion, observed, responder, shown
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise, Scale, scale_of
from pdbiomarker.tables import nearest, write_table

__all__ = ["DECISION_COLUMNS", "DecideOptions", "Decisions", "Declared", "decide"]

Array = NDArray[np.float64]

#: Columns of the three tables of :class:`Decisions`, in order.
DECISION_COLUMNS: Final = (
    *("rule", "assay", "feature", "contrast", "level", "unit", "n_evaluable", "criterion", "observed"),
    *("verdict", "rule_verdict", "capped_by", "p_if_inert", "p_if_target", "target", "sigma", "sigma_basis"),
    "note",
)
_SHARE: Final = {GO: "p_go", CONSIDER: "p_consider", STOP: "p_stop", NOT_EVALUABLE: "p_not_evaluable"}


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """What the data cannot show and somebody must declare.

    Attributes
    ----------
    plan_locked : bool or None
        Whether rule, feature, set, visit and model were fixed before unblinding. None: nobody declared it,
        which caps verdicts like a no.
    pairs_share_run : bool or None
        Whether baseline and on-treatment samples of a participant were stained in one run. None: taken from
        the assay's column ``batch``, and unknown without it.
    """

    plan_locked: bool | None = None
    pairs_share_run: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class DecideOptions:
    """What may be chosen in :func:`decide`.

    Attributes
    ----------
    contrast : str or None
        Default: the plan's first.
    by : str or None
        Column of participants.csv that names the dose level; None: no dose levels.
    sd_response : float
        Spread of true changes between participants in the simulated trials, model scale.
    n_sims, seed : int
        Of the operating characteristics; 0 simulations leave them out.
    """

    contrast: str | None = None
    by: str | None = "dose_mg"
    sd_response: float = 0.0
    n_sims: int = 4_000
    seed: int = 1


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
    """

    participants: pd.DataFrame
    dose_levels: pd.DataFrame
    cohort: pd.DataFrame
    operating: pd.DataFrame
    rules: tuple[Rule, ...]

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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Feature:
    """One feature at one contrast, model scale; participants in the order of participants.csv."""

    assay: str
    name: str
    contrast: str
    people: NDArray[np.object_]
    baseline: Array
    on: Array
    baselines: Array
    why: NDArray[np.object_]
    shares_run: NDArray[np.object_]
    noise: Noise | None
    scale: Scale


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
        Facts about blinding and staining; default: nothing is declared, which caps verdicts.
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
    facts = declared or Declared()
    found = _features(result, features, noise, given, facts)
    doses = _doses(result, given)
    tables: dict[str, list[dict[str, Any]]] = {"participant": [], "dose level": [], "cohort": []}
    operating: list[pd.DataFrame] = []
    for feature in found:
        groups = [("dose level", name, members) for name, members in doses]
        everybody = np.ones(len(feature.people), dtype=bool)
        for rule in chosen:
            for level, unit, members in [*groups, ("cohort", result.study.spec.id, everybody)]:
                group = _Group(rule, feature, level, unit, members)
                row, told, judged = _judge_group(group, facts, given)
                tables[level].append(row)
                if told is not None:
                    operating.append(told)
                if level == "cohort":
                    tables["participant"] += _participants(group, judged, told, facts)
    frames = {level: pd.DataFrame(rows, columns=list(DECISION_COLUMNS)) for level, rows in tables.items()}
    whole = pd.concat(operating, ignore_index=True) if operating else pd.DataFrame()
    return Decisions(frames["participant"], frames["dose level"], frames["cohort"], whole, chosen)


def _features(
    result: PDResult,
    features: Sequence[str],
    noise: Mapping[str, Noise],
    options: DecideOptions,
    facts: Declared,
) -> list[_Feature]:
    problems = Problems()
    contrasts = list(result.plan.contrasts)
    contrast = options.contrast or contrasts[0]
    if contrast not in contrasts:
        problems.add(
            "E-RULE-003", "The plan has no such contrast.", remedy=nearest(contrast, contrasts),
            column="contrast", value=contrast,
        )  # fmt: skip
    known = [f"{a}:{f}" for a, data in result.study.assays.items() for f in data.var_names]
    for reference in features:
        if reference not in known:
            problems.add(
                "E-RULE-003", "The result has no such feature.", remedy=nearest(reference, known),
                column="features", value=reference,
            )  # fmt: skip
    problems.raise_if_any()
    out = []
    for reference in features:
        assay, _, name = reference.partition(":")
        own = noise.get(reference, noise.get(name))
        kind = str(cast("pd.DataFrame", result.study.assays[assay].var).loc[name, "kind"])
        if own is not None and own.scale != scale_of(kind):
            problems.add(
                "E-RULE-003",
                f"The noise is on the {own.scale} scale, the feature on {scale_of(kind)}.",
                remedy="Estimate or borrow it on the feature's scale.",
                column="noise",
                value=reference,
            )
        out.append(_feature(result, assay, name, contrast=contrast, noise=own, facts=facts))
    problems.raise_if_any()
    return out


def _feature(
    result: PDResult, assay: str, name: str, *, contrast: str, noise: Noise | None, facts: Declared
) -> _Feature:
    data = result.study.assays[assay]
    frame = cast("pd.DataFrame", data.obs)
    y = pd.Series(np.asarray(data.layers["y"], dtype=float)[:, data.var_names.get_loc(name)], frame.index)
    rows = result.pairs
    rows = rows[(rows["assay"] == assay) & (rows["contrast"] == contrast)].set_index("participant_id")
    people = result.study.participants.index.to_numpy(dtype=object)
    batch = frame["batch"] if "batch" in frame else pd.Series(None, index=frame.index, dtype=object)
    values = {"baseline": np.full(len(people), np.nan), "on": np.full(len(people), np.nan)}
    why, shares = np.full(len(people), "", dtype=object), np.full(len(people), None, dtype=object)
    for i, person in enumerate(people):
        if person not in rows.index:
            why[i] = "no biopsy in this assay"
            continue
        pair = rows.loc[person]
        if not pair["evaluable"]:
            why[i] = str(pair["reason"])
            continue
        ids = [str(pair["baseline_biopsy"]), str(pair["on_biopsy"])]
        values["baseline"][i], values["on"][i] = (float(y.get(b, np.nan)) for b in ids)
        if not np.isfinite([values["baseline"][i], values["on"][i]]).all():
            why[i] = "no value of this feature in a biopsy of the pair"
        shares[i] = facts.pairs_share_run
        runs = [batch.get(b) for b in ids]
        if shares[i] is None and not any(pd.isna(run) for run in runs):
            shares[i] = str(runs[0]) == str(runs[1])
    told = result.biopsies
    told = told[(told["assay"] == assay) & (told["contrast"] == contrast) & (told["set"] == "strict")]
    first = told.loc[told["biopsy_id"].isin(rows["baseline_biopsy"].dropna()), "visit"]
    used = told[told["used"].astype(bool) & told["visit"].isin(first)]["biopsy_id"]
    baselines = y.reindex(used.to_numpy()).dropna().to_numpy(dtype=float)
    kind = str(cast("pd.DataFrame", data.var).loc[name, "kind"])
    return _Feature(
        assay, name, contrast, people, values["baseline"], values["on"], baselines, why, shares, noise,
        scale_of(kind),
    )  # fmt: skip


def _doses(result: PDResult, options: DecideOptions) -> list[tuple[str, NDArray[np.bool_]]]:
    people = result.study.participants
    if options.by is None or (options.by not in people and options.by == DecideOptions().by):
        return []
    if options.by not in people:
        problems = Problems()
        problems.add(
            "E-RULE-003", "participants.csv has no such column.", remedy=nearest(options.by, people.columns),
            column="by", value=options.by,
        )  # fmt: skip
        problems.raise_if_any()
    column = people[options.by]
    levels = sorted(column.dropna().unique().tolist())
    out = []
    for level in levels:
        shown = f"{level:g}" if isinstance(level, float) else str(level)
        out.append((f"{options.by} = {shown}", (column == level).to_numpy(dtype=bool)))
    if column.isna().any():
        out.append((f"{options.by} not recorded", column.isna().to_numpy(dtype=bool)))
    return out


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Group:
    rule: Rule
    feature: _Feature
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
    caps = _caps(feature.shares_run[group.evaluable], facts) if code != NOT_EVALUABLE else []
    told = None
    judged_any = code != NOT_EVALUABLE or judged.responder is not None
    if options.n_sims and n >= 2 and group.fits and judged_any:
        told = _operating(group, options)
    row = _row(group, judged, code, caps, told)
    return row, told, judged


def _operating(group: _Group, options: DecideOptions) -> pd.DataFrame:
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
    truths = _truths(group.rule, feature)
    told = operating_characteristics(
        group.rule, noise, setting, truths=truths, n_sims=options.n_sims, seed=options.seed
    )
    told.insert(1, "feature", feature.name)
    told.insert(2, "level", group.level)
    told.insert(3, "unit", group.unit)
    return told.assign(note=note)


def _truths(rule: Rule, feature: _Feature) -> list[float]:
    """True effects to simulate, the target last: folds; on the identity scale multiples of the threshold."""
    if feature.scale != "identity":
        return [*rule.truths, rule.target]
    least = getattr(rule, "points", None)
    if isinstance(rule, ResponderCount | BayesRate):
        least = rule.participant.points
    if not least and feature.noise is not None:
        least = feature.noise.limit()
    return [least, 2 * least] if least else [1.0]


def _caps(shares: NDArray[np.object_], facts: Declared) -> list[str]:
    caps = []
    known = [s for s in shares if s is not None]
    if known and len(known) == len(shares) and not any(known):
        caps.append("baseline and on-treatment samples never share a staining run")
    if facts.plan_locked is None:
        caps.append("not declared that the plan was locked before unblinding")
    elif not facts.plan_locked:
        caps.append("the plan was not locked before unblinding")
    return caps


def _row(
    group: _Group, judged: Judged, code: int, caps: Sequence[str], told: pd.DataFrame | None
) -> dict[str, Any]:
    rule, feature = group.rule, group.feature
    inside = group.evaluable
    capped = code == GO and bool(caps)
    target = _truths(rule, feature)[-1]
    chances = [_chance(told, truth, code, bool(caps)) for truth in (None, target)]
    notes = [judged.reason]
    if any(s is None for s in feature.shares_run[group.evaluable]):
        notes.append("staining runs not recorded for every pair")
    if feature.noise is not None and feature.noise.borrowed:
        notes.append(f"noise borrowed: {feature.noise.source}")
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
        "criterion": criterion(rule),
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


def _chance(told: pd.DataFrame | None, truth: float | None, code: int, capped: bool) -> float:
    """Probability of the row's verdict; under a cap, go counts as consider."""
    if told is None:
        return np.nan
    row = told[told["inert"]] if truth is None else told[told["truth"] == truth]
    names = ["p_go", "p_consider"] if capped and code in {GO, CONSIDER} else [_SHARE[code]]
    return float(row[names].sum(axis=1).iloc[0])


def _participants(
    group: _Group, judged: Judged, told: pd.DataFrame | None, facts: Declared
) -> list[dict[str, Any]]:
    """One row a participant; nobody is left out."""
    rule, feature = group.rule, group.feature
    evaluable, order = group.evaluable, np.cumsum(group.evaluable) - 1
    base = _row(group, judged, NOT_EVALUABLE, [], None)
    own = responder(rule) if isinstance(rule, ResponderCount | BayesRate) else criterion(rule)
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
                caps = _caps(feature.shares_run[i : i + 1], facts)
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
    if told is None or code == NOT_EVALUABLE:
        return np.nan
    row = told[told["inert"]] if truth is None else told[told["truth"] == truth]
    once = float(row["p_responder"].iloc[0])
    return once if code == GO else 1 - once

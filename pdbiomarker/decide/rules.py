"""Decision rules: named presets with their source, and rules of a user's own, in YAML.

The schema is closed: a rule chooses a criterion and its numbers; no text of a rule is ever run. Six criteria:

==================== ===============================================================================
``responder_count``  at least r of n participants are responders
``rcv_fraction``     more participants beyond the reference change value than noise explains
``gmr_margin``       the geometric mean ratio lies above a margin (one-sided t-test)
``bayes_gmr``        posterior probability that the geometric mean ratio exceeds a fold change
``bayes_rate``       posterior probability that the rate of responders exceeds a rate
``clinical_activity`` fold change *and* density on treatment; never a gate of pharmacodynamics
==================== ===============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from pdbiomarker.errors import Problems
from pdbiomarker.provenance import sha256_json
from pdbiomarker.reference import reference_names, reference_path
from pdbiomarker.tables import load_yaml, nearest, validate_yaml

__all__ = [
    "NOT_BY_DEFAULT",
    "Activity",
    "BayesGmr",
    "BayesRate",
    "GmrMargin",
    "Participant",
    "RcvFraction",
    "ResponderCount",
    "Rule",
    "default_presets",
    "preset",
    "presets",
    "read_rule",
    "rule_of",
    "rule_sha256",
    "turned",
]

_FOLDER: Final = "decisions"
Probability = Annotated[float, Field(gt=0, lt=1, strict=False)]
Above = Annotated[float, Field(gt=0, strict=False)]
Fold = Annotated[float, Field(ge=1, strict=False)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Participant(_Closed):
    """When a participant is a responder; every part that is given must hold.

    Attributes
    ----------
    fold : float or None
        Least fold change (odds ratio for proportions), in `direction`.
    points : float or None
        Least change on the identity scale (scores, signatures), which has no folds.
    sd_multiple : float or None
        Least change, in multiples of `sd`.
    sd : {"within_lesion", "between_baselines"}
        The noise of one biopsy's value, or the standard deviation of participants' baselines.
    beyond_noise : float or None
        Level of the two-sided prediction limits that the change must pass.
    """

    fold: Fold | None = None
    points: Above | None = None
    sd_multiple: Above | None = None
    sd: Literal["within_lesion", "between_baselines"] = "within_lesion"
    beyond_noise: Probability | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Participant:
        if (
            self.fold is None
            and self.points is None
            and self.sd_multiple is None
            and self.beyond_noise is None
        ):
            raise ValueError(
                "A responder needs a criterion. Remedy: Give fold, points, sd_multiple or beyond_noise."
            )
        return self


class _Rule(_Closed):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    title: str
    source: Annotated[str, Field(min_length=1)]
    doi: str = ""
    version: str = "1"
    note: str = ""
    #: Features that the rule may judge: names or patterns with *.
    features: list[str] = Field(default_factory=lambda: ["*"])
    direction: Literal["up", "down"] = "up"
    #: Fewer evaluable pairs than this are not judged.
    min_evaluable: Annotated[int, Field(ge=2)] = 3
    #: True fold changes at which the probabilities of the verdicts are printed, besides none.
    truths: list[Fold] = Field(default_factory=lambda: [1.5, 2.0, 3.0])
    #: The true fold change that the rule should find.
    target: Fold = 2.0


class ResponderCount(_Rule):
    """At least `go_at_least` of `of` participants are responders."""

    criterion: Literal["responder_count"]
    participant: Participant
    go_at_least: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=2)]
    consider_at_least: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> ResponderCount:
        if self.go_at_least > self.of:
            raise ValueError("'go_at_least' is above 'of'. Remedy: Lower it.")
        if self.consider_at_least is not None and self.consider_at_least >= self.go_at_least:
            raise ValueError("'consider_at_least' is not below 'go_at_least'. Remedy: Lower it.")
        return self


class RcvFraction(_Rule):
    """More participants beyond the prediction limits than (1 - level) / 2 explains, by the binomial test."""

    criterion: Literal["rcv_fraction"]
    level: Probability = 0.95
    alpha: Probability = 0.05
    consider_alpha: Probability = 0.2


class GmrMargin(_Rule):
    """H0: geometric mean ratio at most `margin`; go where the one-sided t-test refuses it at `alpha`."""

    criterion: Literal["gmr_margin"]
    margin: Fold
    points: Annotated[float, Field(ge=0, strict=False)] | None = None
    alpha: Probability = 0.05


class BayesGmr(_Rule):
    """Posterior probability that the geometric mean ratio exceeds `fold`; reference prior."""

    criterion: Literal["bayes_gmr"]
    fold: Fold
    points: Annotated[float, Field(ge=0, strict=False)] | None = None
    go_above: Probability
    stop_below: Probability

    @model_validator(mode="after")
    def _fits(self) -> BayesGmr:
        if self.stop_below >= self.go_above:
            raise ValueError("'stop_below' is not below 'go_above'. Remedy: Leave room for 'consider'.")
        return self


class BayesRate(_Rule):
    """Posterior probability that the rate of responders exceeds `rate`; Jeffreys prior Beta(1/2, 1/2)."""

    criterion: Literal["bayes_rate"]
    participant: Participant
    rate: Probability
    go_above: Probability
    stop_below: Probability

    @model_validator(mode="after")
    def _fits(self) -> BayesRate:
        if self.stop_below >= self.go_above:
            raise ValueError("'stop_below' is not below 'go_above'. Remedy: Leave room for 'consider'.")
        return self


class Activity(_Rule):
    """Geometric mean ratio and geometric mean on treatment both reach their thresholds.

    The thresholds of such a rule were fitted to survival: it speaks of clinical activity. Its verdict is
    never above ``consider``, and its two criteria cannot be joined by "or": an inert drug passes the
    second one wherever the baseline is high.
    """

    criterion: Literal["clinical_activity"]
    fold: Fold
    on_treatment: Above
    join: Literal["and"] = "and"


Rule = ResponderCount | RcvFraction | GmrMargin | BayesGmr | BayesRate | Activity
#: Presets that are applied only where they are asked for, and why.
NOT_BY_DEFAULT: Final[Mapping[str, str]] = {
    "dejardin_2024": "thresholds fitted to progression-free survival with one CD8 assay: a rule of clinical "
    "activity, no gate of pharmacodynamics",
    "rubinstein_2010_strict": "the stricter level of rubinstein_2010: which of the two applies is the "
    "protocol's choice, not one after the data",
}
_ADAPTER: Final[TypeAdapter[Rule]] = TypeAdapter(Annotated[Rule, Field(discriminator="criterion")])
_CRITERIA: Final[Mapping[str, type[_Rule]]] = {
    "responder_count": ResponderCount,
    "rcv_fraction": RcvFraction,
    "gmr_margin": GmrMargin,
    "bayes_gmr": BayesGmr,
    "bayes_rate": BayesRate,
    "clinical_activity": Activity,
}


def presets() -> list[str]:
    """Names of the presets that travel with the package."""
    return reference_names(_FOLDER)


def rule_of(content: Mapping[str, Any]) -> Rule:
    """A rule from what its ``model_dump`` gave."""
    return _ADAPTER.validate_python(dict(content))


def default_presets() -> list[str]:
    """Names of the presets that are applied where nobody names rules: all but :data:`NOT_BY_DEFAULT`."""
    return [name for name in presets() if name not in NOT_BY_DEFAULT]


def turned(rule: Rule, expected_direction: float) -> Rule:
    """The rule for a feature that is expected to fall (-1): the same, downward; else the rule as it is."""
    if expected_direction >= 0 or rule.direction == "down":
        return rule
    return rule.model_copy(update={"direction": "down"})


def preset(name: str) -> Rule:
    """Give a preset by name.

    Raises
    ------
    InputError
        E-RULE-002: no such preset; the nearest are named.

    Examples
    --------
    >>> preset("rubinstein_2010").criterion
    'responder_count'
    """
    if name not in presets():
        problems = Problems()
        problems.add(
            "E-RULE-002", "There is no such decision rule.", remedy=nearest(name, presets()), column="rule",
            value=name,
        )  # fmt: skip
        problems.raise_if_any()
    return read_rule(reference_path(f"{_FOLDER}/{name}.yaml"))


def read_rule(path: str | Path) -> Rule:
    """Read a rule from YAML; docs/methods/decisions.md describes the keys.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        E-RULE-001: an unknown or missing key, or a value out of its range, with its line; E-FILE-..., and
        E-STUDY-002 where the YAML cannot be read.
    """
    problems = Problems()
    document = load_yaml(path, problems)
    content: Any = None
    if document is not None:
        criterion = document.data.get("criterion")
        if isinstance(criterion, str) and criterion in _CRITERIA:
            content = validate_yaml(_CRITERIA[criterion], document, code="E-RULE-001", problems=problems)
        else:
            problems.add(
                "E-RULE-001",
                "A rule names its criterion.",
                remedy=f"Use one of {', '.join(_CRITERIA)}.",
                file=document.file,
                row=document.line(("criterion",)),
                column="criterion",
                value=criterion,
            )
    problems.raise_if_any()
    return _ADAPTER.validate_python(content)


def rule_sha256(rule: Rule) -> str:
    """SHA-256 of everything that a rule says, its source and note aside: what a lock of a plan records."""
    return sha256_json(rule.model_dump(mode="json", exclude={"title", "source", "doi", "note"}))

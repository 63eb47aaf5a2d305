"""What makes a biopsy adequate, and whether an archival one may be a baseline: rules of study.yaml.

The vocabulary is that of the CIMAC specimen records: a biopsy passes, passes at risk, or fails. One that
passes at risk is used, and its row says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["AdequacyRule", "Archival", "ArchivalKeys", "Quality", "RuleKeys", "worst"]

Quality = Literal["Pass", "Pass at Risk", "Fail"]
Missing = Literal["fail", "at_risk", "pass"]
AsBaseline = Literal["never", "when_no_fresh"]

_RANK: Final[Mapping[str, int]] = {word: rank for rank, word in enumerate(get_args(Quality))}
_OF_MISSING: Final[Mapping[str, Quality]] = {"fail": "Fail", "at_risk": "Pass at Risk", "pass": "Pass"}


def worst(found: list[Quality]) -> Quality:
    """Give the worst of several judgements; ``Pass`` of none."""
    return max(found, key=_RANK.__getitem__, default="Pass")


class RuleKeys(BaseModel):
    """One rule under `adequacy` of study.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    min: float | None = Field(default=None, strict=False)
    max: float | None = Field(default=None, strict=False)
    at_risk_below: float | None = Field(default=None, strict=False)
    at_risk_above: float | None = Field(default=None, strict=False)
    allowed: list[str] | None = None
    at_risk: list[str] = Field(default_factory=list)
    missing: Missing = "fail"
    assays: list[str] = Field(default_factory=list)
    tumor: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"min": float(value)}
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic turns a ValueError into a fault with its place
                "The rule is neither a number nor a mapping. Remedy: Write the least value, such as 100, or "
                "{min: 10, max: 90}"
            )
        return value

    @model_validator(mode="after")
    def _sense(self) -> RuleKeys:
        bounds = (self.min, self.max, self.at_risk_below, self.at_risk_above)
        numeric = any(bound is not None for bound in bounds)
        if numeric == (self.allowed is not None) or self.allowed == []:
            raise ValueError(
                "The rule has neither a bound nor words, or both. Remedy: Write a least value, "
                "{min: 10, max: 90}, or {allowed: [Pass, Pass at Risk]}"
            )
        if any(bound is not None and not math.isfinite(bound) for bound in bounds):
            raise ValueError("A bound is not a finite number. Remedy: Write a number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("The least value is above the greatest. Remedy: Exchange 'min' and 'max'")
        if self.at_risk and not {_folded(w) for w in self.at_risk} <= {
            _folded(w) for w in self.allowed or ()
        }:
            raise ValueError("A word of 'at_risk' is not allowed at all. Remedy: Name it under 'allowed' too")
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class AdequacyRule:
    """A rule for one column.

    Attributes
    ----------
    column : str
        Of biopsies.csv, or of libraries.csv (then it is asked of every library of the biopsy).
    min, max : float or None
        Values outside fail.
    at_risk_below, at_risk_above : float or None
        Values that do not fail but lie beyond these pass at risk.
    allowed, at_risk : tuple of str
        Words that pass, and those of them that pass at risk; capital letters do not matter.
    missing : {"fail", "at_risk", "pass"}
        What becomes of a biopsy without the value.
    assays : tuple of str
        Assays that the rule is for; empty: all.
    tumor : bool
        Whether the rule asks for tumour: a biopsy that fails such rules alone has lost its tumour. By default
        rules whose column speaks of tumour do.
    """

    column: str
    min: float | None = None
    max: float | None = None
    at_risk_below: float | None = None
    at_risk_above: float | None = None
    allowed: tuple[str, ...] = ()
    at_risk: tuple[str, ...] = ()
    missing: Missing = "fail"
    assays: tuple[str, ...] = ()
    tumor: bool = False

    @classmethod
    def of(cls, column: str, keys: RuleKeys) -> Self:
        """Take a rule from study.yaml."""
        about_tumor = "tumor" in column.casefold() or "tumour" in column.casefold()
        return cls(
            column,
            min=keys.min,
            max=keys.max,
            at_risk_below=keys.at_risk_below,
            at_risk_above=keys.at_risk_above,
            allowed=tuple(keys.allowed or ()),
            at_risk=tuple(keys.at_risk),
            missing=keys.missing,
            assays=tuple(keys.assays),
            tumor=about_tumor if keys.tumor is None else keys.tumor,
        )

    @classmethod
    def read(cls, column: str, facts: Any) -> Self:
        """Take a rule from what :meth:`facts` gave."""
        return cls.of(column, RuleKeys.model_validate(facts))

    def facts(self) -> float | dict[str, Any]:
        """Give the rule as study.yaml writes it: a number where it is only a least value."""
        plain = AdequacyRule.of(self.column, RuleKeys(min=0.0))
        content: dict[str, Any] = {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
            if field.name not in {"column", "min"} and getattr(self, field.name) != getattr(plain, field.name)
        }
        if not content and self.min is not None:
            return self.min
        return ({} if self.min is None else {"min": self.min}) | content

    @property
    def is_numeric(self) -> bool:
        """Whether it compares numbers, not words."""
        return not self.allowed

    @property
    def need(self) -> str:
        """What is needed, in words."""
        if self.allowed:
            return f"one of {', '.join(self.allowed)} needed"
        if self.max is None:
            return "a number needed" if self.min is None else f"at least {self.min:g} needed"
        return f"at most {self.max:g} needed" if self.min is None else f"{self.min:g} to {self.max:g} needed"

    def knows(self, words: Iterable[object]) -> bool:
        """Whether one of the words of a column is one of those that pass, or there are none to judge."""
        found = {_folded(str(word)) for word in words}
        return not self.allowed or not found or not found.isdisjoint(_folded(one) for one in self.allowed)

    def asked_of(self, assay: str | None) -> bool:
        """Whether the rule is asked in an assay; without an assay, those for all are."""
        return not self.assays or (assay is not None and assay in self.assays)

    def judge(self, value: object) -> tuple[Quality, str]:
        """Judge one value.

        Returns
        -------
        tuple of quality and str
            The reason is empty where the biopsy passes.

        Examples
        --------
        >>> rule = AdequacyRule("tumor_content_pct", min=10, at_risk_below=20)
        >>> rule.judge(5.0), rule.judge(15.0)[0], rule.judge(40.0)
        (('Fail', 'tumor_content_pct 5, at least 10 needed'), 'Pass at Risk', ('Pass', ''))
        """
        if value is None or value != value or str(value).strip() == "":  # noqa: PLR0124 - NaN
            quality = _OF_MISSING[self.missing]
            return quality, "" if quality == "Pass" else f"{self.column} not recorded, {self.need}"
        return self._words(str(value)) if self.allowed else self._number(float(str(value)))

    def _words(self, value: str) -> tuple[Quality, str]:
        word = _folded(value)
        if word not in {_folded(one) for one in self.allowed}:
            return "Fail", f"{self.column} {value}, {self.need}"
        if word in {_folded(one) for one in self.at_risk}:
            return "Pass at Risk", f"{self.column} {value}"
        return "Pass", ""

    def _number(self, value: float) -> tuple[Quality, str]:
        said = f"{self.column} {value:g}"
        if (self.min is not None and value < self.min) or (self.max is not None and value > self.max):
            return "Fail", f"{said}, {self.need}"
        if self.at_risk_below is not None and value < self.at_risk_below:
            return "Pass at Risk", f"{said}, below {self.at_risk_below:g}"
        if self.at_risk_above is not None and value > self.at_risk_above:
            return "Pass at Risk", f"{said}, above {self.at_risk_above:g}"
        return "Pass", ""


def _folded(word: str) -> str:
    return " ".join(word.casefold().replace("_", " ").split())


class ArchivalKeys(BaseModel):
    """The key `archival` of study.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    as_baseline: AsBaseline = "never"
    oldest_days: int | None = Field(default=None, ge=1, le=20_000)

    def archival(self) -> Archival:
        """Give the choice."""
        return Archival(self.as_baseline, self.oldest_days)


@dataclasses.dataclass(frozen=True, slots=True)
class Archival:
    """Whether tissue taken before the screening window may be a baseline.

    Attributes
    ----------
    as_baseline : {"never", "when_no_fresh"}
        Never, or for participants without a usable fresh baseline biopsy. Never are both the baseline.
    oldest_days : int or None
        Older tissue (days before the first dose) is used with a query.
    """

    as_baseline: AsBaseline = "never"
    oldest_days: int | None = None

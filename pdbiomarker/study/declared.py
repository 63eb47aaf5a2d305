"""What the data cannot show and somebody must declare: how the biopsies were read, in which runs and lots.

A fact that nobody declared is unknown, not true. What each of them does to a verdict:

=================== ======================================================================================
fact                effect on a verdict
=================== ======================================================================================
``plan_locked``     no, or not declared: at most ``consider``
``pairs_share_run`` no: at most ``consider`` (a shift between runs looks like an effect)
``blinded_reading`` no: at most ``consider`` (the reader's expectation looks like an effect)
``lots_bridged``    no, and pairs not known to share a run: at most ``consider``; else told
``visit_randomised`` no: told (a reader's drift runs along with the visit)
``assay_cv_pct``    told where the noise that a rule uses is below the assay's own imprecision
=================== ======================================================================================

A lock of the plan (:mod:`pdbiomarker.plan.lock`) decides on ``plan_locked`` where there is one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pdbiomarker.tables import parse_date

__all__ = ["FACTS_IN_WORDS", "Declared", "DeclaredKeys", "precision_sigma"]

_YES_NO: Final[Mapping[str, bool]] = {"yes": True, "no": False}
_ISO_LENGTH: Final = 10
_TWO_SIDED_95: Final = 1.959963984540054

#: The facts in the words of the report, in order.
FACTS_IN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "plan_locked": "plan locked before unblinding",
        "pairs_share_run": "baseline and on-treatment biopsy stained in one run",
        "blinded_reading": "readers did not know participant, visit and dose",
        "visit_randomised": "biopsies of all visits read in random order",
        "lots_bridged": "one lot, or new lots bridged to the old",
        "assay_cv_pct": "precision of the assay (coefficient of variation)",
        "drug_binds": "antigens that the drug itself binds",
        "unblinded": "data unblinded on",
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """Declared facts.

    Attributes
    ----------
    plan_locked : bool or None
        Whether rule, feature, set, visit and model were fixed before unblinding. None: nobody declared it,
        which caps verdicts like a no.
    pairs_share_run : bool or None
        Whether baseline and on-treatment samples of a participant were stained in one run. None: taken from
        the assay's column ``batch``, and unknown without it.
    drug_binds : tuple of str or None
        Antigens that the drug itself binds, such as ``("PD-L1",)``: a stain for one of them may be blocked by
        the drug. None: nobody said; empty: none.
    blinded_reading : bool or None
        Whether participant, visit and dose were hidden from whoever read or reviewed the biopsies.
    visit_randomised : bool or None
        Whether biopsies of all visits were read mixed in random order.
    lots_bridged : bool or None
        Whether one lot of reagents was used, or new lots were bridged to the old ones.
    assay_cv_pct : mapping of assay or ``assay:feature`` to float
        Coefficient of variation of repeated measurements of one sample, in %.
    unblinded : str or None
        ISO date of unblinding; without blinding, of the first look at on-treatment values.
    lock_said : str
        Why `plan_locked` is what it is, where a lock of the plan says so.
    """

    plan_locked: bool | None = None
    pairs_share_run: bool | None = None
    drug_binds: tuple[str, ...] | None = None
    blinded_reading: bool | None = None
    visit_randomised: bool | None = None
    lots_bridged: bool | None = None
    assay_cv_pct: Mapping[str, float] = dataclasses.field(default_factory=dict)
    unblinded: str | None = None
    lock_said: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Declared:
        """Make the facts from a mapping of those that were declared, as :meth:`facts` gives it."""
        binds = content.get("drug_binds")
        return cls(**{**content, **({} if binds is None else {"drug_binds": tuple(binds)})})

    def facts(self) -> dict[str, Any]:
        """What was declared, as JSON; empty where nothing was."""
        found: dict[str, Any] = {}
        for name in FACTS_IN_WORDS:
            value = getattr(self, name)
            if value is None or (name == "assay_cv_pct" and not value):
                continue
            if isinstance(value, tuple):
                value = list(value)
            found[name] = dict(value) if isinstance(value, Mapping) else value
        return found

    def updated(self, given: Declared | None) -> Declared:
        """The same facts, those of `given` in place of ours where it says anything."""
        if given is None:
            return self
        return Declared.of({**self.facts(), **given.facts(), "lock_said": given.lock_said or self.lock_said})

    def caps(self, *, share_run: bool | None) -> list[str]:
        """Why a verdict may not go above ``consider``, for reading and lots.

        Parameters
        ----------
        share_run : bool or None
            Whether the pairs in question are known to share a staining run.
        """
        found = []
        if self.blinded_reading is False:
            found.append("the biopsies were not read blinded")
        if self.lots_bridged is False and share_run is not True:
            found.append("lots were changed and not bridged")
        return found

    def cautions(self, reference: str, *, scale: str, sigma: float) -> list[str]:
        """What a verdict must say of the reading and of the assay's precision.

        Parameters
        ----------
        reference : str
            ``assay:feature``.
        scale : {"log2", "logit", "identity"}
            Of `sigma`; a coefficient of variation is compared on log2 alone.
        sigma : float
            The noise of one biopsy that the rule uses; NaN where it uses none.
        """
        found = []
        if self.visit_randomised is False:
            found.append("visits were not read in random order: a reader's drift runs along with the visit")
        if self.lots_bridged is False:
            found.append("lots were changed and not bridged")
        cv = self.assay_cv_pct.get(reference, self.assay_cv_pct.get(reference.partition(":")[0]))
        if cv is None or scale != "log2":
            return found
        own = precision_sigma(cv)
        fold = 2 ** (_TWO_SIDED_95 * math.sqrt(2) * own)
        if math.isnan(sigma):
            found.append(f"assay precision (CV {cv:g} %) alone moves 5 % of changes beyond {fold:.2f}-fold")
        elif sigma < own:
            found.append(
                f"the noise used ({sigma:.2f} on log2) is below the declared assay precision "
                f"({own:.2f}, CV {cv:g} %)"
            )
        return found


def precision_sigma(cv_pct: float) -> float:
    """Give the standard deviation on log2 of a log-normal measurement with a coefficient of variation.

    Parameters
    ----------
    cv_pct : float
        In %.

    Examples
    --------
    >>> round(precision_sigma(25.0), 4)
    0.3552
    """
    return math.sqrt(math.log1p((cv_pct / 100) ** 2)) / math.log(2)


Percent = Annotated[float, Field(gt=0, le=500)]


class DeclaredKeys(BaseModel):
    """The key ``declared`` of study.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    plan_locked: bool | None = None
    pairs_share_run: bool | None = None
    drug_binds: list[str] | None = None
    blinded_reading: bool | None = None
    visit_randomised: bool | None = None
    lots_bridged: bool | None = None
    assay_cv_pct: dict[str, Percent] = Field(default_factory=dict)
    unblinded: str | None = None

    @field_validator(
        "plan_locked", "pairs_share_run", "blinded_reading", "visit_randomised", "lots_bridged", mode="before"
    )
    @classmethod
    def _words(cls, value: Any) -> Any:
        return _YES_NO.get(value, value) if isinstance(value, str) else value

    @field_validator("assay_cv_pct", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: float(v) if isinstance(v, int) and not isinstance(v, bool) else v
                for key, v in value.items()
            }
        return value

    @field_validator("unblinded")
    @classmethod
    def _iso(cls, value: str | None) -> str | None:
        if value is not None and (parse_date(value) is None or len(value) != _ISO_LENGTH):
            raise ValueError("The date is not an ISO 8601 date. Remedy: Write it as YYYY-MM-DD")
        return value

    def declared(self) -> Declared:
        """Give the facts."""
        return Declared.of(self.model_dump(exclude_none=True))

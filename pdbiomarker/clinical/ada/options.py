"""Options of the antibody tables."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from pdbiomarker.errors import Problems

__all__ = ["AdaOptions"]


@dataclasses.dataclass(frozen=True)
class AdaOptions:
    """How antibody samples and participants are judged.

    Attributes
    ----------
    boost_fold : float
        A titre this many times the baseline titre is boosted. On titres stated as log10, whose usual two
        decimals make 4-fold 0.60, the threshold is log10 of it cut to two decimals.
    minimum_titre : float or None
        Titre (linear: 1:100 is 100) of a positive sample whose titre is missing or below the lowest dilution.
        None: such a sample has no titre, and what needs it says so.
    drug_tolerance : float or None
        Drug concentration above which a negative sample is inconclusive. None: not applied.
    drug_tolerance_unit : str
        Its unit, which must be that of the table.
    persistent_weeks : float
        From the first to the last positive sample: this long is persistent.
    last_positive : {"persistent", "indeterminate"}
        What a participant is whose last sample is positive before that time has passed.
    missing_baseline : {"negative", "exclude"}
        A participant without a conclusive baseline sample counts as negative at baseline, or is not
        evaluable.
    cutoff : str or None
        Data cut-off, ISO date: samples with a later date are not used.
    """

    boost_fold: float = 4.0
    minimum_titre: float | None = None
    drug_tolerance: float | None = None
    drug_tolerance_unit: str = ""
    persistent_weeks: float = 16.0
    last_positive: Literal["persistent", "indeterminate"] = "persistent"
    missing_baseline: Literal["negative", "exclude"] = "negative"
    cutoff: str | None = None

    def __post_init__(self) -> None:
        problems = Problems()
        for name, fine, remedy in (
            ("boost_fold", self.boost_fold > 1, "Give a fold above 1; 4 is usual."),
            (
                "minimum_titre",
                self.minimum_titre is None or self.minimum_titre > 0,
                "Give a titre such as 25.",
            ),
            (
                "drug_tolerance",
                self.drug_tolerance is None or self.drug_tolerance > 0,
                "Give a concentration.",
            ),
            ("persistent_weeks", self.persistent_weeks > 0, "16 is usual."),
            (
                "last_positive",
                self.last_positive in ("persistent", "indeterminate"),
                "Choose one of the two.",
            ),
            ("missing_baseline", self.missing_baseline in ("negative", "exclude"), "Choose one of the two."),
        ):
            if not fine:
                problems.add(
                    "E-ADA-003",
                    f"The option {name!r} is out of its range.",
                    remedy=remedy,
                    column=name,
                    value=getattr(self, name),
                )
        problems.raise_if_any()

    @property
    def boost_log10(self) -> float:
        """Threshold of a change of titres that are stated as log10: 0.60 for 4-fold."""
        return math.floor(math.log10(self.boost_fold) * 100 + 1e-9) / 100

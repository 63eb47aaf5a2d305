"""The options of a simulated trial, frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from pdbiomarker.errors import InputError, Problems

__all__ = ["BASELINE", "FAULTS", "ON_TREATMENT", "TrialDesign"]

#: Names of the two visits, their windows in study days and the target day.
BASELINE: Final = "screening"
ON_TREATMENT: Final = "C2D1"
SCREENING_WINDOW: Final = (-28, -1)
ON_TREATMENT_DAY: Final = 29
ON_TREATMENT_WINDOW: Final = 7
VIABLE_TUMOR_CELLS: Final = 100

#: Faults that can be planted in a folder, and what each one does.
FAULTS: Final[Mapping[str, str]] = {
    "missing_file": "counts.csv.gz is not there",
    "missing_column": "biopsies.csv has no column participant_id",
    "duplicate_biopsy": "the second biopsy bears the id of the first",
    "on_treatment_before_dose": "one C2D1 biopsy is dated five days before the first dose",
    "text_count": "one count is the text 'many'",
    "negative_count": "one count is -3",
    "fractional_count": "one count is 10.5",
    "unclaimed_library": "counts.csv.gz has a library that no sheet names",
    "truncated_slide": "the first slide file ends after 60 % of its bytes",
    "slide_without_mpp": "the second slide file does not say how large a pixel is",
}


@dataclasses.dataclass(frozen=True, slots=True)
class TrialDesign:
    """What a simulated trial is like. All effects and standard deviations are on the log2 scale.

    Attributes
    ----------
    doses_mg : tuple of float
        Dose levels, opened one after the other; participants are spread evenly over them.
    gmr : float
        Ratio of geometric means of CD8 density, on treatment to screening, at the mean log dose.
    dose_slope : float
        Change of the log2 fold change per tenfold dose.
    heterogeneity : float
        Between-participant standard deviation of the true log2 fold change.
    baseline_density : float
        Geometric mean of CD8+ cells per mm2 of tissue at screening.
    participant_sd : float
        Between-participant standard deviation of log2 density at screening.
    biopsy_sd : float
        Within-participant standard deviation of log2 density, biopsy to biopsy (sigma_w); the counting
        of cells on a finite area comes on top.
    missing, inadequate, out_of_window, repeated : float
        Fraction of participants without an on-treatment biopsy, with an inadequate biopsy (fewer than
        100 viable tumour cells), with an on-treatment biopsy after the window, and with two screening
        biopsies. From four participants on, a fraction above zero makes at least one.
    affected_genes : float
        Fraction of the genes with a fold change.
    regions : bool
        Write the outlines of the tumour nests as GeoJSON.
    faults : frozenset of str
        Keys of :data:`FAULTS`: what is to be wrong with the folder.
    workers : int
        Slides drawn at the same time. The bytes do not depend on it.
    """

    doses_mg: tuple[float, ...] = (10.0, 30.0, 100.0)
    gmr: float = 2.2
    dose_slope: float = 0.25
    heterogeneity: float = 0.35
    baseline_density: float = 160.0
    participant_sd: float = 0.8
    biopsy_sd: float = 0.4
    missing: float = 0.15
    inadequate: float = 0.08
    out_of_window: float = 0.08
    repeated: float = 0.08
    affected_genes: float = 0.10
    regions: bool = True
    faults: frozenset[str] = frozenset()
    workers: int = 2

    def __post_init__(self) -> None:
        problems = Problems()

        def check(good: bool, name: str, rule: str) -> None:
            if not good:
                problems.add("E-SIM-001", f"{name} {rule}.", column=name, value=getattr(self, name))

        unknown = sorted(set(self.faults) - set(FAULTS))
        check(not unknown, "faults", f"holds {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
        check(bool(self.doses_mg) and min(self.doses_mg) > 0, "doses_mg", "must be positive numbers of mg")
        for name in ("gmr", "baseline_density"):
            check(getattr(self, name) > 0, name, "must be above 0")
        for name in ("heterogeneity", "participant_sd", "biopsy_sd"):
            check(getattr(self, name) >= 0, name, "is a standard deviation: 0 or above")
        for name in ("missing", "inadequate", "out_of_window", "repeated", "affected_genes"):
            check(0 <= getattr(self, name) <= 1, name, "is a fraction between 0 and 1")
        together = self.missing + self.inadequate + self.out_of_window
        check(together <= 1, "missing", "with inadequate and out_of_window exceeds 1")
        check(self.workers >= 1, "workers", "must be 1 or more")
        problems.raise_if_any(InputError)

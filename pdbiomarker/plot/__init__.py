"""Figures of a result. Each function takes a ``PDResult``, or tables of the trial, and returns axes.

Nothing global is changed: the look is applied while a figure is drawn and undone after it.
"""

from pdbiomarker.plot.accountability import accountability
from pdbiomarker.plot.clinic import change_by_dose, change_by_exposure
from pdbiomarker.plot.forest import forest
from pdbiomarker.plot.paired import paired
from pdbiomarker.plot.quality import components, likeness, sexes
from pdbiomarker.plot.response import size_waterfall, spider, swimmer
from pdbiomarker.plot.safety import ada_titres, adverse_events, decision_table, escalation_path
from pdbiomarker.plot.survival import survival_curve
from pdbiomarker.plot.truth import truth
from pdbiomarker.plot.volcano import volcano
from pdbiomarker.plot.waterfall import waterfall

__all__ = [
    "accountability",
    "ada_titres",
    "adverse_events",
    "change_by_dose",
    "change_by_exposure",
    "components",
    "decision_table",
    "escalation_path",
    "forest",
    "likeness",
    "paired",
    "sexes",
    "size_waterfall",
    "spider",
    "survival_curve",
    "swimmer",
    "truth",
    "volcano",
    "waterfall",
]

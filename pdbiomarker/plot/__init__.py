"""Figures of a result. Each function takes a ``PDResult`` (or a ``Link`` of one), or tables of the trial.

Nothing global is changed: the look is applied while a figure is drawn and undone after it.
"""

from pdbiomarker.plot.accountability import accountability
from pdbiomarker.plot.batches import batch_assays, quality_by_batch
from pdbiomarker.plot.clinic import change_by_dose, change_by_exposure
from pdbiomarker.plot.efficacy import size_waterfall, spider, swimmer
from pdbiomarker.plot.forest import forest
from pdbiomarker.plot.heatmap import change_heatmap, heatmap_features
from pdbiomarker.plot.honesty import regression_to_the_mean, sensitivity, thresholds, tipping_point
from pdbiomarker.plot.identity import likeness_matrix
from pdbiomarker.plot.links import blood, concordance, exposure, landmark, response
from pdbiomarker.plot.operating import operating_characteristics, variance_components
from pdbiomarker.plot.paired import paired, paired_by
from pdbiomarker.plot.pk import concentration_time, dose_proportionality
from pdbiomarker.plot.quality import components, likeness, sexes
from pdbiomarker.plot.safety import ada_titres, adverse_events, decision_table, escalation_path
from pdbiomarker.plot.signatures import signatures
from pdbiomarker.plot.survival import survival_curve
from pdbiomarker.plot.truth import truth
from pdbiomarker.plot.volcano import volcano
from pdbiomarker.plot.waterfall import waterfall

__all__ = [
    "accountability",
    "ada_titres",
    "adverse_events",
    "batch_assays",
    "blood",
    "change_by_dose",
    "change_by_exposure",
    "change_heatmap",
    "components",
    "concentration_time",
    "concordance",
    "decision_table",
    "dose_proportionality",
    "escalation_path",
    "exposure",
    "forest",
    "heatmap_features",
    "landmark",
    "likeness",
    "likeness_matrix",
    "operating_characteristics",
    "paired",
    "paired_by",
    "quality_by_batch",
    "regression_to_the_mean",
    "response",
    "sensitivity",
    "sexes",
    "signatures",
    "size_waterfall",
    "spider",
    "survival_curve",
    "swimmer",
    "thresholds",
    "tipping_point",
    "truth",
    "variance_components",
    "volcano",
    "waterfall",
]

"""Figures of a result. Each function takes a ``PDResult`` (or a ``Link`` of one) and returns matplotlib axes.

Nothing global is changed: the look is applied while a figure is drawn and undone after it.
"""

from pdbiomarker.plot.accountability import accountability
from pdbiomarker.plot.forest import forest
from pdbiomarker.plot.links import blood, concordance, exposure, landmark, response
from pdbiomarker.plot.paired import paired
from pdbiomarker.plot.quality import components, likeness, sexes
from pdbiomarker.plot.truth import truth
from pdbiomarker.plot.volcano import volcano
from pdbiomarker.plot.waterfall import waterfall

__all__ = [
    "accountability",
    "blood",
    "components",
    "concordance",
    "exposure",
    "forest",
    "landmark",
    "likeness",
    "paired",
    "response",
    "sexes",
    "truth",
    "volcano",
    "waterfall",
]

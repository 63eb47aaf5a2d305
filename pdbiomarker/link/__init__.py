"""Links: change against exposure, against clinical outcome, between assays, and between blood and tumour.

`exposure_pd`, `response_pd`, `concordance` and `blood_tumor` each give one :class:`Link`; `link_study` gives
all that a result allows. They are exploratory: nothing was randomised to dose groups or responses, and no p
is adjusted. `hazard_ratio`, `fit_shape` and the functions of `association` work on plain arrays.
"""

from .association import (
    Association,
    area_under_curve,
    order_across_groups,
    repeated_measures_correlation,
    slope,
    spearman,
)
from .blood import NO_SURROGATE, blood_tumor
from .concordance import concordance
from .curves import SHAPES, averaged, fit_shape, shape_test
from .exposure import exposure_pd
from .found import LINK_COLUMNS, Link
from .landmark import hazard_ratio, kaplan_meier
from .response import OUTCOMES, RESPONSE_ORDER, response_pd
from .study import Links, concordance_pairs, link_study

__all__ = [
    "LINK_COLUMNS",
    "NO_SURROGATE",
    "OUTCOMES",
    "RESPONSE_ORDER",
    "SHAPES",
    "Association",
    "Link",
    "Links",
    "area_under_curve",
    "averaged",
    "blood_tumor",
    "concordance",
    "concordance_pairs",
    "exposure_pd",
    "fit_shape",
    "hazard_ratio",
    "kaplan_meier",
    "link_study",
    "order_across_groups",
    "repeated_measures_correlation",
    "response_pd",
    "shape_test",
    "slope",
    "spearman",
]

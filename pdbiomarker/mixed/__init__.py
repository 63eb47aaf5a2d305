"""Mixed models on plain arrays: any random effects, all features at once.

`fit` is the entry; `marginal_means` averages and compares rows of a reference grid. The mathematics stand at
the heads of the modules: one random intercept in `pdbiomarker.mixed.reml`, any random effects in `structure`,
`blocks` and `optimum`, standard errors and degrees of freedom in `inference`, joint tests in `joint`, aliased
columns and estimable contrasts in `basis`, peers' definitions in `compat`.
"""

from .inference import DdfMethod
from .inputs import RandomSlopes
from .joint import JointTest
from .means import MarginalMeans, marginal_means
from .model import MixedFit, fit

__all__ = ["DdfMethod", "JointTest", "MarginalMeans", "MixedFit", "RandomSlopes", "fit", "marginal_means"]

"""Counts of cells and proportions of cells with a participant intercept, for all features of a panel.

`fit_counts` (negative binomial, Poisson) and `fit_proportions` (beta-binomial, binomial) maximise the Laplace
approximation of the likelihood, as glmmTMB does. The families stand at the head of
`pdbiomarker.mixed.glmm.families`, the approximation and its gradient at that of
`pdbiomarker.mixed.glmm.laplace`.
"""

from .inputs import Inference, InferenceMethod
from .model import GlmmFit, fit_counts, fit_proportions

__all__ = ["GlmmFit", "Inference", "InferenceMethod", "fit_counts", "fit_proportions"]

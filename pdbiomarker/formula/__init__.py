"""The formula language: text to terms, terms and a table to a design matrix, contrasts to vectors.

Formulas come from files, and the libraries that read formulas in Python run code that they find there.
So this is a small language of our own: the text is split, parsed and expanded, never evaluated, and what
is not of the language is refused with its position. `docs/formula.md` and `docs/contrasts.md` describe it.

>>> formula = parse("~ visit * dose_mg + (1|participant)")
>>> formula.columns
('visit', 'dose_mg', 'participant')
"""

from pdbiomarker.formula.cells import Cell, Contrast, Setting
from pdbiomarker.formula.contrast import contrast_vector, read_contrast
from pdbiomarker.formula.contrast_grammar import MAX_CELLS, parse_contrast
from pdbiomarker.formula.design import MAX_COLUMNS, Design, MissingValue, design_matrix
from pdbiomarker.formula.grammar import CONTRASTS, MAX_DEPTH, MAX_LENGTH, NUMERIC_FUNCTIONS, Variable
from pdbiomarker.formula.margins import WEIGHTS, MarginalMeans, MeanContrasts, is_within, marginal_means
from pdbiomarker.formula.terms import MAX_TERMS, Formula, RandomTerm, Term, parse, without

__all__ = [
    "CONTRASTS",
    "MAX_CELLS",
    "MAX_COLUMNS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_TERMS",
    "NUMERIC_FUNCTIONS",
    "WEIGHTS",
    "Cell",
    "Contrast",
    "Design",
    "Formula",
    "MarginalMeans",
    "MeanContrasts",
    "MissingValue",
    "RandomTerm",
    "Setting",
    "Term",
    "Variable",
    "contrast_vector",
    "design_matrix",
    "is_within",
    "marginal_means",
    "parse",
    "parse_contrast",
    "read_contrast",
    "without",
]

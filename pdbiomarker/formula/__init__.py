"""The formula language: text to terms, terms and a table to a design matrix, contrasts to vectors.

Formulas come from files, and the libraries that read formulas in Python run code that they find there.
So this is a small language of our own: the text is split, parsed and expanded, never evaluated, and what
is not of the language is refused with its position. `docs/formula.md` describes it.

>>> formula = parse("~ visit * dose_mg + (1|participant)")
>>> formula.columns
('visit', 'dose_mg', 'participant')
"""

from pdbiomarker.formula.contrast import Contrast, contrast_vector, parse_contrast
from pdbiomarker.formula.design import MAX_COLUMNS, Design, MissingValue, design_matrix
from pdbiomarker.formula.grammar import CONTRASTS, MAX_DEPTH, MAX_LENGTH, NUMERIC_FUNCTIONS, Variable
from pdbiomarker.formula.terms import MAX_TERMS, Formula, RandomTerm, Term, parse

__all__ = [
    "CONTRASTS",
    "MAX_COLUMNS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_TERMS",
    "NUMERIC_FUNCTIONS",
    "Contrast",
    "Design",
    "Formula",
    "MissingValue",
    "RandomTerm",
    "Term",
    "Variable",
    "contrast_vector",
    "design_matrix",
    "parse",
    "parse_contrast",
]

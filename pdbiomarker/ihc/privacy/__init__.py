"""Slides and what names a person: what a slide file holds, and copies without it."""

from pdbiomarker.ihc.privacy.copies import deidentify
from pdbiomarker.ihc.privacy.holdings import Holding, slide_holdings

__all__ = ["Holding", "deidentify", "slide_holdings"]

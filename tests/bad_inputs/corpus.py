"""The corpus: every bad or odd input, from the modules that hold them."""

from __future__ import annotations

from bad_inputs import sheets

CASES = (*sheets.CASES,)

"""Letters are drawn with one font on every machine: figures, and with them reports, have the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import font_manager

from pdbiomarker.plot import style


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_the_font_is_that_of_matplotlib_although_the_system_has_one(weight: str) -> None:
    with style.style():
        wanted = font_manager.FontProperties(family=mpl.rcParams["font.family"], weight=weight)
        found = Path(font_manager.findfont(wanted))
    assert found.is_relative_to(mpl.get_data_path())
    assert found.name == ("DejaVuSans-Bold.ttf" if weight == "bold" else "DejaVuSans.ttf")

"""Which texts of a figure lie on each other, as they are drawn."""

from __future__ import annotations

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels that two boxes may share: their edges hold no ink.
_EDGE = 1.5


def overlapping_texts(fig: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than their edges."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes: list[tuple[str, Bbox]] = []
    for text in fig.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().strip() and text.get_visible() and _shown(text):
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
    return [(a, b) for (a, p), (b, q) in itertools.combinations(boxes, 2) if _share(p, q)]


def _shown(text: Text) -> bool:
    axes = text.axes
    return axes is None or axes.axison or text in axes.texts or text in {axes.title, axes._left_title}


def _share(p: Bbox, q: Bbox) -> bool:
    width = min(p.x1, q.x1) - max(p.x0, q.x0)
    height = min(p.y1, q.y1) - max(p.y0, q.y0)
    return width > _EDGE and height > _EDGE

"""Whose an artist is: a mark that lets a page follow one participant through its figures.

The mark is the artist's ``gid``, which vector formats write as the id of a group. It is a digest of the
participant's id, so that no text of a study becomes part of a file's structure; who writes a page knows the
participants and maps the marks back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

__all__ = ["mark", "mark_band", "mark_of", "read_marks"]

_SIGN: Final = "who"
_MARKS: Final = re.compile(rf"{_SIGN}((?:-[0-9a-f]{{16}})+)")


def mark_of(participant: object) -> str:
    """The mark of a participant: 16 hexadecimal digits.

    Examples
    --------
    >>> mark_of("P-007")
    'af0f6e427b64c785'
    """
    return hashlib.sha256(str(participant).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_marks(gid: str) -> list[str]:
    """Read the marks of a gid, in order; none where it is not one of :func:`mark`.

    Examples
    --------
    >>> read_marks("who-af0f6e427b64c785"), read_marks("axes_1")
    (['af0f6e427b64c785'], [])
    """
    found = _MARKS.fullmatch(gid)
    return found[1].split("-")[1:] if found else []


def mark(artists: Artist | Iterable[Artist], participants: object) -> None:
    """Say whose an artist is.

    Parameters
    ----------
    artists : Artist or iterable of Artist
        What was drawn. One artist with several points belongs to several participants, point by point.
    participants : str or sequence
        One participant for all artists; or one for each artist, or for each point of a single one, in their
        order, those of points that are not drawn (no finite place) among them.

    Notes
    -----
    Nothing of the drawing changes.
    """
    if isinstance(participants, str):
        for artist in [artists] if isinstance(artists, Artist) else artists:
            artist.set_gid(f"{_SIGN}-{mark_of(participants)}")
        return
    people = list(participants) if isinstance(participants, Iterable) else [participants]
    if isinstance(artists, Artist):
        drawn = [person for person, seen in zip(people, _drawn(artists, len(people)), strict=True) if seen]
        if drawn:
            artists.set_gid("-".join([_SIGN, *map(mark_of, drawn)]))
        return
    for artist, person in zip(artists, people, strict=True):
        mark(artist, str(person))


def mark_band(
    ax: Axes, corner: tuple[float, float], size: tuple[float, float], person: str, *, lw: float
) -> None:
    """Lay a band over what is a participant's in a grid: unseen, but where a page follows the participant.

    Parameters
    ----------
    ax : Axes
    corner, size : (float, float)
        Lower left corner, width and height, in data coordinates.
    person : str
    lw : float
        Width of its edge in points, when it is seen.
    """
    faint = 0.004  # too little to be seen
    band = Rectangle(corner, *size, fc=(1, 1, 1, faint), ec=(0, 0, 0, faint), lw=lw, zorder=5)
    mark(ax.add_artist(band), person)  # no patch: the limits of the axes are not looked for again


def _drawn(artist: Artist, n: int) -> Sequence[bool]:
    """Which points of an artist have a place to be drawn at."""
    if isinstance(artist, Line2D):
        places = np.column_stack([np.asarray(v, dtype=float) for v in artist.get_data(orig=False)])
    elif isinstance(artist, PathCollection):
        places = np.ma.filled(np.ma.asarray(artist.get_offsets(), dtype=float), np.nan)
    else:
        return [True] * n
    return [bool(seen) for seen in np.isfinite(places).all(axis=1)]

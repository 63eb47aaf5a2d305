"""Ids as people type them: what is the same id, and what only looks the same."""

from __future__ import annotations

import unicodedata
from typing import Final

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e"))

#: Letters of other scripts (and digits) that are drawn like a Latin letter, after case folding.
_LOOK_ALIKES: Final = str.maketrans(
    {
        **dict(zip("аеорсухѕіјԁһԛԝ", "aeopcyxsijdhqw", strict=True)),  # Cyrillic, small
        **dict(zip("вкмнт", "bkmht", strict=True)),  # Cyrillic, as their capitals are drawn
        **dict(zip("αβεζηικμνορτυχ", "abezhikmnoptux", strict=True)),  # Greek, as their capitals are drawn
        "o": "0",
        "о": "0",
        "ο": "0",
        "i": "1",
        "l": "1",
        "|": "1",
        "і": "1",
        "ι": "1",
        "ı": "1",
        "‐": "-",
        "‑": "-",
        "‒": "-",
        "–": "-",
        "—": "-",
        "−": "-",
    }
)


def normal_id(text: str) -> str:
    """Give an id without what cannot be seen: NFKC, no zero-width characters, no spaces around it.

    Examples
    --------
    >>> normal_id(" P\uff11\u200b")
    'P1'
    """
    plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).translate(_INVISIBLE)
    start, end = 0, len(plain)
    while start < end and unicodedata.category(plain[start]) == "Zs":
        start += 1
    while end > start and unicodedata.category(plain[end - 1]) == "Zs":
        end -= 1
    return plain[start:end]


def control_character(text: str) -> str | None:
    """Give the first control or formatting character of an id, or None."""
    return next((c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}), None)


def skeleton(text: str) -> str:
    """Give what two ids share when a reader may take one for the other: case, spaces, look-alikes apart.

    Examples
    --------
    >>> skeleton("PT-O1 ") == skeleton("pt-0l")
    True
    """
    folded = unicodedata.normalize("NFKC", normal_id(text).casefold())
    return "".join(folded.split()).translate(_LOOK_ALIKES)

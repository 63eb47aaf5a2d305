"""Figures as part of the page: a drawing in SVG, checked element by element and written anew as inline SVG.

Only elements and attributes that a drawing needs pass; style becomes presentation attributes, so that the
page needs no inline style; a reference can only lead to an id of the same page or to an image in the file
itself. Ids are short and unique in the page, and the outlines of letters, which all figures share, are kept
once. What :func:`pdbiomarker.plot.marks.mark` marked becomes ``data-p``, the number of a participant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from defusedxml import ElementTree

from pdbiomarker.plot.marks import read_marks

__all__ = ["Inliner"]

_SVG: Final = "{http://www.w3.org/2000/svg}"
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS: Final = frozenset({"svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "pattern"})
#: Parts of a drawing that say nothing in a page.
_DROPPED: Final = frozenset({"metadata", "style"})
_LOOKS: Final = frozenset(
    {
        *("fill", "fill-opacity", "fill-rule", "opacity", "stroke", "stroke-width", "stroke-opacity"),
        *("stroke-linecap", "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit"),
        *("clip-path", "mix-blend-mode", "image-rendering"),
    }
)
_PLACES: Final = frozenset({"d", "transform", "x", "y", "width", "height", "patternUnits", "clipPathUnits"})
_PLAIN: Final = re.compile(r"[A-Za-z0-9 .,#%()+\-\n]*")
_LINK: Final = re.compile(r"url\(#([A-Za-z0-9_.-]+)\)")
_IMAGE: Final = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")
_FRACTION: Final = re.compile(r"-?\d+\.\d{3,}")
_LETTER: Final = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*-[0-9a-f]+")


#: An element as defusedxml reads it; the standard library, which has the class, is not to read any file.
type Element = Any


class _UnknownError(Exception):
    """Something in a drawing that no drawing of ours holds."""


class Inliner:
    """Writes the figures of one page.

    Parameters
    ----------
    people : mapping of mark to number
        Of :func:`pdbiomarker.plot.marks.mark_of`: the participants, by their place in the page's list.
    """

    def __init__(self, people: Mapping[str, int]) -> None:
        self._people = people
        self._letters: dict[str, str] = {}
        self._outlines: list[str] = []
        self._figures = 0

    def write(self, svg: bytes) -> str | None:
        """Write a drawing as inline SVG.

        Parameters
        ----------
        svg : bytes
            As :func:`pdbiomarker.plot.style.render_svg` draws it.

        Returns
        -------
        str or None
            The content of an ``svg`` element of 1/72 inch units; None where no participant is marked in it,
            or where it holds anything else than a drawing.
        """
        if b'id="who-' not in svg:
            return None
        kept = len(self._outlines), dict(self._letters)
        try:
            root = ElementTree.fromstring(svg)
            text = _Writer(self, f"f{self._figures}").content(root)
        except (ElementTree.ParseError, _UnknownError):
            # An element that we do not know stays outside of the page: the figure is shown as an image.
            del self._outlines[kept[0] :]
            self._letters = kept[1]
            return None
        self._figures += 1
        return text

    @staticmethod
    def smaller(svg: bytes) -> bytes:
        """Write a drawing as a file of its own that takes a third of the room; as it is where it cannot be.

        Parameters
        ----------
        svg : bytes
            As :func:`pdbiomarker.plot.style.render_svg` draws it.
        """
        alone = Inliner({})
        try:
            root = ElementTree.fromstring(svg)
            text = _Writer(alone, "f").content(root)
        except (ElementTree.ParseError, _UnknownError):
            return svg
        size = _attributes({name: root.get(name, "") for name in ("width", "height", "viewBox")})
        head = f'<svg xmlns="http://www.w3.org/2000/svg"{size} stroke-linejoin="round" stroke-linecap="butt">'
        return f"{head}<defs>{alone.letters()}</defs>{text}</svg>".encode()

    def letters(self) -> str:
        """The outlines of all letters that the figures written so far use."""
        return "".join(self._outlines)

    def letter(self, name: str, element: Element) -> str:
        """The id of a letter's outline, kept once for the page."""
        if name not in self._letters:
            self._letters[name] = f"l{len(self._letters)}"
            look = {k: v for k, v in element.attrib.items() if k in {"d", "transform"}}
            self._outlines.append(f'<path id="{self._letters[name]}"{_attributes(look)}/>')
        return self._letters[name]

    def person(self, mark: str) -> int | None:
        """The number of a participant."""
        return self._people.get(mark)


class _Writer:
    """Writes one drawing."""

    def __init__(self, page: Inliner, prefix: str) -> None:
        self._page = page
        self._prefix = prefix
        self._ids: dict[str, str] = {}
        self._styles: dict[str, dict[str, str]] = {}

    def content(self, root: Element) -> str:
        """The children of the root."""
        for element in root.iter():
            name = element.get("id", "")
            if _tag(element) in {"path", "clipPath", "pattern"} and name:
                letter = _tag(element) == "path" and _LETTER.fullmatch(name) and not element.get("style")
                self._ids[name] = (
                    self._page.letter(name, element) if letter else f"{self._prefix}-{len(self._ids)}"
                )
        return "".join(self._write(child, None) for child in root)

    def _write(self, element: Element, whose: Iterator[int | None] | None) -> str:
        tag = _tag(element)
        if tag in _DROPPED:
            return ""
        if tag not in _ELEMENTS:
            raise _UnknownError(tag)
        attributes = self._looks(element)
        marks = read_marks(element.get("id", "")) if tag == "g" else []
        if len(marks) == 1:
            attributes |= _data(self._page.person(marks[0]))
        elif marks:
            whose = self._points(element, marks)
        if tag == "use" and whose is not None and self._is_point(element):
            attributes |= _data(next(whose, None))
        elif tag in {"path", "clipPath", "pattern"} and element.get("id"):
            if _tag(element) == "path" and self._ids[element.get("id", "")].startswith("l"):
                return ""  # a letter: kept once for the page
            attributes["id"] = self._ids[element.get("id", "")]
        inner = "".join(self._write(child, whose) for child in element)
        if not inner and tag in {"g", "defs"}:
            return ""
        return (
            f"<{tag}{_attributes(attributes)}>{inner}</{tag}>"
            if inner
            else f"<{tag}{_attributes(attributes)}/>"
        )

    def _points(self, group: Element, marks: list[str]) -> Iterator[int | None] | None:
        """Whose each point of a group is; None where the points are not those that were marked."""
        points = [e for e in group.iter(f"{_SVG}use") if self._is_point(e)]
        if len(points) != len(marks):
            return None
        return iter([self._page.person(mark) for mark in marks])

    def _is_point(self, use: Element) -> bool:
        return not self._ids.get(use.get(_HREF, "")[1:], "l").startswith("l")

    def _looks(self, element: Element) -> dict[str, str]:
        """The attributes that an element keeps."""
        kept: dict[str, str] = {}
        for name, value in element.attrib.items():
            if name == "style":
                kept |= self._style(value)
            elif name == _HREF:
                kept["href"] = self._target(element, value)
            elif name not in {"id", "version", "viewBox", "type"}:
                kept[_known(name, _LOOKS | _PLACES)] = self._checked(value)
        kept.pop("mix-blend-mode", None)
        return kept

    def _style(self, text: str) -> dict[str, str]:
        """A style as attributes; many elements have the same."""
        if text not in self._styles:
            parts = [part.partition(":") for part in text.split(";")]
            self._styles[text] = {
                _known(look.strip(), _LOOKS): self._checked(how.strip())
                for look, _, how in parts
                if look.strip()
            }
        return self._styles[text]

    def _checked(self, value: str) -> str:
        link = _LINK.fullmatch(value)
        if link is not None:
            if link[1] not in self._ids:
                raise _UnknownError(value)
            return f"url(#{self._ids[link[1]]})"
        if not _PLAIN.fullmatch(value):
            raise _UnknownError(value)
        short = _FRACTION.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
        # A scale of .015625 or .085 keeps its digits: it multiplies.
        return " ".join((value if "scale" in value or "matrix" in value else short).split())

    def _target(self, element: Element, value: str) -> str:
        if _tag(element) == "image" and _IMAGE.fullmatch(value):
            return "".join(value.split())
        if _tag(element) == "use" and value.startswith("#") and value[1:] in self._ids:
            return f"#{self._ids[value[1:]]}"
        raise _UnknownError(value[:40])


def _tag(element: Element) -> str:
    return str(element.tag).removeprefix(_SVG)


def _known(name: str, names: frozenset[str]) -> str:
    if name not in names:
        raise _UnknownError(name)
    return name


def _data(person: int | None) -> dict[str, str]:
    return {} if person is None else {"data-p": str(person)}


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items())

"""What a slide file holds beside its pixels: tags, images, stray bytes, and which of them a copy keeps."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import tifffile

from pdbiomarker.errors import ItemError, Problem
from pdbiomarker.ihc.pixelsize import refuse
from pdbiomarker.ihc.privacy.directories import Directory, TiffLayout, read_layout
from pdbiomarker.ihc.privacy.kept import (
    ALLOWED,
    DESCRIPTION,
    PROFILE,
    TABLES,
    description_of,
    style_of,
    tags_of,
)
from pdbiomarker.ihc.privacy.segments import clean_segment
from pdbiomarker.ihc.reader import LayoutElsewhere
from pdbiomarker.ihc.tiff import TiffReader

__all__ = ["Holding", "SlideFacts", "open_facts", "slide_holdings"]

#: Gaps of so many zero bytes only align what follows.
_ALIGNMENT: Final = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Holding:
    """One thing that a slide file holds.

    Attributes
    ----------
    file : str
        The slide's name.
    image : str
        ``"level 0"``, ``"level 1"``, ...; ``"image 3 (1280 x 431)"`` for one that is no level of the slide,
        such as its label, macro or thumbnail; ``""`` for the file as a whole.
    what : str
        The tag, by name and number, or what else it is.
    bytes : int
    kept : bool
        Whether a copy by :func:`deidentify` keeps it.
    """

    file: str
    image: str
    what: str
    bytes: int
    kept: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SlideFacts:
    """A slide that can be copied: its layout, its levels, and how it states its size."""

    path: Path
    layout: TiffLayout
    levels: tuple[Directory, ...]
    style: str


def open_facts(path: Path) -> SlideFacts:
    """Read the directories of a slide and settle which are its levels, as a measurement would.

    Raises
    ------
    ItemError
        E-PHI-001: of a format that cannot be copied without decoding; E-FILE-001, -002: no such file; and
        what :func:`open_slide` refuses.
    """
    _check_file(path)
    try:
        layout = read_layout(path)
    except (ValueError, OSError) as error:
        raise _not_here(path, f"It is no TIFF that can be followed: {error}.") from error
    try:
        reader = TiffReader(path)
    except LayoutElsewhere as error:
        raise _not_here(path, f"It is laid out in a vendor's own way ({error}).") from error
    places = reader.directories
    reader.close()
    by_offset = {one.offset: one for one in layout.every()}
    if any(place not in by_offset for place in places):
        raise _not_here(path, "Its directories cannot be followed.")
    levels = tuple(by_offset[place] for place in places)
    return SlideFacts(path, layout, levels, style_of(levels[0]))


def slide_holdings(path: str | Path) -> list[Holding]:
    """List everything that a slide file holds, and whether a copy would keep it.

    Also lists the formats that cannot be copied here, as long as they are TIFF files (NDPI, SCN, BIF).

    Raises
    ------
    ItemError
        E-PHI-001: no TIFF; E-FILE-001, -002: no such file, no regular file.
    """
    file = Path(path)
    _check_file(file)
    try:
        facts = open_facts(file)
        layout, levels, style = facts.layout, facts.levels, facts.style
    except ItemError as error:
        try:
            layout = read_layout(file)
        except (ValueError, OSError):
            raise error from None
        levels, style = (), "tiff"
    names = {level.offset: f"level {i}" for i, level in enumerate(levels)}
    found: list[Holding] = []
    for number, directory in enumerate(layout.every()):
        size = f"{directory.number(256)} x {directory.number(257)}"
        if directory.offset not in names:
            image = f"image {number} ({size})"
            held = sum(length for _, length in directory.segments())
            found.append(Holding(file.name, image, "image that is no level of the slide", held, kept=False))
            found += [
                Holding(file.name, image, _name(code), len(tag.data), kept=False)
                for code, tag in sorted(directory.tags.items())
                if code not in _STRUCTURE
            ]
        else:
            image = names[directory.offset]
            found += _of_level(file, directory, image, style)
    stray = _stray(file, layout)
    if stray > 0:
        found.append(Holding(file.name, "", "bytes that belong to no image", stray, kept=False))
    return found


#: What no image of any slide could do without, and what holds nothing but numbers.
_STRUCTURE: Final = frozenset({254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325})


def _of_level(file: Path, directory: Directory, image: str, style: str) -> Iterator[Holding]:
    try:
        neutral = description_of(directory, style, first=image == "level 0", name=file.name)
        kept = tags_of(directory, neutral)
    except (ItemError, ValueError):
        kept = {}
    for code, tag in sorted(directory.tags.items()):
        if code in _STRUCTURE or (code in ALLOWED and code not in {DESCRIPTION, TABLES, PROFILE}):
            same = code in kept or code in {273, 279, 324, 325, 330}
        else:
            same = code in kept and kept[code][1].rstrip(b"\0") == tag.data.rstrip(b"\0")
        yield Holding(file.name, image, _name(code), len(tag.data), kept=same)
    beside = _beside_pixels(file, directory)
    if beside:
        yield Holding(
            file.name, image, "comments or other parts beside the pixels of tiles", beside, kept=False
        )


def _beside_pixels(file: Path, directory: Directory) -> int:
    """Count the bytes of tiles that are neither coded pixels nor needed to decode them."""
    compression, expected = directory.number(259), segment_bytes(directory)
    surplus = 0
    with file.open("rb") as stream:
        for offset, length in sorted(set(directory.segments())):
            stream.seek(offset)
            data = stream.read(length)
            try:
                surplus += len(data) - len(clean_segment(data, compression, expected))
            except ValueError:
                surplus += len(data)
    return surplus


def segment_bytes(directory: Directory) -> int:
    """Return the bytes of one tile or strip of a level when it is not compressed."""
    width, height = directory.number(256), directory.number(257)
    columns = directory.number(322, width)
    rows = directory.number(323) if 323 in directory.tags else min(directory.number(278, height), height)
    return columns * rows * directory.number(277, 3)


def _stray(file: Path, layout: TiffLayout) -> int:
    """Count the bytes that belong to nothing, but for zeros that only align what follows."""
    stray = 0
    with file.open("rb") as stream:
        for start, end in layout.gaps():
            stream.seek(start)
            aligns = end - start <= _ALIGNMENT and not any(stream.read(end - start))
            stray += 0 if aligns else end - start
    return stray


def _name(code: int) -> str:
    known = tifffile.TIFF.TAGS.get(code)
    return f"{known} ({code})" if known else f"tag {code}"


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise refuse("E-FILE-001", "There is no such slide file.", path.name, remedy="Correct it.") from error
    if not stat.S_ISREG(mode):
        raise refuse(
            "E-FILE-002",
            "The slide is not a regular file.",
            path.name,
            remedy="Give the path of an image file; of DICOM slides see docs/provenance.md.",
        )


def _not_here(path: Path, why: str) -> ItemError:
    return ItemError(
        Problem(
            "E-PHI-001",
            f"The slide cannot be copied without what may name a person. {why}",
            "Tiled TIFF, SVS and OME-TIFF can be; convert it to OME-TIFF, or use the vendor's own tool.",
            path.name,
            severity="quarantine",
        )
    )

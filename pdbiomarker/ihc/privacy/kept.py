"""What a copy of a slide may hold: an allow-list of tags, and descriptions written anew from numbers."""

from __future__ import annotations

import re
import struct
from typing import Final

from defusedxml import ElementTree

from pdbiomarker.ihc import pixelsize
from pdbiomarker.ihc.privacy.directories import Directory, Tag
from pdbiomarker.ihc.privacy.profile import clean_profile
from pdbiomarker.ihc.privacy.segments import clean_segment
from pdbiomarker.ihc.privacy.writing import Value

__all__ = ["ALLOWED", "DESCRIPTION", "PROFILE", "TABLES", "description_of", "style_of", "tags_of"]

DESCRIPTION, TABLES, PROFILE = 270, 347, 34675
#: Numbers without which the pixels cannot be read, or not at their size: number of the tag -> most values.
_NUMBERS: Final = {
    254: 1,  # NewSubfileType
    256: 1,  # ImageWidth
    257: 1,  # ImageLength
    258: 4,  # BitsPerSample
    259: 1,  # Compression
    262: 1,  # PhotometricInterpretation
    274: 1,  # Orientation
    277: 1,  # SamplesPerPixel
    278: 1,  # RowsPerStrip
    282: 1,  # XResolution
    283: 1,  # YResolution
    284: 1,  # PlanarConfiguration
    296: 1,  # ResolutionUnit
    317: 1,  # Predictor
    322: 1,  # TileWidth
    323: 1,  # TileLength
    338: 1,  # ExtraSamples
    339: 4,  # SampleFormat
    529: 3,  # YCbCrCoefficients
    530: 2,  # YCbCrSubSampling
    531: 1,  # YCbCrPositioning
    532: 6,  # ReferenceBlackWhite
    32997: 1,  # ImageDepth
}
_PLACES: Final = frozenset({273, 279, 324, 325, 330})
#: Every tag that a copy may hold.
ALLOWED: Final = frozenset({*_NUMBERS, *_PLACES, DESCRIPTION, TABLES, PROFILE})
_NUMERIC: Final = {1: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}
_ASCII, _UNDEFINED = 2, 7
_NUMBER: Final = re.compile(r"\d{1,6}(\.\d{1,12})?")


def style_of(directory: Directory) -> str:
    """Say how a slide states its size: ``svs``, ``ome-tiff`` or ``tiff``."""
    text = _text(directory)
    if text.startswith("Aperio"):
        return "svs"
    return "ome-tiff" if "<OME" in text[:4000] else "tiff"


def tags_of(directory: Directory, description: str) -> dict[int, Value]:
    """Return the tags of a level for its copy, but for where its tiles lie.

    Raises
    ------
    ValueError
        The tables of its JPEG tiles cannot be followed.
    """
    found: dict[int, Value] = {}
    for code, most in _NUMBERS.items():
        tag = directory.tags.get(code)
        if tag is not None and tag.kind in _NUMERIC and tag.count <= most:
            found[code] = (tag.kind, _little(tag), tag.count)
    if TABLES in directory.tags:
        tables = clean_segment(directory.tags[TABLES].data, directory.number(259), 0)
        found[TABLES] = (_UNDEFINED, tables, len(tables))
    if PROFILE in directory.tags:
        profile = clean_profile(directory.tags[PROFILE].data)
        if profile:
            found[PROFILE] = (_UNDEFINED, profile, len(profile))
    if description:
        text = description.encode("ascii") + b"\0"
        found[DESCRIPTION] = (_ASCII, text, len(text))
    return found


def description_of(directory: Directory, style: str, *, first: bool, name: str) -> str:
    """Return what a copy says of a level in words: sizes, pixel size and magnification, as numbers.

    Raises
    ------
    ItemError
        The OME-XML of the file cannot be read.
    """
    width, height = directory.number(256), directory.number(257)
    if style == "svs":
        tile = f" ({directory.number(322)}x{directory.number(323)})" if 322 in directory.tags else ""
        facts = "".join(f"|{key} = {value}" for key, value in _aperio(_text(directory)))
        return f"Aperio Image Library\r\n{width}x{height}{tile}{facts}"
    if style == "ome-tiff" and first:
        return _ome(_text(directory), (width, height, directory.number(277, 3)), name)
    return ""


def _aperio(text: str) -> list[tuple[str, str]]:
    """Give pixel size and magnification of an Aperio description, as far as they are plain numbers."""
    found = []
    for key in ("AppMag", "MPP"):
        said = re.search(rf"\|\s*{key}\s*=\s*([^|\s]+)", text)
        if said and _NUMBER.fullmatch(said.group(1)):
            found.append((key, said.group(1)))
    return found


def _ome(xml: str, size: tuple[int, int, int], name: str) -> str:
    image = pixelsize.from_ome(xml, name)
    width, height, samples = size
    physical = ""
    if image is not None and image.physical is not None:
        x, y = image.physical
        physical = (
            f' PhysicalSizeX="{x!r}" PhysicalSizeXUnit="&#181;m"'
            f' PhysicalSizeY="{y!r}" PhysicalSizeYUnit="&#181;m"'
        )
    magnification = _magnification(xml)
    instrument = reference = ""
    if magnification:
        instrument = (
            f'<Instrument ID="Instrument:0"><Objective ID="Objective:0" '
            f'NominalMagnification="{magnification}"/></Instrument>'
        )
        reference = '<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0"/>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{instrument}'
        f'<Image ID="Image:0">{reference}<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="{width}" SizeY="{height}" SizeC="{samples}" SizeZ="1" SizeT="1"{physical}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="{samples}"/><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )


def _magnification(xml: str) -> str:
    for node in ElementTree.fromstring(xml, forbid_dtd=True).iter():
        text = node.get("NominalMagnification") or ""
        if _NUMBER.fullmatch(text):
            return text
    return ""


def _text(directory: Directory) -> str:
    tag = directory.tags.get(DESCRIPTION)
    return "" if tag is None else tag.data.rstrip(b"\0").decode("utf-8", "replace")


def _little(tag: Tag) -> bytes:
    letters = _NUMERIC[tag.kind] * tag.count
    return struct.pack(f"<{letters}", *struct.unpack(f"{tag.order}{letters}", tag.data))

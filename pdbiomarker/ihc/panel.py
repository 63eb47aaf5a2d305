"""Panels: what a marker is, and the thresholds that are locked for pre and on alike.

A panel is a YAML file. Its thresholds and stain vectors hold for every slide of the assay; nothing is
estimated per tile or per visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.ihc.options import SegmentOptions
from pdbiomarker.ihc.stain import stain_matrix
from pdbiomarker.provenance import atomic_path, sha256_json
from pdbiomarker.reference import reference_names, reference_path
from pdbiomarker.tables import nearest, parse_yaml, read_yaml_text, validate_yaml

__all__ = [
    "CalibrationTable",
    "Detection",
    "Detectors",
    "FeatureSpec",
    "HotSpot",
    "Panel",
    "Scale",
    "StainVectors",
    "TumourClassifier",
    "WhiteRange",
    "check_panel",
    "read_panel",
]

#: Below this angle (degrees) unmixing multiplies noise by more than 11 (1 / sin).
_LEAST_ANGLE: Final = 5
#: Panels by the name and the text of their file.
_KNOWN: Final[dict[tuple[str, str], Panel]] = {}

Share = Annotated[float, Field(ge=0, le=1)]
Vector = tuple[Share, Share, Share]
Grey = Annotated[float, Field(ge=1, le=255)]
Score = Literal[
    "density",
    "pct",
    "hscore",
    "bin0",
    "bin1",
    "bin2",
    "bin3",
    "allred",
    "receptor",
    "hotspot",
    "tps",
    "cps",
    "distance",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StainVectors(_Frozen):
    """Optical densities of pure stain in red, green and blue; `source` says where estimated ones are from."""

    hematoxylin: Vector = (0.65, 0.70, 0.29)
    dab: Vector = (0.27, 0.57, 0.78)
    source: str = ""

    @model_validator(mode="after")
    def _apart(self) -> StainVectors:
        first, second = (np.asarray(v, dtype=np.float64) for v in (self.hematoxylin, self.dab))
        lengths = np.linalg.norm(first) * np.linalg.norm(second)
        if lengths == 0:
            raise ValueError("A stain vector is zero. Remedy: Give optical densities in red, green and blue")
        if first @ second > np.cos(np.radians(_LEAST_ANGLE)) * lengths:
            raise ValueError(
                f"The two stain vectors are less than {_LEAST_ANGLE} degrees apart: neither can be told "
                "from the other. Remedy: Estimate the vectors from slides of the single stains"
            )
        return self


class Scale(_Frozen):
    """How the DAB of a scanner or batch is put on the reference's scale: intercept + slope * density."""

    slope: Annotated[float, Field(ge=0.2, le=5)]
    intercept: Annotated[float, Field(ge=-0.5, le=0.5)] = 0.0
    source: str = ""


class CalibrationTable(_Frozen):
    """Scales of the scanners or batches of an assay; see :func:`pdbiomarker.ihc.calibrate`.

    Attributes
    ----------
    by : {"scanner", "batch"}
        The column of slides.csv whose value chooses the scale.
    reference : str
        The value whose slides stay as they are.
    scales : mapping
        Every other value. A slide with a value that is neither is refused.
    """

    by: Literal["scanner", "batch"]
    reference: str
    scales: dict[str, Scale] = {}

    @model_validator(mode="after")
    def _apart(self) -> CalibrationTable:
        if self.reference in self.scales:
            raise ValueError(f"scales must not hold the reference {self.reference!r}")
        return self


class WhiteRange(_Frozen):
    """Limits of the glass's grey level, and the white that stands in where a field shows no glass."""

    low: Grey = 180
    high: Grey = 255
    declared: tuple[Grey, Grey, Grey] = (255, 255, 255)


class Detection(_Frozen):
    """How nuclei are found; see :class:`pdbiomarker.ihc.SegmentOptions`."""

    pixel_um: Annotated[float, Field(ge=0.2, le=1.0)] = 0.5
    channel: Literal["both", "hematoxylin"] = "both"
    min_area_um2: Annotated[float, Field(gt=0)] = 14.0
    max_area_um2: Annotated[float, Field(gt=0, le=1000)] = 350.0
    typical_area_um2: Annotated[float, Field(gt=0, le=1000)] = 50.0
    min_score: Share = 0.085


class Detectors(_Frozen):
    """Which artefacts are looked for and left out; see :mod:`pdbiomarker.ihc.artefacts`."""

    pen: bool = True
    fold: bool = True
    edge: bool = True
    blur: bool = True
    necrosis: bool = False


class HotSpot(_Frozen):
    """Where a hot-spot is sought: in a fixed number of fields, so that a larger section is not hotter.

    Attributes
    ----------
    side_um : float
        Side of a square field; 400 um hold 500 to 1,000 cells of a cellular tumour.
    candidates : int
        The fields with most cells, whatever their staining; the hottest is one of these.
    fields : int
        How many of them make the hot-spot.
    min_cells : int
        A field with fewer cells is no candidate.
    """

    side_um: Annotated[float, Field(ge=50, le=2000)] = 400.0
    candidates: Annotated[int, Field(ge=1, le=1000)] = 5
    fields: Annotated[int, Field(ge=1, le=1000)] = 1
    min_cells: Annotated[int, Field(ge=1)] = 100


class TumourClassifier(_Frozen):
    """The simple tumour classifier; see :func:`pdbiomarker.ihc.tumour_by_nuclei`.

    Attributes
    ----------
    min_area_um2 : float
        Mean nuclear area round a place from which it is tumour.
    min_density_mm2 : float
        Nuclei round a place, per mm2, from which it is tumour.
    radius_um : float
        How far "round a place" reaches.
    """

    method: Literal["nuclear_area"] = "nuclear_area"
    min_area_um2: Annotated[float, Field(gt=0, le=500)] = 60.0
    min_density_mm2: Annotated[float, Field(ge=0)] = 1000.0
    radius_um: Annotated[float, Field(ge=10, le=500)] = 40.0


class FeatureSpec(_Frozen):
    """One score of the marker."""

    label: str
    expected_direction: Literal[-1, 0, 1] | None = None


class Panel(_Frozen):
    """A marker with its locked parameters.

    Attributes
    ----------
    marker : str
        The name that heads every feature, such as ``CD8`` in ``CD8_density_tissue``.
    compartment : {"nucleus", "membrane", "cytoplasm"}
        Where the marker lies.
    measure : {"nucleus", "ring", "cell", "membrane"}
        The compartment that decides: the nucleus, a ring round it (cytoplasm), both together, or the outer
        1 um of both (membrane).
    statistic : {"mean", "p90"}
        The mean of the DAB there; for the membrane, its 90th percentile may decide instead.
    expansion_um : float
        Width of that ring.
    thresholds : three floats
        DAB optical density (decadic) from which a cell is 1+, 2+ and 3+; 1+ is positive.
    min_cells : int
        Fewer cells give no percentage and no H-score.
    calibration : CalibrationTable or None
        How the DAB of scanners or batches is put on one scale.
    artefacts : Detectors
        Which artefacts are left out: all but ``necrosis``, unless the panel says otherwise.
    margin_um : float
        Half the width of the invasive margin, a band on both sides of the tumour's border; 0: none.
    receptor : {"ER", "PgR"} or None
        Which hormone receptor the score ``receptor`` classifies.
    ratio_to : tuple of str
        Other markers; where an assay has both, the log2 ratio of their cells is a feature.
    tumour : TumourClassifier or None
        Finds the tumour where no regions are given; None (the default) asks nobody to guess.
    note : str
        What a reader of its numbers must know.
    features : mapping
        Which scores are made, with labels: keys of :data:`pdbiomarker.ihc.DEFINITIONS`.
    """

    marker: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,30}$")]
    label: str
    version: str = "1"
    chromogen: Literal["DAB"] = "DAB"
    compartment: Literal["nucleus", "membrane", "cytoplasm"] = "nucleus"
    measure: Literal["nucleus", "ring", "cell", "membrane"] = "nucleus"
    statistic: Literal["mean", "p90"] = "mean"
    expansion_um: Annotated[float, Field(ge=0, le=15)] = 0.0
    thresholds: tuple[
        Annotated[float, Field(gt=0, lt=4)],
        Annotated[float, Field(gt=0, lt=4)],
        Annotated[float, Field(gt=0, lt=4)],
    ] = (0.2, 0.4, 0.6)
    min_cells: Annotated[int, Field(ge=1)] = 100
    expected_direction: Literal[-1, 0, 1] = 0
    source: str = ""
    note: str = ""
    margin_um: Annotated[float, Field(ge=0, le=2000)] = 0.0
    receptor: Literal["ER", "PgR"] | None = None
    ratio_to: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,30}$")], ...] = ()
    hotspot: HotSpot = HotSpot()
    tumour: TumourClassifier | None = None
    stains: StainVectors = StainVectors()
    white: WhiteRange = WhiteRange()
    detection: Detection = Detection()
    calibration: CalibrationTable | None = None
    artefacts: Detectors = Detectors()
    features: dict[Score, FeatureSpec]

    @model_validator(mode="after")
    def _consistent(self) -> Panel:
        if not self.thresholds[0] < self.thresholds[1] < self.thresholds[2]:
            raise ValueError("thresholds must rise: 1+ < 2+ < 3+")
        if self.measure != "nucleus" and self.expansion_um <= 0:
            raise ValueError(
                "expansion_um must be above 0 when the ring, the cell or the membrane is measured"
            )
        if self.statistic == "p90" and self.measure != "membrane":
            raise ValueError("statistic p90 is for measure: membrane")
        if self.white.low > self.white.high:
            raise ValueError("white.low must not exceed white.high")
        if self.detection.min_area_um2 >= self.detection.max_area_um2:
            raise ValueError("min_area_um2 must be below max_area_um2")
        if not self.features:
            raise ValueError("features must name at least one score, such as density, pct or hscore")
        if set(self.features) == {"distance"}:
            raise ValueError("features must name a score beside distance, which needs tumour regions")
        if "receptor" in self.features and self.receptor is None:
            raise ValueError("the score receptor needs the key receptor: ER or PgR")
        if self.hotspot.fields > self.hotspot.candidates:
            raise ValueError("hotspot.fields must not exceed hotspot.candidates")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of everything the panel says."""
        return sha256_json(self.model_dump(mode="json"))

    def to_yaml(self, path: str | Path) -> Path:
        """Write the panel as a file that :func:`read_panel` reads back to the same panel and hash.

        Parameters
        ----------
        path : path
            A ``.yaml`` file; what was there is replaced.
        """
        target = Path(path)
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
        with atomic_path(target) as partial:
            partial.write_text(
                f"# Panel of {self.marker}. SHA-256 of its content: {self.hash}\n{text}", "utf-8"
            )
        return target

    def scale_of(self, origin: Mapping[str, str | None]) -> Scale | None:
        """Scale of a slide's DAB by its origin (``scanner``, ``batch``); None where it stays as it is.

        Raises
        ------
        KeyError
            With what was found, when the panel calibrates and the slide's value has no scale.
        """
        table = self.calibration
        if table is None:
            return None
        value = origin.get(table.by)
        if value == table.reference:
            return None
        if value is None or value not in table.scales:
            raise KeyError(value)
        return table.scales[value]

    @property
    def options(self) -> SegmentOptions:
        """The parameters of the default segmenter."""
        matrix = stain_matrix(self.stains.hematoxylin, self.stains.dab)
        found = self.detection
        return SegmentOptions(
            channel=found.channel,
            min_area_um2=found.min_area_um2,
            max_area_um2=found.max_area_um2,
            typical_area_um2=found.typical_area_um2,
            min_score=found.min_score,
            matrix=tuple(float(v) for v in matrix.ravel()),
        )


def read_panel(name_or_path: str | Path | Panel) -> Panel:
    """Read a panel, by the name of one that comes with the package or by path.

    Raises
    ------
    AssayError
        E-PANEL-001 (unknown key, wrong value; all at once, with line), E-PANEL-002 (no such panel; the
        nearest are named), E-FILE and E-STUDY-002 codes for files that cannot be read safely.

    Examples
    --------
    >>> read_panel("cd8").marker
    'CD8'
    """
    if isinstance(name_or_path, Panel):
        return name_or_path
    problems = Problems()
    panel = _read(name_or_path, problems)
    problems.raise_if_any(AssayError)
    if panel is None:
        problems.add(
            "E-PANEL-001", "The panel cannot be read.", remedy="Check the file.", file=str(name_or_path)
        )
        raise AssayError(problems)
    return panel


def check_panel(path: str | Path) -> Problems:
    """Check a panel file; every fault with its line, key, value and remedy."""
    problems = Problems()
    _read(path, problems)
    return problems


def _read(name_or_path: str | Path, problems: Problems) -> Panel | None:
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in text or text.lower().endswith((".yaml", ".yml"))
    if is_path:
        path = Path(name_or_path)
    else:
        names = reference_names("panels")
        if text.lower() not in names:
            problems.add(
                "E-PANEL-002",
                "There is no panel of that name.",
                remedy=nearest(text.lower(), names),
                column="panel",
                value=text,
            )
            return None
        path = reference_path(f"panels/{text.lower()}.yaml")
    content = read_yaml_text(path, problems, name=path.name)
    if content is None:
        return None
    # A study names few panels and many slides: what the same text says is worked out once in a process.
    if (path.name, content) in _KNOWN:
        return _KNOWN[path.name, content]
    document = parse_yaml(content, problems, name=path.name)
    if document is None:
        return None
    panel = validate_yaml(Panel, document, code="E-PANEL-001", problems=problems)
    if panel is not None:
        _KNOWN[path.name, content] = panel
    return panel

"""Small DICOM whole slide images for tests, written with pydicom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

Pixels = NDArray[np.uint8]

WSI_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
TILE = 128


def _measures(mpp: tuple[float, float]) -> Dataset:
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp[1] / 1000, mpp[0] / 1000]  # rows first
    measures.SliceThickness = 0.001
    shared.PixelMeasuresSequence = Sequence([measures])
    kind = Dataset()
    kind.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([kind])
    return shared


def _tiles(image: Pixels) -> list[tuple[int, int, Pixels]]:
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    return [
        (y, x, np.ascontiguousarray(padded[y : y + TILE, x : x + TILE]))
        for y in range(0, height, TILE)
        for x in range(0, width, TILE)
    ]


def write_dicom(
    path: Path,
    image: Pixels,
    *,
    mpp: tuple[float, float] = (0.5, 0.5),
    kind: str = "VOLUME",
    uids: Mapping[str, str] | None = None,
    jpeg: bool = False,
    missing: tuple[int, ...] = (),
    changes: Mapping[str, object] | None = None,
) -> Path:
    """One instance (a level, a label or an overview); with `missing` frames it is sparsely tiled."""
    ids = {"SeriesInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3.5", "FrameOfReferenceUID": "1.2.3.6"}
    ids |= uids or {}
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = WSI_CLASS
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\x00" * 128)
    found.SOPClassUID, found.SOPInstanceUID = WSI_CLASS, meta.MediaStorageSOPInstanceUID
    for name, uid in ids.items():
        setattr(found, name, uid)
    found.Modality, found.PatientName, found.PatientID = "SM", "Doe^Jane", "MRN-4711"
    found.ContainerIdentifier = "BARCODE-4711"
    found.ImageType = ["DERIVED", "PRIMARY", kind, "NONE"]
    found.InstanceNumber = 1
    found.Rows = found.Columns = TILE
    found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns = image.shape[:2]
    found.ImagedVolumeWidth, found.ImagedVolumeHeight = (
        image.shape[1] * mpp[0] / 1000,
        image.shape[0] * mpp[1] / 1000,
    )
    found.ImagedVolumeDepth = 0.001
    found.SamplesPerPixel, found.PlanarConfiguration = 3, 0
    found.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation = 7, 0
    found.TotalPixelMatrixFocalPlanes = 1
    found.NumberOfOpticalPaths = 1
    found.FocusMethod, found.ExtendedDepthOfField = "AUTO", "NO"
    found.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 10.0, 20.0
    found.TotalPixelMatrixOriginSequence = Sequence([origin])
    optical = Dataset()
    optical.OpticalPathIdentifier, optical.ICCProfile = "1", b"\x00" * 128
    found.OpticalPathSequence = Sequence([optical])
    found.SharedFunctionalGroupsSequence = Sequence([_measures(mpp)])
    found.SpecimenLabelInImage, found.BurnedInAnnotation = "NO", "NO"
    found.LossyImageCompression = "01" if jpeg else "00"
    kept = [tile for k, tile in enumerate(_tiles(image)) if k not in missing]
    found.NumberOfFrames = len(kept)
    found.DimensionOrganizationType = "TILED_SPARSE" if missing else "TILED_FULL"
    if missing:
        found.PerFrameFunctionalGroupsSequence = Sequence([_place(y, x) for y, x, _ in kept])
    frames = [_jpeg(tile) if jpeg else tile.tobytes() for _, _, tile in kept]
    found.PixelData = encapsulate(frames) if jpeg else b"".join(frames)
    found["PixelData"].VR = "OB"
    for name, value in (changes or {}).items():
        setattr(found, name, value)
    found.save_as(path, enforce_file_format=True)
    return path


def _jpeg(tile: Pixels) -> bytes:
    return imagecodecs.jpeg8_encode(
        tile, level=95, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"
    )


def _place(y: int, x: int) -> Dataset:
    place, frame, content = Dataset(), Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0.0
    place.ZOffsetInSlideCoordinateSystem = 0.0
    frame.PlanePositionSlideSequence = Sequence([place])
    content.DimensionIndexValues = [x // TILE + 1, y // TILE + 1]
    frame.FrameContentSequence = Sequence([content])
    return frame

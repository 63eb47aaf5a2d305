"""Outlines of tumour nests as GeoJSON, as QuPath exports annotations: pixels of the full image."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Final

from pdbiomarker.simulate.layout import Layout

__all__ = ["write_regions"]

_NAMESPACE: Final = uuid.UUID("0a1d7c86-8d0b-5b58-b1f4-7354101c0de5")


def write_regions(path: Path, layout: Layout, slide_id: str) -> None:
    """Write the nests of one slide, one polygon each, class ``Tumor``; no nest, an empty collection."""
    features = []
    for number, outline in enumerate(layout.nest_outlines, start=1):
        ring = outline.tolist()
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{slide_id}/{number}")),
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "objectType": "annotation",
                    "name": f"nest {number}",
                    "classification": {"name": "Tumor", "color": [200, 0, 0]},
                    "isLocked": False,
                },
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")

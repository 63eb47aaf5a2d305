"""What study.yaml says about a single-cell file."""

from __future__ import annotations

import dataclasses

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CellKeys", "CellOptions"]


@dataclasses.dataclass(frozen=True, slots=True)
class CellOptions:
    """How cells become biopsies.

    Attributes
    ----------
    biopsy : str
        Column of `obs` with the biopsy ids.
    cell_type : str
        Column of `obs` with the cell types; not read where `markers` is given.
    layer : str or None
        Layer with the raw counts; None: `X`.
    markers : str or None
        GMT file of marker genes, one set for each cell type: cells are typed by them.
    min_cells : int
        A biopsy has a value for a cell type from this many cells on.
    min_genes : int
        Cells with fewer genes are left out.
    max_mito : float
        Cells with a larger share of mitochondrial counts (genes ``MT-``) are left out.
    """

    biopsy: str = "biopsy_id"
    cell_type: str = "cell_type"
    layer: str | None = None
    markers: str | None = None
    min_cells: int = 10
    min_genes: int = 200
    max_mito: float = 0.2


class CellKeys(BaseModel):
    """The keys under ``cells`` in study.yaml, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    biopsy: str = Field(default="biopsy_id", min_length=1)
    cell_type: str = Field(default="cell_type", min_length=1)
    layer: str | None = None
    markers: str | None = None
    min_cells: int = Field(default=10, ge=1)
    min_genes: int = Field(default=200, ge=0)
    max_mito: float = Field(default=0.2, ge=0, le=1)

    def options(self) -> CellOptions:
        """Give them as options."""
        return CellOptions(**self.model_dump())

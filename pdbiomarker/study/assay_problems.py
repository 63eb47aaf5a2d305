"""What was told while an assay was read: it travels with the assay, into its h5ad file too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from anndata import AnnData

from pdbiomarker.errors import Problem

__all__ = ["keep_problems", "problems_of"]


def keep_problems(adata: AnnData, problems: Iterable[Problem]) -> None:
    """Write problems into ``uns["problems"]``, in place of those that are there; see :func:`problems_of`."""
    told = [dataclasses.asdict(problem) for problem in problems]
    adata.uns["problems"] = json.dumps(told, ensure_ascii=False, default=str)


def problems_of(adata: AnnData) -> tuple[Problem, ...]:
    """Quarantined items and warnings that were told while an assay was read.

    ``uns["problems"]`` is JSON text, a list of objects with the fields of
    :class:`~pdbiomarker.errors.Problem`, because a list of mappings does not survive an h5ad file.
    """
    rows = json.loads(str(adata.uns.get("problems", "[]")))
    return tuple(Problem(**row) for row in rows)

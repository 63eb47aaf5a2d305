r"""Transcript quantifications (Salmon, kallisto) as counts of genes.

For gene g in library k, over its transcripts t with estimated reads :math:`r_{tk}`, abundance :math:`a_{tk}`
(TPM) and effective length :math:`\ell_{tk}`:

.. math:: R_{gk} = \sum_t r_{tk}, \quad A_{gk} = \sum_t a_{tk}, \quad
          L_{gk} = \frac{\sum_t a_{tk}\ell_{tk}}{A_{gk}}.

A length without abundance is the geometric mean of the gene's lengths in the other libraries, or, where there
is none, the mean effective length of its transcripts. The definitions, by name:

=============== ==========================================================================================
length_scaled   :math:`A_{gk}\bar L_g`, :math:`\bar L_g` the mean over libraries, scaled to the reads of each
                library (tximport's ``lengthScaledTPM``): a shift in the use of isoforms is no change
scaled          :math:`A_{gk}`, scaled to the reads of each library (``scaledTPM``)
estimated       :math:`R_{gk}` as they are (``no``): then the layer `length` belongs into the model
=============== ==========================================================================================

Counts are rounded to whole numbers, because a feature of kind count holds whole numbers.

Source: Soneson C, Love MI, Robinson MD. F1000Research 2015;4:1521, doi 10.12688/f1000research.7563.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.expression.identifiers import id_kinds, without_version
from pdbiomarker.expression.library_size import FloatArray

__all__ = ["COUNTS_FROM", "GeneSums", "Transcripts", "count_genes", "gene_of", "gene_sums"]

#: Name of each definition, in words.
COUNTS_FROM: Final[dict[str, str]] = {
    "length_scaled": "TPM times the gene's mean effective length, scaled to the reads of the library "
    "(lengthScaledTPM), rounded",
    "scaled": "TPM scaled to the reads of the library (scaledTPM), rounded",
    "estimated": "sums of estimated reads, rounded; effective lengths in the layer 'length'",
}


class Transcripts(NamedTuple):
    """Quantified transcripts: ids, and reads, TPM and effective lengths (transcripts x libraries)."""

    ids: Sequence[str]
    reads: FloatArray
    tpm: FloatArray
    length: FloatArray


class GeneSums(NamedTuple):
    """Genes in order of appearance: reads, TPM and effective lengths (genes x libraries)."""

    genes: list[str]
    reads: FloatArray
    tpm: FloatArray
    length: FloatArray


def gene_of(
    ids: Sequence[str], table: pd.DataFrame | None, name: str, problems: Problems
) -> list[str] | None:
    """Gene of each transcript, empty where the table has none; None where it cannot be told.

    Parameters
    ----------
    ids : sequence of str
    table : DataFrame or None
        First column transcript ids, second gene ids. Without it, ids of the form ``ENST...|ENSG...|...``
        name their gene, and ids that are those of genes stand for themselves.
    name : str
        What problems call the table or file.
    problems : Problems
        Added: E-COUNT-036, E-SHEET-006.
    """
    if table is None:
        if all("|" in i for i in ids[:100]):
            return [i.split("|")[1] if i.count("|") else "" for i in ids]
        kinds = id_kinds(ids)
        if kinds.get("Ensembl transcript", 0) + kinds.get("RefSeq", 0) < 0.5 * len(ids):
            return list(ids)
        problems.add(
            "E-COUNT-036",
            f"The file quantifies transcripts, such as {ids[0]!r}, and nothing says which genes they are of.",
            remedy="Name a table of transcript and gene ids: `transcripts: tx2gene.csv` of the assay.",
            file=name,
            value=ids[0],
        )
        return None
    keys, values = table.iloc[:, 0].tolist(), table.iloc[:, 1 if table.shape[1] > 1 else 0].tolist()
    pairs = zip(keys, values, strict=True)
    known = {str(k).strip(): str(v).strip() for k, v in pairs if k and v}
    plain = {without_version(k): v for k, v in known.items()}
    found = [known.get(i) or plain.get(without_version(i.split("|")[0]), "") for i in ids]
    if not any(found):
        problems.add(
            "E-SHEET-006",
            f"None of the {len(ids)} transcripts, such as {ids[0]!r}, is in the first column of the table.",
            remedy="Give the table of the annotation that was quantified.",
            file=name,
            value=ids[0],
        )
        return None
    return found


def gene_sums(transcripts: Transcripts, genes: Sequence[str]) -> GeneSums:
    """Sum transcripts to genes; transcripts whose gene is empty are left out.

    Parameters
    ----------
    transcripts : Transcripts
    genes : sequence of str
        Gene of each transcript.
    """
    used = np.array([bool(g) for g in genes])
    codes, labels = pd.factorize(np.asarray(genes, dtype=object)[used])
    n = len(labels)

    def total(values: FloatArray) -> FloatArray:
        out = np.zeros((n, values.shape[1]))
        np.add.at(out, codes, values[used])
        return out

    reads, tpm = total(transcripts.reads), total(transcripts.tpm)
    with np.errstate(invalid="ignore", divide="ignore"):
        length = total(transcripts.tpm * transcripts.length) / tpm
    plain = total(transcripts.length.mean(axis=1, keepdims=True))[:, 0] / np.bincount(codes, minlength=n)
    seen = np.isfinite(length)
    logs = np.where(seen, np.log(np.where(seen, length, 1.0)), 0.0).sum(axis=1)
    fallback = np.where(seen.any(axis=1), np.exp(logs / np.maximum(seen.sum(axis=1), 1)), plain)
    return GeneSums([str(g) for g in labels], reads, tpm, np.where(seen, length, fallback[:, None]))


def count_genes(sums: GeneSums, definition: str = "length_scaled") -> FloatArray:
    """Counts of genes by a named definition; not yet rounded.

    Parameters
    ----------
    sums : GeneSums
    definition : {"length_scaled", "scaled", "estimated"}

    Returns
    -------
    array, genes x libraries

    Raises
    ------
    ValueError
        There is no such definition.
    """
    if definition == "estimated":
        return sums.reads
    if definition not in COUNTS_FROM:
        raise ValueError(f"definition must be one of {', '.join(COUNTS_FROM)}; got {definition!r}.")
    scaled = sums.tpm * sums.length.mean(axis=1, keepdims=True) if definition == "length_scaled" else sums.tpm
    totals = scaled.sum(axis=0)
    return np.asarray(scaled * (sums.reads.sum(axis=0) / np.where(totals > 0, totals, 1.0)))

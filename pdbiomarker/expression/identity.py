"""Whose sample is it: sex from transcripts, and likeness between the libraries of one participant.

*Sex.* Five genes of the Y chromosome are compared with XIST. Transcripts of Y contradict a recorded female;
XIST without any of Y contradicts a recorded male. Silent Y genes alone never do: tumours lose Y, and XIST may
be missing from the matrix. Silent Y and silent XIST say nothing. The limits are those of whole
transcriptomes: in a matrix of fewer than 10,000 genes a gene's share of the reads is larger, stray reads of Y
included, so the levels are brought down by the ratio, and without XIST and two genes of Y it says nothing.

*Likeness.* What the libraries of a visit have in common is taken off: treatment moves genes in everybody.
Genes that differ most between libraries, and no two of which go together, are then chosen without looking at
who gave them (:func:`identity_genes`): the blocks of genes that tell a tissue, an immune infiltrate or a cell
cycle come down to one gene each. The correlation over these genes is high between two biopsies of one
tumour and near zero between participants. What counts as alike comes from the matrix itself: 3.5 robust
standard deviations above the median over pairs of different participants, at least .4. Two persons whose
biopsies hold the same normal tissue are alike, too, but so are others; a library's true owner stands out: it
is .3 ahead of every third participant.

A library is a **suspect** when its sex contradicts the participant's, when another participant stands out and
is more alike than its own, or when it is nearly the same as a library of another
biopsy. One that is alike to nobody is only *unconfirmed*: another lesion, or little tumour, does that too.
Nothing is moved or left out: the table is for a person to decide on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem
from pdbiomarker.expression.assay import count_files, has_libraries, own_libraries
from pdbiomarker.expression.counts import read_counts
from pdbiomarker.expression.library_size import FloatArray, voom_log_cpm
from pdbiomarker.reference import reference_path
from pdbiomarker.study import AssaySpec, Study
from pdbiomarker.tables import id_key

__all__ = ["IDENTITY_COLUMNS", "Identity", "identity", "identity_genes", "library_counts", "sex_of"]

Index = npt.NDArray[np.intp]

#: Numbers are Entrez ids only where nearly all ids are numbers.
_MOSTLY: Final = 0.9
#: Mean log2 CPM of the Y genes from which Y is there whatever XIST is (4 CPM), and below which it is silent
#: (0.5 CPM). In between, XIST of 16 times as much says that the Y reads are strays.
_Y_ON, _Y_OFF, _STRAY = 2.0, -1.0, 4.0
#: log2 CPM from which XIST is there.
_XIST_ON = 1.0
#: A matrix of fewer genes is a panel: its CPM are larger than a transcriptome's by this over its genes.
_TRANSCRIPTOME: Final = 10_000
#: Of a panel, sex is told from so many genes of Y at least, and XIST.
_PANEL_Y: Final = 2
#: Reads without which neither is there, whatever the CPM of a shallow library.
_Y_READS, _XIST_READS = 10, 5
#: Identity genes: expressed where the upper tenth of the libraries has at least this log2 CPM; at most so
#: many, from so many candidates.
_EXPRESSED, _MOST, _CANDIDATES = 2.0, 100, 4000
#: Two of them are correlated less than this. In few libraries unrelated genes of persons, who mostly gave two
#: libraries, are correlated by chance with a standard deviation of sqrt(2 / libraries): 2.5 of them are let
#: through.
_TOGETHER, _TOGETHER_MOST = 0.4, 0.85
#: The mean of a visit is taken off where it has so many libraries.
_OF_VISIT: Final = 4
#: Fewer genes than this cannot tell one person from another.
_FEWEST: Final = 20
_SPREADS, _LEAST_ALIKE = 3.5, 0.4
_LOG2_E: Final = float(np.log2(np.e))
#: A library is not its own participant's when another one is more alike by this, and more than any third one
#: by that.
_MARGIN, _STANDS_OUT = 0.15, 0.3
#: Correlation over all expressed genes from which libraries of two biopsies are one RNA.
NEAR_DUPLICATE: Final = 0.99
#: Over so many expressed genes at least.
_WHOLE: Final = 500

#: Columns of :attr:`Identity.table`, in order.
IDENTITY_COLUMNS: Final = (
    "library_id",
    "participant_id",
    "biopsy_id",
    "visit",
    "sex",
    "sex_rna",
    "sex_check",
    "y_log2_cpm",
    "xist_log2_cpm",
    "own_library",
    "own_similarity",
    "other_library",
    "other_participant",
    "other_similarity",
    "verdict",
    "likely_owner",
    "evidence",
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """What the transcripts say about who gave each library.

    Attributes
    ----------
    table : DataFrame
        One row for each library, columns :data:`IDENTITY_COLUMNS`. `sex_rna`: ``M, F, both, silent`` or empty
        (no Y gene in the matrix). `sex_check`: ``agrees, contradicts, undecided, not recorded, not
        measured``. `verdict`: ``consistent, suspect, unconfirmed, single`` (no other library of the
        participant) or ``not evaluable``.
    pairs : DataFrame
        Pairs of libraries that share a participant or are alike: library_a, library_b, participant_a,
        participant_b, same_biopsy, similarity, all_genes, relation.
    similarity : DataFrame
        Libraries x libraries.
    genes : tuple of str
        The identity genes.
    alike : float
        From this similarity on, two libraries count as alike.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    similarity: pd.DataFrame
    genes: tuple[str, ...]
    alike: float

    @property
    def suspects(self) -> pd.DataFrame:
        """The rows of `table` that a person must look at."""
        return self.table[self.table["verdict"] == "suspect"].reset_index(drop=True)


def identity(
    source: Study | AnnData, assay: str | None = None, *, labels: Mapping[str, str] | None = None
) -> Identity:
    """Check sex and likeness of every library against the participant it is filed under.

    Parameters
    ----------
    source : Study or AnnData
        A study with a count assay, or libraries x genes with obs column participant_id and, where known,
        biopsy_id, visit and sex (of the participant).
    assay : str, optional
        Which count assay of the study; default the first.
    labels : mapping of library to participant, optional
        Participants to be tried instead of the recorded ones, such as another label of a doubtful library.

    Returns
    -------
    Identity

    Raises
    ------
    AssayError
        E-ASSAY-001: no counts, or no participant for the libraries.

    Examples
    --------
    >>> found = identity(study)  # doctest: +SKIP
    >>> found.suspects[["library_id", "likely_owner", "evidence"]]  # doctest: +SKIP
    """
    libraries = source if isinstance(source, AnnData) else _of_study(source, assay)
    _check(libraries)
    people = _people(libraries, source, labels or {})
    counts = np.asarray(libraries.X, dtype=np.float64)
    keep = np.isfinite(counts).all(axis=1) & (counts.sum(axis=1) > 0)
    counts, people = counts[keep], people[keep].reset_index(drop=True)
    x = voom_log_cpm(counts.T, counts.sum(axis=1))
    symbols = _symbols(libraries)
    sexes = sex_of(counts.T, symbols, n_genes=int(counts.any(axis=0).sum()))
    own = _within_visits(x, people["visit"].tolist())
    genes = identity_genes(own, symbols, counts.sum(axis=1))
    similarity = _similarity(own[genes]) if genes.size >= _FEWEST else np.full((len(people),) * 2, np.nan)
    seen = np.median(x, axis=1) > 0
    whole = _similarity(x[seen]) if seen.sum() >= _WHOLE else np.full((len(people),) * 2, np.nan)
    alike = _alike(similarity, people["participant_id"].to_numpy(dtype=object))
    table = _table(people, sexes, similarity, whole, alike=alike, n_genes=genes.size)
    ids = people["library_id"].tolist()
    return Identity(
        table=table,
        pairs=_pairs(people, similarity, whole, alike=alike),
        similarity=pd.DataFrame(similarity, index=ids, columns=ids),
        genes=tuple(symbols[k] for k in genes),
        alike=alike,
    )


def library_counts(study: Study, spec: AssaySpec) -> AnnData:
    """Read a count assay of a study library by library, with who each belongs to.

    Returns
    -------
    AnnData, libraries x genes
        Only libraries that a biopsy claims; obs: participant_id, biopsy_id, visit, sex.
    """
    if not has_libraries(spec):
        raise AssayError(
            [Problem("E-ASSAY-001", f"The assay {spec.name!r} has no count matrix.", "Name another assay.")]
        )
    study = own_libraries(study, spec)
    genes = None if spec.genes is None else study.resolve(spec.genes)
    where, source = count_files(study, spec)
    adata = read_counts(where, genes=genes, source=source)
    claimed = sorted((i for i in adata.obs_names if i in study.libraries.index), key=id_key)
    adata = adata[claimed, sorted(adata.var_names, key=id_key)].copy()
    biopsy = study.libraries.loc[claimed, "biopsy_id"].astype(str)
    people = study.biopsies.loc[biopsy, "participant_id"].astype(str)
    adata.obs["biopsy_id"] = biopsy.to_numpy(dtype=object)
    adata.obs["participant_id"] = people.to_numpy(dtype=object)
    visit = study.biopsies.loc[biopsy, "visit"] if "visit" in study.biopsies else pd.Series("", index=biopsy)
    adata.obs["visit"] = visit.fillna("").astype(str).to_numpy(dtype=object)
    sex = study.participants.get("sex", pd.Series("", index=study.participants.index, dtype=object))
    adata.obs["sex"] = sex.loc[people].fillna("").astype(str).to_numpy(dtype=object)
    return adata


def _of_study(study: Study, assay: str | None) -> AnnData:
    specs = [s for s in study.spec.assays if has_libraries(s)]
    chosen = [s for s in specs if assay is None or s.name == assay]
    if not chosen:
        names = ", ".join(s.name for s in specs) or "none"
        raise AssayError(
            [
                Problem(
                    "E-ASSAY-001",
                    "The study has no such count assay with a matrix of libraries.",
                    f"Name one of: {names}.",
                    value=assay,
                )
            ]
        )
    return library_counts(study, chosen[0])


def _check(libraries: AnnData) -> None:
    is_count = "kind" in libraries.var and bool((libraries.var["kind"].astype(str) == "count").all())
    if not is_count or "participant_id" not in libraries.obs:
        raise AssayError(
            [
                Problem(
                    "E-ASSAY-001",
                    "Identity needs counts of libraries, and obs column participant_id.",
                    "Give a study, or what library_counts returns.",
                )
            ]
        )


def _people(libraries: AnnData, source: Study | AnnData, labels: Mapping[str, str]) -> pd.DataFrame:
    obs = libraries.obs
    frame = pd.DataFrame({"library_id": [str(i) for i in libraries.obs_names]})
    for column in ("participant_id", "biopsy_id", "visit", "sex"):
        values = obs[column].astype(object).tolist() if column in obs else [""] * len(frame)
        frame[column] = ["" if pd.isna(v) else str(v) for v in values]
    strange = sorted(set(labels) - set(frame["library_id"]))
    if strange:
        raise AssayError(
            [Problem("E-ASSAY-001", "There is no such library.", "Name one of the matrix.", value=strange[0])]
        )
    sex_by_person = dict(zip(frame["participant_id"], frame["sex"], strict=True))
    if isinstance(source, Study) and "sex" in source.participants:
        sex_by_person |= {str(p): str(v) for p, v in source.participants["sex"].items() if isinstance(v, str)}
    for library, person in labels.items():
        row = frame["library_id"] == library
        frame.loc[row, "participant_id"] = person
        frame.loc[row, "sex"] = sex_by_person.get(person, "")
        frame.loc[row, "biopsy_id"] = f"{library} as {person}"
    return frame


def _symbols(libraries: AnnData) -> list[str]:
    ids = [str(i) for i in libraries.var_names]
    known = libraries.var["symbol"].astype(object) if "symbol" in libraries.var else [""] * len(ids)
    entrez = sum(i.isdecimal() for i in ids) >= _MOSTLY * len(ids)
    genes = _sex_genes()
    found = {
        identifier: symbol
        for column in ("ensembl", *(("entrez",) if entrez else ()))
        for identifier, symbol in zip(genes[column], genes["symbol"], strict=True)
        if identifier
    }
    return [
        s if isinstance(s, str) and s else found.get(i.partition(".")[0], i)
        for s, i in zip(known, ids, strict=True)
    ]


# --- sex -----------------------------------------------------------------------------------------------


@functools.cache
def _sex_genes() -> pd.DataFrame:
    """Read ``reference/genes/sex.csv``: symbol, chromosome, use (compared, left out), ensembl, entrez.

    All of them tell sex and not the person: none is used for the likeness.
    """
    return pd.read_csv(reference_path("genes/sex.csv"), dtype=str, keep_default_na=False)


def _compared(chromosome: str) -> set[str]:
    genes = _sex_genes()
    return set(genes.loc[(genes["chromosome"] == chromosome) & (genes["use"] == "compared"), "symbol"])


def sex_of(counts: FloatArray, symbols: Sequence[str], *, n_genes: int = _TRANSCRIPTOME) -> pd.DataFrame:
    """Sex that the transcripts tell.

    Parameters
    ----------
    counts : array, genes x libraries
        Reads.
    symbols : sequence of str
    n_genes : int
        Genes with reads in the matrix of which these are rows.

    Returns
    -------
    DataFrame
        One row for each library: sex_rna (``M``: Y transcripts of at least 4 CPM, or of .5 CPM without XIST;
        ``F``: none or strays of Y, and XIST of 2 CPM, or XIST is not in the matrix; ``both``: some of Y with
        XIST; ``silent``: neither; empty: no Y gene in the matrix, or a panel without XIST or with a single
        Y gene), y_log2_cpm (mean over the Y genes in the matrix), xist_log2_cpm, markers (how many of the six
        genes are in the matrix). What has fewer than 10 (Y) or 5 (XIST) reads is not there. In a panel of
        fewer than 10,000 genes, CPM count less by its genes / 10,000.
    """
    y_genes, x_genes = _compared("Y"), _compared("X")
    rows = [k for k, s in enumerate(symbols) if s in y_genes]
    xist = [k for k, s in enumerate(symbols) if s in x_genes]
    n = counts.shape[1]
    size = counts.sum(axis=0)
    y_mean = voom_log_cpm(counts[rows], size).mean(axis=0) if rows else np.full(n, np.nan)
    xist_level = voom_log_cpm(counts[xist], size).max(axis=0) if xist else np.full(n, np.nan)
    inflated = float(np.log2(max(_TRANSCRIPTOME / max(n_genes, 1), 1.0)))
    too_few = not rows or (inflated > 0 and (not xist or len(rows) < _PANEL_Y))
    calls = []
    for k in range(n):
        seen = counts[rows, k].sum() >= _Y_READS
        male = y_mean[k] - inflated if seen else -np.inf
        level = xist_level[k] - inflated
        female = bool(xist) and counts[xist, k].max() >= _XIST_READS and level >= _XIST_ON
        if too_few:
            calls.append("")
        elif male >= _Y_ON:
            calls.append("M")
        elif male > _Y_OFF:
            calls.append("M" if not female else "F" if level >= male + _STRAY else "both")
        else:
            calls.append("F" if female or not xist else "silent")
    markers = len(rows) + len(xist)
    return pd.DataFrame(
        {"sex_rna": calls, "y_log2_cpm": y_mean, "xist_log2_cpm": xist_level, "markers": markers}
    )


def _sex_check(recorded: str, call: str, xist: float, markers: int) -> tuple[str, str]:
    """How recorded sex and transcripts go together, and the words for it."""
    known = recorded.strip().upper()[:1]
    if known not in {"M", "F"}:
        return "not recorded", ""
    if call == "":
        of = len(_compared("Y")) + len(_compared("X"))
        return "not measured", f"cannot tell the sex: {markers} of {of} marker genes measured"
    if call == known:
        also = call == "M" and xist >= _XIST_ON + 3
        return (
            "agrees",
            "XIST beside Y transcripts: an extra X, XIST in a male tumour, or a mixture" if also else "",
        )
    if call == "silent":
        return "undecided", "neither Y transcripts nor XIST"
    if call == "both":
        return "undecided", "Y transcripts and XIST together: a mixture, or XIST in a male tumour"
    if known == "F":
        return "contradicts", "Y transcripts in a participant recorded as female"
    if np.isnan(xist):
        return "undecided", "no Y transcripts; XIST is not in the matrix, so the tumour may have lost Y"
    return "contradicts", "XIST and no Y transcripts in a participant recorded as male"


# --- likeness ------------------------------------------------------------------------------------------


def identity_genes(x: FloatArray, symbols: Sequence[str], size: FloatArray | None = None) -> Index:
    """Choose genes that tell persons apart, without looking at labels.

    Of the 4,000 genes with the largest variance that are expressed (at least 4 CPM in a tenth of the
    libraries) and not on a sex chromosome's list, those are taken one by one, the most variable first, whose
    correlation with every gene taken before is small, up to 100: below 2.5 sqrt(2 / n) for n libraries, at
    least .4 and at most .85. The variance of counting is taken off where `size` is given.

    Parameters
    ----------
    x : array, genes x libraries
        log2 CPM.
    symbols : sequence of str
    size : array, libraries, optional
        Reads of each library.

    Returns
    -------
    array of int
        Row numbers in the order taken; empty below 3 libraries.
    """
    n = x.shape[1]
    if n < 3:
        return np.zeros(0, dtype=np.intp)
    tell_sex = set(_sex_genes()["symbol"])
    sexed = np.array([s in tell_sex for s in symbols], dtype=bool)
    spread = x.var(axis=1)
    if size is not None:
        spread = spread - (_LOG2_E**2 / (2.0**x * size / 1e6 + 0.5)).mean(axis=1)
    limit = float(np.clip(2.5 * np.sqrt(2 / n), _TOGETHER, _TOGETHER_MOST))
    usable = (np.quantile(x, 0.9, axis=1) >= _EXPRESSED) & (spread > 0) & ~sexed
    candidates = np.flatnonzero(usable)
    # Rounding, so that the order does not hang on the last bits of a sum.
    order = candidates[np.lexsort((candidates, -np.round(spread[candidates], 9)))][:_CANDIDATES]
    z = x[order] - x[order].mean(axis=1, keepdims=True)
    z /= np.sqrt((z**2).sum(axis=1, keepdims=True))
    free = np.ones(order.size, dtype=bool)
    taken: list[int] = []
    for k in range(order.size):
        if free[k]:
            taken.append(k)
            if len(taken) == _MOST:
                break
            free[k + 1 :] &= np.abs(z[k + 1 :] @ z[k]) < limit
    return order[np.array(taken, dtype=np.intp)]


def _within_visits(x: FloatArray, visits: Sequence[str]) -> FloatArray:
    """Give every visit the mean of all libraries; visits of few libraries are one group, if at all."""
    counted = Counter(visits)
    groups = np.array([v if counted[v] >= _OF_VISIT else None for v in visits], dtype=object)
    own = x.copy()
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        if members.sum() >= _OF_VISIT:
            own[:, members] -= (x[:, members].mean(axis=1) - x.mean(axis=1))[:, None]
    return own


def _similarity(x: FloatArray) -> FloatArray:
    """Correlation between libraries; genes centred and scaled over the libraries where they are few."""
    if len(x) < 2:
        return np.full((x.shape[1],) * 2, np.nan)
    scaled = x
    if len(x) <= _MOST:
        scaled = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    # Rounded: the last bits of a product of matrices depend on the processor.
    return np.asarray(np.round(np.corrcoef(scaled.T), 9), dtype=np.float64)


def _alike(similarity: FloatArray, people: npt.NDArray[np.object_]) -> float:
    different = people[:, None] != people[None, :]
    values = similarity[np.triu(different, 1)]
    values = values[np.isfinite(values)]
    if values.size < 10:
        return float("nan")
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return max(_LEAST_ALIKE, middle + _SPREADS * spread)


def _table(
    people: pd.DataFrame,
    sexes: pd.DataFrame,
    similarity: FloatArray,
    whole: FloatArray,
    *,
    alike: float,
    n_genes: int,
) -> pd.DataFrame:
    ids, persons = people["library_id"].tolist(), people["participant_id"].tolist()
    markers = int(sexes["markers"].max())
    rows = []
    for k, person in enumerate(persons):
        own = [j for j, p in enumerate(persons) if p == person and j != k]
        other = [j for j, p in enumerate(persons) if p != person]
        best_own = _best(similarity[k], own)
        best_other = _best(similarity[k], other)
        check, why = _sex_check(
            people["sex"][k], str(sexes["sex_rna"][k]), float(sexes["xist_log2_cpm"][k]), markers
        )
        row: dict[str, object] = {
            **{c: people[c][k] for c in ("library_id", "participant_id", "biopsy_id", "visit", "sex")},
            **{c: sexes[c][k] for c in ("sex_rna", "y_log2_cpm", "xist_log2_cpm")},
            "sex_check": check,
            "own_library": "" if best_own is None else ids[best_own],
            "own_similarity": np.nan if best_own is None else similarity[k, best_own],
            "other_library": "" if best_other is None else ids[best_other],
            "other_participant": "" if best_other is None else persons[best_other],
            "other_similarity": np.nan if best_other is None else similarity[k, best_other],
        }
        copy = _copy_of(k, people, whole)
        ahead = np.nan if best_other is None else _ahead(similarity[k], persons, persons[best_other], k)
        rows.append(row | _verdict(row, why, alike, copy=copy, ahead=ahead, n_genes=n_genes))
    return pd.DataFrame(rows, columns=list(IDENTITY_COLUMNS))


def _best(similarity: FloatArray, among: Sequence[int]) -> int | None:
    known = [j for j in among if np.isfinite(similarity[j])]
    return max(known, key=lambda j: float(similarity[j])) if known else None


def _ahead(similarity: FloatArray, persons: Sequence[str], owner: str, k: int) -> float:
    """How much more alike a participant is than every one who is neither it nor the library's own."""
    third = [similarity[j] for j, p in enumerate(persons) if p not in {owner, persons[k]}]
    first = [similarity[j] for j, p in enumerate(persons) if p == owner]
    return float(max(first) - max(third)) if third else float("nan")


def _copy_of(k: int, people: pd.DataFrame, whole: FloatArray) -> str:
    """The library of another biopsy that is nearly the same over all genes."""
    biopsy = people["biopsy_id"].tolist()
    near = [
        j
        for j in range(len(people))
        if j != k and whole[k, j] >= NEAR_DUPLICATE and not (biopsy[j] and biopsy[j] == biopsy[k])
    ]
    if not near:
        return ""
    j = max(near, key=lambda i: float(whole[k, i]))
    return f"{people['library_id'][j]} of {people['participant_id'][j]} (r {whole[k, j]:.3f} over all genes)"


def _verdict(
    row: Mapping[str, object], sex_why: str, alike: float, *, copy: str, ahead: float, n_genes: int
) -> dict[str, object]:
    """Verdict, likely owner, and the evidence in words."""
    own, other = float(str(row["own_similarity"])), float(str(row["other_similarity"]))
    evidence = [sex_why] if sex_why else []
    suspect = row["sex_check"] == "contradicts"
    owner = "unknown" if suspect else str(row["participant_id"])
    if other >= alike and ahead >= _STANDS_OUT and not own >= other - _MARGIN:
        suspect, owner = True, str(row["other_participant"])
        than = "" if np.isnan(own) else f", and {own:.2f} to its own"
        evidence.append(f"alike ({other:.2f}, limit {alike:.2f}) to {row['other_library']} of {owner}{than}")
    if copy:
        suspect = True
        evidence.append(f"nearly the same as {copy}")
    if suspect:
        verdict = "suspect"
    elif np.isnan(alike):
        verdict = "not evaluable"
        evidence.append(
            "too few libraries to compare"
            if n_genes >= _FEWEST
            else f"cannot tell: {n_genes} of {_MOST} genes that tell persons apart, {_FEWEST} are needed"
        )
    elif np.isnan(own):
        verdict = "single"
    elif own >= alike:
        verdict = "consistent"
    else:
        verdict = "unconfirmed"
        why = "another lesion or little tumour does that"
        if n_genes < _MOST:
            why = f"cannot tell, with {n_genes} of {_MOST} genes that tell persons apart"
        evidence.append(f"own likeness {own:.2f} below {alike:.2f}: {why}")
    return {"verdict": verdict, "likely_owner": owner, "evidence": "; ".join(evidence)}


def _pairs(people: pd.DataFrame, similarity: FloatArray, whole: FloatArray, *, alike: float) -> pd.DataFrame:
    rows = []
    ids, persons, biopsies = (people[c].tolist() for c in ("library_id", "participant_id", "biopsy_id"))
    for i in range(len(ids)):
        for j in range(i + 1, len(ids)):
            same = persons[i] == persons[j]
            near = similarity[i, j] >= alike
            out = near and max(
                _ahead(similarity[i], persons, persons[j], i), _ahead(similarity[j], persons, persons[i], j)
            ) >= _STANDS_OUT  # fmt: skip
            if not (same or out or whole[i, j] >= NEAR_DUPLICATE):
                continue
            one = bool(biopsies[i]) and biopsies[i] == biopsies[j]
            rows.append(
                {
                    "library_a": ids[i],
                    "library_b": ids[j],
                    "participant_a": persons[i],
                    "participant_b": persons[j],
                    "same_biopsy": one,
                    "similarity": similarity[i, j],
                    "all_genes": whole[i, j],
                    "relation": _relation(same, one, bool(near), bool(whole[i, j] >= NEAR_DUPLICATE)),
                }
            )
    columns = ["library_a", "library_b", "participant_a", "participant_b", "same_biopsy", "similarity"]
    return pd.DataFrame(rows, columns=[*columns, "all_genes", "relation"])


def _relation(same: bool, one_biopsy: bool, near: bool, copied: bool) -> str:
    if one_biopsy:
        return "libraries of one biopsy: " + ("one person" if near or copied else "not confirmed")
    if copied:
        return "nearly the same library under two biopsies"
    if same:
        return "one participant: " + ("confirmed" if near else "not confirmed")
    return "alike under two participants"

"""The assays of a study folder that are read from files, and what is told of their quality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker import expression, ihc
from pdbiomarker.errors import AssayError, InputError, Problem, Problems
from pdbiomarker.pairing import assign_visits
from pdbiomarker.run.results import frame_of
from pdbiomarker.study import AssaySpec, Study, check_batches, is_panel_file
from pdbiomarker.tables import nearest

__all__ = ["SIGNATURES", "Collecting", "count_assays", "expression_tables", "identity_problems", "panel_file"]

#: Appended to the name of a count assay for the assay of its signature scores.
SIGNATURES: Final = "_signatures"
_USUAL_SIGNATURES: Final = ("CYT",)
_ABSENT: Final = "E-COUNT-008"


class Collecting:
    """Add the problems of an input that is refused to a list, and go on."""

    def __init__(self, found: list[Problem]) -> None:
        self._found = found

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> bool:
        if isinstance(value, InputError):
            self._found.extend(value.problems)
            return True
        return False


def count_assays(study: Study, told: list[Problem]) -> dict[str, AnnData]:
    """Read the assays of a study that are files, and score signatures of counts; add what is told to a list.

    An assay without ``signatures`` in study.yaml gets the cytolytic score where its genes were measured.
    """
    assays: dict[str, AnnData] = {}
    refused: list[Problem] = []
    of_assay: dict[str, list[Problem]] = {}
    for spec in study.spec.assays:
        with Collecting(refused):
            if expression.has_expression(spec):
                counts = expression.read_assay(study, spec)
                of_assay[spec.name] = list(expression.problems_of(counts))
                assays |= _scored(study, spec, {spec.name: counts}, told)
            elif expression.has_values(spec):
                values = expression.read_value_file(study, spec)
                of_assay[spec.name] = [*expression.problems_of(values), *_batches(study, spec, values)]
                assays[spec.name] = values
            elif spec.h5ad is not None:
                found = expression.read_cells(
                    study.resolve(spec.h5ad), options=spec.single_cell, study=study, name=spec.name
                )
                told.extend(found.problems)
                made = _scored(study, spec, found.assays, told)
                _check_names(study, spec, made, taken=assays)
                assays |= made
            elif spec.cells is not None:
                assays[spec.name] = _cells_assay(study, spec)
                told.extend(ihc.problems_of(assays[spec.name]))
                assays[spec.name].uns.pop("problems", None)  # they are the study's
    told.extend(_not_elsewhere(of_assay, assays))
    Problems(refused).raise_if_any()
    return assays


def _batches(study: Study, spec: AssaySpec, values: AnnData) -> Problems:
    """Tell when the batches that the file itself names hold one visit each (E-STUDY-005)."""
    problems = Problems()
    check_batches(frame_of(values.obs), study.biopsies, study.spec.visits, str(spec.file), problems)
    return problems


def _check_names(study: Study, spec: AssaySpec, made: Mapping[str, AnnData], taken: Iterable[str]) -> None:
    """Refuse assays of cell types whose name another assay has: one would stand in the other's place."""
    others = {*taken, *(other.name for other in study.spec.assays)}
    problems = Problems()
    for name in made:
        if name in others:
            problems.add(
                "E-STUDY-001",
                f"The cells of the assay {spec.name!r} become an assay {name!r}: that name is taken.",
                remedy=f"Give one of the two assays another name; those of {spec.name!r} begin with it.",
                file="study.yaml",
                column=f"assays.{spec.name}",
                value=name,
            )
    problems.raise_if_any(AssayError)


def _scored(
    study: Study, spec: AssaySpec, own: Mapping[str, AnnData], told: list[Problem]
) -> dict[str, AnnData]:
    """Give the assays of one entry of study.yaml, and beside each of counts its signature scores.

    The usual signature is scored unasked in bulk counts, where its genes were measured.
    """
    assays: dict[str, AnnData] = {}
    wanted = _wanted_signatures(study, spec, told)
    for name, adata in own.items():
        assays[name] = adata
        if spec.kind != "count" or not (adata.var["kind"] == "count").any():
            continue
        if not wanted and spec.h5ad is not None:
            continue
        scores = _scores(study, spec, adata, wanted)
        if wanted:
            told.extend(expression.problems_of(scores))
        if wanted or np.isfinite(np.asarray(scores.X, dtype=float)).any():
            assays[name + SIGNATURES] = scores
    return assays


def _cells_assay(study: Study, spec: AssaySpec) -> AnnData:
    """Make an assay of an export of cells.

    Whose a slide is, is said by the export's column biopsy_id, by the slide sheet, by the column ``slide`` of
    biopsies.csv (the image's file), or by the slide's name where it is a biopsy's id.
    """
    found = ihc.read_cells(
        study.resolve(str(spec.cells)),
        panel=panel_file(study, str(spec.panel)),
        mpp=spec.mpp,
        columns=spec.columns,
        classes=spec.classes,
    )
    assay = ihc.import_cells(found, panel_file(study, str(spec.panel)), study=study)
    problems = Problems()
    for biopsy in assay.obs_names.difference(study.biopsies.index):
        problems.add(
            "E-CELLS-007",
            "The biopsy of the export is not in biopsies.csv.",
            remedy=nearest(str(biopsy), map(str, study.biopsies.index)),
            file=str(spec.cells),
            value=biopsy,
        )
    problems.raise_if_any(AssayError)
    return assay


def _not_elsewhere(
    of_assay: Mapping[str, Sequence[Problem]], assays: Mapping[str, AnnData]
) -> Iterator[Problem]:
    """Problems of the assays, but libraries of the one sheet that another assay holds or has told of."""
    for name, problems in of_assay.items():
        others = [other for other in of_assay if other != name]
        known = {p.item for other in others for p in of_assay[other] if p.code != _ABSENT}
        for other in others:
            cells = assays[other].obs.get("libraries", ())
            known |= {item for cell in cells for item in str(cell).split(";")}
        known |= {f"{item}.RCC" for item in known}
        yield from (p for p in problems if p.code != _ABSENT or p.item not in known)


def _wanted_signatures(study: Study, spec: AssaySpec, told: list[Problem]) -> list[expression.Signature]:
    """Give the signatures that study.yaml asks for: sets of its GMT file, .yaml files, names."""
    problems = Problems()
    sets: dict[str, expression.Signature] = {}
    if spec.gene_sets is not None:
        read = expression.read_gene_sets(study.resolve(spec.gene_sets), problems=problems)
        sets = {signature.name: signature for signature in read}
        told.extend(problems)
    if not spec.signatures:
        return list(sets.values())
    return [
        sets[name]
        if name in sets
        else expression.read_signature(study.resolve(name) if name.endswith(".yaml") else name)
        for name in spec.signatures
    ]


def _scores(
    study: Study, spec: AssaySpec, counts: AnnData, wanted: Sequence[expression.Signature]
) -> AnnData:
    fixed = spec.signature_reference
    return expression.signature_scores(
        counts,
        wanted or _USUAL_SIGNATURES,
        method=spec.signature_method or "mean_log2_cpm",
        reference=None if fixed is None else expression.read_reference(study.resolve(fixed)),
    )


def expression_tables(study: Study, assays: Mapping[str, AnnData]) -> dict[str, pd.DataFrame]:
    """Make the quality tables: ``rna, rna_components, identity, likeness, cells, values``."""
    facts = study.biopsies[[c for c in ("batch", "site") if c in study.biopsies]].copy()
    facts["visit"] = assign_visits(study)["visit"]
    biopsies, components = expression.expression_qc(assays, facts)
    checked = _checked(study, assays)
    tables = {"rna": biopsies, "rna_components": components, "identity": _identities(checked)}
    tables["likeness"] = _likeness(checked)
    cells = [
        frame_of(adata.obs).reset_index(names="biopsy_id").assign(assay=name)
        for name, adata in assays.items()
        if name.endswith(expression.COMPOSITION)
    ]
    tables["cells"] = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()
    tables["values"] = _facts_of_values(study, assays)
    return {name: table for name, table in tables.items() if len(table)}


def _facts_of_values(study: Study, assays: Mapping[str, AnnData]) -> pd.DataFrame:
    """What files of values say of each biopsy's measurement: plate, warnings."""
    facts = [
        frame_of(assays[spec.name].obs).reset_index(names="biopsy_id").assign(assay=spec.name)
        for spec in study.spec.assays
        if expression.has_values(spec) and spec.name in assays and len(assays[spec.name].obs.columns)
    ]
    return pd.concat(facts, ignore_index=True) if facts else pd.DataFrame()


def _checked(study: Study, assays: Mapping[str, AnnData]) -> dict[str, expression.Identity]:
    """What the transcripts say of every assay that has libraries."""
    return {
        spec.name: expression.identity(study, spec.name)
        for spec in study.spec.assays
        if expression.has_libraries(spec) and spec.name in assays
    }


def _identities(found: Mapping[str, expression.Identity]) -> pd.DataFrame:
    tables = [own.table.assign(assay=name) for name, own in found.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _likeness(found: Mapping[str, expression.Identity]) -> pd.DataFrame:
    """Every pair of libraries of an assay once, with how alike they are; none where nothing is known."""
    tables = []
    for name, own in found.items():
        first, second = np.triu_indices(len(own.similarity), k=1)
        ids, people = (own.table[c].to_numpy(dtype=object) for c in ("library_id", "participant_id"))
        pairs = pd.DataFrame(
            {
                "assay": name,
                **{"library_a": ids[first], "library_b": ids[second]},
                **{"participant_a": people[first], "participant_b": people[second]},
                "similarity": own.similarity.loc[ids, ids].to_numpy()[first, second],
            }
        )
        tables.append(pairs[pairs["similarity"].notna()])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def identity_problems(study: Study, assays: Mapping[str, AnnData]) -> Iterator[Problem]:
    """Tell every library that its transcripts put under another participant, or another sex."""
    table = _identities(_checked(study, assays))
    suspects = table[table["verdict"] == "suspect"] if len(table) else table
    for row in suspects.to_dict("records"):
        owner = row["likely_owner"]
        whose = "" if owner == row["participant_id"] else f" Its most likely owner is {owner}."
        yield Problem(
            "E-COUNT-040",
            f"Library {row['library_id']!r} of participant {row['participant_id']!r} is a suspect: "
            f"{row['evidence']}.{whose}",
            "Look at results/identity.csv and the tube labels; correct libraries.csv, or leave it out there.",
            "libraries.csv",
            column=str(row["assay"]),
            value=str(row["library_id"]),
            severity="warning",
            item=str(row["library_id"]),
        )


def panel_file(study: Study, panel: str) -> str:
    """Return a panel's name, or the path of its file when it is one of the study's."""
    return str(study.resolve(panel)) if is_panel_file(panel) else panel

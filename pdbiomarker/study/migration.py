"""study.yaml of earlier versions, brought to the form that is read now, one version at a time.

A file that says nothing is of version 0: the form from before versions were numbered, which is that of
version 1. When the form changes, :data:`SCHEMA` is raised and :data:`MIGRATIONS` gets the step that leads to
it; the files of studies stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from pdbiomarker.errors import Problems
from pdbiomarker.tables import YamlDocument

__all__ = ["KEY", "MIGRATIONS", "SCHEMA", "migrated"]

#: The version of study.yaml that is read.
SCHEMA: Final = 1
#: The key that holds it.
KEY: Final = "schema"

type Migration = Callable[[dict[str, Any]], dict[str, Any]]

#: Version -> what makes the content of that version one of the next.
MIGRATIONS: Final[Mapping[int, Migration]] = {0: lambda content: content}


def migrated(
    document: YamlDocument,
    problems: Problems,
    *,
    schema: int = SCHEMA,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> YamlDocument | None:
    """Bring the content of a study.yaml to the version that is read.

    Parameters
    ----------
    document : YamlDocument
        As it stands in the file.
    problems : Problems
        E-STUDY-080: the version is none that can be read. E-STUDY-081, a warning: it is an earlier one, and
        the steps from there were taken.
    schema : int
        The version wanted.
    migrations : mapping of version to migration
        A step for each version below `schema`.

    Returns
    -------
    YamlDocument or None
        With content of version `schema`; None when the version cannot be read.
    """
    stated = document.data.get(KEY, 0)
    known = isinstance(stated, int) and not isinstance(stated, bool) and 1 <= stated <= schema
    if KEY in document.data and not known:
        later = isinstance(stated, int) and stated > schema
        problems.add(
            "E-STUDY-080",
            f"This pdbiomarker reads study.yaml of version {schema}"
            + (f" and earlier; this one is of version {stated}." if later else "."),
            remedy=f"Use a pdbiomarker that knows version {stated}, or write the file as "
            "docs/study_folder.md says."
            if later
            else f"Write 'schema: {schema}', or leave the key out.",
            file=document.file,
            row=document.line((KEY,)),
            column=KEY,
            value=document.texts.get((KEY,)),
        )
        return None
    content = dict(document.data)
    for version in range(stated, schema):
        content = migrations[version](content)
    if 0 < stated < schema:
        problems.add(
            "E-STUDY-081",
            f"study.yaml is of version {stated} and was read as one of version {schema}.",
            remedy=f"Nothing must be done. To leave this behind, write it as docs/study_folder.md says, with "
            f"'schema: {schema}'.",
            severity="warning",
            file=document.file,
            row=document.line((KEY,)),
            column=KEY,
            value=str(stated),
        )
    return dataclasses.replace(document, data={**content, KEY: schema})

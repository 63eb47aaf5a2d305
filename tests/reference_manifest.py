"""Bring the hashes of reference/MANIFEST.tsv up to date: ``python tests/reference_manifest.py``.

Source, version and licence are written by hand; a file without a line is refused until it has one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pdbiomarker.provenance import atomic_path, sha256_file
from pdbiomarker.reference import MANIFEST, list_reference, read_manifest, reference_path

HEADER = "path\tsource\tversion\tlicence\tsha256"


def write_manifest_hashes(manifest: Path) -> list[str]:
    """Rewrite the manifest, sorted, with the hashes as they are now; give the files without a line."""
    rows = {row.path: row for row in read_manifest()}
    files = [name for name in list_reference() if name != MANIFEST]
    lines = [HEADER]
    for name in files:
        if name in rows:
            row = rows[name]
            digest = sha256_file(reference_path(name))
            lines.append("\t".join([name, row.source, row.version, row.licence, digest]))
    with atomic_path(manifest) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return [name for name in files if name not in rows]


if __name__ == "__main__":
    missing = write_manifest_hashes(reference_path(MANIFEST))
    sys.exit(f"without a line in {MANIFEST}: {', '.join(missing)}" if missing else 0)

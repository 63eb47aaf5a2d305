"""Optional packages, loaded when they are needed and named when they are not there."""

from __future__ import annotations

import importlib
from types import ModuleType

import matplotlib as mpl

from pdbiomarker.errors import MissingExtraError

__all__ = ["load_extra"]

#: Package to the extra that installs it.
_EXTRAS = {"decoupler": "singlecell", "scanpy": "singlecell"}


def load_extra(package: str) -> ModuleType:
    """Import an optional package.

    Parameters
    ----------
    package : {"decoupler", "scanpy"}
        Each takes about ten seconds to load, once.

    Raises
    ------
    MissingExtraError
        With the pip line that installs it.
    """
    try:
        # What a package sets for its own figures must not change ours.
        with mpl.rc_context():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(package, _EXTRAS[package]) from error

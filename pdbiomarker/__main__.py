"""``python -m pdbiomarker`` is the command line."""

import os
import sys


def _leave_working_directory() -> None:
    """Import nothing more from the working directory, unless this package itself lies there.

    Only what Python has loaded before is used here: any import could come from that directory.
    """
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    if not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0]) != home:
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_directory()
    from pdbiomarker.cli import main  # not before the path is safe

    main()

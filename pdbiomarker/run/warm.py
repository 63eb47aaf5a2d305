"""What the server that starts jobs sets up once, and each job would set up anew.

Importing this module does it: the steps with all that they import, and numba's tables of what it can compile,
which take longer to fill than a small slide takes to measure.
"""

from __future__ import annotations

from numba.core.registry import cpu_target

import pdbiomarker.run.steps  # noqa: F401 - imported for every job

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()

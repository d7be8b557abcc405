# SPDX-License-Identifier: BSD-2-Clause
"""Named fault points: where a drill may kill the acting process. Inert unless asked for by the environment.

``LOSSLESS_MYSQL_HA_FAULT=freeze:after`` kills the process with SIGKILL at that point: no clean-up runs, as with a
power loss of its host.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "LOSSLESS_MYSQL_HA_FAULT"


def reach(point: str) -> None:
    """Die here if this point was asked for."""
    if os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)

"""The clock of a run under libfaketime (tests/campaign): the programs that tests start see the same time as the tests.

It comes by environment variables, and most tests compose the environment of what they start. Does not handle: programs
that are linked statically (etcd) and the time stamps of files, which stay the kernel's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def of_the_clock(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that fake it; none in an ordinary run."""
    if "FAKETIME" not in environment:
        return {}
    return {name: value for name, value in environment.items() if name == "LD_PRELOAD" or name.startswith("FAKETIME")}

"""A libc whose adjtimex(2) says what the test wants, and a clock that is ahead: libraries to preload.

    program.variables |= ahead(days=31, kernel=kernel_library(tmp_path, "TIME_ERROR", "STA_UNSYNC"))

It needs a C compiler; the clock needs libfaketime.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = """
#include <errno.h>
#include <sys/timex.h>
int adjtimex(struct timex *timex) {
    if (timex->modes != 0) { errno = EPERM; return -1; }  /* it would set the clock */
    timex->status = STATUS;
    errno = ERROR;
    return STATE;
}
"""
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler and Linux"
)
needs_faketime = pytest.mark.skipif(not _FAKETIME, reason="needs libfaketime (Debian: libfaketime)")


def kernel_library(folder: Path, state: str, status: str, error: str = "0") -> Path:
    """Build the library. `state` is what adjtimex returns, `status` the member, in the words of <sys/timex.h>."""
    source, library = folder / "adjtimex.c", folder / "adjtimex.so"
    source.write_text(_SOURCE)
    defined = [f"-DSTATE={state}", f"-DSTATUS={status}", f"-DERROR={error}"]
    subprocess.run(["cc", "-shared", "-fPIC", *defined, "-o", library, source], check=True)
    return library


def ahead(days: float, *, kernel: Path | None = None) -> dict[str, str]:
    """The variables of a program whose clock is so far ahead of the tests' clock (behind, when negative)."""
    of_the_tests = re.fullmatch(r"\+([0-9]+)d", os.environ.get("FAKETIME", "+0d"))  # as tests/campaign sets it
    assert of_the_tests is not None
    seconds = int(days * 86_400) + int(of_the_tests[1]) * 86_400
    return {
        "LD_PRELOAD": ":".join(str(library) for library in (kernel, _FAKETIME[0]) if library),
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }

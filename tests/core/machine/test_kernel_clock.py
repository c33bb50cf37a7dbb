"""The kernel's word about its clock, by a libc whose adjtimex(2) says what the test wants."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faked_kernel import kernel_library, needs_compiler
from tiktrue_keys.core.machine import kernel_clock

ASK = "from tiktrue_keys.core.machine.kernel_clock import *; print(kernel_clock_is_synchronised())"


@needs_compiler
@pytest.mark.parametrize(
    ("state", "status", "error", "word"),
    [
        ("TIME_OK", "STA_PLL", "0", "True"),
        ("TIME_INS", "STA_PLL | STA_INS", "0", "True"),  # a leap second is about to come
        ("TIME_ERROR", "STA_UNSYNC", "0", "False"),
        ("TIME_OK", "STA_PLL | STA_UNSYNC", "0", "False"),
        ("TIME_ERROR", "STA_CLOCKERR", "0", "False"),
        ("-1", "0", "EPERM", "None"),  # a seccomp filter
    ],
)
def test_what_the_kernel_says(tmp_path: Path, state: str, status: str, error: str, word: str) -> None:
    library = kernel_library(tmp_path, state, status, error)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == word


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_long) != 8, reason="the bytes below are those of a 64-bit system")
def test_the_status_is_read_where_struct_timex_has_it() -> None:
    unsynchronised = bytes(40) + (0x40).to_bytes(4, sys.byteorder) + bytes(468)
    assert kernel_clock._is_synchronised(0, unsynchronised, 8) is False
    assert kernel_clock._is_synchronised(0, bytes(512), 8) is True


def test_other_systems_cannot_be_asked() -> None:
    assert kernel_clock.kernel_clock_is_synchronised("darwin") is None

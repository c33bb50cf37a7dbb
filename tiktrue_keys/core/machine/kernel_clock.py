"""Asks the kernel whether its clock is synchronised: adjtimex(2), which needs no privilege to read. Linux only.

systemd-timesyncd, ntpd and chronyd (with `rtcsync`) tell the kernel when they have synchronised the clock.
"""

from __future__ import annotations

import ctypes
import sys

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_SIZE = 512  # struct timex has 208 bytes on 64-bit Linux
_STATUS = 5  # the place of `status`: after modes, offset, freq, maxerror and esterror, all as wide as a long


def kernel_clock_is_synchronised(platform: str = sys.platform) -> bool | None:
    """Return what the kernel says about its clock; None when it cannot be asked (not Linux, or a seccomp filter)."""
    if platform != "linux":
        return None
    timex = ctypes.create_string_buffer(_SIZE)  # modes = 0: read only
    try:
        state = int(ctypes.CDLL(None).adjtimex(timex))
    except (OSError, AttributeError):
        return None
    return _is_synchronised(state, bytes(timex), ctypes.sizeof(ctypes.c_long))


def _is_synchronised(state: int, timex: bytes, width: int) -> bool | None:
    if state < 0:
        return None
    at = _STATUS * width
    status = int.from_bytes(timex[at : at + 4], sys.byteorder)
    return state != _TIME_ERROR and not status & _STA_UNSYNC

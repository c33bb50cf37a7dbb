"""Who runs this process, as the operating system names them, for the audit log."""

from __future__ import annotations

import contextlib
import os

from tiktrue_keys.core.audit.record import Actor


def actor_of_process(command: str) -> Actor:
    """Who runs this process, as the system names them; never from the environment, which anybody can set."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    return Actor(user, _host_name(), command)


def _host_name() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()

"""Who runs the program, for the audit log.

The operating system names the user. The environment is not read, because the caller can set it to anything.
"""

from __future__ import annotations

import os

from tiktrue_keys.core.audit.record import Actor

_NO_LOGIN = 2**32 - 1


def current_actor(command: str) -> Actor:
    """Return the effective user (with the user who logged in, where that is another one), the host and the command."""
    user, behind = _user_name(os.geteuid()), _login_user()
    named = f"{user} (logged in as {behind})" if behind not in (None, user) else user
    return Actor(named, os.uname().nodename, command)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _login_user() -> str | None:
    """Return the user of the login session, which sudo and su do not change (Linux audit)."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            uid = int(file.read(16))
    except (OSError, ValueError):
        return None
    return None if uid == _NO_LOGIN else _user_name(uid)

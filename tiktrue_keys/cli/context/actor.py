"""Who runs this, for the audit log: as the system says, never as the environment does, which anybody can set."""

from __future__ import annotations

import os

from tiktrue_keys.core.audit.record import Actor

_NOBODY_LOGGED_IN = 2**32 - 1


def current_actor(command: str) -> Actor:
    """The effective user, and who logged in where that is somebody else; the host; the command's name."""
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
    """The user of the login session, which sudo and su leave alone (Linux audit)."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            uid = int(file.read(16))
    except (OSError, ValueError):
        return None
    return None if uid == _NOBODY_LOGGED_IN else _user_name(uid)

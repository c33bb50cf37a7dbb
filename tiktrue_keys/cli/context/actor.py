"""Who runs a command, for the audit log: taken from the system, not from the environment, which the user can set."""

from __future__ import annotations

import os
import platform

from tiktrue_keys.core.audit.record import Actor

_NO_LOGIN = 2**32 - 1


def current_actor(command: str) -> Actor:
    """The effective user, with the login user if it is another one; the host; the command's name."""
    if os.name != "posix":
        import getpass

        return Actor(getpass.getuser(), platform.node(), command)
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
    return None if uid == _NO_LOGIN else _user_name(uid)

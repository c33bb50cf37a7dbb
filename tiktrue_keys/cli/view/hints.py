"""Hints for errors that have none of their own, so that every error line is followed by one."""

from __future__ import annotations

from tiktrue_keys.errors import TikTrueKeysError

_BY_CODE = {
    "usage": "run the command with --help",
    "not-found": "check the name and the folder",
    "integrity": "do not use it; restore a copy that you trust",
    "refused": "run the command with --help",
    "busy": "try again, or use a longer --lock-timeout",
    "partial": "read the reasons in the list, then run the command again for those",
    "wrong-machine": "run tiktrue-keys binding show to see what is read of this machine",
    "wrong-license": "use the license that the key was created with",
    "revoked": "run tiktrue-keys show KEY to see when and why",
    "expired": "run tiktrue-keys rotate to create a successor",
    "unavailable": "read the system's log, then run the command again; nothing is half done",
    "interrupted": "run the command again; nothing is half done",
    "terminated": "run the command again",
    "insecure": "see FILES in tiktrue-keys(1) for the required modes",
}


def hint_of(error: TikTrueKeysError) -> str:
    """The error's own hint, or that of its kind; empty for a bug that says what to do already."""
    return error.hint or _BY_CODE.get(error.code, "")

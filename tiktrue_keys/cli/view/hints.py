"""What to do next, for errors that do not say it themselves: every error line has a hint under it."""

from __future__ import annotations

from tiktrue_keys.errors import TikTrueKeysError

_BY_CODE = {
    "usage": "--help shows how the command is used",
    "not-found": "check the name and the folder",
    "integrity": "do not use it; put back a copy that you trust",
    "refused": "--help says what the command asks for",
    "busy": "try again, or give a longer --lock-timeout",
    "partial": "the list says which and why; run it again for those",
    "wrong-machine": "run tiktrue-keys binding show to see what is read of this machine",
    "wrong-license": "give the license that the key was made with",
    "revoked": "tiktrue-keys show KEY says when and why",
    "expired": "tiktrue-keys rotate makes a successor",
    "unavailable": "look at the system's log, then run it again: nothing is half done",
    "interrupted": "nothing is half done: run it again",
    "terminated": "run it again",
    "insecure": "see FILES in man tiktrue-keys for the modes that are asked for",
}


def hint_of(error: TikTrueKeysError) -> str:
    """The error's own hint, or that of its kind; empty for a bug that says what to do already."""
    return error.hint or _BY_CODE.get(error.code, "")

"""Unseals a blob in a new process, before a keystore relies on it.

Come here for `binding add`: a blob that opens only with what this process happens to hold (a session, a login, a PIN
cached by a module) must not take the place of a secret that works. The new process gets its task on standard input and
prints the id of the secret, 16 public bytes in hex; the secret itself never leaves it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.errors import ERRORS, TikTrueKeysError, UnavailableError
from tiktrue_keys.roots.loader import root_of

SECONDS = 60
_LIMIT = 64 * 1024


def unsealed_id(way: str, settings: Mapping[str, str], secret: bytes, blob: bytes) -> bytes:
    """Return the id of the secret that a new process unsealed. Raises what unsealing raises there."""
    task = {
        "way": way,
        "settings": dict(settings),
        "secret": base64.b64encode(secret).decode("ascii"),
        "blob": base64.b64encode(blob).decode("ascii"),
    }
    command = [sys.executable, "-P", "-m", "tiktrue_keys.roots.fresh"]
    try:
        done = subprocess.run(
            command, input=json.dumps(task).encode(), capture_output=True, timeout=SECONDS, check=False
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{way}: a new process did not unseal the secret within {SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{way}: a new process did not unseal the secret") from error
    if "id" in answer:
        return bytes.fromhex(answer["id"])
    kind = next((each for each in ERRORS if each.code == answer["code"]), UnavailableError)
    raise kind(answer["message"], **answer["advice"])


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    secret, blob = base64.b64decode(task["secret"]), base64.b64decode(task["blob"])
    try:
        with root_of(task["way"], task["settings"], lambda: secret).unseal(blob) as opened:
            return {"id": host_secret_id(opened.view).hex()}
    except TikTrueKeysError as error:
        return {"code": error.code, "message": error.message, "advice": error.advice}


def main() -> None:
    """Do the task that the parent wrote to the pipe, and answer through the other one."""
    with open(0, "rb", closefd=False) as given:
        task = json.loads(given.read(_LIMIT))
    os.write(1, json.dumps(_answer(task)).encode())


if __name__ == "__main__":
    main()

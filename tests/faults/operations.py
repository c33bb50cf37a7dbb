"""The operations that are interrupted: the words of the command line, and which shop they are done in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.shop import LICENSE, OTHER_LICENSE, Shop
from tests.faults.traced import program
from tiktrue_keys.cli.program.catalog import CATALOG
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError

OPERATION = "0123456789abcdef01234567"


@dataclass(frozen=True)
class Operation:
    """One operation. `bare`: on a machine without a keystore. `call`: the same in Python, for commands still to come.

    `folders`: in a shop that has a model's folder too. `file_by_file`: each file of the folder is a unit.
    `resumes`: what is done after a kill waits for the same one.
    """

    name: str
    words: Callable[[Shop], list[str]]
    bare: bool = False
    moved: bool = False
    folders: bool = False
    resumes: bool = False
    file_by_file: bool = False
    call: Callable[[KeyManager, Shop], object] | None = None

    def work(self, shop: Shop) -> Callable[[], int]:
        """The operation as a child does it; gives the exit code."""
        words = self.words(shop)
        if words[0] in CATALOG or self.call is None:
            return program([*words, "--operation-id", OPERATION])
        call = self.call
        return lambda: _exit_code(lambda: call(shop.manager(), shop))

    @property
    def exists(self) -> bool:
        """Whether this version can do it."""
        return self.call is not None or self.words(_ANYWHERE)[0] in CATALOG


def _exit_code(call: Callable[[], object]) -> int:
    try:
        call()
    except TikTrueKeysError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def operation_named(name: str) -> Operation:
    """The operation of that name."""
    return next(operation for operation in (*OPERATIONS, *FOLDER_OPERATIONS) if operation.name == name)


class _Anywhere(Shop):
    def __init__(self) -> None:
        self.key_ids = {"mistral": "", "llama": ""}
        self.live = self.models = self.backups = self.licenses = self.shares = Path()


_ANYWHERE = _Anywhere()


def _licenses(shop: Shop) -> list[str]:
    return ["--old-license-file", str(shop.licenses / "a"), "--license-file", str(shop.licenses / "b")]


def _encrypted(shop: Shop, name: str) -> list[str]:
    return [str(shop.models / "plain.bin"), "-o", str(shop.models / name), "--key", "llama"]


def _decrypted(shop: Shop, name: str) -> list[str]:
    return [str(shop.models / "phi.ttm"), "-o", str(shop.models / name)]


def _folder(shop: Shop, command: str, source: str, *options: str) -> list[str]:
    """One file at a time, so that each run makes the same records."""
    return [command, str(shop.models / source), "--jobs", "1", *options]


def _encrypted_folder(shop: Shop, *options: str) -> list[str]:
    return _folder(shop, "encrypt-model", "dir", "--key", "llama", "--plain", "*.json", *options)


def _shares(shop: Shop) -> list[str]:
    return ["--share", str(shop.shares)]


def _rebind(manager: KeyManager, _: Shop) -> object:
    return manager.rebind(LICENSE, operation_id=OPERATION)


def _relicense(manager: KeyManager, _: Shop) -> object:
    return manager.relicense(LICENSE, OTHER_LICENSE, operation_id=OPERATION)


def _backup(manager: KeyManager, shop: Shop) -> object:
    return manager.backup(shop.backups / "now.db", operation_id=OPERATION)


def _restore(manager: KeyManager, shop: Shop) -> object:
    return manager.restore(shop.backups / "earlier.db", operation_id=OPERATION)


OPERATIONS = (
    Operation("generate", lambda shop: ["generate", "fresh"]),
    Operation("generate-first", lambda shop: ["generate", "fresh"], bare=True),
    Operation("rotate", lambda shop: ["rotate", "mistral", "--notify", "client1"]),
    Operation("rotate-with-container", lambda shop: ["rotate", "llama"]),
    Operation("rotate-all", lambda shop: ["rotate", "--all"]),
    Operation("revoke", lambda shop: ["revoke", shop.key_ids["mistral"], "--reason", "a test", "--yes"]),
    Operation(
        "revoke-rotate", lambda shop: ["revoke", shop.key_ids["llama"], "--reason", "a test", "--rotate", "--yes"]
    ),
    Operation("cleanup", lambda shop: ["cleanup", "--after", "0s", "--yes"]),
    Operation(
        "rebind",
        lambda shop: ["rebind", "--yes"],
        moved=True,
        call=lambda manager, _: manager.rebind(LICENSE, operation_id=OPERATION),
    ),
    Operation("rekey", lambda _: ["rekey", "--compromised", "--yes"]),
    Operation("relicense", lambda shop: ["relicense", *_licenses(shop), "--yes"], call=_relicense),
    Operation("backup", lambda shop: ["backup", str(shop.backups / "now.db")], call=_backup),
    Operation("restore", lambda shop: ["restore", str(shop.backups / "earlier.db"), "--yes"], call=_restore),
    Operation("escrow-create", lambda _: ["escrow", "create", "-o", "-", "--replace", "--yes"]),
    Operation("escrow-verify", lambda shop: ["escrow", "verify", *_shares(shop)]),
    Operation("recover", lambda shop: ["escrow", "recover", str(shop.backups / "earlier.db"), *_shares(shop), "--yes"]),
    Operation("encrypt-model", lambda shop: ["encrypt-model", *_encrypted(shop, "new.ttm")]),
    Operation("encrypt-over", lambda shop: ["encrypt-model", *_encrypted(shop, "precious.bin"), "--force"]),
    Operation("rewrap-model", lambda shop: ["rewrap-model", str(shop.models / "phi.ttm")]),
    Operation("reencrypt-model", lambda shop: ["reencrypt-model", str(shop.models / "phi.ttm")]),
    Operation("decrypt-model", lambda shop: ["decrypt-model", *_decrypted(shop, "out.bin")]),
    Operation("decrypt-over", lambda shop: ["decrypt-model", *_decrypted(shop, "precious.bin"), "--force"]),
)

FOLDER_OPERATIONS = (
    Operation("encrypt-folder", lambda shop: _encrypted_folder(shop, "-o", str(shop.models / "new.ttm")), folders=True),
    Operation("encrypt-folder-over", lambda shop: _encrypted_folder(shop, "--force"), folders=True),
    Operation(
        "encrypt-folder-resumable",
        lambda shop: _encrypted_folder(shop, "-o", str(shop.models / "new.ttm"), "--resume", str(shop.live / "state")),
        folders=True,
        resumes=True,
    ),
    Operation(
        "decrypt-folder",
        lambda shop: _folder(shop, "decrypt-model", "dir.ttm", "-o", str(shop.models / "out")),
        folders=True,
    ),
    Operation("decrypt-folder-over", lambda shop: _folder(shop, "decrypt-model", "dir.ttm", "--force"), folders=True),
    Operation("reencrypt-folder", lambda shop: _folder(shop, "reencrypt-model", "dir.ttm"), folders=True),
    Operation("rewrap-folder", lambda shop: _folder(shop, "rewrap-model", "dir.ttm"), folders=True, file_by_file=True),
)
"""The operations on folders, which only the campaign of kills knows, and only when it is asked for them by name."""

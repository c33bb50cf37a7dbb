"""Results of operations on models, files and folders alike, as JSON members and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiktrue_keys.cli.view.signer import signer_json
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import plural
from tiktrue_keys.models.file.decrypt import Decrypted
from tiktrue_keys.models.file.encrypt import Encrypted
from tiktrue_keys.models.file.encrypt_for_recipients import SealedForRecipients
from tiktrue_keys.models.file.plan import EncryptionPlan
from tiktrue_keys.models.file.verify import Verified
from tiktrue_keys.models.folder.decrypt import DecryptedFolder
from tiktrue_keys.models.folder.encrypt import EncryptedFolder
from tiktrue_keys.models.folder.verify import VerifiedFolder


def encrypted_json(made: Encrypted) -> dict[str, Any]:
    """A new container."""
    return _file_json(made) | {"size": made.size, "root": made.root.hex()}


def sealed_json(made: SealedForRecipients) -> dict[str, Any]:
    """A new unsigned container, for the recipients' keys."""
    first = made.recipients[0]
    return {
        "source": str(made.source) if made.source else None,
        "destination": str(made.destination) if made.destination else None,
        "file_id": made.file_id.hex(),
        "model_id": first.model_id,
        "key_id": first.key_id,
        "recipients": [
            {"key_id": each.key_id, "generation": each.generation, "not_after": rfc3339(each.not_after)}
            for each in made.recipients
        ],
        "name": made.name,
        "kind": made.kind,
        "length": made.length,
        "size": made.size,
        "root": made.root.hex(),
        "signed": False,
    }


def encrypted_folder_json(made: EncryptedFolder[Any]) -> dict[str, Any]:
    """A new encrypted folder."""
    return {
        "source": str(made.source),
        "destination": str(made.destination),
        "folder_id": made.folder_id.hex(),
        "model_id": made.key.model_id,
        "key_id": made.key.key_id,
        "length": made.length,
        "files": [encrypted_json(each) for each in made.files],
        "plain": list(made.plain),
        "left_out": list(made.left_out),
        "taken_over": list(made.taken_over),
    }


def plan_json(found: EncryptionPlan) -> dict[str, Any]:
    """What an encryption would do."""
    return {
        "dry_run": True,
        "source": str(found.source),
        "destination": str(found.destination),
        "model_id": found.key.model_id,
        "key_id": found.key.key_id,
        "length": found.length,
        "size": found.size,
        "files": [{"path": each.path, "length": each.length, "action": each.action} for each in found.files],
        "left_out": list(found.left_out),
    }


def decrypted_json(opened: Decrypted) -> dict[str, Any]:
    """An opened container."""
    return _file_json(opened) | {"signed": opened.signed, "signer": signer_json(opened.signer)}


def decrypted_folder_json(opened: DecryptedFolder) -> dict[str, Any]:
    """An opened folder."""
    return {
        "source": str(opened.source),
        "destination": str(opened.destination),
        "length": opened.length,
        "files": [decrypted_json(each) for each in opened.files],
        "plain": list(opened.plain),
    }


def verified_json(found: Verified) -> dict[str, Any]:
    """A container in which nothing is wrong."""
    return {
        "path": str(found.path),
        "file_id": found.file_id.hex(),
        "model_id": found.key.model_id,
        "key_id": found.key.key_id,
        "length": found.length,
        "segments": found.segments,
        "root": found.root.hex(),
        "signed": found.signed,
        "signer": signer_json(found.signer),
        "checks": list(found.checks),
    }


def verified_folder_json(found: VerifiedFolder) -> dict[str, Any]:
    """A folder in which nothing is wrong."""
    return {
        "path": str(found.path),
        "length": found.length,
        "signer": signer_json(found.signer),
        "files": [verified_json(each) for each in found.files],
        "plain": list(found.plain),
        "checks": list(found.checks),
    }


def files_of(files: Sequence[object], plain: Sequence[str]) -> str:
    """`3 files`, or `3 files and 1 unencrypted file`."""
    return plural(len(files), "file") + (f" and {plural(len(plain), 'unencrypted file')}" if plain else "")


def done_to_files(verb: str, files: Sequence[object], plain: Sequence[str], length: int) -> str:
    """`Encrypted 3 files, copied 1 file unencrypted; 8920 bytes`, with `verb` Encrypted or Decrypted."""
    copied = f", copied {plural(len(plain), 'file')} unencrypted" if plain else ""
    return f"{verb} {plural(len(files), 'file')}{copied}; {length} bytes"


def _file_json(result: Encrypted | Decrypted) -> dict[str, Any]:
    return {
        "source": str(result.source) if result.source else None,
        "destination": str(result.destination) if result.destination else None,
        "file_id": result.file_id.hex(),
        "model_id": result.key.model_id,
        "key_id": result.key.key_id,
        "name": result.name,
        "kind": result.kind,
        "length": result.length,
    }

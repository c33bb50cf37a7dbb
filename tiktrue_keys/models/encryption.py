"""ModelEncryption: encrypts model blocks in memory and model files under the keys of a KeyManager.

The binding to the machine is checked when a key is opened, not by a separate call. Methods that end in `_async` run
in a worker thread and do not block the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError
from tiktrue_keys.models.file.decrypt import Decrypted, decrypt_model
from tiktrue_keys.models.file.encrypt import Encrypted, encrypt_model
from tiktrue_keys.models.format.block import open_block, read_block_head, seal_block
from tiktrue_keys.models.registry.plaintext_approval import release
from tiktrue_keys.models.storage.location import Url

_BLOCKS = "model blocks in memory"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class ModelEncryption:
    """Encrypts and decrypts with the keys of one keystore. Thread-safe."""

    def __init__(self, key_manager: KeyManager) -> None:
        self.key_manager = key_manager
        self._registered: set[str] = set()

    def ensure_key(self, model_id: str, license_key: License) -> ManagedKey:
        """Return the key of a model id; create one bound to this machine and the license when there is none."""
        try:
            return self.key_manager.find(model_id)
        except NotFoundError:
            return self.key_manager.generate_hardware_bound_key(license_key=license_key, model_id=model_id)

    def encrypt_block(
        self,
        data: bytes | bytearray | memoryview,
        *,
        model_id: str,
        license_key: License | None = None,
        block_id: str = "",
    ) -> bytes:
        """Encrypt one block (at most 1 GiB) under the model's active key; `block_id` names it inside the model.

        The registry records that the key has sealed blocks, which cannot be scanned for, so that cleanup does not
        destroy the key by default. Raises UsageError when `block_id` is too long, RefusedError when `data` is, and the
        errors of opening the key.
        """
        with self.key_manager.open_key(model_id, license_key, use=Use.ENCRYPT) as opened:
            key = opened.key
            self._register(key)
            return seal_block(data, opened.secret.view, key_id=key.key_id, generation=key.generation, block_id=block_id)

    def decrypt_block(
        self,
        envelope: bytes | memoryview,
        *,
        model_id: str,
        license_key: License | None = None,
        block_id: str = "",
        allow_deprecated: bool = False,
    ) -> bytes:
        """Decrypt one block; the use is recorded before its bytes are returned.

        Raises IntegrityError when it was changed or belongs to another model or block, NotFoundError when this keystore
        does not hold the key, RevokedError, ExpiredError or WrongLicenseError when the key may not be used.
        """
        head, _ = read_block_head(envelope)
        key = self.key_manager.find(head.key_id)
        fits = model_id in (key.model_id, key.key_id) and head.generation == key.generation
        if not fits or head.block_id != block_id:
            raise IntegrityError(f"this is not block '{block_id}' of model {model_id}", key_id=key.key_id)
        use = Use.DECRYPT_DEPRECATED if allow_deprecated else Use.DECRYPT
        with self.key_manager.open_key(key.key_id, license_key, use=use) as opened:
            data = open_block(envelope, opened.secret.view)
            detail = {"block_id": block_id, "length": len(data)}
            source = f"block {block_id} of {model_id}"
            proposal = release(source, "the program that opens it", [opened.key], detail)
            self.key_manager.record_use("decrypt-block", key=opened.key, detail=detail, proposal=proposal)
            return data

    def encrypt_file(
        self,
        source: str | PathLike[str] | Url,
        destination: str | PathLike[str] | Url | None = None,
        *,
        model_id: str,
        license_key: License | None = None,
        **options: Any,
    ) -> Encrypted:
        """Encrypt a model file into a container under the model's active key; `options` are those of encrypt_model."""
        return encrypt_model(self.key_manager, source, destination, key=model_id, license_key=license_key, **options)

    def decrypt_file(
        self,
        source: str | PathLike[str] | Url,
        destination: str | PathLike[str] | Url | None = None,
        *,
        license_key: License | None = None,
        **options: Any,
    ) -> Decrypted:
        """Decrypt a container into a model file; `options` are those of decrypt_model."""
        return decrypt_model(self.key_manager, source, destination, license_key=license_key, **options)

    async def encrypt_block_async(self, data: bytes | bytearray | memoryview, **options: Any) -> bytes:
        """Run encrypt_block in a worker thread."""
        return await _in_thread(self.encrypt_block, data, **options)

    async def decrypt_block_async(self, envelope: bytes | memoryview, **options: Any) -> bytes:
        """Run decrypt_block in a worker thread."""
        return await _in_thread(self.decrypt_block, envelope, **options)

    async def encrypt_file_async(
        self, source: str | PathLike[str] | Url, destination: str | PathLike[str] | Url | None = None, **options: Any
    ) -> Encrypted:
        """Run encrypt_file in a worker thread."""
        return await _in_thread(self.encrypt_file, source, destination, **options)

    async def decrypt_file_async(
        self, source: str | PathLike[str] | Url, destination: str | PathLike[str] | Url | None = None, **options: Any
    ) -> Decrypted:
        """Run decrypt_file in a worker thread."""
        return await _in_thread(self.decrypt_file, source, destination, **options)

    def _register(self, key: ManagedKey) -> None:
        if key.key_id in self._registered:
            return
        record = ContainerRecord(
            file_id=hashlib.sha256(f"{_BLOCKS} {key.key_id}".encode()).digest()[:16],
            path="",
            model_id=key.model_id,
            name=_BLOCKS,
            keys=frozenset({key.key_id}),
            last_seen=key.created_at,
            piped=True,
        )
        self.key_manager.register(record)
        self._registered.add(key.key_id)


async def _in_thread(
    operation: Callable[_Arguments, _Result], *positional: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    return await asyncio.to_thread(operation, *positional, **named)

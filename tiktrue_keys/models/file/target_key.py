"""Chooses the key that a container is wrapped for from now on, and makes or checks its wrap.

Come here for which wraps a rewrap drops: those of this keystore's keys, once a wrap for the target holds the data key.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from contextlib import suppress

from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.keys.lifecycle import ManagedKey, Status, Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, UsageError
from tiktrue_keys.models.container.data_key import HeldKeys, OpenedDataKey
from tiktrue_keys.models.format.header import Header, Wrap, WrapType
from tiktrue_keys.models.format.wraps import wrap_for_key


class TargetKeys(HeldKeys):
    """The keys that open the containers of a batch, and those that they are to be wrapped for."""

    def __init__(self, manager: KeyManager, license_key: License | None, to: str | None) -> None:
        super().__init__(manager, license_key, Use.DECRYPT_DEPRECATED)
        self._to = to
        self._targets: dict[str, ManagedKey] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._encrypting = HeldKeys(manager, license_key, Use.ENCRYPT)

    def __enter__(self) -> TargetKeys:
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._encrypting.__exit__()

    def new_header(self, header: Header, ours: Mapping[str, ManagedKey], data_key: OpenedDataKey) -> tuple[Header, str]:
        """Return the header with one wrap for the target instead of this keystore's wraps, and the target's key id.

        Raises RefusedError for a target of another model.
        """
        target = self._target(data_key.key)
        if target.model_id != header.model_id:
            raise RefusedError(
                f"the container belongs to {header.model_id}, key {target.key_id} to another model",
                "re-encrypt it to move it to another model",
                remedy="reencrypt-for-model",
                about={"key": target.key_id},
            )
        kept = tuple(wrap for wrap in header.wraps if wrap.key_id not in ours and wrap.key_id != target.key_id)
        wrap = self._good_wrap(header, target, data_key) or self._new_wrap(header, target, data_key)
        return header.with_wraps((*kept, wrap)), target.key_id

    def shared(self, keys: frozenset[str]) -> frozenset[str]:
        """Return an equal set that all containers of the batch have in common, to save memory."""
        return self._sets.setdefault(keys, keys)

    def _target(self, key: ManagedKey) -> ManagedKey:
        """Return the key to move to, looked up once for each key of a batch."""
        if key.key_id not in self._targets:
            target = self.manager.find(self._to) if self._to is not None else active_key(self.manager, key)
            self._targets[key.key_id] = target
        return self._targets[key.key_id]

    def _good_wrap(self, header: Header, target: ManagedKey, data_key: OpenedDataKey) -> Wrap | None:
        """Return the wrap for the target that there is, if it holds the data key: no other one is dropped before."""
        for wrap in header.wraps:
            if (wrap.key_id, wrap.type) == (target.key_id, WrapType.MANAGED_KEY):
                return wrap if target.key_id == data_key.key.key_id or self._holds(header, wrap, data_key) else None
        return None

    def _holds(self, header: Header, wrap: Wrap, data_key: OpenedDataKey) -> bool:
        try:
            with self.unwrapped(header, wrap) as opened:
                return hmac.compare_digest(opened.secret.view, data_key.secret.view)
        except IntegrityError:
            return False

    def _new_wrap(self, header: Header, target: ManagedKey, data_key: OpenedDataKey) -> Wrap:
        return wrap_for_key(
            data_key.secret.view,
            self._encrypting.opened(target.key_id).secret.view,
            file_id=header.file_id,
            model_id=header.model_id,
            key_id=target.key_id,
            generation=target.generation,
        )


def active_key(manager: KeyManager, key: ManagedKey, *, of_any_issuer: bool = False) -> ManagedKey:
    """Return the active key of a key's chain, else of its model, else the head of the chain.

    Opening that head then raises the reason why it cannot be used. The model's key is of the same issuer (or this
    keystore), unless `of_any_issuer`: a new issuer of a model gets no key to what the one before it had encrypted.
    """
    chain = manager.chain(key)
    for generation in reversed(chain):
        if generation.status is Status.ACTIVE:
            return generation
    with suppress(NotFoundError, UsageError):  # after a revocation the model may have a new chain
        other = manager.find(key.model_id)
        if other.status is Status.ACTIVE and (of_any_issuer or other.origin == key.origin):
            return other
    return chain[-1]

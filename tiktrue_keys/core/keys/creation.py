"""Creates managed keys inside a transaction.

Come here for the terms of a new key and their limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tiktrue_keys.core.instants import DAY, Instant, Seconds, rfc3339
from tiktrue_keys.core.keys.authority import must_be_authority
from tiktrue_keys.core.keys.keyring import add_key, heads_of, is_live, put_heads
from tiktrue_keys.core.keys.licenses import RecognisedLicense
from tiktrue_keys.core.keys.lifecycle import DEFAULT_DECRYPT_FOR, DEFAULT_LIFETIME, MAX_LIFETIME, ManagedKey, Status
from tiktrue_keys.core.keys.promotion import waiting_for
from tiktrue_keys.core.keys.wrapping import wrap_managed_key
from tiktrue_keys.core.keystore.rows import RootKeys
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import ModelId, new_key_id, parse_model_id
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import RefusedError, UsageError

KEY_BYTES = 32
MAX_COUNT = 9_999
MAX_LABELS = 16
MAX_CHAINS = 64
_MAX_LABEL = 64
_MIN_LIFETIME = Seconds(60)


@dataclass(frozen=True)
class KeyTerms:
    """The terms of a new key: its periods in seconds, its labels, and when it is due (None: the default)."""

    lifetime: Seconds = DEFAULT_LIFETIME
    decrypt_for: Seconds = DEFAULT_DECRYPT_FOR
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rotate_every: Seconds | None = None
    rotate_before: Seconds | None = None

    def check(self) -> None:
        """Raise UsageError for a period or a label that is out of bounds."""
        must_be_whole(self.lifetime, self.decrypt_for)
        if not _MIN_LIFETIME <= self.lifetime <= MAX_LIFETIME:
            raise UsageError("the lifetime is out of bounds", f"from 1m to {MAX_LIFETIME // DAY}d")
        if not 0 <= self.decrypt_for <= MAX_LIFETIME:
            raise UsageError("the decryption period is out of bounds", f"from 0s to {MAX_LIFETIME // DAY}d")
        for name, period in (("every", self.rotate_every), ("before", self.rotate_before)):
            if period is None:
                continue
            must_be_whole(period)
            if not _MIN_LIFETIME <= period < self.lifetime:
                raise UsageError(
                    f"the rotation period '{name}' is out of bounds", "from 1m up to the lifetime, which is longer"
                )
        if len(self.labels) > MAX_LABELS:
            raise UsageError(f"a key has at most {MAX_LABELS} labels")
        for name, value in self.labels.items():
            if not (0 < len(name) <= _MAX_LABEL and len(value) <= _MAX_LABEL and (name + value).isprintable()):
                raise UsageError(
                    f"the label '{name[:_MAX_LABEL]}' is malformed", "K=V, each at most 64 printable characters"
                )


def must_be_whole(*periods: object) -> None:
    """Raise UsageError unless every period is a whole number of seconds: a record cannot hold a fraction."""
    for period in periods:
        if not isinstance(period, int) or isinstance(period, bool):
            raise UsageError(f"a period is a whole number of seconds, not {period!r}")


def numbered_model_ids(model_id: str, count: int) -> list[ModelId]:
    """Return the id of the model, or MODEL-0001 to MODEL-n for a batch of n.

    Raises UsageError for a malformed id, or a count that is not from 1 to 9,999.
    """
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"the count must be from 1 to {MAX_COUNT}")
    if count == 1:
        return [parse_model_id(model_id)]
    return [parse_model_id(f"{model_id}-{number:04d}") for number in range(1, count + 1)]


def generate_key(
    transaction: Transaction,
    keys: RootKeys,
    model_id: ModelId,
    terms: KeyTerms,
    opened: RecognisedLicense | None,
    *,
    new_chain: bool = False,
    material: SecretBuffer | None = None,
    fingerprint: str = "",
) -> ManagedKey:
    """Start a chain with a key of generation 1, and return the key.

    Raises RefusedError when the model belongs to an issuer; when it has a live chain, unless `new_chain`; and when it
    has 64. Chains of an issuer that is no longer the model's authority end.
    """
    must_be_authority(transaction.rows, model_id)
    heads = heads_of(transaction.rows, model_id, transaction.now)
    live = [head.key for head in heads if is_live(head.key) and head.key.origin is None]
    if live and not new_chain:
        one = waiting_for(transaction.rows, live[-1], transaction.now)
        if one is not None and one.old.status is not Status.ACTIVE:
            raise RefusedError(
                f"model {model_id} has the pending key {one.new.key_id}",
                "rotate the model, which activates it",
                key_id=one.new.key_id,
                remedy="activate-pending",
                about={"model": model_id},
            )
        if one is not None:
            since = rfc3339(one.promote_at) or ""
            raise RefusedError(
                f"model {model_id} has the key {one.old.key_id} already, whose successor waits from {since}",
                "wait, or pass new_chain=True for a second chain",
                key_id=one.old.key_id,
                remedy="promote-or-chain",
                about={"promote_at": since},
            )
        raise RefusedError(
            f"model {model_id} has the key {live[-1].key_id} already",
            "rotate it, or pass new_chain=True for a second chain",
            key_id=live[-1].key_id,
            remedy="model-has-key",
        )
    if len(live) >= MAX_CHAINS:
        raise RefusedError(f"model {model_id} has {len(live)} chains, and no more are kept apart")
    key = new_key(model_id, 1, transaction.now, terms, opened, fingerprint=fingerprint)
    _store(transaction, keys, key, opened, material)
    ended = [head.key.key_id for head in heads if head.key not in live]
    put_heads(transaction.rows, model_id, [*(head.key_id for head in live), key.key_id], ended=ended)
    transaction.record("generate", key_id=key.key_id, model_id=model_id, after=key.status.value, detail=_described(key))
    return key


def new_key(
    model_id: ModelId,
    generation: int,
    now: Instant,
    terms: KeyTerms,
    opened: RecognisedLicense | None,
    *,
    predecessor: ManagedKey | None = None,
    fingerprint: str = "",
) -> ManagedKey:
    """Return the description of a new key. It gets its secret when it is stored."""
    expires_at = Instant(now + terms.lifetime)
    return ManagedKey(
        key_id=new_key_id(model_id),
        model_id=model_id,
        generation=generation,
        created_at=now,
        expires_at=expires_at,
        decrypt_until=Instant(expires_at + terms.decrypt_for),
        license_tag=opened.tag if opened else None,
        predecessor=predecessor.key_id if predecessor else None,
        fingerprint=fingerprint,
        labels=MappingProxyType(dict(terms.labels)),
        rotate_every=terms.rotate_every,
        rotate_before=terms.rotate_before,
    )


def store_successor(
    transaction: Transaction, keys: RootKeys, key: ManagedKey, opened: RecognisedLicense | None
) -> None:
    """Give a successor a new secret and store it."""
    _store(transaction, keys, key, opened, None)


def _store(
    transaction: Transaction,
    keys: RootKeys,
    key: ManagedKey,
    opened: RecognisedLicense | None,
    material: SecretBuffer | None,
) -> None:
    with SecretBuffer.random(KEY_BYTES) if material is None else SecretBuffer.copy_of(material.view) as secret:
        add_key(transaction, key, wrap_managed_key(keys, key, secret, opened))


def _described(key: ManagedKey) -> dict[str, object]:
    return {"generation": key.generation, "expires_at": key.expires_at, "binding": key.binding}

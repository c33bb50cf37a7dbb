"""Applies one opened envelope inside the transaction that consumes it.

Come here for what a node does with a key, a revocation list or a promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tiktrue_keys.core.dispatch.outbox import KEY, LIST, PROMOTE, VOID
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.dispatch.releases import Release, take_release
from tiktrue_keys.core.dispatch.revocation_lists import KnownList, known_list, put_known_list
from tiktrue_keys.core.fingerprint import fingerprint_of
from tiktrue_keys.core.keys.authority import OutOfScopeError, must_be_in_scope
from tiktrue_keys.core.keys.licenses import PreparedLicense, RecognisedLicense, recognise_or_enroll
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.received import apply_revocation, import_key, promote_received
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import KeyId, is_key_id
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import IntegrityError, RefusedError, RevokedError
from tiktrue_keys.fleet.acknowledgements import OK, REASON_LENGTH
from tiktrue_keys.fleet.envelopes import Address, Contents, Parcel
from tiktrue_keys.fleet.payloads import read_key, read_list, read_promotion

OLDER = "older"
SCOPE = "scope"


@dataclass(frozen=True)
class Applied:
    """The result of one envelope: `outcome` is `ok` or the reason why it was not applied; `keys` are new or changed.

    Of a list some parts may be applied although the outcome is not `ok`. `foreign` counts the revocations of keys that
    are not the issuer's to revoke.
    """

    outcome: str
    keys: tuple[ManagedKey, ...] = ()
    superseded: tuple[str, ...] = ()
    foreign: int = 0


@dataclass(frozen=True)
class Arrival:
    """One opened envelope, and the transaction that consumes it. `prepared` is the license, if one was needed."""

    session: KeystoreSession
    transaction: Transaction
    issuer: Peer
    parcel: Parcel
    contents: Contents
    prepared: PreparedLicense | None


def needs_license(parcel: Parcel, contents: Contents) -> bool:
    """Return whether a license is needed before the transaction begins."""
    address = parcel.address
    return address.kind == KEY and read_key(contents.payload, address.key_id, address.generation).licensed


def apply(arrival: Arrival) -> Applied:
    """Import a key, apply a revocation list or promote a key. Returns the outcome.

    An envelope about a model or a key of which the issuer is not the authority changes nothing, and its outcome says
    so. Raises IntegrityError for contents that are malformed although they are signed.
    """
    _must_fit_its_kind(arrival.parcel.address, arrival.contents)
    try:
        return _KINDS[arrival.parcel.address.kind](arrival)
    except OutOfScopeError as error:
        return Applied(reason(SCOPE, error.message))


def _must_fit_its_kind(address: Address, contents: Contents) -> None:
    """Raise IntegrityError for a part that an envelope of this kind does not have, or that it lacks."""
    of_key = address.kind in (KEY, PROMOTE)
    wrong = (
        (contents.secret is not None) != (address.kind == KEY)
        or bool(address.key_id) != of_key
        or bool(address.generation) != of_key
        or (address.kind == VOID and contents.payload)
    )
    if wrong:
        raise IntegrityError(f"the envelope has parts that one of kind {address.kind} does not have")


def reason(code: str, message: str) -> str:
    """Return `code: message` as an acknowledgement carries it: ASCII, cut to REASON_LENGTH."""
    return f"{code}: {message}".encode("ascii", "backslashreplace").decode("ascii")[:REASON_LENGTH]


def _import(arrival: Arrival) -> Applied:
    transaction, address, contents = arrival.transaction, arrival.parcel.address, arrival.contents
    _must_be_a_key_id(address.key_id)
    received = read_key(contents.payload, address.key_id, address.generation)
    if contents.secret is None:
        raise IntegrityError("the envelope's key has no secret")
    if len(set(contents.secret.view)) == 1:
        raise IntegrityError("the envelope's key is one byte repeated")
    keys = arrival.session.root_keys
    opened: RecognisedLicense | None = None
    if received.licensed and arrival.prepared is not None:
        opened = recognise_or_enroll(arrival.prepared, transaction, keys, transaction.document, enroll=False)
    try:
        key = import_key(
            transaction,
            keys,
            received,
            contents.secret,
            issuer=arrival.issuer,
            epoch=address.epoch,
            opened=opened,
            fingerprint=fingerprint_of(read_binding(transaction.rows)),
        )
    except OutOfScopeError:
        raise
    except (RefusedError, RevokedError) as error:
        return Applied(reason(error.code, error.message))
    return Applied(OK, (key,), (key.predecessor,) if key.predecessor and not key.pending else ())


def _promote(arrival: Arrival) -> Applied:
    promotion, key_id = read_promotion(arrival.contents.payload), _must_be_a_key_id(arrival.parcel.address.key_id)
    promote_received(arrival.transaction, arrival.issuer, key_id, promotion)
    return Applied(OK)


def _take_list(arrival: Arrival) -> Applied:
    transaction, issuer = arrival.transaction, arrival.issuer
    found = read_list(arrival.contents.payload, issuer.node_id, issuer.identity_key)
    known = known_list(transaction.rows, issuer.node_id)
    if known is not None and (found.epoch, found.number) <= (known.epoch, known.number):
        return Applied(reason(OLDER, f"revocation list {found.number} is not newer than {known.number}"))
    put_known_list(
        transaction.rows, issuer.node_id, KnownList(found.epoch, found.number, found.issued_at, found.valid_until)
    )
    revoked: list[ManagedKey] = []
    foreign = 0
    for each in found.revoked:
        try:
            key = apply_revocation(transaction, issuer, each)
        except OutOfScopeError:
            foreign += 1
        else:
            revoked += [] if key is None else [key]
    refused = [each.model_id for each in found.releases if not _take_release(transaction, issuer, each)]
    return Applied(_of_releases(issuer, refused), tuple(revoked), foreign=foreign)


def _of_releases(issuer: Peer, refused: Sequence[str]) -> str:
    """Return the outcome of a list, of whose releases these were refused."""
    if not refused:
        return OK
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return reason(SCOPE, f"not in the scope of '{issuer.name}': the release of {refused[0]}{more}")


def _take_release(transaction: Transaction, issuer: Peer, release: Release) -> bool:
    """Store a release. Return False, and only record it, when the issuer is not the model's authority."""
    try:
        must_be_in_scope(transaction.rows, issuer, release.model_id)
    except OutOfScopeError:
        refused = {"by": issuer.name, "number": release.number, "reason": "it is not the model's authority"}
        transaction.record("release", outcome="refused", model_id=release.model_id, detail=refused)
        return False
    taken = take_release(transaction.rows, release)
    counts = {"named": len(taken.entries), "withdrawn": len(taken.withdrawn)}
    detail = {"by": issuer.name, "epoch": taken.epoch, "number": taken.number, **counts}
    transaction.record("release", model_id=taken.model_id, detail=detail)
    return True


def _must_be_a_key_id(text: str) -> KeyId:
    if not is_key_id(text):
        raise IntegrityError("the envelope's key id is malformed")
    return KeyId(text)


def _nothing(_: Arrival) -> Applied:
    return Applied(OK)


_KINDS: Mapping[str, Callable[[Arrival], Applied]] = {
    KEY: _import,
    LIST: _take_list,
    PROMOTE: _promote,
    VOID: _nothing,
}

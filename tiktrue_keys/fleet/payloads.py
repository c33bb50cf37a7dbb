"""The payloads of envelopes as JSON members: a key's description, a signed revocation list, a promotion.

Come here for their formats. These functions read and write nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from tiktrue_keys.core.dispatch.revocation_lists import (
    KEYS_A_LIST,
    REASON_LENGTH,
    RELEASES_A_LIST,
    Revocation,
    RevocationList,
)
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keys.received import ReceivedKey, ReceivedPromotion
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.members import Members
from tiktrue_keys.core.names import MAX_GENERATION, KeyId, ModelId, is_key_id, model_of
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.fleet.release_members import read_release, release_json
from tiktrue_keys.fleet.signed import parse_signed, signed_line

SIGNATURE_KIND = "revocation-list"
LIST_FORM = "tiktrue-revocation-list/2"
_MAX_LABELS = 16
_MAX_LABEL = 64
_KEY_ID_LENGTH = 128
_MAX_LIST = 40 * 1024


def key_payload(key: ManagedKey, predecessor: ManagedKey | None) -> dict[str, Any]:
    """Return the description of a key, without its secret."""
    return {
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "decrypt_until": key.decrypt_until,
        "pending": key.pending,
        "licensed": key.license_tag is not None,
        "predecessor": key.predecessor or "",
        "overlap_ends_at": (predecessor.overlap_ends_at or 0) if predecessor else 0,
        "labels": dict(key.labels),
    }


def read_key(payload: dict[str, Any], key_id: str, generation: int) -> ReceivedKey:
    """Return the key that an envelope about `key_id` describes. Raises IntegrityError when it is malformed."""
    members = Members(payload, "the envelope's key")
    if not 1 <= generation < MAX_GENERATION:  # its successor has one too
        raise IntegrityError(f"the envelope's key has the impossible generation {generation}")
    predecessor = members.text("predecessor", _KEY_ID_LENGTH)
    if predecessor and (not is_key_id(predecessor) or model_of(KeyId(predecessor)) != model_of(KeyId(key_id))):
        raise members.malformed("predecessor")
    received = ReceivedKey(
        key_id=KeyId(key_id),
        model_id=ModelId(model_of(KeyId(key_id))),
        generation=generation,
        created_at=Instant(members.whole("created_at")),
        expires_at=Instant(members.whole("expires_at")),
        decrypt_until=Instant(members.whole("decrypt_until")),
        pending=members.flag("pending"),
        licensed=members.flag("licensed"),
        predecessor=KeyId(predecessor) if predecessor else None,
        overlap_ends_at=Instant(members.whole("overlap_ends_at")),
        labels=MappingProxyType(_labels(members.raw("labels"))),
    )
    members.done()
    _must_be_in_order(received.created_at, received.expires_at, received.decrypt_until)
    return received


def promotion_payload(key: ManagedKey, predecessor: ManagedKey | None) -> dict[str, Any]:
    """Return the periods of a promoted key, when its predecessor was rotated and until when that one overlaps.

    0 stands for an instant that is not known.
    """
    return {
        "expires_at": key.expires_at,
        "decrypt_until": key.decrypt_until,
        "rotated_at": (predecessor.rotated_at or 0) if predecessor else 0,
        "overlap_ends_at": (predecessor.overlap_ends_at or 0) if predecessor else 0,
    }


def read_promotion(payload: dict[str, Any]) -> ReceivedPromotion:
    """Return the promotion that an envelope states. Raises IntegrityError when it is malformed."""
    members = Members(payload, "the envelope's promotion")
    promotion = ReceivedPromotion(
        rotated_at=Instant(members.whole("rotated_at")),
        overlap_ends_at=Instant(members.whole("overlap_ends_at")),
        expires_at=Instant(members.whole("expires_at")),
        decrypt_until=Instant(members.whole("decrypt_until")),
    )
    members.done()
    _must_be_in_order(promotion.rotated_at, promotion.expires_at, promotion.decrypt_until)
    return promotion


def list_payload(revocations: RevocationList, sign: Signer) -> dict[str, Any]:
    """Return a signed revocation list. Its signature also holds without the envelope."""
    members = {
        "type": LIST_FORM,
        "issuer": revocations.issuer,
        "epoch": revocations.epoch,
        "number": revocations.number,
        "issued_at": revocations.issued_at,
        "valid_until": revocations.valid_until,
        "revoked": [asdict(each) for each in revocations.revoked],
        "releases": [release_json(each) for each in revocations.releases],
    }
    return {"list": signed_line(members, SIGNATURE_KIND, sign).decode("utf-8")}


def read_list(payload: dict[str, Any], issuer: str, issuer_key: bytes) -> RevocationList:
    """Return a revocation list that this issuer signed.

    Raises RefusedError for a list of version 1, which has no type, IntegrityError for any other line.
    """
    what = "the revocation list"
    payload_members = Members(payload, "the envelope's revocation list")
    line = payload_members.any_text("list", _MAX_LIST)
    payload_members.done()
    members, verify = parse_signed(line.encode("utf-8", "surrogatepass"), limit=_MAX_LIST, what=what, form=None)
    if not members.has("type"):
        raise RefusedError(f"{what} has version 1", "upgrade the issuer, then sync the fleet there")
    members.form(LIST_FORM)
    epoch, number = members.whole("epoch", 1), members.whole("number", 1)
    issued_at, valid_until = Instant(members.whole("issued_at")), Instant(members.whole("valid_until"))
    releases = tuple(read_release(each) for each in members.objects("releases", RELEASES_A_LIST))
    found = RevocationList(
        issuer=members.text("issuer", 32),
        epoch=epoch,
        number=number,
        issued_at=issued_at,
        valid_until=valid_until,
        revoked=tuple(_revocation(each) for each in members.objects("revoked", KEYS_A_LIST)),
        releases=tuple(
            replace(each, origin=issuer, epoch=epoch, number=number, issued_at=issued_at) for each in releases
        ),
    )
    members.done()
    if any(first.model_id >= second.model_id for first, second in pairwise(releases)):
        raise members.malformed("releases")
    verify(issuer_key, SIGNATURE_KIND)
    if found.issuer != issuer:
        raise IntegrityError(f"{what} is from another issuer")
    return found


def _revocation(members: Members) -> Revocation:
    revocation = Revocation(
        members.text("key_id", _KEY_ID_LENGTH),
        Instant(members.whole("revoked_at")),
        members.text("reason", REASON_LENGTH),
    )
    members.done()
    if not is_key_id(revocation.key_id):
        raise members.malformed("key_id")
    return revocation


def _must_be_in_order(*instants: Instant) -> None:
    if list(instants) != sorted(instants):
        raise IntegrityError("the envelope's key has impossible periods")


def _labels(value: dict[str, Any]) -> dict[str, str]:
    wrong = len(value) > _MAX_LABELS or not all(
        isinstance(text, str)
        and len(text) <= _MAX_LABEL
        and 0 < len(name) <= _MAX_LABEL
        and (name + text).isprintable()
        for name, text in value.items()
    )
    if wrong:
        raise IntegrityError("the envelope's key has malformed labels")
    return dict(value)

"""What the fuzzer feeds: each parser of bytes that strangers write, behind a checksum that is put right for it.

A target returns when the bytes were read or refused in our own words, and raises for anything else. What was read must
be what would be written: a second spelling of the same thing is a finding, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from shamir_mnemonic.rs1024 import create_checksum
from shamir_mnemonic.wordlist import words_from_indices

from tiktrue_keys.core.canonical import parse_canonical
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.errors import IntegrityError, RefusedError, UsageError
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.acknowledgements import MAX_ACKNOWLEDGEMENT, parse_acknowledgement
from tiktrue_keys.fleet.cards import MAX_CARD, parse_card
from tiktrue_keys.fleet.challenges import MAX_CHALLENGE, parse_challenge, peek_challenge, sign_challenge
from tiktrue_keys.fleet.envelopes import MAX_ENVELOPE, Address, Parcel, open_envelope, parse_envelope, peek
from tiktrue_keys.fleet.payloads import list_payload, read_key, read_list, read_promotion
from tiktrue_keys.fleet.signed import signed_line
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.folder.resume_state import ResumeState
from tiktrue_keys.models.format.body import Geometry
from tiktrue_keys.models.format.header import SEGMENT_SIZES, Header
from tiktrue_keys.models.format.header_slots import MAX_JSON, SLOT_SIZE, decode_slots
from tiktrue_keys.models.format.manifest import SignedManifest
from tiktrue_keys.models.format.recipient import Recipient, parse_recipient
from tiktrue_keys.models.format.safetensors import parse_header
from tiktrue_keys.models.format.trailer import LEAF_LENGTH, TAIL_LENGTH, decode_trailer
from tiktrue_keys.recovery.share_files import parse_shares
from tiktrue_keys.recovery.shares import MAX_SHARES, combine, parse_share

REFUSALS = (IntegrityError, RefusedError)
CORPUS = Path(__file__).with_name("corpus")
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNED_BY = SIGNER.public_key().public_bytes_raw()
NODE_KEY = hpke.private_key(memoryview(bytes(range(32))))
LIST_ISSUER = "i" * 32
ADDRESS = Address("i" * 32, "n" * 32, 1, 1, 1, "key", "llama_0123456789abcdef", 2, Instant(0), Instant(9))


def header(data: bytes) -> None:
    """The canonical JSON of a container's header."""
    found = Header.decode(data, limit=MAX_JSON, segment_sizes=SEGMENT_SIZES)
    assert found.encode() == data


def slots(data: bytes) -> None:
    """Two slots: the first bytes are the fixed fields and the JSON of each, split in the middle."""
    half = len(data) // 2
    found = decode_slots(_slot(data[:half]) + _slot(data[half:]))
    assert found.place in (0, 1)


def trailer(data: bytes) -> None:
    """Leaves, record and footer."""
    if len(data) < TAIL_LENGTH:
        return
    leaves, tail = data[:-TAIL_LENGTH], data[-TAIL_LENGTH:]
    unsigned = tail[:56] + bytes(112)
    checksum = hashlib.sha256(leaves + unsigned + tail[168:184]).digest()[:16]
    found = decode_trailer(leaves, tail[:184] + checksum, Geometry())
    assert found.segments * LEAF_LENGTH == len(leaves) or found.leaves is None
    if found.signature is not None:
        assert found.encode() == data[:-16] + checksum


def container(data: bytes) -> None:
    """A whole file."""
    fd = os.memfd_create("fuzz")
    try:
        os.write(fd, data)
        read_container(fd)
    finally:
        os.close(fd)


def recipient(data: bytes) -> None:
    """A recipient file; its members too, which the signature would guard."""
    try:
        parse_recipient(data)
    finally:
        Recipient.decode(data)


def manifest(data: bytes) -> None:
    """A folder's manifest."""
    assert SignedManifest.decode(data).encode() == data


def resume(data: bytes) -> None:
    """A resume file, which the user's own disk may have damaged."""
    ResumeState(Path("state")).take(data)


def safetensors(data: bytes) -> None:
    """The header of a safetensors file; the first four bytes are the file's length."""
    parse_header(data[4:], int.from_bytes(data[:4], "little"))


def card(data: bytes) -> None:
    """A keystore's card, signed again by the key that it names where it names ours."""
    line = _signed(data, "card", MAX_CARD)
    found = parse_card(line)
    assert found.sign(SIGNER.sign) == line + b"\n"


def envelope(data: bytes) -> None:
    """An envelope's clear members; what anybody may sort by, too."""
    line = _signed(data, "envelope", MAX_ENVELOPE)
    found = parse_envelope(line, SIGNED_BY)
    assert found.address == peek(line)


def challenge(data: bytes) -> None:
    """A challenge; what anybody may sort by, too."""
    line = _signed(data, "challenge", MAX_CHALLENGE)
    sender, found = parse_challenge(line, SIGNED_BY)
    assert found == peek_challenge(line)
    assert sign_challenge(found, sender, SIGNER.sign) == line


def contents(data: bytes) -> None:
    """What an issuer sealed to us, with every reading of its payload; refused when none of them takes it."""
    info = ADDRESS.info()
    sealed = hpke.seal(memoryview(data), NODE_KEY.public_key(), info)
    found = open_envelope(Parcel(ADDRESS, sealed, bytes(32)), NODE_KEY)
    readings: tuple[Callable[[Any], object], ...] = (
        lambda payload: read_key(payload, ADDRESS.key_id, ADDRESS.generation),
        lambda payload: read_list(payload, LIST_ISSUER, SIGNED_BY),
        read_promotion,
    )
    refusals = []
    for read in readings:
        try:
            read(found.payload)
        except REFUSALS as refused:
            refusals.append(refused)
    if len(refusals) == len(readings):
        raise refusals[0]


def revocation_list(data: bytes) -> None:
    """A signed list, which nodes believe."""
    line = _signed(data, "revocation-list", MAX_ENVELOPE)
    found = read_list({"list": line.decode()}, LIST_ISSUER, SIGNED_BY)
    assert list_payload(found, SIGNER.sign)["list"] == line.decode()


def acknowledgement(data: bytes) -> None:
    """What a node answers."""
    line = _signed(data, "acknowledgement", MAX_ACKNOWLEDGEMENT)
    found = parse_acknowledgement(line, SIGNED_BY)
    assert found.sign(SIGNER.sign) == line


def shares(data: bytes) -> None:
    """A text of an escrow's shares; behind a zero byte, what one share says, with a right checksum."""
    text = _share(data[1:]) if data[:1] == b"\0" else data
    try:
        found = parse_shares(text, "the input")
        for share in found:
            assert parse_share(share.words) == share
            assert 1 <= share.number <= MAX_SHARES
            assert 1 <= share.threshold <= MAX_SHARES
        combine(found).wipe()
    except UsageError as refused:
        raise RefusedError(refused.message) from refused


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        header,
        slots,
        trailer,
        container,
        recipient,
        manifest,
        resume,
        safetensors,
        card,
        envelope,
        challenge,
        contents,
        revocation_list,
        acknowledgement,
        shares,
    )
}


def run(name: str, data: bytes) -> bool:
    """Feed one target; whether it took the bytes. Raises for a finding."""
    try:
        TARGETS[name](data)
    except REFUSALS as refused:
        message = refused.message
    else:
        return True
    assert 0 < len(message) < 1000
    return False


def _signed(data: bytes, kind: str, limit: int) -> bytes:
    """The object that `data` is, signed again: no fuzzer finds a signature."""
    members = parse_canonical(data, limit=limit, what="the input")
    return signed_line({name: value for name, value in members.items() if name != "signature"}, kind, SIGNER.sign)


def _share(data: bytes) -> bytes:
    """The words of 40 bits of parameters, 4 of padding and 256 of a value, as far as `data` goes."""
    bits = int.from_bytes(data[:38].ljust(38, b"\0"), "big") >> 4
    indexes = [bits >> 10 * (29 - place) & 1023 for place in range(30)]
    customization = b"shamir_extendable" if indexes[1] >> 4 & 1 else b"shamir"
    return " ".join(words_from_indices([*indexes, *create_checksum(indexes, customization)])).encode()


def _slot(data: bytes) -> bytes:
    """`data` as a slot with a right checksum."""
    slot = bytearray(data[:SLOT_SIZE].ljust(SLOT_SIZE, b"\0"))
    slot[32:64] = bytes(32)
    slot[32:64] = hashlib.sha256(slot).digest()
    return bytes(slot)

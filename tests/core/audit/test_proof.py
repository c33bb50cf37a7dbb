"""The file of an inclusion proof: it holds as it was written, and no part of it can be another one's."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace

import pytest

from tests.keystores import Desk
from tiktrue_keys.core.audit.proof import PROOF_LIMIT, InclusionProof, parse_proof, verify_proof
from tiktrue_keys.core.keystore.audit_log import origin_of
from tiktrue_keys.errors import IntegrityError


@pytest.fixture
def proof(desk: Desk) -> InclusionProof:
    for name in ("a", "b", "c", "d"):
        desk.manager().generate(name, no_license=True)
    return desk.manager().audit_proof(2)


def test_a_proof_is_read_as_it_was_written_and_holds(desk: Desk, proof: InclusionProof) -> None:
    document = desk.manager().document()
    log = {"origin": origin_of(document.keystore_id, 1), "public_key": document.audit_key}

    def holds(wrong: InclusionProof, **other: object) -> bool:
        try:
            verify_proof(wrong, **(log | other))  # type: ignore[arg-type]
        except IntegrityError:
            return False
        return True

    assert parse_proof(proof.encode().encode()) == proof
    assert holds(proof)
    later = desk.manager()
    later.generate("e", no_license=True)
    assert not holds(replace(proof, number=1))
    assert not holds(replace(proof, size=proof.size + 1))
    assert not holds(replace(proof, leaf=proof.leaf[:-1]))
    assert not holds(replace(proof, path=proof.path[:-1]))
    assert not holds(replace(proof, checkpoint=later.audit_checkpoint()))
    assert not holds(proof, public_key=bytes(32))
    assert not holds(proof, origin=origin_of(document.keystore_id, 2))


def test_the_envelope_of_json_is_read_too(proof: InclusionProof) -> None:
    members = {
        "number": proof.number,
        "size": proof.size,
        "leaf": b64encode(proof.leaf).decode(),
        "path": [b64encode(each).decode() for each in proof.path],
        "checkpoint": proof.checkpoint,
    }
    assert parse_proof(json.dumps({"result": members}).encode()) == proof
    for name in ("number", "size", "leaf", "path"):
        with pytest.raises(IntegrityError):
            parse_proof(json.dumps({"result": {**members, name: [1]}}).encode())
    with pytest.raises(IntegrityError):
        parse_proof(b"{" * 60_000)


def test_anything_else_is_not_a_proof(proof: InclusionProof) -> None:
    text = proof.encode()
    for wrong in ("", "x", text[1:], text.replace("leaf ", "leaf !"), text.replace("path ", "path\t"), "\ud800"):
        with pytest.raises(IntegrityError, match="not a proof"):
            parse_proof(wrong.encode("utf-8", "surrogatepass"))
    with pytest.raises(IntegrityError, match="not a proof"):
        parse_proof(text.encode() + b"x" * PROOF_LIMIT)

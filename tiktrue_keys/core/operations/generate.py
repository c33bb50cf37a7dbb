"""The operation `generate`: creates keys in one transaction, with the keystore if there is none.

Come here for the order of license, keystore and keys; the terms of a key are in core/keys/creation.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tiktrue_keys.core.approvals.policy import DECRYPT_OUT
from tiktrue_keys.core.approvals.proposals import Proposal, must_be_approved
from tiktrue_keys.core.fingerprint import Binding, fingerprint_of
from tiktrue_keys.core.keys.creation import KEY_BYTES, KeyTerms, generate_key, numbered_model_ids
from tiktrue_keys.core.keys.licenses import (
    License,
    PreparedLicense,
    enrolment_notices,
    license_bytes,
    recognise,
    recognise_or_enroll,
)
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.core.keystore.bind import read_binding
from tiktrue_keys.core.keystore.make import KeystoreExistsError
from tiktrue_keys.core.keystore.replay import OperationRequest, arguments_of
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.names import ModelId
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import GenerateResult
from tiktrue_keys.core.operations.standing_notices import binding_notices, recovery_notices, storage_notices
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import UsageError

OPERATION = "generate"


@dataclass(frozen=True)
class GenerateRequest:
    """The keys to generate. `material` holds the caller's 32 bytes, used instead of random ones."""

    model_id: str
    license_key: License | None
    terms: KeyTerms
    no_license: bool = False
    count: int = 1
    new_chain: bool = False
    new_license: bool = False
    material: bytes | None = None


def generate(session: KeystoreSession, request: GenerateRequest, operation_id: str | None) -> GenerateResult:
    """Create the keys, and the keystore if there is none.

    Raises UsageError for contradictory or malformed arguments, RefusedError when the model has a live chain unless
    `new_chain`, and WrongLicenseError for an unknown license unless `new_license`.
    """
    model_ids = numbered_model_ids(request.model_id, request.count)
    _check(request)
    asked = OperationRequest.of(OPERATION, operation_id, arguments_of(request, without=("license_key",)))
    return once(session, asked, partial(_generate, session, request, model_ids), _repeated)


def _generate(
    session: KeystoreSession, request: GenerateRequest, model_ids: list[ModelId], operation: Operation
) -> GenerateResult:
    license_key = None if request.no_license else license_bytes(_required(request.license_key))
    try:
        return _generate_in(session, request, model_ids, license_key, operation, created=not session.exists())
    except KeystoreExistsError:
        return _generate_in(session, request, model_ids, license_key, operation, created=False)


def _generate_in(
    session: KeystoreSession,
    request: GenerateRequest,
    model_ids: list[ModelId],
    license_key: bytes | None,
    operation: Operation,
    *,
    created: bool,
) -> GenerateResult:
    cost = session.new_cost()
    prepared = session.prepare_first(license_key, cost) if created else session.prepare(license_key)
    with operation.create(cost) if created else operation.write() as transaction:
        binding = read_binding(transaction.rows)
        known = prepared is not None and recognise(prepared, transaction.rows, session.root_keys) is not None
        keys = _generate_all(session, transaction, request, model_ids, prepared, binding)
        notices = (*(() if known else enrolment_notices(prepared)), *recovery_notices(transaction.rows))
        operation.remember(transaction, [[key.key_id] for key in keys])
    stored = storage_notices(session.volatile_parts()) if created else ()
    return GenerateResult(
        operation_id=operation.id,
        changed=True,
        warnings=(*binding_notices(binding, session.facts()), *stored, *notices),
        keys=tuple(keys),
        created_keystore=created,
        binding=binding,
    )


def _generate_all(
    session: KeystoreSession,
    transaction: Transaction,
    request: GenerateRequest,
    model_ids: list[ModelId],
    prepared: PreparedLicense | None,
    binding: Binding,
) -> list[ManagedKey]:
    keys = session.root_keys
    opened = None
    if prepared is not None:
        opened = recognise_or_enroll(
            prepared, transaction, keys, transaction.document, enroll=request.new_license, may_enroll=True
        )
    fingerprint = fingerprint_of(binding)
    if request.material is not None:  # who knows it opens all that is encrypted for the key, outside of any keystore
        must_be_approved(transaction, Proposal(DECRYPT_OUT, f"given key material for model {model_ids[0]}"))
    with _material(request.material) as material:
        return [
            generate_key(
                transaction,
                keys,
                model_id,
                request.terms,
                opened,
                new_chain=request.new_chain,
                material=material,
                fingerprint=fingerprint,
            )
            for model_id in model_ids
        ]


def _check(request: GenerateRequest) -> None:
    request.terms.check()
    if request.material is not None and len(request.material) != KEY_BYTES:
        raise UsageError(f"the key material has {len(request.material)} bytes instead of {KEY_BYTES}")
    if request.material is not None and len(set(request.material)) == 1:
        raise UsageError("the key material is one byte repeated, not a key", "give 32 random bytes")
    if request.material is not None and request.count != 1:
        raise UsageError(
            f"the key material is for one key, not {request.count}", "leave count out", remedy="material-is-for-one-key"
        )
    if request.no_license and request.new_license:
        raise UsageError(
            "a key without a license cannot enrol a new license",
            "no_license and new_license exclude each other",
            remedy="license-or-none",
        )


def _required(license_key: License | None) -> License:
    if license_key is None:
        raise UsageError("a license is needed", "pass license_key, or no_license=True", remedy="needs-license-or-none")
    return license_key


@contextlib.contextmanager
def _material(material: bytes | None) -> Iterator[SecretBuffer | None]:
    if material is None:
        yield None
        return
    with SecretBuffer.copy_of(material) as secret:
        yield secret


def _repeated(first: FirstRun) -> GenerateResult:
    with first.read() as (view, _):
        binding = read_binding(view.rows)
    return GenerateResult(
        operation_id=first.operation_id,
        changed=False,
        keys=first.keys(key_id for (key_id,) in first.items),
        binding=binding,
        warnings=binding_notices(binding, first.session.facts()),
    )

"""The identity of this keystore in the fleet: its name, its role, its node id and its card.

Come here for `fleet init` and `fleet card`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

from tiktrue_keys.core.audit.record import Actor
from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import ISSUER, NODE
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keys.keyring import all_keys
from tiktrue_keys.core.keystore.document import Document
from tiktrue_keys.core.keystore.replay import OperationRequest
from tiktrue_keys.core.keystore.rows import Rows
from tiktrue_keys.core.keystore.transaction import Transaction
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import OperationId
from tiktrue_keys.core.node_ids import is_node_id, node_id_of, parse_name
from tiktrue_keys.core.once import FirstRun, Operation, once
from tiktrue_keys.core.operations.results import OperationResult
from tiktrue_keys.core.operations.standing_notices import storage_notices
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.fleet.cards import Card

INIT = "node-init"


@dataclass(frozen=True, kw_only=True)
class InitResult(OperationResult):
    """The keystore's own identity."""

    node_id: str
    name: str
    role: str
    created_keystore: bool = False


def init_node(
    manager: KeyManager, name: str, *, role: str | None = None, operation_id: str | None = None
) -> InitResult:
    """Name this keystore, and create it if there is none.

    The role stands in its card. A keystore with keys of its own is an issuer by default; one without needs `role`.
    Raises UsageError without it, RefusedError when the keystore already has another name or role.
    """
    parse_name(name)
    asked = OperationRequest.of(INIT, operation_id, {"name": name, "role": role})
    return once(manager.session, asked, partial(_init, manager, name, role), _repeated)


def _init(manager: KeyManager, name: str, role: str | None, operation: Operation) -> InitResult:
    if not manager.exists():
        chosen = _required(role)
        with operation.create(manager.session.new_cost()) as transaction:
            made = _named(transaction, operation, name, chosen, created=True)
        return replace(made, warnings=storage_notices(manager.session.volatile_parts()))
    with operation.write() as transaction:
        known = peers.own_name(transaction.rows)
        if known is not None and known != (name, role or known[1]):
            raise RefusedError(
                f"this keystore is already named '{known[0]}' ({known[1]})", "a keystore cannot be renamed"
            )
        if known is not None:
            return _result(transaction.document, operation.id, name, known[1], changed=False)
        chosen = _required(role or _role_by_keys(transaction.rows, transaction.now))
        return _named(transaction, operation, name, chosen, created=False)


def _repeated(first: FirstRun) -> InitResult:
    ((name, role),) = first.items
    with first.read() as (view, _):
        return _result(view.document, first.operation_id, name, role, changed=False)


def own_card(manager: KeyManager) -> tuple[Card, bytes]:
    """Return this keystore's card and its signed line. A keystore that was not named uses the host's name."""
    session = manager.session
    with session.read() as (view, now):
        named = peers.own_name(view.rows)
        document = view.document
        card = Card(
            name=named[0] if named else _named_after(session.actor),
            role=named[1] if named else _role_by_keys(view.rows, now) or NODE,
            keystore_id=document.keystore_id.hex(),
            epoch=document.epoch,
            identity_key=document.identity_key,
            identity_hpke=document.identity_hpke,
            audit_key=document.audit_key,
            issued_at=now,
        )
        return card, card.sign(session.signer(view))


def own_node_id(document: Document) -> str:
    """Return the node id of a keystore, from its header."""
    return node_id_of(document.identity_key, document.identity_hpke)


def _role_by_keys(rows: Rows, now: Instant) -> str | None:
    """Return `issuer` for a keystore that has keys of its own, else None."""
    return ISSUER if any(stored.key.origin is None for stored in all_keys(rows, now)) else None


def _required(role: str | None) -> str:
    if role is None:
        raise UsageError(
            "a keystore without keys of its own needs a role",
            "pass role='node' if it gets keys from an issuer, role='issuer' if it sends keys to nodes",
            remedy="name-role",
        )
    if role not in peers.ROLES:
        raise UsageError(f"'{role[:40]}' is not a role", "use node or issuer")
    return role


def _named(transaction: Transaction, operation: Operation, name: str, role: str, *, created: bool) -> InitResult:
    peers.put_own_name(transaction.rows, name, role)
    transaction.record(INIT, detail={"name": name, "role": role})
    operation.remember(transaction, [[name, role]])
    return _result(transaction.document, operation.id, name, role, changed=True, created=created)


def _result(
    document: Document, operation: OperationId, name: str, role: str, *, changed: bool, created: bool = False
) -> InitResult:
    return InitResult(
        operation_id=operation,
        changed=changed,
        node_id=own_node_id(document),
        name=name,
        role=role,
        created_keystore=created,
    )


def _named_after(actor: Actor) -> str:
    clean = re.sub(r"[^A-Za-z0-9._-]", "-", actor.host).lstrip("._-")[:63]
    return clean if clean and not is_node_id(clean) else "keystore"

"""Receives on a node: one round over the pinned issuers, whose envelopes are applied and acknowledged.

Come here for the operation and its result. What is done with one issuer's lines is in issuer_queue.py.
"""

from __future__ import annotations

from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.peers import ISSUER
from tiktrue_keys.core.dispatch.revocation_lists import known_list
from tiktrue_keys.core.keys.licenses import License
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.once import repeatable
from tiktrue_keys.core.operations.heartbeat import renew_heartbeat
from tiktrue_keys.core.operations.node_reseal import reseal_without_license
from tiktrue_keys.errors import RefusedError, UnavailableError
from tiktrue_keys.fleet.issuer_queue import IssuerQueue
from tiktrue_keys.fleet.own_identity import own_node_id
from tiktrue_keys.fleet.receive_result import Received, Tally, notices
from tiktrue_keys.fleet.transports.interface import Transport


def receive(
    manager: KeyManager,
    transport: Transport,
    *,
    license_key: License | None = None,
    operation_id: str | None = None,
) -> Received:
    """Apply everything that the pinned issuers posted for this keystore, and acknowledge it.

    The license is read when the first licensed key arrives. `blocked` names what stops an issuer's queue. Raises
    RefusedError when no issuer is pinned, and UnavailableError when the transport failed before anything was consumed.
    A later failure is in `outage`: the envelopes consumed until then stay consumed, and the next call acknowledges
    them.
    """
    session = manager.session
    operation = repeatable(session, "receive", operation_id, {})
    with session.read() as (view, _):
        node_id = own_node_id(view.document)
        issuers = list(peers.peers(view.rows, ISSUER))
        sign = session.signer(view)
    if not issuers:
        raise RefusedError("no issuer is pinned here", "pin the issuer's card", remedy="pin-issuer")
    standing = (*renew_heartbeat(session), *reseal_without_license(session))
    tally = Tally()
    for issuer in issuers:
        try:
            IssuerQueue(session, issuer, node_id, license_key, tally).work(transport, sign)
        except UnavailableError as error:
            tally.outage = tally.outage or error
    if tally.outage is not None and not tally.consumed:
        raise tally.outage
    with session.read() as (view, now):
        lists = [(issuer.name, known_list(view.rows, issuer.node_id)) for issuer in issuers]
        tally.ended += [(name, known.valid_until) for name, known in lists if known and now >= known.valid_until]
    return Received(
        operation_id=operation.id,
        changed=bool(tally.consumed),
        warnings=(*notices(tally), *standing),
        consumed=tally.consumed,
        keys=tuple(tally.keys),
        superseded=tuple(tally.superseded),
        foreign=tally.foreign,
        refusals=tuple(tally.refusals),
        blocked=tuple(tally.blocked),
        waits_for=tuple(tally.waits_for),
        ended=tuple(tally.ended),
        outage=tally.outage,
    )

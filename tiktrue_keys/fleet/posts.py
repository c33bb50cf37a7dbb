"""Makes the lines of a round as the transport takes them: the envelopes of a plan, and the round's challenge.

Come here for what an issuer signs and seals. Which envelopes there are is decided in backlog.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.dispatch import peers
from tiktrue_keys.core.dispatch.node_progress import Place
from tiktrue_keys.core.dispatch.outbox import KEY, VOID
from tiktrue_keys.core.dispatch.peers import Peer
from tiktrue_keys.core.instants import Instant
from tiktrue_keys.core.keystore.identity import Signer
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.fleet import hpke
from tiktrue_keys.fleet.backlog import Job, Plan
from tiktrue_keys.fleet.challenges import derive_challenge, sign_challenge
from tiktrue_keys.fleet.envelopes import VALID_FOR, Address, Contents, seal_envelope
from tiktrue_keys.fleet.transports.interface import Posted

_RECEIPT_LENGTH = 16
_PEERS_AT_ONCE = 4096


class RoundPosts:
    """The lines of one round, made one after the other while the transport writes.

    `sent` maps each node id whose envelopes are done to the highest place among them.
    """

    def __init__(
        self,
        session: KeystoreSession,
        plan: Plan,
        secrets: Mapping[str, SecretBuffer],
        issuer: str,
        sign: Signer,
        now: Instant,
        number: int,
    ) -> None:
        self._session = session
        self._plan = plan
        self._secrets = secrets
        self._issuer = issuer
        self._sign = sign
        self._now = now
        self._number = number
        self.sent: dict[str, Place] = {}

    def posts(self, challenged: Collection[str]) -> Iterator[Posted]:
        """Yield the lines node by node: its envelopes in the order of their numbers, then the challenge.

        The challenge goes to each node that gets an envelope, and to the nodes `challenged`.
        """
        challenge = self._challenge()
        with derivation.subkey(self._session.root, derivation.RECEIPT) as receipts:
            for peer in self._peers():
                yield from self._envelopes(peer, receipts.view)
                yield Posted(peer.node_id, self._place_of_challenge(peer.node_id), challenge)
        for node_id in challenged:
            if node_id not in self._plan.jobs:
                yield Posted(node_id, self._place_of_challenge(node_id), challenge)

    def _envelopes(self, peer: Peer, receipt_key: memoryview) -> Iterator[Posted]:
        public = hpke.public_key(peer.identity_hpke)
        jobs = self._plan.jobs[peer.node_id]
        for job in jobs:
            address = self._address(peer, job)
            item = self._plan.items[job.dispatch.number]
            contents = Contents(
                self._plan.vouched(job),
                receipt_of(receipt_key, address.node, address.place),
                item.payload,
                self._secrets[address.key_id] if item.kind == KEY else None,
            )
            line = seal_envelope(address, contents, public, self._sign)
            yield Posted(peer.node_id, address.place, line)
        self.sent[peer.node_id] = (jobs[-1].stream, jobs[-1].number)

    def _challenge(self) -> bytes:
        """Return the line of the round's challenge, which is signed once for all nodes."""
        with derivation.subkey(self._session.root, derivation.CHALLENGE) as key:
            challenge = derive_challenge(key.view, self._plan.epoch, self._number, self._now)
        return sign_challenge(challenge, self._issuer, self._sign)

    def _place_of_challenge(self, node_id: str) -> tuple[int, int, int]:
        return self._plan.epoch, self._plan.streams[node_id], 0

    def _peers(self) -> Iterator[Peer]:
        """Yield the nodes of the plan, read 4096 at a time: a bucket of rows is verified once for each snapshot."""
        wanted = list(self._plan.jobs)
        for at in range(0, len(wanted), _PEERS_AT_ONCE):
            with self._session.read() as (view, _):
                found = [peers.get_peer(view.rows, node_id) for node_id in wanted[at : at + _PEERS_AT_ONCE]]
            yield from (peer for peer in found if peer is not None)

    def _address(self, peer: Peer, job: Job) -> Address:
        kind = self._plan.items[job.dispatch.number].kind
        return Address(
            issuer=self._issuer,
            node=peer.node_id,
            epoch=self._plan.epoch,
            stream=job.stream,
            number=job.number,
            kind=kind,
            key_id="" if kind == VOID else job.dispatch.key_id,
            generation=0 if kind == VOID else job.dispatch.generation,
            issued_at=self._now,
            valid_until=Instant(self._now + VALID_FOR),
        )


def receipt_of(key: memoryview, node_id: str, place: tuple[int, int, int]) -> bytes:
    """Return the 16 bytes that the acknowledgement of the envelope with this epoch, stream and number must repeat.

    They are never stored, but derived again.
    """
    message = joined(node_id.encode(), *(number.to_bytes(8, "big") for number in place))
    return hmac.digest(key, message, "sha256")[:_RECEIPT_LENGTH]

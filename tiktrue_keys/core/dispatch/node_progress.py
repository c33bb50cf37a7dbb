"""How far a node has come, as the issuer records it: a value, and its stored members.

Come here for what the issuer knows of a node. The rows that hold these values are in peers.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any

from tiktrue_keys.core.instants import DAY, Instant, Seconds

HEARD_FOR = Seconds(DAY)
"""How long a node's answer to a challenge tells how far it is."""
MAX_REFUSALS = 8
_SHORT, _FEW_REFUSALS = 32, 2

_ROLE = "node"  # stored without it

Place = tuple[int, int]
"""Stream and number of an envelope. A node consumes the places in their order."""

_KEPT = ("seen_at", "answered", "heard_at", "went_back_at")


@dataclass(frozen=True)
class Refused:
    """An envelope that a node consumed without doing what it says, and the reason that the node gave.

    `number` is 0 for one of an earlier stream or epoch. `dispatch` is the number of the dispatch that it belongs to, 0
    if that is not known. `accepted`: an administrator leaves it so.
    """

    number: int
    reason: str
    dispatch: int = 0
    accepted: bool = False


@dataclass(frozen=True)
class PeerProgress:
    """The progress of a node: `issued`, `sent` and `acked` are the highest envelope numbers of its stream.

    `answered` is the newest round whose challenge it has answered, `heard_at` the time of that challenge, 0 before the
    first. The stream carries what lies behind number `begun_number` of stream `begun_stream`.
    `went_back_at` is when it showed a place that it had passed before, until it has everything again.
    `acked_size` is the audit size that the node last vouched for. `conflict` describes history of this keystore that
    the node's last acknowledgement knows and this keystore does not. `blocked` is the reason why the node did not
    consume the next envelope, `reissued` the time of the acknowledgement that last made the issuer send that envelope
    again. `refusals` are the last envelopes that the node refused and that were not sent again since.
    """

    node_id: str
    name: str
    role: str = _ROLE
    issued: int = 0
    sent: int = 0
    acked: int = 0
    acked_size: int = 0
    sent_at: int = 0
    seen_at: int = 0
    conflict: str = ""
    blocked: str = ""
    refusals: tuple[Refused, ...] = ()
    reissued: int = 0
    stream: int = 1
    answered: int = 0
    heard_at: int = 0
    went_back_at: int = 0
    begun_stream: int = 0
    begun_number: int = 0

    @property
    def reached(self) -> Place:
        """Return the earliest place at which the node can honestly be: an earlier one shows that it went back."""
        return (self.stream, self.acked) if self.acked else (self.begun_stream, self.begun_number)

    @property
    def is_behind(self) -> bool:
        """Return whether the node has not acknowledged everything."""
        return self.acked < self.issued

    def unheard_since(self, now: Instant) -> Instant | None:
        """Return since when the node's state is unknown; None while its last answer is young enough.

        A node that has never answered is unheard a day after it was sent something.
        """
        last = self.heard_at or self.sent_at
        return Instant(last + HEARD_FOR) if last and now > last + HEARD_FOR else None

    def has_acknowledged(self, place: Place) -> bool:
        """Return whether the node has consumed the envelope at that place.

        What it lacked when an earlier stream ended was sent again in a later one.
        """
        return place <= (self.stream, self.acked)

    def was_sent(self, place: Place) -> bool:
        """Return whether the envelope at that place was sent."""
        return place <= (self.stream, self.sent)

    def refused(self, place: Place) -> bool:
        """Return whether the node consumed that envelope and refused its content."""
        return place[0] == self.stream and any(each.number == place[1] for each in self.refusals)

    def next_stream(self, size: int, place: Place) -> PeerProgress:
        """Return the progress at the beginning of the next stream, which carries what lies behind `place`.

        The node holds a head over `size` records. What it has refused before `place` it still lacks.
        """
        behind = [each for each in self.refusals if (self.stream, each.number) <= place]
        kept = {name: getattr(self, name) for name in _KEPT}
        begun = PeerProgress(self.node_id, self.name, self.role, acked_size=size, stream=self.stream + 1, **kept)
        return replace(begun, begun_stream=place[0], begun_number=place[1], refusals=carried_over(behind))


def carried_over(refusals: Iterable[Refused]) -> tuple[Refused, ...]:
    """Return refusals as a new stream has them, whose numbers begin at 1."""
    return tuple(replace(each, number=0) for each in refusals)


def shortened(progress: PeerProgress) -> PeerProgress:
    """Return the progress with what its texts begin with: a row has to hold those of all its peers."""
    refusals = tuple(replace(each, reason=each.reason[:_SHORT]) for each in progress.refusals[-_FEW_REFUSALS:])
    return replace(progress, blocked=progress.blocked[:_SHORT], conflict=progress.conflict[:_SHORT], refusals=refusals)


def progress_json(progress: PeerProgress) -> dict[str, Any]:
    """Return the members that differ from their default, so that an idle node takes only its id and its name."""
    plain = {name: value for name, value in vars(progress).items() if value != _DEFAULTS.get(name)}
    if progress.refusals:
        plain["refusals"] = [list(astuple(each)) for each in progress.refusals[-MAX_REFUSALS:]]
    return plain


def progress_of_json(payload: dict[str, Any]) -> PeerProgress:
    """Return the progress of stored members."""
    refusals = tuple(Refused(*each) for each in payload.get("refusals", ()))
    return PeerProgress(**{**payload, "refusals": refusals})


_DEFAULTS = vars(PeerProgress("", ""))

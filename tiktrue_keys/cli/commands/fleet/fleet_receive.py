"""`fleet receive`: the node's side."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiktrue_keys.cli.commands.fleet.watch import Watch
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.service import ServiceManager
from tiktrue_keys.cli.input.fleet import VIA_HELP, transport_of
from tiktrue_keys.cli.view.envelope import encoded, envelope, error_json
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.keys import keys_json
from tiktrue_keys.cli.view.outcome import Outcome, Table
from tiktrue_keys.cli.view.streams import write_err, write_out
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.errors import ExpiredError, PartialError, RefusedError, TikTrueKeysError
from tiktrue_keys.fleet.receive import receive
from tiktrue_keys.fleet.receive_result import Received, Refusal

if TYPE_CHECKING:
    from tiktrue_keys.fleet.transports.interface import Transport
    from tiktrue_keys.models.file.rewrap import RewrapBatch

_SOON = 1.0

EXAMPLES = (
    (
        "Apply what has arrived, and move containers to new keys:",
        "tiktrue-keys fleet receive --via spool:/mnt/spool --rewrap",
    ),
    ("Fail when a revocation list is past its end:", "tiktrue-keys fleet receive --via spool:/mnt/spool --strict"),
)
EXIT_STATUS = {
    5: "With --strict: something was refused.",
    7: "Something was refused, or a container was not moved.",
    11: "With --strict: a revocation list is past its end.",
}


def command(
    ctx: typer.Context,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and apply envelopes as they arrive.")] = False,
    rewrap: Annotated[
        bool, typer.Option("--rewrap", help="Move registered containers to the keys that arrived.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail if a line was refused; open no key past the end of a revocation list."),
    ] = False,
) -> Outcome:
    """Apply and acknowledge what the pinned issuers sent.

    That is keys, revocation lists and promotions. Reads the license when a licensed key arrives. What comes from
    another issuer or was changed is refused, as long as it is there, and recorded once. --watch prints a report for
    each round that applied something, with --json one object. It continues through an outage, with a line at its start
    and one at its end, and tells systemd its state (Type=notify, WatchdogSec=); a spool that does not exist when it
    starts is an error. A revocation list that is past its end gives a warning; with --strict its keys are not opened,
    by --rewrap either.
    """
    context: CommandContext = ctx.obj
    if strict:
        context.manager.require_fresh_lists()
    transport = transport_of(context, via)
    license_key = context.license()
    try:
        if watch:
            rounds = _Rounds(context, transport, license_key, rewrap=rewrap)
            Watch(rounds, ServiceManager(context.environment, os.getpid())).run()
        return _round(context, transport, license_key, rewrap=rewrap)
    finally:
        transport.close()


def _round(context: CommandContext, transport: Transport, license_key: Callable[[], bytes], *, rewrap: bool) -> Outcome:
    manager = context.writer
    came = receive(manager, transport, license_key=license_key, operation_id=context.operation_id)
    moved = _rewrap(context, came, license_key) if rewrap and came.superseded else None
    return _outcome(context, came, moved)


class _Rounds:
    """The rounds of one command, for a watch."""

    def __init__(
        self, context: CommandContext, transport: Transport, license_key: Callable[[], bytes], *, rewrap: bool
    ) -> None:
        self._context = context
        self._transport = transport
        self._license_key = license_key
        self._rewrap = rewrap

    def receive(self) -> Outcome:
        """Receive once."""
        return _round(self._context, self._transport, self._license_key, rewrap=self._rewrap)

    def report(self, outcome: Outcome) -> None:
        """Print the outcome as of a command of its own, with --json as an object."""
        _report(self._context, outcome)

    def warn(self, text: str) -> None:
        """Print one line on standard error."""
        write_err(f"{text}\n")

    def wait(self, seconds: float) -> None:
        """Wait for the only issuer's next round; with several, look again shortly."""
        from tiktrue_keys.core.dispatch.peers import ISSUER
        from tiktrue_keys.fleet.own_identity import own_card
        from tiktrue_keys.fleet.pin import pinned

        issuers = [peer for peer, _ in pinned(self._context.manager) if peer.role == ISSUER]
        node_id = own_card(self._context.manager)[0].node_id
        self._transport.wait(issuers[0].node_id, node_id, seconds if len(issuers) == 1 else min(seconds, _SOON))


def _report(context: CommandContext, outcome: Outcome) -> None:
    if context.options.json:
        text = encoded(
            envelope(
                command=context.command,
                keystore=context.known_keystore,
                result=outcome.result,
                changed=outcome.changed,
                operation_id=outcome.operation_id,
                error=outcome.error,
                warnings=outcome.warnings,
            )
        )
        write_out(text)
        return
    from tiktrue_keys.cli.view.render import render

    render(outcome.view, color=context.color, verbose=context.options.verbose)
    if outcome.error is not None:
        write_err(f"error: {escaped(outcome.error.message)}\n")


def _rewrap(context: CommandContext, came: Received, license_key: Callable[[], bytes]) -> RewrapBatch:
    from tiktrue_keys.models.file.rewrap import rewrap_registered

    return rewrap_registered(
        context.manager, came.superseded, license_key=license_key, lock_timeout=context.lock_timeout
    )


def _outcome(context: CommandContext, came: Received, moved: RewrapBatch | None) -> Outcome:
    items = [_refusal_json(each, "refused") for each in came.refusals]
    items += [_refusal_json(each, "blocked") for each in came.blocked]
    rows = [(key.key_id, key.status.value, "received") for key in came.keys]
    warnings: list[Notice] = [*came.warnings, *(moved.warnings if moved else ())]
    result: dict[str, Any] = {
        "received": came.consumed,
        "keys": keys_json(context.manager, came.keys),
        "items": items,
        "foreign": came.foreign,
        "waits_for": [{"issuer": name, "number": number} for name, number in came.waits_for],
    }
    if moved is not None:
        from tiktrue_keys.cli.commands.models.rewrap_model import batch_json

        result["containers"] = batch_json(moved)
    return Outcome(
        result=result,
        view=[Table(("key", "status", "outcome"), rows)] if rows else [],
        messages=[f"Received {plural(came.consumed, 'envelope')}."],
        ids=[key.key_id for key in came.keys],
        changed=came.changed or (moved is not None and moved.changed),
        operation_id=came.operation_id,
        warnings=warnings,
        error=_error(context, came, moved),
    )


def _error(context: CommandContext, came: Received, moved: RewrapBatch | None) -> TikTrueKeysError | None:
    """An outage or what blocks an issuer's queue is the error of the command; refused lines block nothing."""
    if came.outage is not None:
        return came.outage
    if came.blocked:
        return came.blocked[0].error
    if came.ended and context.manager.requires_fresh_lists:
        name, end = came.ended[0]
        words = f"the revocation list of issuer '{name}' expired at {rfc3339(end)}"
        return ExpiredError(words, "run tiktrue-keys fleet sync at the issuer, then tiktrue-keys fleet receive here")
    if came.refusals:
        words = f"refused {plural(len(came.refusals), 'envelope')}; the first: {came.refusals[0].error.message}"
        kind = RefusedError if context.manager.requires_fresh_lists else PartialError
        return kind(words, "run tiktrue-keys audit show --event receive")
    if came.waits_for:
        name, number = came.waits_for[0]
        words = f"envelope {number} of issuer '{name}' has not arrived, and what follows it waits"
        return PartialError(words, "run tiktrue-keys fleet sync at the issuer, then tiktrue-keys fleet receive here")
    if came.ended:
        name, end = came.ended[0]
        words = f"the revocation list of issuer '{name}' expired at {rfc3339(end)}"
        return PartialError(words, "run tiktrue-keys fleet sync at the issuer, then tiktrue-keys fleet receive here")
    if moved is not None and moved.failed:
        return PartialError(f"{plural(len(moved.failed), 'container')} not rewrapped", moved.failed[0].error.message)
    return None


def _refusal_json(refusal: Refusal, outcome: str) -> dict[str, Any]:
    return {
        "key_id": None,
        "issuer": refusal.issuer,
        "number": refusal.number,
        "outcome": outcome,
        "error": error_json(refusal.error),
    }

"""`approvals policy`: which operations need approval, and whose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.approval_plans import policy_json, policy_rows
from tiktrue_keys.cli.view.outcome import REPEATED, Fields, Outcome
from tiktrue_keys.core.approvals.policy import OPERATIONS, Approver, Policy, parse_approver
from tiktrue_keys.core.durable import ANOTHER_FILE, read_capped
from tiktrue_keys.core.operations.approvals import set_policy
from tiktrue_keys.errors import UsageError

_KEY_LIMIT = 16 * 1024

EXAMPLES = (
    (
        "Let Ada approve each destruction of keys:",
        "tiktrue-keys approvals policy --require destroy=1 --approver ada=ada.pub",
    ),
    ("Show the policy:", "tiktrue-keys approvals policy"),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="OP=N",
            help=f"How many approvals an operation needs, 0 for none: {', '.join(OPERATIONS)} (repeatable).",
        ),
    ] = None,
    approver: Annotated[
        list[str] | None,
        typer.Option(
            "--approver",
            metavar="NAME=FILE",
            help="Approver, and the file of their OpenSSH public key (repeatable).",
        ),
    ] = None,
    remove_approver: Annotated[
        list[str] | None,
        typer.Option("--remove-approver", metavar="NAME", help="Approver to remove (repeatable)."),
    ] = None,
) -> Outcome:
    """Show or change which operations need approval, and by whom.

    Options change what they name and leave the rest. An operation that needs approval writes a plan and ends in 5, with
    the plan's number. Approvers sign the text that approvals export writes; approvals add takes their signatures; the
    same command with --approval ID then runs once. decrypt-out is decrypt-model, exec-model, what reads models from
    Python, and generate --from-file; distribute-new is the first key of a model that goes to a node, and a container
    that goes to the key of another model; binding is rebind; restore-over replaces a keystore. policy and escrow need
    as many approvals as the strictest other operation unless they are set, because each can undo the policy. The policy
    changes only with the approvals that it requires itself. An escrow's shares remove it: escrow recover
    --reset-policy. It is the policy of this keystore: nodes have their own. What approval cannot prevent is in
    tiktrue-keys-security(7). Reads no license.
    """
    context: CommandContext = ctx.obj
    if not (require or approver or remove_approver):
        return _shown(context.manager.approval_policy())
    numbers, people = dict(map(_requirement, require or ())), [_approver(each) for each in approver or ()]
    _once_each("operation", (each.partition("=")[0] for each in require or ()))
    _once_each("approver", [*(each.name for each in people), *(remove_approver or ())])
    done = set_policy(
        context.writer.session,
        require=numbers,
        approvers=people,
        removed=remove_approver or (),
        operation_id=context.operation_id,
    )
    shown = _shown(done.policy)
    return Outcome(
        result=shown.result,
        view=shown.view,
        messages=[] if done.changed else [REPEATED if context.operation_id else "Nothing to do: the policy says so."],
        ids=[],
        changed=done.changed,
        operation_id=done.operation_id,
        warnings=done.warnings,
    )


def _shown(policy: Policy) -> Outcome:
    rows = policy_rows(policy)
    messages = [] if rows else ["No operation needs approval."]
    return Outcome(result=policy_json(policy), view=[Fields(rows)] if rows else [], messages=messages, ids=[])


def _requirement(given: str) -> tuple[str, int]:
    operation, equals, count = given.partition("=")
    if not equals or not count.isascii() or not count.isdecimal() or len(count) > 3:
        raise UsageError(f"'{given[:80]}' is not a requirement", "write it like --require destroy=2")
    return operation, int(count)


def _approver(given: str) -> Approver:
    name, equals, path = given.partition("=")
    if not equals or not path:
        raise UsageError(f"'{given[:80]}' names no approver", "write it like --approver ada=ada.pub")
    return parse_approver(name, read_capped(Path(path), _KEY_LIMIT, "the public key", hint=ANOTHER_FILE))


def _once_each(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"the {what} '{name[:64]}' is given twice")
        seen.add(name)

"""The exceptions of tiktrue-keys, each with a code name and an exit code.

Come here to choose the error to raise, or to add one. A message states what happened and a hint says what to do next;
both are lower case, have no full stop and contain no secret. This module does not exit, print or log: the command
line's error boundary does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict


class Advice(TypedDict):
    """What an error says about mending it, as another error takes it over: `OtherError(message, **error.advice)`."""

    hint: str
    remedy: str
    about: Mapping[str, str]


NO_ADVICE: Advice = {"hint": "", "remedy": "", "about": {}}


class TikTrueKeysError(Exception):
    """Base class of all errors. `code` and `exit_code` are part of the public interface."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        key_id: str | None = None,
        remedy: str = "",
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.key_id = key_id
        self.remedy = remedy
        self.about: Mapping[str, str] = dict(about or {})

    @property
    def advice(self) -> Advice:
        """The hint and the remedy, for an error that says the same of something larger."""
        return {"hint": self.hint, "remedy": self.remedy, "about": self.about}


class InternalError(TikTrueKeysError):
    """A bug: the program reached a state that should be impossible."""


class UsageError(TikTrueKeysError):
    """Invalid arguments: bad syntax, an empty license, two uses of standard input, or an ambiguous KEY."""

    code = "usage"
    exit_code = 2


class NotFoundError(TikTrueKeysError):
    """A file, key, node or keystore does not exist."""

    code = "not-found"
    exit_code = 3


class SecurityError(TikTrueKeysError):
    """Base class of errors about trust: integrity, machine, license, revocation and permissions."""


class IntegrityError(SecurityError):
    """Data is not as it was written: modified, moved, truncated, rolled back, or signed by an untrusted key."""

    code = "integrity"
    exit_code = 4


class RefusedError(TikTrueKeysError):
    """The request is valid but refused: target exists, declined, needs --yes, or status, policy or clock forbids it."""

    code = "refused"
    exit_code = 5


class NeedsApprovalError(RefusedError):
    """The approval policy wants signatures of approvers first. The plan to be signed is stored."""

    code = "needs-approval"


class BusyError(TikTrueKeysError):
    """Another process holds the lock for longer than the lock timeout."""

    code = "busy"
    exit_code = 6


class PartialError(TikTrueKeysError):
    """Some items of a batch failed; the result lists them."""

    code = "partial"
    exit_code = 7


class WrongMachineError(SecurityError):
    """This machine's facts and host secret do not open the keystore."""

    code = "wrong-machine"
    exit_code = 8


class WrongLicenseError(SecurityError):
    """The license is not the one that this key or keystore was created with."""

    code = "wrong-license"
    exit_code = 9


class RevokedError(SecurityError):
    """The key is revoked. Revocation is final."""

    code = "revoked"
    exit_code = 10


class ExpiredError(TikTrueKeysError):
    """The period for this use of the key (or card) is over."""

    code = "expired"
    exit_code = 11


class UnavailableError(TikTrueKeysError):
    """A resource outside the program failed: disk full, I/O error, etcd, TPM or HSM."""

    code = "unavailable"
    exit_code = 12


class DiskFullError(UnavailableError):
    """The disk or its quota is full. Code and exit code are UnavailableError's; retrying helps once there is space."""


class InsecureError(SecurityError):
    """Permissions, ownership or a symbolic link would let others read or replace secrets."""

    code = "insecure"
    exit_code = 13


class OperationInterruptedError(TikTrueKeysError):
    """Interrupted by Ctrl-C."""

    code = "interrupted"
    exit_code = 130


class TerminatedError(TikTrueKeysError):
    """Terminated by SIGTERM."""

    code = "terminated"
    exit_code = 143


class HangupError(TerminatedError):
    """Terminated by SIGHUP: the terminal or the connection is gone."""

    code = "hung-up"
    exit_code = 129


class Termination(BaseException):
    """Raised by the handler of SIGTERM; the error boundary reports it as `error`.

    Like KeyboardInterrupt it is not an Exception, so that code which handles the failure of one item of a batch does
    not catch it.
    """

    error: ClassVar[type[TerminatedError]] = TerminatedError
    code: ClassVar[str] = TerminatedError.code
    message: ClassVar[str] = "terminated; what was begun is undone or will be settled by the next command"


class Hangup(Termination):
    """Raised by the handler of SIGHUP."""

    error: ClassVar[type[TerminatedError]] = HangupError
    code: ClassVar[str] = HangupError.code
    message: ClassVar[str] = "hung up; what was begun is undone or will be settled by the next command"


ERRORS: tuple[type[TikTrueKeysError], ...] = (
    InternalError,
    UsageError,
    NotFoundError,
    IntegrityError,
    RefusedError,
    NeedsApprovalError,
    BusyError,
    PartialError,
    WrongMachineError,
    WrongLicenseError,
    RevokedError,
    ExpiredError,
    UnavailableError,
    InsecureError,
    HangupError,
    OperationInterruptedError,
    TerminatedError,
)
"""The errors of the exit-code tables, in the order of their exit codes; the tables are generated from it."""

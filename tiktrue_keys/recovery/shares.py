"""Splits an escrow's secret into shares of words and combines them: SLIP-39, one group, no passphrase.

Come here for the words of a share. The package shamir-mnemonic, the reference implementation of the standard, does the
arithmetic. Only shares with our parameters are accepted, because others could demand excessive work. These functions do
no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from shamir_mnemonic import Share as Slip39Share

SECRET_LENGTH = 32
MAX_SHARES = 16
WORDS = 33
"""The number of words of a share of 32 bytes; no other length has it."""
_ITERATION_EXPONENT = 0  # stretches a passphrase; there is none


@dataclass(frozen=True, repr=False)
class Share:
    """One share: the number of its escrow (0 to 32767), its own number (from 1), the threshold, and its words."""

    escrow: int
    number: int
    threshold: int
    words: str

    def __repr__(self) -> str:
        return f"Share({self.number} of escrow {self.escrow}, hidden)"


def split(secret: memoryview, *, count: int, threshold: int) -> tuple[Share, ...]:
    """Return `count` shares of a 32-byte secret, any `threshold` of which restore it.

    Takes 2 to 16 shares with a threshold of at least 2, or one share. SLIP-39 allows a threshold of 1 only for a single
    member, because more would be copies of the secret. Raises UsageError for other numbers.
    """
    from shamir_mnemonic import generate_mnemonics

    if not 1 <= threshold <= count <= MAX_SHARES:
        hint = f"at most {MAX_SHARES} shares, the threshold not above their number"
        raise UsageError(f"any {threshold} of {count} shares is impossible", hint)
    if threshold == 1 and count > 1:
        raise UsageError(
            "with a threshold of 1 every share is the whole secret",
            "pass threshold=2, or count=1",
            remedy="threshold-of-one",
        )
    made = generate_mnemonics(
        1, [(threshold, count)], bytes(secret), extendable=True, iteration_exponent=_ITERATION_EXPONENT
    )
    return tuple(_share(words) for words in made[0])


def parse_share(text: str) -> Share:
    """Return the share of these words, with any spacing. Raises UsageError for a misspelt or foreign share."""
    words = text.lower().split()
    if len(words) != WORDS:
        raise UsageError(f"a share has {WORDS} words, this one {len(words)}")
    return _share(" ".join(words))


def combine(shares: Sequence[Share]) -> SecretBuffer:
    """Return the 32 bytes of `threshold` or more shares. Every share is checked.

    Raises UsageError when they are too few, repeated or of several escrows, and IntegrityError when one does not belong
    to the others.
    """
    if not shares:
        raise UsageError("no share was given")
    threshold = shares[0].threshold
    if len({(share.escrow, share.threshold) for share in shares}) > 1:
        escrows = ", ".join(f"share {share.number} of {share.escrow}" for share in shares)
        raise UsageError("the shares are of several escrows", escrows)
    distinct = {share.number: share for share in shares}
    if len({share.words for share in shares}) > len(distinct):
        raise IntegrityError("two shares have the same number but different words")
    if len(distinct) < threshold:
        raise UsageError(f"{threshold} shares are needed, not {len(distinct)}", "each share counts once")
    ordered = list(distinct.values())
    secret = _combined(ordered[:threshold])
    for spare in ordered[threshold:]:
        with _combined([*ordered[1:threshold], spare]) as again:
            if again.view != secret.view:
                secret.wipe()
                raise IntegrityError(f"share {spare.number} does not belong to the others")
    return secret


def _share(words: str) -> Share:
    parsed = _parsed(words)
    parameters = (parsed.group_threshold, parsed.group_count, parsed.iteration_exponent, parsed.extendable)
    if parameters != (1, 1, _ITERATION_EXPONENT, True):
        raise UsageError("the share is a SLIP-39 share, but not one of this program")
    return Share(parsed.identifier, parsed.index + 1, parsed.member_threshold, words)


def _parsed(words: str) -> Slip39Share:
    from shamir_mnemonic import MnemonicError
    from shamir_mnemonic import Share as Slip39Share

    try:
        return Slip39Share.from_mnemonic(words)
    except (MnemonicError, ValueError):  # its message quotes the words
        raise UsageError(
            "a share is misspelt: its checksum is wrong",
            "compare it word for word; the first four letters identify a word",
        ) from None


def _combined(shares: Sequence[Share]) -> SecretBuffer:
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    try:
        return SecretBuffer.copy_of(combine_mnemonics(share.words for share in shares))
    except MnemonicError:
        raise IntegrityError("the shares do not belong together") from None

"""What a keystore keeps of the root secrets that a rekey has replaced: two keys of each, sealed under the present H.

Come here for how audit records from before a rekey are read, and why the tags of records survive it. Nothing that was
sealed since opens by these keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiktrue_keys.core import derivation
from tiktrue_keys.core.canonical import joined
from tiktrue_keys.core.keystore.document import Document, Former
from tiktrue_keys.core.sealing import unwrap_key, wrap_key
from tiktrue_keys.core.secret import SecretBuffer

_LENGTH = 2 * derivation.KEY_LENGTH


@dataclass(frozen=True)
class FormerKeys:
    """Keys of a former root: `record` sealed the audit records before number `size`, `tag` made the tags of records."""

    size: int
    record: SecretBuffer
    tag: SecretBuffer

    def copy(self) -> FormerKeys:
        """Return a copy that outlives the wiping of this one."""
        return FormerKeys(self.size, SecretBuffer.copy_of(self.record.view), SecretBuffer.copy_of(self.tag.view))


def seal_former(former: Sequence[FormerKeys], root: memoryview, keystore_id: bytes) -> tuple[Former, ...]:
    """Return the entries of the header, sealed under H."""
    sealed = []
    with derivation.subkey(root, derivation.FORMER) as key:
        for place, each in enumerate(former):
            with SecretBuffer.copy_of(bytes(each.record.view) + bytes(each.tag.view)) as pair:
                wrapped = wrap_key(key.view, pair.view, _context(keystore_id, place, each.size))
            sealed.append(Former(each.size, wrapped))
    return tuple(sealed)


def open_former(document: Document, root: memoryview) -> tuple[FormerKeys, ...]:
    """Return the keys of the former roots that the header lists. Raises IntegrityError when one does not open."""
    opened = []
    with derivation.subkey(root, derivation.FORMER) as key:
        for place, each in enumerate(document.former):
            context = _context(document.keystore_id, place, each.size)
            with unwrap_key(key.view, each.sealed, context, _LENGTH) as pair:
                halves = (SecretBuffer.copy_of(pair.view[:32]), SecretBuffer.copy_of(pair.view[32:]))
            opened.append(FormerKeys(each.size, *halves))
    return tuple(opened)


def _context(keystore_id: bytes, place: int, size: int) -> bytes:
    return joined(derivation.FORMER, keystore_id, place.to_bytes(4, "big"), size.to_bytes(8, "big"))

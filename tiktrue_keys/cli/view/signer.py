"""The keystore that signed a container or a manifest, as a JSON member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktrue_keys.core.keys.authority import Signer


def signer_json(signer: Signer | None) -> dict[str, Any] | None:
    """Return `signer`: its node id, the name under which it is known here, and whether it is this keystore."""
    return None if signer is None else {"node_id": signer.node_id, "name": signer.name, "here": signer.here}

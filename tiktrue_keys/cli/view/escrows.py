"""An escrow as JSON members and as rows."""

from __future__ import annotations

from typing import Any

from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.recovery.escrow import Escrow


def escrow_json(escrow: Escrow) -> dict[str, Any]:
    """Return the escrow's members in an envelope."""
    return {
        "escrow": escrow.number,
        "shares": escrow.shares,
        "threshold": escrow.threshold,
        "created_at": rfc3339(escrow.created_at),
        "verified_at": rfc3339(escrow.verified_at),
    }


def escrow_rows(escrow: Escrow) -> list[tuple[str, str]]:
    """Return the escrow as names and values."""
    return [
        ("escrow", str(escrow.number)),
        ("shares", f"any {escrow.threshold} of {escrow.shares}"),
        ("created", rfc3339(escrow.created_at) or ""),
        ("verified", rfc3339(escrow.verified_at) or "never"),
    ]

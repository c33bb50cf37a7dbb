"""Who runs the program, for the audit log.

The operating system names the user. Of the environment only SUDO_USER is read, which the caller can set to anything:
the log has it as a claim.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiktrue_keys.core.audit.record import Actor, actor_of_process


def current_actor(command: str, environment: Mapping[str, str]) -> Actor:
    """Return who runs this process, and what the environment claims."""
    return actor_of_process(command, environment.get("SUDO_USER"))

"""Which limit of the process is in the way when memory or a thread is refused, for a hint."""

from __future__ import annotations

import resource

_MIB = 1 << 20


def memory_limit() -> str:
    """Return what to do about refused memory; it names the limit of the address space where there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return "free some memory, or raise the memory limit of the unit or container"
    return f"the address space is limited to {limit // _MIB} MiB: raise it with ulimit -v, or LimitAS= of the unit"


def thread_limit() -> str:
    """Return what to do about a thread that was refused; it names the limit of processes where there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    others = "the pids limit of the container or TasksMax= of the unit"
    if limit == resource.RLIM_INFINITY:
        return f"raise {others}"
    return f"this user may have {limit} processes and threads: raise it with ulimit -u, or {others}"

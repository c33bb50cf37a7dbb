"""Runs the program in a forked child of a warm interpreter under strace, which kills it or fails a call of it.

The modules are loaded before the fork, so that hundreds of kills a minute are affordable; the child runs the unmodified
`main` of the command line, with the arguments, environment, exit code and output of a process of its own. A signal
arrives when a call is entered: that call does not happen. `exec_traced` does the same to a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from tests.untraced import leave_measurement
from tests.waiting import PATIENCE

_WRITES = "write pwrite64 pwritev pwritev2 sendfile copy_file_range ftruncate fallocate"
_SYNCS = "fsync fdatasync sync_file_range"
_NAMES = "rename renameat renameat2 unlink unlinkat link linkat symlink mkdir mkdirat rmdir"
_MODES = "chmod fchmod fchmodat fchown fchownat"
FAILING = frozenset(f"{_WRITES} {_SYNCS} {_NAMES} {_MODES}".split())
"""Calls that a full or broken disk fails."""
CHANGING = FAILING | {"exit_group"}
"""Calls that change what a kill leaves behind, and the end of the process. So does `openat` when it creates."""
_LINE = re.compile(r"(?:(\d+) +)?([a-z0-9_]+)\((.*)")
_PATIENCE_SECONDS = PATIENCE
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Point:
    """The `nth` (from 1) call of that name in the main thread, and what it was about to do."""

    call: str
    nth: int
    text: str

    def kill(self) -> str:
        """What strace is told."""
        return f"inject={self.call}:signal=SIGKILL:when={self.nth}"

    def fail(self, error: str, *, from_then_on: bool = False) -> str:
        """What strace is told."""
        return f"inject={self.call}:error={error}:when={self.nth}{'+' if from_then_on else ''}"


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, None when it was killed; its standard output and error."""

    code: int | None
    output: str
    errors: str

    @property
    def acknowledged(self) -> bool:
        """Whether its caller was told of success."""
        return self.code == 0


@cache
def skip_reason() -> str | None:
    """Why nothing can be traced here, or None."""
    if sys.platform != "linux":
        return "fault injection needs Linux"
    if shutil.which("strace") is None:
        return "fault injection needs strace"
    try:
        ended = forked(_open_and_close, {}, ["inject=close:signal=SIGKILL:when=1"])
    except RuntimeError as error:
        return str(error)
    return None if ended.code is None else "strace may not trace here"


def _open_and_close() -> int:
    os.close(os.open(os.devnull, os.O_RDONLY))
    return 0


def program(words: Sequence[str]) -> Callable[[], int]:
    """The command line with these words, as a function that gives its exit code."""

    def run() -> int:
        from tiktrue_keys.cli.program.main import main

        sys.argv = ["tiktrue-keys", *words]
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return 0

    return run


def warm_up(work: Callable[[], int], environment: Mapping[str, str]) -> None:
    """Run `work` in this process, unheard, so that its modules are loaded in every later child."""
    before, handlers = dict(os.environ), {name: signal.getsignal(name) for name in _SIGNALS}
    os.environ.clear()
    os.environ.update(environment)
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            work()
    finally:
        os.environ.clear()
        os.environ.update(before)
        for name, handler in handlers.items():
            signal.signal(name, handler)


def forked(
    work: Callable[[], int], environment: Mapping[str, str], injections: Sequence[str] = (), log: Path | None = None
) -> Ended:
    """Run `work` in a child, traced when there are injections or a log."""
    outputs = [os.memfd_create("stdout"), os.memfd_create("stderr")]
    start_reading, start = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        _child(work, environment, start_reading, start, outputs)
    os.close(start_reading)
    strace = None
    try:
        if injections or log is not None:
            strace = _attached(child, injections, log)
        os.write(start, b".")
    except BaseException:
        os.kill(child, 9)
        raise
    finally:
        os.close(start)
        _, status = os.waitpid(child, 0)
        if strace is not None:
            strace.wait(_PATIENCE_SECONDS)
    texts = [_text_of(descriptor) for descriptor in outputs]
    return Ended(None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), *texts)


def exec_traced(words: Sequence[str], environment: Mapping[str, str], injections: Sequence[str], log: Path) -> Ended:
    """Run `sys.executable -m tiktrue_keys` under strace from its first call on."""
    argv = ["strace", "-qq", "-f", "-o", str(log), "-e", "trace=%file,%desc"]
    for injection in injections:
        argv += ["-e", injection]
    done = subprocess.run(
        [*argv, sys.executable, "-m", "tiktrue_keys", *words],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    killed = done.returncode in (-9, 137)
    return Ended(None if killed else done.returncode, done.stdout, done.stderr)


def points(
    log: Path, folders: Sequence[Path], calls: Collection[str] | None = CHANGING, *, every_thread: bool = False
) -> list[Point]:
    """The calls of the main thread in a recorded run, from the first one that names one of `folders`.

    `calls` None: every one of them. Between two calls that change nothing a kill leaves the same as at the next one.
    `every_thread`: of the others too. strace counts for each thread, so the first to come to that number is meant then.
    """
    main: int | None = None
    named = tuple(f'"{folder}' for folder in folders)
    counts: Counter[tuple[int | None, str]] = Counter()
    found: list[Point] = []
    begun = False
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread = int(match[1]) if match[1] else None
        main = thread if main is None else main
        if thread != main and not every_thread:
            continue
        counts[thread, match[2]] += 1
        begun = begun or any(name in match[3] for name in named)
        if begun and (calls is None or match[2] in calls or (match[2] == "openat" and "O_CREAT" in match[3])):
            found.append(Point(match[2], counts[thread, match[2]], line[:160]))
    return list({(point.call, point.nth): point for point in found}.values())


def _child(
    work: Callable[[], int], environment: Mapping[str, str], start_reading: int, start: int, outputs: Sequence[int]
) -> NoReturn:
    code = 70
    try:
        leave_measurement()
        os.close(start)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.read(start_reading, 1)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  nothing of the child may run on in the parent's code
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _attached(child: int, injections: Sequence[str], log: Path | None) -> subprocess.Popen[bytes]:
    argv = ["strace", "-qq", "-f", "-p", str(child), "-o", str(log or os.devnull)]
    injected = ",".join(injection.partition("=")[2].partition(":")[0] for injection in injections)
    argv += ["-e", "trace=" + ("%file,%desc,exit_group" if log is not None else injected)]
    for injection in injections:
        argv += ["-e", injection]
    strace = subprocess.Popen(argv, stderr=subprocess.PIPE)
    status = Path(f"/proc/{child}/status")
    until = time.monotonic() + _PATIENCE_SECONDS
    while "TracerPid:\t0" in status.read_text():
        if strace.poll() is not None or time.monotonic() > until:
            raise RuntimeError("strace could not attach: it may not trace here")
        time.sleep(0.0005)
    return strace


def _text_of(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.machines import skip_reason
from tests.waiting import PATIENCE
from tiktrue_keys.core.durable import (
    NewFile,
    write_all,
)

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts or changes owners, which takes root")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


REPLACE = "import sys; from tiktrue_keys.core.durable import *; replace_bytes(sys.argv[1], b'new', gate=None)"
CREATE = "import sys; from tiktrue_keys.core.durable import *; create_bytes(sys.argv[1], b'new', gate=None)"


def run(script: str, *arguments: str | Path, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, by the real interpreter: a wrapper's system calls would be counted too."""
    command = [*under, os.path.realpath(sys.executable), "-B", "-c", script, *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def old(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(b"old")
    return path


def test_a_kill_in_the_middle_leaves_the_old_file(old: Path) -> None:
    script = """
import os, signal, sys
from tiktrue_keys.core.durable import NewFile
with NewFile(sys.argv[1], gate=None) as new:
    new.write(b"new, but only half of")
    print(new.temporary.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = run(script, old)
    assert killed.returncode == -signal.SIGKILL
    assert old.read_bytes() == b"old"
    assert names(old.parent) == sorted(["file", killed.stdout.strip()])


def test_a_limit_on_the_size_leaves_nothing(old: Path) -> None:
    script = """
import resource, sys
from tiktrue_keys.core.durable import *
from tiktrue_keys.errors import UnavailableError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    replace_bytes(sys.argv[1], bytes(300_000), gate=None)
except UnavailableError as error:
    print(error.message)
"""
    assert "file cannot be written: too large for the file system or ulimit -f\n" in run(script, old).stdout
    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]


@needs_root
@pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
def test_a_full_disk_leaves_nothing(folder: Path) -> None:
    script = """
import os, subprocess, sys
from tiktrue_keys.core.durable import *
from tiktrue_keys.errors import UnavailableError
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
replace_bytes(f"{folder}/file", b"old", gate=None)
for write in (replace_bytes, create_bytes):
    try:
        write(f"{folder}/file", bytes(200_000), gate=None)
    except UnavailableError as error:
        print(error.message, "|", error.hint, "|", os.listdir(folder), open(f"{folder}/file").read())
"""
    done = run(script, folder, under=("unshare", "--mount", "--propagation", "private"))
    if "mount" in done.stderr and "permission denied" in done.stderr.lower():
        pytest.skip("this root may not mount")
    line = (
        f"the file {folder}/file cannot be written: no space left | free some space on its file system or choose "
        "another place, then try again | ['file'] old\n"
    )
    assert done.stdout == line * 2, done.stderr


CALLS = "openat,fchmod,write,fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat"


def traced(script: str, path: Path, *inject: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """The script run on `path` under strace, with faults injected, and its trace; every fault must have happened."""
    with tempfile.NamedTemporaryFile("r") as trace:
        faults = [word for fault in inject for word in ("-e", f"inject={fault}")]
        done = run(script, path, under=("strace", "-f", "-y", "-o", trace.name, "-e", f"trace={CALLS}", *faults))
        text = trace.read()
    assert not inject or "(INJECTED)" in text or "--- SIGINT" in text
    return done, text


def calls_about(folder: Path, trace: str) -> list[str]:
    """The system calls of a trace that name something in `folder`, as `call(file)` and what it returned."""
    found = []
    for line in trace.splitlines():
        if str(folder) not in line or "= -1 ENOENT" in line:
            continue
        call = line.split("(", 1)[0].split()[-1]
        about = "temporary" if ".tmp" in line else "file" if "/file" in line else "folder"
        found.append(f"{call} {about}" + (" fails" if " = -1 " in line else ""))
    return found


@needs_strace
@pytest.mark.parametrize(
    ("script", "naming"),
    [(REPLACE, ["renameat temporary"]), (CREATE, ["linkat temporary", "unlinkat temporary"])],
    ids=["replace", "create"],
)
def test_file_is_synced_before_it_is_named_and_the_folder_after(folder: Path, script: str, naming: list[str]) -> None:
    done, trace = traced(script, folder / "file")
    assert done.returncode == 0, done.stderr
    steps = ["openat folder", "openat temporary", "fchmod temporary", "write temporary", "fsync temporary"]
    made = [re.sub("^renameat2", "renameat", call) for call in calls_about(folder, trace)]
    assert made[: len(steps) + len(naming)] == [*steps, *naming]
    assert [call for call in made if call.startswith("fsync")] == ["fsync temporary", "fsync folder"]
    assert made.index("fsync folder") == len(steps) + len(naming)
    assert names(folder) == ["file"]


@needs_strace
@pytest.mark.parametrize("call", ["fchmod", "write", "fsync", "rename,renameat,renameat2"])
@pytest.mark.parametrize("error", ["EIO", "EDQUOT"])
def test_a_failing_call_leaves_the_old_file_and_no_other(old: Path, call: str, error: str) -> None:
    done, _ = traced(REPLACE, old, f"{call}:error={error}:when=1")
    kind = "DiskFullError" if error == "EDQUOT" else "UnavailableError"
    assert f"tiktrue_keys.errors.{kind}: the file" in done.stderr
    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]


@needs_strace
def test_when_the_folders_sync_fails_the_file_has_its_name(old: Path) -> None:
    script = """
import sys
import tempfile
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.errors import UnavailableError
with NewFile(sys.argv[1], gate=None) as new:
    new.write(b"new")
    try:
        new.commit(replace=True)
    except UnavailableError as error:
        print(new.committed, error.message)
"""
    done, _ = traced(script, old, "fsync:error=EIO:when=2")
    assert done.stdout == f"True the file {old} cannot be read or written: input/output error\n"
    assert old.read_bytes() == b"new"
    assert names(old.parent) == ["file"]


@needs_strace
def test_when_the_folders_sync_fails_a_new_name_is_taken_away_again(folder: Path) -> None:
    done, _ = traced(CREATE, folder / "file", "fsync:error=EIO:when=2")
    assert "tiktrue_keys.errors.UnavailableError: the file" in done.stderr
    assert names(folder) == []
    assert traced(CREATE, folder / "file")[0].returncode == 0  # nobody is in the way of a second try


@needs_strace
@pytest.mark.parametrize(("faults", "left"), [("when=1", 1), ("when=1+", 2)], ids=["once", "from then on"])
def test_a_temporary_name_that_cannot_be_removed_is_no_failure(folder: Path, faults: str, left: int) -> None:
    done, _ = traced(CREATE, folder / "file", f"unlink,unlinkat:error=EIO:{faults}")
    assert done.returncode == 0, done.stderr
    assert (folder / "file").read_bytes() == b"new"
    assert len(names(folder)) == left


@needs_strace
def test_a_file_system_that_cannot_sync_folders_will_do(old: Path) -> None:
    done, _ = traced(REPLACE, old, "fsync:error=EINVAL:when=2")
    assert done.returncode == 0, done.stderr


@needs_strace
@pytest.mark.parametrize("call", ["fchmod", "fsync", "rename,renameat,renameat2", "linkat"])
def test_an_interrupt_leaves_the_old_file_or_the_new_and_no_other(folder: Path, call: str) -> None:
    path = folder / "file"
    script = CREATE if call == "linkat" else REPLACE
    if script == REPLACE:
        path.write_bytes(b"old")
    done, _ = traced(script, path, f"{call}:signal=SIGINT:when=1")
    assert "KeyboardInterrupt" in done.stderr
    assert names(folder) == ["file"]
    assert path.read_bytes() == (b"old" if call in ("fchmod", "fsync") else b"new")


@needs_strace
class TestWithoutHardLinks:
    NO_LINKS = "linkat:error=EPERM"

    def test_a_new_file_is_created(self, folder: Path) -> None:
        done, _ = traced(CREATE, folder / "file", self.NO_LINKS)
        assert done.returncode == 0, done.stderr
        assert (folder / "file").read_bytes() == b"new"
        assert names(folder) == ["file"]
        assert mode_of(folder / "file") == 0o600

    def test_an_existing_file_is_refused(self, old: Path) -> None:
        done, _ = traced(CREATE, old, self.NO_LINKS)
        assert "RefusedError" in done.stderr
        assert old.read_bytes() == b"old"
        assert names(old.parent) == ["file"]

    def test_no_empty_file_stays_when_the_rename_fails(self, folder: Path) -> None:
        done, _ = traced(CREATE, folder / "file", self.NO_LINKS, "rename,renameat,renameat2:error=EIO")
        assert "UnavailableError" in done.stderr
        assert names(folder) == []


def test_everything_is_written_however_little_each_call_takes() -> None:
    data = os.urandom(1 << 20)
    reading, writing = os.pipe()
    received = bytearray()

    def read_slowly() -> None:
        while chunk := os.read(reading, 50_000):
            received.extend(chunk)
            time.sleep(0.002)

    interruptions: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: interruptions.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    reader = threading.Thread(target=read_slowly)
    reader.start()
    try:
        write_all(writing, memoryview(data).cast("I"))  # wider items: what is counted are bytes
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(writing)
        reader.join()
        os.close(reading)
    assert received == data
    assert interruptions


def test_a_buffer_of_wider_items_is_written_whole(folder: Path) -> None:
    words = memoryview(bytes(range(16))).cast("I")
    with NewFile(folder / "file", gate=None) as new:
        new.write(words)
        assert new.temporary.read_bytes() == bytes(range(16))


@needs_root
def test_what_another_may_not_read_is_refused_by_name(folder: Path) -> None:
    script = """
import os, sys
from tiktrue_keys.core.durable import *
from tiktrue_keys.errors import RefusedError
os.setuid(65534)
read = lambda: read_capped(sys.argv[1] + "/file", 10, "the file")
create = lambda: create_bytes(sys.argv[1] + "/x", b"", gate=None)
for operation in (read, create):
    try:
        operation()
    except RefusedError as error:
        print(error.message)
"""
    (folder / "file").write_bytes(b"x")
    (folder / "file").chmod(0o600)
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    assert run(script, folder).stdout == (
        f"the file {folder}/file is not accessible to this user\nthe file {folder}/x is not accessible to this user\n"
    )

"""The step from schema version 1: readers leave it alone, the first operation that writes takes it, whole or not."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import machines
from tests.core.first_version import in_the_first_version
from tests.core.keystore import kills
from tests.core.keystore.test_kills import chosen, leftovers
from tests.faults import mounts
from tests.keystores import FULL_RUN, LICENSE, Desk, error_of, events, in_a_child
from tests.machines import Machine
from tests.program import Program
from tiktrue_keys.core.dispatch.peers import ISSUER, Peer, add_peer
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys import deadlines
from tiktrue_keys.core.keystore.schema import RecordKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.core.upgrade import EVENT, copy_name
from tiktrue_keys.errors import DiskFullError
from tiktrue_keys.fleet.pin import pinned

COPY = "keystore.schema-1.db"


def fill(desk: Desk) -> None:
    """Keys in every state, an ended chain, and a model with two live ones."""
    with desk.manager() as manager:
        manager.generate("llama", license_key=LICENSE, labels={"team": "a"})
        manager.rotate(["llama"], license_key=LICENSE)
        manager.generate("plain", no_license=True, lifetime=2 * DAY)
        manager.generate("plain", no_license=True, new_chain=True)
        gone = manager.generate("gone", no_license=True).keys[0].key_id
        manager.revoke([gone], reason="a test")
        manager.generate("gone", no_license=True)
        manager.rotate(["llama"], license_key=LICENSE, prepublish=DAY)


@pytest.fixture
def old(desk: Desk) -> Desk:
    in_the_first_version(desk, lambda: fill(desk))
    assert version(desk) == 1
    return desk


def version(desk: Desk) -> int:
    ((found,),) = desk.rows("PRAGMA user_version")
    return int(found)


def told(manager: KeyManager) -> tuple[Any, ...]:
    """What the manager says of its keys."""
    keys = sorted(manager.keys(), key=lambda key: key.order)
    of_models = {model: sorted(key.key_id for key in manager.keys([model])) for model in {key.model_id for key in keys}}
    return keys, of_models, manager.key_counts(), manager.document().epoch


def must_be_whole(manager: KeyManager) -> None:
    assert all(check.error is None for check in manager.validate(["llama"], deep=True).checks)
    with manager.session.read() as (view, now):
        deadlines.must_agree(view.rows, now)
    assert manager.audit_verify() == manager.audit_size()


def test_a_reader_takes_no_step(old: Desk) -> None:
    before = old.file.read_bytes()
    with old.manager() as manager:
        told(manager)
        manager.validate(deep=True)
        assert manager.rotate(every=True, dry_run=True).rotations
        assert manager.session.notices == []
    assert old.file.read_bytes() == before


def test_the_first_operation_that_writes_takes_it_and_says_so(old: Desk) -> None:
    with old.manager() as manager:
        before = told(manager)
        records = manager.audit_size()
        manager.generate("new", no_license=True)
        assert version(old) == 2
        later = [
            event for event in events(manager)[records:] if event != ("reseal", "ok")
        ]  # where this machine has a fact
        assert later == [(EVENT, "ok"), ("generate", "ok")]
        (notice,) = manager.session.notices
        assert notice.urgent
        assert str(old.folder / COPY) in notice.message
        must_be_whole(manager)
        new = [key.key_id for key in manager.keys(["new"])]
        manager.generate("newer", no_license=True)
        assert manager.session.notices == [notice]
    in_the_first_version(old, lambda: go_back(old, new, before))


def go_back(desk: Desk, new: Sequence[str], before: tuple[Any, ...]) -> None:
    """In the child of version 1, which opens the copy under the keystore's name: it says what was said before."""
    shutil.copy(desk.folder / COPY, desk.file)
    desk.mark.unlink()
    with desk.manager() as manager:
        manager.restore(desk.folder / COPY)
    with desk.manager() as manager:
        keys, of_models, counts, epoch = told(manager)
        assert (keys, of_models, counts) == before[:3]
        assert epoch > before[3]
        assert not set(new) & {key.key_id for key in keys}


def test_what_was_said_before_is_said_after(old: Desk) -> None:
    with old.manager() as manager:
        before = told(manager)
        manager.session.keystore  # noqa: B018  opened before the step
        manager.accept_clock()
        assert told(manager) == before
        must_be_whole(manager)


@pytest.mark.skipif(kills.skip_reason() is not None, reason=str(kills.skip_reason()))
def test_a_kill_leaves_the_old_version_or_the_new_one(old: Desk, tmp_path: Path) -> None:
    with old.manager() as manager:
        before = told(manager)
    saved = tmp_path / "saved"
    shutil.copytree(old.folder.parent, saved)

    def operation() -> None:
        old.manager().accept_clock()

    put_back(old, saved)
    points = kills.kill_points(operation, [old.folder, old.secret.parent], tmp_path / "log")
    assert len(points) > 30
    states, left = set(), {}
    for point in chosen(points, 20):
        put_back(old, saved)
        outcome = kills.killed_at(operation, point)
        assert outcome.killed or outcome.acknowledged, point
        states.add(version(old))
        with old.manager() as manager:
            assert told(manager) == before, point
            manager.accept_clock()
            assert version(old) == 2
            assert [event for event, _ in events(manager)].count(EVENT) == 1, point
            must_be_whole(manager)
        left[point] = leftovers(old) - {COPY}
    assert states == {1, 2}
    assert {point: names for point, names in left.items() if names} == {}


def pin_before_scopes(desk: Desk, sent: dict[str, list[str]]) -> None:
    """Issuers that version 1 has pinned, and the models that each has sent a key of."""
    with desk.manager() as manager:
        manager.generate("own", no_license=True)
        made = [
            (name, manager.generate(model, no_license=True, new_chain=True).keys[0].key_id)
            for name, models in sent.items()
            for model in models
        ]
        with manager.session.write(new_operation_id()) as transaction:
            for name in sent:
                peer = Peer(
                    node_of(name), name, ISSUER, "0" * 32, 1, bytes(32), bytes(1216), bytes(32), transaction.now
                )
                add_peer(transaction.rows, peer, 1)
            for name, key_id in made:
                origin = {"issuer": node_of(name), "at": transaction.now, "epoch": 3}
                transaction.rows.put(RecordKind.WITNESS, f"origin {key_id}", origin)
            transaction.record("node-add")


def node_of(name: str) -> str:
    return name * 32


@pytest.mark.parametrize(
    ("sent", "scopes"),
    [
        ({"a": ["llama"]}, {"a": ("*",)}),
        ({"a": ["llama", "qwen"], "b": ["clip"]}, {"a": ("llama", "qwen"), "b": ("clip",)}),
        ({"a": ["llama"], "b": ["clip", "llama"]}, {"a": (), "b": ("clip",)}),  # which has it, an administrator says
    ],
)
def test_issuers_get_scopes_and_received_keys_their_origin(
    desk: Desk, sent: dict[str, list[str]], scopes: dict[str, tuple[str, ...]]
) -> None:
    in_the_first_version(desk, lambda: pin_before_scopes(desk, sent))
    with desk.manager() as manager:
        before = told(manager)
        manager.accept_clock()
        assert told(manager) == before
        issuers = {peer.name: peer for peer, _ in pinned(manager)}
        assert {name: peer.scope for name, peer in issuers.items()} == scopes
        assert {peer.scope_assumed for peer in issuers.values()} == {len(scopes) > 1}
        for name, models in sent.items():
            assert {(node_of(name), 3)} <= {(key.origin, key.origin_epoch) for key in manager.keys(models)}
        assert manager.find("own").origin is None
        assumed = [each.subject for each in manager.status().findings if each.id == "scope-assumed"]
        assert assumed == (sorted(scopes) if len(scopes) > 1 else [])


_FAIL = {"write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "ftruncate", "unlink", "unlinkat", "openat"}


@pytest.mark.skipif(kills.skip_reason() is not None, reason=str(kills.skip_reason()))
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failing_disk_leaves_the_old_version_or_the_new_one(old: Desk, tmp_path: Path, error: str) -> None:
    with old.manager() as manager:
        before = told(manager)
    saved = tmp_path / "saved"
    shutil.copytree(old.folder.parent, saved)

    def operation() -> None:
        old.manager().accept_clock()

    put_back(old, saved)
    points = kills.kill_points(operation, [old.folder, old.secret.parent], tmp_path / "log")
    states, left = set(), {}
    for point in chosen([point for point in points if point.call in _FAIL], 15):
        put_back(old, saved)
        kills.run(operation, ("-e", f"inject={point.call}:error={error}:when={point.nth}"))
        states.add(version(old))
        with old.manager() as manager:
            assert told(manager) == before, point
            manager.accept_clock()
            assert version(old) == 2
            must_be_whole(manager)
        left[point] = leftovers(old) - {COPY}
    assert states == {1, 2}
    assert {point: names for point, names in left.items() if names} == {}


def put_back(desk: Desk, saved: Path) -> None:
    desk.close()
    for folder in (desk.folder, desk.secret.parent):
        shutil.rmtree(folder)
        shutil.copytree(saved / folder.name, folder)


@pytest.mark.skipif(mounts.skip_reason() is not None, reason=str(mounts.skip_reason()))
def test_without_room_for_the_copy_only_revoke_works_and_the_version_stays(old: Desk, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    shutil.copytree(old.folder, saved)
    old.close()

    def work() -> bytes:
        mounts.enter()
        used = sum(each.stat().st_size for each in saved.iterdir())
        mounts.mount_memory(old.folder, used + 128 * 1024)
        for each in saved.iterdir():
            shutil.copy2(each, old.folder)
        old.folder.chmod(0o700)
        with old.manager() as manager:
            error = error_of(lambda: manager.generate("new", no_license=True))
            assert isinstance(error, DiskFullError), error
            assert COPY in error.message
            assert [path.name for path in old.folder.glob("*.tmp")] == []
            manager.revoke([key.key_id for key in manager.keys(["plain"])][:1], reason="a leak")
            assert not (old.folder / COPY).exists()
            assert sum(key.revoked_at is not None for key in manager.keys(["plain"])) == 1
        return str(version(old)).encode()

    said = in_a_child(work)
    assert said == b"1", said


def test_a_copy_that_is_restored_is_upgraded_again_beside_the_first_copy(old: Desk) -> None:
    with old.manager() as manager:
        manager.accept_clock()
        first = (old.folder / COPY).read_bytes()
        manager.restore(old.folder / COPY)
        assert version(old) == 1
        manager.accept_clock()
        assert version(old) == 2
        assert (old.folder / COPY).read_bytes() == first
        again = [path.name for path in old.folder.glob("keystore.schema-1.epoch-*.db")]
        assert again == [copy_name(manager.document()).replace("schema-2", "schema-1")]
        must_be_whole(manager)


def test_two_processes_take_one_step(old: Desk) -> None:
    with old.manager() as one, old.manager() as other:
        assert one.document().version == other.document().version == 1
        one.accept_clock()
        other.accept_clock()
        assert [event for event, _ in events(one)].count(EVENT) == 1


# The way back, with the program of schema version 1 as it was.

LAST_OF_SCHEMA_1 = "0424a8e88526ac02ca03535fefdcaa1d1b483469"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def older_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the last commit of schema version 1."""
    folder = tmp_path_factory.mktemp("older")
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=zip", LAST_OF_SCHEMA_1, "tiktrue_keys"]
    try:
        archived = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history of this repository does not reach the last commit of schema version 1")
    with zipfile.ZipFile(io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder)
    return folder


def test_the_older_program_goes_back_to_the_copy(older_program: Path, tmp_path: Path) -> None:
    new, old = Program(tmp_path), Program(tmp_path, {"PYTHONPATH": str(older_program)})
    license_file = tmp_path / "license"
    license_file.write_text(LICENSE)
    license_file.chmod(0o600)
    (tmp_path / "model.bin").write_bytes(b"weights" * 1000)
    old.ok("generate", "llama", "--license-file", "license", "--yes")
    old.ok("encrypt-model", "model.bin", "--key", "llama", "--license-file", "license")
    before = old.json("list")["result"]["keys"]

    rotated = new.json("rotate", "llama", "--license-file", "license")
    assert [warning["code"] for warning in rotated["warnings"] if warning["code"] == EVENT] == [EVENT]
    refused = old.run("list")
    assert refused.returncode == 4
    assert "upgrade tiktrue-keys" in refused.stderr

    shutil.copy(tmp_path / "model.bin.ttm", tmp_path / "rewrapped.ttm")
    old.ok("restore", str(new.keystore / COPY), "--yes")
    assert [key["key_id"] for key in old.json("list")["result"]["keys"]] == [key["key_id"] for key in before]
    old.ok("rotate", "llama", "--license-file", "license")
    again = new.json("status", code=7)["result"]
    assert again["keys"]["active"] == 1
    assert [finding["id"] for finding in again["findings"] if finding["id"] == "schema-copy"] == ["schema-copy"]


RANDOM = "ec2f1a90-5b7c-4a1e-9d30-6f0e8b2c4d11"
AMI, AMI_PORT = "03c00218-044d-053f-d506-000700080009", "18:c0:4d:3f:d5:00"
DELL, DELL_SERIAL = "4c4c4544-0051-3010-8044-b7c04f4a3132", ".7Q0DJ12.CNFCP0098U00J1."
CLOUD_DISK = "nvme.1ae0-6e766d655f636172642d7064-6e766d655f636172642d7064-00000001"
PUBLISHED = {
    # A machine, and another one that shows only what is published or can be computed of it.
    "Google Cloud": (
        Machine(system_uuid=RANDOM, nics=["42:01:0a:80:00:02"], disks=[CLOUD_DISK]),
        Machine(nics=["42:01:0a:80:00:02"], disks=[CLOUD_DISK]),
    ),
    "AMI's UUID": (
        Machine(system_uuid=AMI, nics=[AMI_PORT], disks=["naa.55cd2e4151d2f9a7"]),
        Machine(system_uuid=AMI, nics=[AMI_PORT]),
    ),
    "Dell's service tag": (
        Machine(system_uuid=DELL, board_serial=DELL_SERIAL, nics=["0c:42:a1:5e:77:18"]),
        Machine(system_uuid=DELL, board_serial=DELL_SERIAL),
    ),
    "WSL's bridge": (
        Machine(nics=["5c:bb:f6:9e:ee:fa"], disks=["naa.55cd2e4151d2f9a7"]),
        Machine(nics=["5c:bb:f6:9e:ee:fa"]),
    ),
    "QEMU's second interface": (
        Machine(system_uuid=RANDOM, nics=["52:54:00:12:34:57"], board_serial="Default_string"),
        Machine(nics=["52:54:00:12:34:57"], board_serial="Default_string"),
    ),
}
"""The published cases. Each costs six programs: a full run tries all, another the first one."""

OPENED_BY_THE_OLDER = ("Google Cloud", "AMI's UUID", "Dell's service tag", "QEMU's second interface")
"""What its program opened on the other machine: any two of three facts were enough for it."""


@pytest.mark.skipif(machines.skip_reason() is not None, reason=str(machines.skip_reason()))
@pytest.mark.parametrize("case", PUBLISHED if FULL_RUN else [next(iter(PUBLISHED))])
def test_what_the_older_program_sealed_to_shared_facts_opens_and_is_sealed_again(
    older_program: Path, tmp_path: Path, case: str
) -> None:
    own, stranger = PUBLISHED[case]

    def run(machine: Machine, package: Path, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PYTHONPATH": str(package),
            "TIKTRUE_KEYS_HOME": str(tmp_path / "keystore"),
            "TIKTRUE_HOST_SECRET_FILE": str(tmp_path / "host" / "secret"),
        }
        return machine.run([sys.executable, "-m", "tiktrue_keys", *words, "--json"], env=environment, cwd=tmp_path)

    assert run(own, older_program, "generate", "m", "--no-license").returncode == 0
    copied = run(stranger, REPOSITORY, "list").returncode
    assert copied == (0 if case in OPENED_BY_THE_OLDER else 8), "a copied image opens where the shared facts are"
    assert "shared-fact" in run(own, REPOSITORY, "validate").stdout
    assert run(own, REPOSITORY, "rotate", "m").returncode == 0
    assert run(stranger, REPOSITORY, "list").returncode == 8
    assert "shared-fact" not in run(own, REPOSITORY, "validate").stdout


def test_a_damaged_keystore_is_not_upgraded_and_a_key_can_be_revoked(old: Desk) -> None:
    with old.manager() as manager:
        victim = next(iter(manager.keys(["plain"]))).key_id
    old.edit(
        "UPDATE record SET sealed = zeroblob(length(sealed)) WHERE tag = (SELECT min(tag) FROM record WHERE kind = 5)"
    )
    with old.manager() as manager:
        manager.revoke([victim], reason="a leak")
        assert [notice.code for notice in manager.session.notices] == ["schema-not-upgraded"]
        assert manager.is_revoked(victim)
    assert version(old) == 1

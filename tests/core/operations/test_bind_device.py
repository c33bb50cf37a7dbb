"""`binding add`: a secret that a device seals in the host secret's place. The device is a box in this process."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.core.approvals.approvers import ADA
from tests.core.machine.test_independence import facts_of
from tests.keystores import LICENSE, Desk, error_of, folder_in_memory
from tiktrue_keys.core.approvals.policy import BINDING, parse_approver
from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.creation import KeyTerms
from tiktrue_keys.core.keystore.device_secrets import must_know
from tiktrue_keys.core.keystore.document import parse_document
from tiktrue_keys.core.machine import MachineFacts
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.operations.approvals import set_policy
from tiktrue_keys.core.operations.bind_device import bind_device, bound_ways, try_way
from tiktrue_keys.core.operations.generate import GenerateRequest, generate
from tiktrue_keys.core.operations.keystore_status import keystore_status
from tiktrue_keys.core.operations.rebind import rebind
from tiktrue_keys.core.operations.rekey import RekeyRequest, rekey
from tiktrue_keys.core.operations.restore import restore
from tiktrue_keys.core.operations.validate import validate
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.core.session import KeystoreSession
from tiktrue_keys.errors import (
    NeedsApprovalError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
    WrongMachineError,
)
from tiktrue_keys.recovery.escrow import create_escrow, verify_escrow
from tiktrue_keys.recovery.recover import recover
from tiktrue_keys.recovery.shares import Share

HERE = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "0c:42:a1:5e:77:18", "wifi", "3c:58:c2:a7:19:e6")
NEW_CARD = facts_of("disk", "naa.55cd2e4151d2f9a7", "nic", "98:fa:9b:3d:60:12", "wifi", "3c:58:c2:a7:19:e6")
ELSEWHERE = facts_of("disk", "naa.5000c500a1b2c3d4", "nic", "b0:7b:25:9c:11:40", "wifi", "9c:b6:d0:11:22:33")
CHIP, VAULT = "tpm2", "transit"
"""A way without facts, and one with them."""


@dataclass
class Box:
    """What the devices of one machine hold, and which of them are enabled, reachable and honest."""

    held: dict[bytes, bytes] = field(default_factory=dict)
    enabled: tuple[str, ...] = (CHIP, VAULT)
    gone: bool = False
    lies: bool = False
    deaf: bool = False
    asked: list[str] = field(default_factory=list)

    def is_enabled(self, way: str) -> bool:
        return way in self.enabled

    def takes_facts(self, way: str) -> bool:
        return way != CHIP

    def seal(self, way: str, secret: memoryview) -> bytes:
        self._reach("seal", way)
        if self.deaf:
            raise UnavailableError(f"{way}: the device seals nothing")
        blob = os.urandom(40)
        self.held[blob] = bytes(secret)
        return blob

    def unseal(self, way: str, blob: bytes) -> SecretBuffer:
        self._reach("unseal", way)
        if blob not in self.held:
            raise WrongMachineError(f"{way}: this device did not seal it")
        return SecretBuffer.copy_of(self.held[blob])

    def prove(self, way: str, blob: bytes) -> bytes:
        self._reach("prove", way)
        return bytes(16) if self.lies else host_secret_id(memoryview(self.held[blob]))

    def discard(self, way: str, blob: bytes) -> None:
        self._reach("discard", way)
        del self.held[blob]

    def _reach(self, verb: str, way: str) -> None:
        must_know(way, self.enabled, (CHIP, VAULT))
        self.asked.append(f"{verb} {way}")
        if self.gone:
            raise UnavailableError(f"{way}: the device does not answer")


@dataclass(frozen=True)
class Bench:
    """A keystore with a licensed key, its machine's devices, and its escrow's shares."""

    desk: Desk
    box: Box
    shares: list[Share]

    @contextmanager
    def session(self, machine: MachineFacts = HERE, box: Box | None = None) -> Iterator[KeystoreSession]:
        with closing(self.desk.session(lambda: machine, self.box if box is None else box)) as session:
            yield session

    def error(self, machine: MachineFacts = HERE, box: Box | None = None) -> TikTrueKeysError | None:
        """What opening the keystore and reading from it raises."""
        with self.session(machine, box) as session:
            return error_of(lambda: validate(session, (), deep=True))

    def bind(self, way: str, *, alternative: bool = False) -> tuple[str, ...]:
        with self.session() as session:
            return bind_device(session, way, alternative=alternative, operation_id=None).ways

    def findings(self, machine: MachineFacts = HERE) -> set[str]:
        with self.session(machine) as session:
            return {finding.id for finding in keystore_status(session, DAY).findings}


@pytest.fixture(scope="module")
def prepared() -> Iterator[tuple[Path, dict[Path, bytes], list[Share]]]:
    """A folder, the files of a keystore with a verified escrow in it, and its shares. Made once: it takes a while."""
    shares: list[Share] = []
    with folder_in_memory() as folder, Desk(folder) as desk:
        session = desk.session(lambda: HERE)
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
        manager = KeyManager(session=session)

        def keep(_: bytes, made: Sequence[Share]) -> Callable[[], None]:
            shares.extend(made)
            return lambda: None

        create_escrow(manager, keep, shares=2, threshold=2)
        verify_escrow(manager, shares)
        desk.close()
        yield folder, {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}, shares


@pytest.fixture
def bench(prepared: tuple[Path, dict[Path, bytes], list[Share]]) -> Iterator[Bench]:
    folder, files, shares = prepared
    for path in [*folder.rglob("*")]:
        if path.is_file() and path not in files:
            path.unlink()
    for path, data in files.items():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
    with Desk(folder) as desk:
        yield Bench(desk, Box(), shares)


def test_the_devices_secret_takes_the_place_of_the_host_secret(bench: Bench) -> None:
    before = bench.desk.file.read_bytes()
    assert bench.bind(CHIP) == (CHIP,)
    assert bench.box.asked == [f"seal {CHIP}", f"prove {CHIP}"]
    bench.desk.secret.unlink()
    with bench.session(ELSEWHERE) as session:  # the device is part of the machine and stands for its facts
        warned = {notice.code for notice in validate(session, (), deep=True).warnings}
        assert warned == {"no-recovery"}  # no backup was taken
        assert bound_ways(session)[0].way == CHIP
    assert "older-secret" in bench.findings()
    assert not bench.findings(ELSEWHERE) & {"weak-binding", "no-spare", "drift", "shared-fact"}
    assert isinstance(bench.error(box=Box()), WrongMachineError)
    with bench.session() as session:
        record = next(entry for entry in KeyManager(session=session).audit_records() if entry.event == "binding-add")
    assert record.detail == {"way": CHIP, "facts": [], "left": ["machine"]}
    bench.desk.file.write_bytes(before)
    assert isinstance(bench.error(), TikTrueKeysError)


def test_a_way_with_facts_needs_the_machine_too(bench: Bench) -> None:
    assert bench.bind(VAULT) == (VAULT,)
    assert bench.error() is None
    error = bench.error(ELSEWHERE)
    assert isinstance(error, WrongMachineError)
    assert "sealed to disk, nic and wifi and to transit" in error.message


def test_drift_is_sealed_again_under_the_devices_secret(bench: Bench) -> None:
    bench.bind(VAULT)
    with bench.session(NEW_CARD) as session:
        assert rebind(session, LICENSE, dry_run=False, operation_id=None).changed
    two_new = facts_of("disk", "naa.5000c500a1b2c3d4", "nic", "98:fa:9b:3d:60:12", "wifi", "3c:58:c2:a7:19:e6")
    assert bench.error(two_new) is None


def test_a_device_that_is_part_of_the_machine_has_nothing_to_rebind(bench: Bench) -> None:
    bench.bind(CHIP)
    with bench.session(ELSEWHERE) as session:
        assert not rebind(session, LICENSE, dry_run=False, operation_id=None).changed
    assert bench.error() is None


def test_without_a_verified_escrow_a_device_is_refused(desk: Desk) -> None:
    box = Box()
    with closing(desk.session(lambda: HERE, box)) as session:
        generate(session, GenerateRequest("m", LICENSE, KeyTerms()), None)
        error = error_of(lambda: bind_device(session, CHIP, alternative=False, operation_id=None))
        assert isinstance(error, RefusedError)
        assert error.remedy == "escrow-before-device"
        create_escrow(KeyManager(session=session), lambda *_: lambda: None, shares=2, threshold=2)
        error = error_of(lambda: bind_device(session, CHIP, alternative=False, operation_id=None))
        assert isinstance(error, RefusedError)
        assert error.remedy == "verify-escrow"
        assert box.asked == []
        done = bind_device(session, CHIP, alternative=True, operation_id=None)
        assert done.ways == (CHIP, "machine")
        assert [notice.code for notice in done.warnings] == ["weakest-binding"]
        assert "weakest-binding" in {finding.id for finding in keystore_status(session, DAY).findings}


def test_either_of_two_ways_opens_and_both_are_sealed_again(bench: Bench) -> None:
    bench.bind(VAULT, alternative=True)
    with bench.session(NEW_CARD) as session:
        assert rebind(session, LICENSE, dry_run=False, operation_id=None).changed
    two_new = facts_of("disk", "naa.5000c500a1b2c3d4", "nic", "98:fa:9b:3d:60:12", "wifi", "3c:58:c2:a7:19:e6")
    assert bench.error(two_new, Box(gone=True)) is None
    bench.desk.secret.unlink()
    assert bench.error(two_new) is None
    assert bench.bind(CHIP) == (CHIP,)
    with bench.session() as session:
        former = {finding.subject for finding in keystore_status(session, DAY).findings if finding.id == "older-secret"}
        assert former == {"machine", VAULT}


def test_what_cannot_be_sealed_again_waits(bench: Bench) -> None:
    """A write does not fail because another way cannot be read; a rebind, which is for that, does."""
    bench.bind(VAULT, alternative=True)
    bench.desk.clock.forward(days=2)
    bench.desk.secret.rename(bench.desk.secret.with_name("away"))
    with bench.session(NEW_CARD) as session:
        generate(session, GenerateRequest("n", LICENSE, KeyTerms()), None)
        assert "drift" in {finding.id for finding in keystore_status(session, DAY).findings}
        error = error_of(lambda: rebind(session, LICENSE, dry_run=False, operation_id=None))
        assert isinstance(error, WrongMachineError)


@pytest.mark.parametrize(
    ("box", "kind", "words"),
    [
        (Box(gone=True), UnavailableError, "tpm2: the device does not answer"),
        (Box(enabled=(VAULT,)), UnavailableError, "tpm2 is not enabled on this machine"),
        (Box(), WrongMachineError, "tpm2: this device did not seal it"),
    ],
)
def test_each_reason_why_it_does_not_open_has_its_own_words(
    bench: Bench, box: Box, kind: type[Exception], words: str
) -> None:
    bench.bind(CHIP)
    error = bench.error(box=box)
    assert error is not None
    assert (type(error), error.message) == (kind, words)


def test_two_ways_that_fail_are_both_named(bench: Bench) -> None:
    bench.bind(CHIP, alternative=True)
    bench.desk.secret.unlink()
    error = bench.error(box=Box(gone=True))
    assert isinstance(error, UnavailableError)
    assert error.message == (
        "tpm2: the device does not answer; the host secret of this keystore is not on this machine"
    )


@pytest.mark.parametrize("name", ["transit", "fido2", "../../evil", "T" * 40, "\x1b[2J"])
def test_an_edited_slot_chooses_nothing(bench: Bench, name: str) -> None:
    """The header names another way: one that is not enabled, or that does not exist. Nothing is asked of it."""
    bench.bind(CHIP)
    bench.desk.close()
    box = Box(enabled=(CHIP,), held=bench.box.held)
    with closing(sqlite3.connect(bench.desk.file)) as connection:
        ((header,),) = connection.execute("SELECT document FROM header").fetchall()
        document = parse_document(header)
        slots = tuple(replace(slot, type=name) if slot.type == CHIP else slot for slot in document.slots)
        connection.execute("UPDATE header SET document = ?", (replace(document, slots=slots).encode(),))
        connection.commit()
    error = bench.error(box=box)
    assert error is not None
    assert (box.asked, "\x1b" in error.message, len(error.message) < 200) == ([], False, True)
    expected = {"transit": "transit is not enabled", "fido2": "a slot of the unknown type 'fido2'"}
    assert expected.get(name, "the keystore's header is malformed") in error.message


def test_a_device_that_fails_leaves_everything_as_it_was(bench: Bench) -> None:
    before = bench.desk.file.read_bytes()
    for box in (Box(gone=True), Box(lies=True), Box(enabled=())):
        with bench.session(box=box) as session:
            error = error_of(lambda: bind_device(session, CHIP, alternative=False, operation_id=None))
            assert isinstance(error, UnavailableError)
            assert [each.way for each in bound_ways(session)] == ["machine"]
        assert box.held == {}
    assert before != bench.desk.file.read_bytes()  # the refusals are recorded
    assert bench.error() is None


def test_a_way_is_added_once_and_a_repetition_is_the_first_result(bench: Bench) -> None:
    operation = "0123456789abcdef01234567"
    with bench.session() as session:
        first = bind_device(session, CHIP, alternative=False, operation_id=operation)
        again = bind_device(session, CHIP, alternative=False, operation_id=operation)
        assert (first.changed, again.changed, again.ways) == (True, False, first.ways)
        error = error_of(lambda: bind_device(session, CHIP, alternative=False, operation_id=None))
        assert isinstance(error, RefusedError)
        for way in ("machine", "escrow"):
            with pytest.raises(RefusedError, match="bound to"):
                bind_device(session, way, alternative=True, operation_id=None)
        assert generate(session, GenerateRequest("n", LICENSE, KeyTerms()), None).changed
    assert bench.error() is None


def test_the_approval_policy_is_asked_before_the_device(bench: Bench) -> None:
    with bench.session() as session:
        approver = parse_approver("ada", ADA.line)
        set_policy(session, require={BINDING: 1}, approvers=[approver], operation_id=None)
        error = error_of(lambda: bind_device(session, CHIP, alternative=False, operation_id=None))
        assert isinstance(error, NeedsApprovalError)
    assert bench.box.asked == []


def test_a_backup_opens_by_the_device_and_recovery_leaves_it_behind(bench: Bench) -> None:
    bench.bind(CHIP)
    backup = bench.desk.folder.parent / "backup.db"
    with bench.session() as session:
        manager = KeyManager(session=session)
        manager.backup(backup)
        assert restore(session, backup, accept_clock=False, operation_id=None).changed
        assert [each.way for each in bound_ways(session)] == [CHIP]
    shutil.rmtree(bench.desk.folder)
    with bench.session(ELSEWHERE, Box()) as session:
        recover(KeyManager(session=session), backup, bench.shares)
        assert [each.way for each in bound_ways(session)] == ["machine"]
        assert validate(session, (), deep=True).binding.machine_borne == 3


def test_a_way_is_tried_by_itself(bench: Bench) -> None:
    bench.bind(VAULT, alternative=True)
    with bench.session() as session:
        try_way(session, VAULT)
        try_way(session, "machine")
        assert isinstance(error_of(lambda: try_way(session, CHIP)), NotFoundError)
        bench.box.gone = True
        assert isinstance(error_of(lambda: try_way(session, VAULT)), UnavailableError)


def test_a_rekey_gives_the_device_a_new_secret(bench: Bench) -> None:
    bench.bind(CHIP)
    older = bench.desk.file.read_bytes()
    before = set(bench.box.held)
    with bench.session() as session:
        done = rekey(session, RekeyRequest(), operation_id=None)
        assert (done.changed, done.ways, done.host_secret) == (True, (CHIP,), None)
        assert "older-secret" not in {finding.id for finding in keystore_status(session, DAY).findings}
    assert bench.error(ELSEWHERE) is None
    (new,) = set(bench.box.held) - before
    assert new not in older
    assert isinstance(bench.error(box=Box(held={blob: bench.box.held[blob] for blob in before})), WrongMachineError)


def test_a_rekey_under_a_device_that_fails_leaves_the_keystore_as_it_was(bench: Bench) -> None:
    bench.bind(CHIP)
    before = dict(bench.box.held)
    for box in (Box(held=dict(before), lies=True), Box(held=dict(before), deaf=True)):
        with bench.session(box=box) as session:
            assert isinstance(error_of(lambda: rekey(session, RekeyRequest(), operation_id=None)), UnavailableError)
        assert box.held == before
    assert bench.error() is None


def test_a_way_that_is_removed_opens_nothing_new(bench: Bench) -> None:
    bench.bind(VAULT, alternative=True)
    secret = bench.desk.secret.read_bytes()
    with bench.session() as session:
        done = rekey(session, RekeyRequest(remove="machine"), operation_id=None)
        assert (done.ways, done.host_secret) == ((VAULT,), None)
        last = error_of(lambda: rekey(session, RekeyRequest(remove=VAULT), operation_id=None))
        assert isinstance(last, RefusedError)
        missing = error_of(lambda: rekey(session, RekeyRequest(remove=CHIP), operation_id=None))
        assert isinstance(missing, NotFoundError)
        named = RekeyRequest(new_host_secret=bench.desk.secret.with_name("new"))
        assert isinstance(error_of(lambda: rekey(session, named, operation_id=None)), UsageError)
    assert bench.desk.secret.read_bytes() == secret  # it may be that of other keystores
    assert isinstance(bench.error(box=Box(gone=True)), UnavailableError)
    assert bench.error() is None


def test_a_device_that_is_removed_forgets_its_object(bench: Bench) -> None:
    bench.bind(CHIP, alternative=True)
    with bench.session() as session:
        assert rekey(session, RekeyRequest(remove=CHIP), operation_id=None).ways == ("machine",)
    assert bench.box.held == {}
    assert bench.error(box=Box(gone=True)) is None
    assert isinstance(bench.error(ELSEWHERE), WrongMachineError)

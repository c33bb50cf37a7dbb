"""A hypothesis state machine: random programs of operations, restarts and a moving clock against a model of the keys.

    python -m tests.faults.states --count 1000

The model is a list of dataclasses and the table of DESIGN section 6, written down a second time and nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.faults import facts
from tests.faults.campaign import Options, Tally, break_it, main, scratch
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UsageError,
    WrongLicenseError,
)

DAY = 86_400
_NOON = 1_795_608_000  # 2026-11-25T12:00:00Z
_LICENSES = ("license one", "license two")
_MODELS = ("llama", "mistral", "phi")
_STEPS = 50


@dataclass
class Key:
    """One key as the model sees it."""

    key_id: str
    model: str
    generation: int
    license: str
    created: int
    expires: int
    decrypt_until: int
    rotated: int | None = None
    overlap_ends: int | None = None
    successor: str | None = None
    revoked: bool = False
    destroy_at: int | None = None
    destroyed: bool = False

    def status(self, now: int) -> str:
        """DESIGN section 6."""
        if self.destroyed:
            return "destroyed"
        if self.revoked:
            return "revoked"
        if self.rotated is not None:
            return "rotating" if now < (self.overlap_ends or 0) else "deprecated"
        return "expired" if now >= self.expires else "active"


@dataclass
class World:
    """What the machine remembers besides the keys."""

    real: int = _NOON
    behind: int = 0
    newest: int = 0
    heartbeat: int = 0
    created: bool = False
    licenses: set[str] = field(default_factory=set)
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def clock(self) -> int:
        """What the machine takes for the time."""
        return max(self.real - self.behind, 0)

    @property
    def now(self) -> int:
        """Effective time."""
        return max(self.clock, self.newest, self.heartbeat)

    @property
    def leapt(self) -> bool:
        """Whether nothing may be written."""
        return self.created and self.clock > max(self.newest, self.heartbeat) + 400 * DAY

    def beat(self) -> None:
        """A scheduled run: once a day it remembers the time."""
        if not self.leapt and self.now // DAY > self.heartbeat // DAY:
            self.heartbeat = self.now

    def live(self, model: str) -> list[Key]:
        """Heads of the model's chains that are neither revoked nor destroyed."""
        return [
            key
            for key in self.keys.values()
            if key.model == model and not key.revoked and not key.destroyed and not key.successor
        ]


class Keystores(RuleBasedStateMachine):
    """Each rule does one operation to the manager and to the model, and compares what both say."""

    folder: Path
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=self.folder))
        self.world = World()
        self.manager = self._open()

    def teardown(self) -> None:
        self.manager.close()
        shutil.rmtree(self.place)

    @initialize(model=st.sampled_from(_MODELS), license_key=st.sampled_from(_LICENSES))
    def begin(self, model: str, license_key: str) -> None:
        """Hypothesis leaves rules out at random: where generate was, fifty steps did nothing."""
        self.generate(model, license_key, new=False)

    @rule()
    def restart(self) -> None:
        self.manager.close()
        self.manager = self._open()

    @rule(days=st.sampled_from((0, 0, 1, 3, 7, 25, 31, 60, 95)), seconds=st.integers(0, 5))
    def time_passes(self, days: int, seconds: int) -> None:
        self.world.real += days * DAY + seconds

    @rule(days=st.sampled_from((1, 10, 400, 3650)))
    def clock_goes_back(self, days: int) -> None:
        self.world.behind = days * DAY

    @precondition(lambda self: self.world.behind)
    @rule()
    def clock_is_right_again(self) -> None:
        self.world.behind = 0

    @rule(model=st.sampled_from(_MODELS), license_key=st.sampled_from(_LICENSES), new=st.booleans())
    def generate(self, model: str, license_key: str, new: bool) -> None:
        world = self.world
        expected: tuple[type[TikTrueKeysError], ...] = ()
        if world.created and world.live(model):
            expected = (RefusedError, WrongLicenseError)
        elif world.created and license_key not in world.licenses and not new:
            expected = (WrongLicenseError,)
        made = self._do(
            expected, lambda: self.manager.generate(model, license_key=license_key, new_license=new and world.created)
        )
        if made is None:
            return
        world.created = True
        world.licenses.add(license_key)
        self._wrote()
        (key,) = made.keys
        world.keys[key.key_id] = Key(key.key_id, model, 1, license_key, world.now, world.now + 30 * DAY, 0)
        world.keys[key.key_id].decrypt_until = world.keys[key.key_id].expires + 90 * DAY
        assert key.expires_at == world.now + 30 * DAY

    @precondition(lambda self: self.world.keys)
    @rule(data=st.data(), license_key=st.sampled_from(_LICENSES))
    def rotate(self, data: st.DataObject, license_key: str) -> None:
        key = self._some_key(data)
        expected: tuple[type[TikTrueKeysError], ...] = ()
        if key.destroyed or key.successor or key.revoked:
            expected = (RefusedError, RevokedError, WrongLicenseError)
        elif license_key not in self.world.licenses or key.license != license_key:
            expected = (WrongLicenseError,)
        done = self._do(expected, lambda: self.manager.rotate([key.key_id], license_key=license_key))
        if done is not None:
            (rotation,) = done.rotations
            self._rotated(key, rotation.new)

    @precondition(lambda self: self.world.created)
    @rule(license_key=st.sampled_from(_LICENSES))
    def rotate_due(self, license_key: str) -> None:
        world = self.world
        due = [key for key in world.keys.values() if self._is_due(key)]
        world.beat()
        done = self._do((), lambda: self.manager.rotate(due=True, license_key=license_key))
        if done is None:
            return
        mine = {key.key_id for key in due if key.license == license_key}
        assert {rotation.old.key_id for rotation in done.rotations} == mine
        assert {failure.key_id for failure in done.failures} == {key.key_id for key in due} - mine
        for rotation in done.rotations:
            self._rotated(world.keys[rotation.old.key_id], rotation.new)

    @precondition(lambda self: self.world.keys)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        key = self._some_key(data)
        expected: tuple[type[TikTrueKeysError], ...] = (
            (RefusedError, RevokedError) if key.destroyed or key.revoked else ()
        )
        done = self._do(expected, lambda: self.manager.revoke([key.key_id], reason="a test"))
        if done is not None:
            key.revoked = True
            key.destroy_at = None if key.destroy_at is None else key.destroy_at
            self._wrote()

    @precondition(lambda self: self.world.created)
    @rule(after=st.sampled_from((0, 5 * DAY)))
    def cleanup(self, after: int) -> None:
        self.world.beat()
        done = self._do((), lambda: self.manager.cleanup(after=after))
        if done is None:
            return
        for key in done.destroyed:
            known = self.world.keys[key.key_id]
            assert known.destroy_at is not None, "destroyed in the run that marks it"
            assert known.destroy_at <= self.world.now
            assert self._may_go(known)
            known.destroyed = True
        for key in done.marked:
            known = self.world.keys[key.key_id]
            assert self._may_go(known), "marked, and still of use"
            known.destroy_at = key.destroy_at
        if done.destroyed or done.marked:
            self._wrote()

    @precondition(lambda self: self.world.created)
    @rule()
    def accept_clock(self) -> None:
        self.manager.accept_clock()
        self.world.newest = max(self.world.clock, self.world.newest)
        self.world.heartbeat = min(self.world.heartbeat, self.world.newest)

    @precondition(lambda self: self.world.keys)
    @rule(data=st.data(), use=st.sampled_from(list(Use)))
    def open(self, data: st.DataObject, use: Use) -> None:
        key = self._some_key(data)
        status = key.status(self.world.now)
        expected: tuple[type[TikTrueKeysError], ...] = ()
        if status == "destroyed":
            expected = (RefusedError,)
        elif status == "revoked":
            expected = () if use is Use.RECOVER_REVOKED else (RevokedError,)
        elif use is Use.ENCRYPT and status != "active":
            expected = (RefusedError, ExpiredError)
        elif use is Use.DECRYPT and status != "active" and self.world.now >= key.decrypt_until:
            expected = (ExpiredError,)
        opened = self._do(expected, lambda: self.manager.open_key(key.key_id, key.license, use=use))
        if opened is not None:
            opened.secret.wipe()

    @invariant()
    def count(self) -> None:
        self.done["steps"] += 1

    @invariant()
    def both_say_the_same(self) -> None:
        if not self.world.created:
            return
        found = {str(key.key_id): key for key in [*self.manager.keys()]}
        assert found.keys() == self.world.keys.keys()
        for key_id, key in self.world.keys.items():
            assert found[key_id].status.value == key.status(self.world.now), key
            assert found[key_id].successor == key.successor
            assert found[key_id].generation == key.generation
        assert self.manager.audit_verify() == self.manager.audit_size()

    def _open(self) -> KeyManager:
        return KeyManager(
            self.place / "keys",
            host_secret_file=self.place / "host/secret",
            pbkdf2_rounds=PBKDF2_MIN_ROUNDS,
            clock=lambda: float(self.world.clock),
        )

    def _some_key(self, data: st.DataObject) -> Key:
        keys = list(self.world.keys.values())  # in the order of their making: their ids differ from run to run
        return keys[data.draw(st.integers(0, len(keys) - 1))]

    def _do(self, expected: tuple[type[TikTrueKeysError], ...], operation: Callable[[], Any]) -> Any:
        """The operation's result; None when it raised what was expected, or a clock that leapt."""
        world = self.world
        leapt = world.leapt
        try:
            done = operation()
        except TikTrueKeysError as error:
            self._failed(error)
            if leapt and isinstance(error, RefusedError):
                self.done["refused: the clock leapt"] += 1
                return None
            if not world.created and isinstance(error, NotFoundError):
                self.done["nothing there"] += 1
                return None
            if not isinstance(error, expected) or isinstance(error, IntegrityError | UsageError):
                raise AssertionError(f"{type(error).__name__}: {error}, expected {expected}") from error
            self.done[type(error).__name__] += 1
            return None
        assert not expected, f"expected {expected}"
        self.done[type(done).__name__] += 1
        return done

    def _failed(self, error: TikTrueKeysError) -> None:
        """A refusal is recorded where there is a log to record it in, and so moves effective time on."""
        if self.world.created:
            records = list(self.manager.audit_records(backwards=True))
            self.world.newest = max(self.world.newest, records[0].time if records else 0)
        assert error.message

    def _wrote(self) -> None:
        self.world.newest = self.world.now

    def _rotated(self, key: Key, new: Any) -> None:
        world = self.world
        assert new is not None
        self._wrote()
        key.successor, key.rotated = new.key_id, world.now
        key.overlap_ends = min(world.now + 7 * DAY, max(key.decrypt_until, world.now))  # no overlap revives a key
        expires = world.now + (key.expires - key.created)
        world.keys[new.key_id] = Key(
            new.key_id, key.model, key.generation + 1, key.license, world.now, expires, new.decrypt_until
        )
        assert new.expires_at == expires
        key.decrypt_until = self.manager.find(key.key_id).decrypt_until

    def _is_due(self, key: Key) -> bool:
        status = key.status(self.world.now)
        left = key.expires - self.world.now
        return status in ("active", "expired") and left <= min(7 * DAY, (key.expires - key.created) // 3)

    def _may_go(self, key: Key) -> bool:
        status = key.status(self.world.now)
        return status == "revoked" or (status in ("deprecated", "expired") and self.world.now >= key.decrypt_until)


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` programs of 50 steps, in slices so that a limit of time is kept."""
    facts.become(facts.FIVE)
    Keystores.folder = scratch("states")
    if options.control is not None:
        _break()
    slice_size = min(options.count, 50)
    number = 0
    while go_on():
        seed = f"{options.seed} {options.part} {number}"
        programs = min(slice_size, options.count - tally.cases)
        machine = with_seed(seed)(type("Program", (Keystores,), {}))
        limits = settings(
            max_examples=programs,
            stateful_step_count=_STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
            phases=(Phase.generate,),  # a failing program of 50 steps shrinks for minutes: by hand, with its seed
        )
        try:
            run_state_machine_as_test(machine, settings=limits)
        except Exception as error:  # noqa: BLE001  whatever it is, the program that leads there is in its notes
            notes = "\n".join(getattr(error, "__notes__", ()))[-1500:]
            tally.broken(f"states, seed {seed!r}", f"{type(error).__name__}: {error}\n{notes}")
        tally.cases += programs
        number += 1
    tally.figures["acts"] = dict(sorted(Keystores.done.items()))
    tally.figures["steps a program, at most"] = _STEPS


def _break() -> None:
    """Status follows the clock alone: a clock that goes back revives what had expired."""
    import contextlib
    from collections.abc import Iterator

    from tiktrue_keys.core import session
    from tiktrue_keys.core.instants import instant_of

    @contextlib.contextmanager
    def read(self: Any) -> Iterator[Any]:
        with self.guard, self.keystore.read() as view:
            yield view, instant_of(self.clock())

    break_it(session.KeystoreSession, "read", read)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=20, controls=("clock-believed",))

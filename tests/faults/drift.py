"""Every subset of changed facts on every made-up machine: exactly those that the binding promises open.

    python -m tests.faults.drift

In this process over all machines of at most five facts (each fact as it was, changed, or gone); with the unmodified
program in real namespaces, as root and as nobody, over a sample. The rule is written down here a second time.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tests import machines
from tests.faults import facts
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.shop import LICENSE, REPOSITORY
from tests.machines import OTHER_SERVER, SERVER, Machine
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import WrongMachineError

_KINDS = tuple(facts.FIVE)
_BORNE = frozenset(_KINDS) - {FactKind.MACHINE_ID}
_WRONG_MACHINE = 8
_SAME, _CHANGED, _GONE = range(3)
_PARTS = ("system_uuid", "board_serial", "nics", "disks", "machine_id")


def opens(fates: Mapping[FactKind, int]) -> bool:
    """What the binding promises. `fates` names the facts that the keystore was made with, and what became of each."""
    lost = {kind for kind, fate in fates.items() if fate != _SAME}
    borne = _BORNE & set(fates)
    if borne:
        return len(lost & borne) <= (len(borne) >= 3)
    return not lost


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """All machines in this process, then the program on some of them."""
    folder = scratch("drift")
    if options.control is not None:
        _break()
    for size in range(6):
        for kinds in itertools.combinations(_KINDS, size):
            place = folder / "-".join(kind.value for kind in kinds) if kinds else folder / "none"
            _one_machine(place, kinds, tally)
    if options.control is None and machines.skip_reason() is None:
        _real_machines(folder / "real", options, tally)
    else:
        tally.figures["real machines"] = machines.skip_reason() or "not with a control"


def _one_machine(place: Path, kinds: tuple[FactKind, ...], tally: Tally) -> None:
    made_with = {kind: facts.FIVE[kind] for kind in kinds}
    facts.become(made_with)
    options = {"host_secret_file": place / "host", "pbkdf2_rounds": PBKDF2_MIN_ROUNDS}
    place.mkdir()
    with KeyManager(place / "keys", **options) as manager:  # type: ignore[arg-type]
        manager.generate("llama", no_license=True)
    for fates in itertools.product((_SAME, _CHANGED, _GONE), repeat=len(kinds)):
        fate_of = dict(zip(kinds, fates, strict=True))
        facts.become(
            {
                kind: value if fate_of[kind] == _SAME else facts.with_another(kind)[kind]
                for kind, value in made_with.items()
                if fate_of[kind] != _GONE
            }
        )
        tally.cases += 1
        with watched(tally, f"made with {[kind.value for kind in kinds]}, then {fates}"):
            found = True
            with KeyManager(place / "keys", **options) as manager:  # type: ignore[arg-type]
                try:
                    named = set(manager.validate().drift.names())
                except WrongMachineError:
                    found = False
            tally.counts["opened" if found else "wrong machine"] += 1
            if found != opens(fate_of):
                raise ViolationError(f"it {'opens' if found else 'does not open'}")
            lost = {kind.value for kind, fate in fate_of.items() if fate != _SAME}
            if found and named != lost:
                raise ViolationError(f"it names {sorted(named)} as drift, {sorted(lost)} drifted")


def _real_machines(folder: Path, options: Options, tally: Tally) -> None:
    """`generate` on the server, `show` on the server with parts of another one in it."""
    readable: Mapping[str, frozenset[str]] = {
        "root": frozenset(_PARTS),
        "nobody": frozenset({"nics", "disks", "machine_id"}),
    }
    users: tuple[Literal["root", "nobody"], ...] = ("root", "nobody")
    chooser = options.random("real")
    subsets = [set(subset) for size in range(6) for subset in itertools.combinations(_PARTS, size)]
    for user in users:
        place = folder / user
        place.mkdir(parents=True)
        if user == "nobody":
            machines.give_to_nobody(place)
        if _run(SERVER, place, user, "generate", "llama", "--no-license") != 0:
            tally.broken("real", f"generate as {user} failed")
            continue
        for changed in subsets if options.every else chooser.sample(subsets, 4):
            tally.cases += 1
            machine = replace(SERVER, **{part: getattr(OTHER_SERVER, part) for part in changed})
            fates = {
                kind: _CHANGED if part in changed else _SAME
                for kind, part in zip(_KINDS, _PARTS, strict=True)
                if part in readable[user]
            }
            with watched(tally, f"as {user} with other {sorted(changed)}"):
                code = _run(machine, place, user, "show", "llama")
                tally.counts[f"real, {user}: exit {code}"] += 1
                if code != (0 if opens(fates) else _WRONG_MACHINE):
                    raise ViolationError(f"exit {code}")
    shutil.rmtree(folder)


def _run(machine: Machine, place: Path, user: Literal["root", "nobody"], *words: str) -> int:
    import sys

    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "TIKTRUE_KEYS_HOME": str(place / "keys"),
        "TIKTRUE_EPHEMERAL": "1",
        "TIKTRUE_HOST_SECRET_FILE": str(place / "secret"),
        "TIKTRUE_LICENSE_KEY": LICENSE,
    }
    done = machine.run([sys.executable, "-B", "-m", "tiktrue_keys", *words], user=user, env=environment, cwd=place)
    return done.returncode


def _break() -> None:
    """Slots that leave one more fact out."""
    from tiktrue_keys.core import fingerprint
    from tiktrue_keys.core.keystore import slots

    accepted = fingerprint.accepted_combinations

    def generous(binding: fingerprint.Binding) -> tuple[tuple[FactKind, ...], ...]:
        found = accepted(binding)
        return (*found, *(combination[1:] for combination in found if len(combination) > 2))

    for module in (slots, fingerprint):  # what is sealed, and what `validate` compares with the machine
        break_it(module, "accepted_combinations", generous)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=10_000, controls=("one-fact-fewer",))

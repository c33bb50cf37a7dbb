"""One operation in one shop, interrupted somewhere: what is found afterwards is the old or the new state of each unit.

What the new state is, and which audit records lead there, comes from one run that nobody interrupts.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults import traced
from tests.faults.campaign import ViolationError
from tests.faults.operations import Operation
from tests.faults.shop import Shop, View
from tests.faults.traced import Ended, Point

PROBE = ["generate", "probe", "--no-license"]
"""The next writing command."""


class Bench:
    """The operation, its shop, and its two honest ends."""

    def __init__(self, operation: Operation, base: Path, *, kept: Path | None = None) -> None:
        self.operation = operation
        self.shop = Shop(base, bare=operation.bare, moved=operation.moved, folders=operation.folders, kept=kept)
        self.shop.file_by_file = operation.file_by_file
        self._log = (kept or base) / "log"
        self.old = self.shop.view()
        self._old_listing = self._listing_after_probe()
        self.shop.restore()
        traced.warm_up(operation.work(self.shop), self.shop.environment)
        self.new = self.shop.view()
        self._new_listing = self._listing_after_probe()
        # Records and files together: a folder that could not be synced fails the operation, with the output in place.
        self._states = {(view.events, view.files): view.state for view in (self.old, self.new)}

    def points(self, *, failing: bool = False, every: bool = False) -> list[Point]:
        """What may be interrupted in one run."""
        self.shop.restore()
        ended = traced.forked(self.operation.work(self.shop), self.shop.environment, log=self._log)
        if ended.code != 0:
            raise ViolationError(f"{self.operation.name} cannot be recorded: {ended.errors}")
        calls = traced.FAILING if failing else None if every else traced.CHANGING
        return traced.points(self._log, self.shop.folders, calls, every_thread=self.operation.folders)

    def interrupted(self, *injections: str) -> Ended:
        """A fresh shop, and the operation in it with these injections."""
        self.shop.restore()
        return traced.forked(self.operation.work(self.shop), self.shop.environment, injections)

    def examine(self, ended: Ended) -> str:
        """`old`, `new`, or `between` where units of a batch differ; ViolationError for anything else."""
        found = self.shop.view()
        self._must_be_a_state(found)
        # A rotation is done when its keys are; it warns of containers that it could not rewrap.
        told = "not rewrapped" in ended.errors and found.keys == self.new.keys
        if ended.acknowledged and not told and (found.state, found.files) != (self.new.state, self.new.files):
            raise ViolationError(f"an acknowledged operation is lost: {_difference(self.new, found)}")
        if found.done == self.new.done and found.files == self.new.files:
            return "new"
        return "old" if (found.done, found.files) == (self.old.done, self.old.files) else "between"

    def go_on(self, *, probe_first: bool, tidy: bool = True) -> None:
        """The next commands: one that writes something else, and the operation once more under its operation id.

        With `tidy` False the operation could remove nothing while it ran, and no later command removes what it left.
        """
        self.shop.age()
        if probe_first:
            self._probe(tidy=tidy and not self.operation.resumes)
        again = traced.forked(self.operation.work(self.shop), self.shop.environment)
        if again.code != 0:
            raise ViolationError(
                f"the operation under its operation id again: exit {again.code}: {again.errors[-600:]}"
            )
        found = self.shop.view()
        without_probe = tuple(key for key in found.keys if key[0] != "probe")
        if (without_probe, found.containers, found.drift, found.files) != (*self.new.state, self.new.files):
            raise ViolationError(f"done again it ends elsewhere: {_difference(self.new, found)}")
        if not probe_first:
            self._probe(tidy=tidy)
        if tidy:
            self._must_be_tidy()

    def _probe(self, *, tidy: bool) -> None:
        self.shop.ok(PROBE)
        if self.shop.view().intents:
            raise ViolationError("an intent is still open after the next writing command")
        if tidy:
            self._must_be_tidy()

    def _must_be_tidy(self) -> None:
        listing = set(self.shop.listing())
        left = listing - set(self._new_listing) - set(self._old_listing)
        if left:
            raise ViolationError(f"left behind after the next writing command: {sorted(left)}")

    def _must_be_a_state(self, found: View) -> None:
        before, after = self.old.done, self.new.done
        grown = found.done[: len(before)] == before
        if not grown and found.done != after:
            raise ViolationError(f"audit records are lost: {len(found.done)} of {len(before)}")
        known = self._states.setdefault((found.events, found.files), found.state)
        if known != found.state:
            raise ViolationError(f"records and files say one thing, the keys another: {known} and {found.state}")
        if grown and found.done != before and found.done[: len(after)] != after[: len(found.done)]:
            raise ViolationError(f"unforeseen records: {found.done[len(before) :]}")
        old, new = dict(self.old.files), dict(self.new.files)
        for name, content in found.files:
            if content in (old.get(name), new.get(name)):
                continue
            raise ViolationError(f"{name} is neither old nor new: {content}")
        for name in {*old} & {*new}:
            if name not in dict(found.files):
                raise ViolationError(f"{name} is gone")
        changed = dict(found.files) != old and any(dict(found.files).get(name) != old.get(name) for name in new)
        if changed and ("intent", "ok") not in found.events[len(self.old.events) :]:
            raise ViolationError("a file changed and no intent was recorded before it")

    def _listing_after_probe(self) -> tuple[str, ...]:
        self.shop.ok(PROBE)
        return self.shop.listing()


def _difference(expected: View, found: View) -> str:
    parts = []
    for name in ("keys", "containers", "files", "drift"):
        before, after = getattr(expected, name), getattr(found, name)
        if before != after:
            parts.append(
                f"{name}: expected {sorted(set(before) - set(after))}, found {sorted(set(after) - set(before))}"
            )
    return "; ".join(parts)

"""The fleet as programs: an issuer and nodes, each with a keystore, a host secret and settings of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.program import Program
from tests.waiting import PATIENCE
from tiktrue_keys.fleet.cards import parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin

ISSUER = "head-office"


class Staff:
    """`admin` issues, `nodes` by name receive; how the transport is reached stands in everybody's settings."""

    def __init__(
        self,
        folder: Path,
        via: str,
        credentials: Mapping[str, str],
        names: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        (folder / "spool").mkdir(exist_ok=True)
        self.node_ids: dict[str, str] = {}
        self._variables = dict(variables or {})
        self._settings = "[fleet]\n" + "".join(
            f"{name} = {json.dumps(value)}\n" for name, value in {"via": via, **credentials}.items()
        )
        self.admin = self._program("admin")
        self.admin.generate("llama")
        self.admin.ok("fleet", "init", ISSUER)
        self._set_up(self.admin)
        self.nodes = {name: self._program(name) for name in names}
        for name, node in self.nodes.items():
            self._join(name, node)

    def key_ids(self, *words: str) -> list[str]:
        """The keys of a command of the issuer's."""
        return [key["key_id"] for key in self.admin.json(*words)["result"]["keys"]]

    def _program(self, name: str) -> Program:
        place = self.folder / name
        place.mkdir(mode=0o700)
        return Program(place, dict(self._variables))

    def _set_up(self, program: Program) -> None:
        path = program.folder / ".config/tiktrue-keys/tiktrue-keys.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._settings)
        path.chmod(0o600)

    def _join(self, name: str, node: Program) -> None:
        """Pinned both ways by the package's own operations: four programs a node would take longer than most tests."""
        with node.manager() as manager, self.admin.manager() as admin:
            init_node(manager, name, role="node")
            card, issuer = (parse_card(own_card(each)[1]) for each in (manager, admin))
            pin(admin, card, expect=card.node_id)
            pin(manager, issuer, expect=issuer.node_id, role="issuer")
            self.node_ids |= {name: card.node_id, ISSUER: issuer.node_id}
        self._set_up(node)


class Watcher:
    """A node's `fleet receive --watch`, and when (time.monotonic) it told of which key in which state."""

    def __init__(self, node: Program, *before: str) -> None:
        self.told: dict[tuple[str, str], float] = {}
        self.reports: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*before, *node.argv("fleet", "receive", "--watch", "--json")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=node.environment,
            cwd=node.folder,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @staticmethod
    def soon() -> float:
        """An instant that is far enough away for whatever must happen."""
        return time.monotonic() + PATIENCE

    def wait_for(self, key_id: str, status: str, until: float) -> float | None:
        """When the node told of the key in that state; None when it had not at the instant `until`."""
        while (key_id, status) not in self.told and time.monotonic() < until:
            time.sleep(0.01)
        return self.told.get((key_id, status))

    def pause(self, *, on: bool) -> None:
        """Stop the process where it is, or let it go on."""
        self.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause(on=False)
        self.process.terminate()
        try:
            self.process.wait(timeout=PATIENCE)
        finally:
            self.process.kill()
        self._reader.join(timeout=PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            report = json.loads(line)
            self.reports.append(report)
            for key in (report["result"] or {}).get("keys", ()):
                self.told.setdefault((key["key_id"], key["status"]), time.monotonic())

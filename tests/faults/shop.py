"""A small shop with everything in it that an operation can hurt: keys of every kind, a keystore, containers, a backup.

It is built once, saved, and put back in no time before each case. Everything lies below one folder whose path never
changes, because the keystore names its host secret's path and the registry names containers.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faked_clock import of_the_clock
from tests.faults import facts, traced
from tests.faults.campaign import ViolationError
from tests.faults.traced import Ended
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.machine import FactKind
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import (
    ExpiredError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    WrongLicenseError,
)
from tiktrue_keys.recovery.share_files import share_text
from tiktrue_keys.recovery.shares import Share

LICENSE = "a license, made up for tests"
OTHER_LICENSE = "another license, made up for tests"
MODEL = bytes(range(256)) * 40
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class View:
    """All that matters of a shop, in comparable form: ids are left out where each run makes its own."""

    keys: tuple[Any, ...]
    containers: tuple[Any, ...]
    intents: int
    events: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    drift: tuple[str, ...] = ()

    @property
    def done(self) -> tuple[tuple[str, str], ...]:
        """The records of what was done; those of what failed change nothing."""
        return tuple(event for event in self.events if event[1] == "ok")

    @property
    def state(self) -> tuple[Any, ...]:
        """What the events must account for."""
        return (self.keys, self.containers, self.drift)


class Shop:
    """One shop. `bare`: a machine without a keystore; `moved`: its mainboard was replaced since it was built.

    `folders`: with a model's folder, which has changed since it was encrypted beside it for a key that was rotated.
    `kept`: where the saved one lies, when `base` is a small file system.
    """

    real = False
    """Whether the facts are this machine's own, so that an interpreter of its own opens the keystore, too."""

    def __init__(
        self,
        base: Path,
        *,
        bare: bool = False,
        moved: bool = False,
        folders: bool = False,
        kept: Path | None = None,
    ) -> None:
        if not self.real:
            facts.become(facts.FIVE)
        self.base = base
        self.live = base / "live"
        self._saved = (kept or base) / "saved"
        self.keystore = self.live / "keys"
        self.secret = self.live / "host/secret"
        self.models = self.live / "models"
        self.backups = self.live / "backups"
        self.licenses = base / "licenses"
        self.shares = base / "shares"
        self._bare = bare
        self._first_tags: frozenset[str | None] | None = None
        self._folders = folders
        self.file_by_file = False
        """Whether a folder is changed file by file, so that each of them is a unit."""
        self.key_ids: dict[str, str] = {}
        self._build(bare)
        if moved:
            facts.become(facts.with_another(FactKind.BOARD_SERIAL))

    @property
    def environment(self) -> dict[str, str]:
        """What the program sees."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.base),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "TIKTRUE_KEYS_HOME": str(self.keystore),
            "TIKTRUE_EPHEMERAL": "1",
            "TIKTRUE_HOST_SECRET_FILE": str(self.secret),
            "TIKTRUE_LICENSE_KEY": LICENSE,
            **of_the_clock(),
        }

    @property
    def folders(self) -> list[Path]:
        """The paths whose first mention begins an operation."""
        return [self.live]

    def manager(self, **options: Any) -> KeyManager:
        """A manager on it, with the cheapest PBKDF2."""
        settings: dict[str, Any] = {"host_secret_file": self.secret, "pbkdf2_rounds": PBKDF2_MIN_ROUNDS}
        return KeyManager(self.keystore, **(settings | options))

    def restore(self) -> None:
        """Put everything back as it was when it was built."""
        shutil.rmtree(self.live)
        shutil.copytree(self._saved, self.live)

    def save(self) -> None:
        """Take the shop as it is for what it was when it was built."""
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.live, self._saved)

    def run(self, words: Sequence[str], *injections: str, log: Path | None = None) -> Ended:
        """The command line with these words, in a child."""
        return traced.forked(traced.program(words), self.environment, injections, log)

    def warm_up(self, words: Sequence[str]) -> None:
        """Run them here once, and put everything back."""
        self.restore()
        traced.warm_up(traced.program(words), self.environment)
        self.restore()

    def ok(self, words: Sequence[str]) -> Ended:
        """The same, unharmed, and it must succeed."""
        ended = self.run(words)
        if ended.code != 0:
            raise ViolationError(f"{' '.join(words)} ended in {ended.code}: {ended.errors[-1500:]}")
        return ended

    def view(self) -> View:
        """Open and verify everything; ViolationError where something does not open."""
        with self.manager() as manager:
            try:
                return self._view(manager)
            except NotFoundError as error:
                if manager.exists():
                    raise ViolationError(f"a keystore is there and not found: {error}") from error
                return View((), (), 0, (), self._files(None))
            except TikTrueKeysError as error:
                raise ViolationError(f"does not open: {type(error).__name__}: {error}") from error

    def age(self) -> None:
        """Make every temporary file look as if the machine had been off for a day."""
        for path in self.live.rglob(".*.tmp"):
            day_ago = path.stat().st_mtime - 86_400
            os.utime(path, (day_ago, day_ago))

    def listing(self) -> tuple[str, ...]:
        """Every file and folder, with made-up parts of names written as <...>."""
        return tuple(sorted(_shown(str(path.relative_to(self.live))) for path in self.live.rglob("*")))

    def _view(self, manager: KeyManager) -> View:
        validation = manager.validate(deep=True)
        checks = validation.checks
        bad = [
            f"{check.key.key_id}: {check.error}"
            for check in checks
            if check.error is not None and not isinstance(check.error, RefusedError | RevokedError | ExpiredError)
        ]
        if bad:
            raise ViolationError(f"validate: {bad}")
        if manager.audit_verify() != manager.audit_size():
            raise ViolationError("the audit log does not verify")
        generations = {str(check.key.key_id): check.key for check in checks}
        if self._first_tags is None:
            self._first_tags = frozenset(check.key.license_tag for check in checks)
        keys = tuple(sorted(_key_form(check.key, self._license_of(check.key)) for check in checks))
        return View(
            keys,
            tuple(sorted(_container_form(record, generations) for record in manager.containers())),
            len(manager.open_intents()),
            tuple((record.event, record.outcome) for record in manager.audit_records()),
            self._files(manager),
            validation.drift.names(),
        )

    def _license_of(self, key: Any) -> str:
        """Return the license of a key: its tag as it was at first, or that it has another; each run draws its salt."""
        if not key.license_tag or self._bare:
            return "licensed" if key.license_tag else ""
        return key.license_tag if key.license_tag in (self._first_tags or ()) else "another license"

    def _files(self, manager: KeyManager | None) -> tuple[tuple[str, str], ...]:
        if not self.models.exists():
            return ()
        found = {}
        for path in sorted(self.models.iterdir(), reverse=True):
            aside = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.old", path.name)
            if path.name.endswith(".tmp"):
                continue  # the listing's affair
            if path.is_file():
                found[_shown(path.name)] = self._content(path, manager)
            elif self.file_by_file:
                found |= {f"{path.name}/{name}": content for name, content in self._contents(path, manager).items()}
            elif aside is None or not (self.models / aside[1]).exists():  # a replaced folder until it is put back
                found[path.name if aside is None else aside[1]] = self._folder_content(path, manager)
        return tuple(sorted(found.items()))

    def _folder_content(self, folder: Path, manager: KeyManager | None) -> str:
        """All its files at once: a folder is there whole or not at all."""
        manifest = folder / "tiktrue-manifest.json"
        if manifest.exists() and manager is not None:
            from tiktrue_keys.models.folder.verify import verify_folder

            try:
                verify_folder(manager, folder, license_key=LICENSE, allow_deprecated=True)
            except TikTrueKeysError as error:
                raise ViolationError(f"{folder.name} is not whole: {type(error).__name__}: {error}") from error
        said = ", ".join(f"{name}: {content}" for name, content in self._contents(folder, manager).items())
        return f"{said} by a manifest" if manifest.exists() else said

    def _contents(self, folder: Path, manager: KeyManager | None) -> dict[str, str]:
        manifest = folder / "tiktrue-manifest.json"
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != manifest]
        return {str(path.relative_to(folder)): self._content(path, manager) for path in files}

    def _content(self, path: Path, manager: KeyManager | None) -> str:
        """A container by what opens it, anything else by its hash."""
        content = path.read_bytes()
        if not content.startswith(b"TTM1") or manager is None:
            return hashlib.sha256(content).hexdigest()[:16]
        from tiktrue_keys.models.file.inspect import inspect_model

        try:
            found = inspect_model(path)
            self._must_verify(path, manager)
        except TikTrueKeysError as error:
            raise ViolationError(f"{path.name} does not open: {type(error).__name__}: {error}") from error
        openers = sorted(_generation(manager, wrap.key_id) for wrap in found.wraps)
        return f"{found.length} bytes for {found.model_id} generation {' and '.join(openers)}"

    def _must_verify(self, path: Path, manager: KeyManager) -> None:
        from tiktrue_keys.models.file.verify import verify_model

        for license_key in (LICENSE, OTHER_LICENSE):
            try:
                verify_model(manager, path, license_key=license_key, allow_deprecated=True)
                return
            except RevokedError:
                return
            except WrongLicenseError:
                if license_key is OTHER_LICENSE:
                    raise

    def _build(self, bare: bool) -> None:
        for folder in (self.models, self.backups, self.licenses, self.secret.parent):
            folder.mkdir(parents=True, mode=0o700)
        (self.licenses / "a").write_text(LICENSE)
        (self.licenses / "b").write_text(OTHER_LICENSE)
        for license_file in self.licenses.iterdir():
            license_file.chmod(0o600)
        (self.models / "plain.bin").write_bytes(MODEL)
        (self.models / "precious.bin").write_bytes(b"somebody's own work")
        if not bare:
            self._stock()
        else:
            self.secret.parent.rmdir()
        self.save()

    def _stock(self) -> None:
        from tiktrue_keys.models.file.encrypt import encrypt_model
        from tiktrue_keys.recovery.escrow import create_escrow

        with self.manager() as manager:
            for model in ("llama", "mistral", "phi", "lost"):
                key = manager.generate(model, license_key=LICENSE).keys[0]
                self.key_ids[model] = key.key_id
            manager.generate("open", no_license=True)
            for model in ("llama", "phi"):
                encrypt_model(
                    manager, self.models / "plain.bin", self.models / f"{model}.ttm", key=model, license_key=LICENSE
                )
            if self._folders:
                self._make_folder(manager)
            create_escrow(manager, self._keep, shares=3, threshold=2)
            manager.backup(self.backups / "earlier.db")
            manager.rotate(["phi"], license_key=LICENSE)
            manager.revoke([self.key_ids["lost"]], reason="a test")
            manager.cleanup(after=0)
            self.key_ids["phi-now"] = manager.find("phi").key_id

    def _make_folder(self, manager: KeyManager) -> None:
        from tiktrue_keys.models.folder.encrypt import encrypt_folder
        from tiktrue_keys.models.folder.request import FolderRequest
        from tiktrue_keys.models.folder.tree import Selection

        folder = self.models / "dir"
        (folder / "deep").mkdir(parents=True)
        for name, content in (("a.bin", MODEL), ("deep/b.bin", b"b"), ("config.json", b"{}")):
            (folder / name).write_bytes(content)
        selection = Selection(plain=["*.json"])
        encrypt_folder(manager, FolderRequest(folder, key="phi", license_key=LICENSE, selection=selection))
        (folder / "a.bin").write_bytes(MODEL * 2)

    def _keep(self, keystore_id: bytes, shares: Sequence[Share]) -> Callable[[], None]:
        self.shares.write_text("".join(share_text(share, len(shares), keystore_id) for share in shares))
        return lambda: None


def _generation(manager: KeyManager, key_id: str) -> str:
    try:
        return str(manager.find(key_id).generation)
    except NotFoundError:
        return "unknown"


def _key_form(key: Any, license_form: str) -> tuple[Any, ...]:
    return (
        key.model_id,
        key.generation,
        license_form,
        key.pending,
        key.predecessor is not None,
        key.successor is not None,
        key.rotated_at is not None,
        key.revoked_at is not None,
        key.destroy_at is not None,
        key.destroyed_at is not None,
    )


def _container_form(record: Any, keys: dict[str, Any]) -> tuple[Any, ...]:
    opened_by = sorted((keys[key].model_id, keys[key].generation) if key in keys else (key, 0) for key in record.keys)
    return (_shown(record.path), record.model_id, record.name, tuple(opened_by), record.piped, record.signed)


def _shown(name: str) -> str:
    name = re.sub(r"[0-9a-f]{32}", "<id>", name)
    name = re.sub(r"\.[0-9a-f]{8}\.(tmp|old)(?=/|$)", r".<random>.\1", name)
    return re.sub(r"keystore-\d{8}T\d{6}Z", "keystore-<time>", name)

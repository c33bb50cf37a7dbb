"""The kinds of `encrypt-model` beside one file under a key: a folder, a resumed one, for recipients, and the plan."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.locations import is_folder, model_destination, model_place, model_source
from tiktrue_keys.cli.view.model_results import done_to_files, encrypted_folder_json, plan_json, sealed_json
from tiktrue_keys.cli.view.outcome import Line, Outcome, Table
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.core.instants import instant_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.file.encrypt import Encrypted
from tiktrue_keys.models.file.encrypt_for_recipients import encrypt_for_recipients
from tiktrue_keys.models.file.plan import EncryptionPlan, plan_model
from tiktrue_keys.models.folder.encrypt import EncryptedFolder, encrypt_folder
from tiktrue_keys.models.folder.plan import plan_folder
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import Selection
from tiktrue_keys.models.format.recipient import read_recipient
from tiktrue_keys.models.storage.location import Place, Url, is_url, parse_place


@dataclass(frozen=True)
class Encryption:
    """What was asked for."""

    source: str
    output: str | None
    name: str | None
    include: list[str]
    exclude: list[str]
    plain: list[str]
    resume: str | None
    force: bool
    jobs: int | None

    @property
    def of_folders(self) -> bool:
        """Whether an option was given that only a folder takes."""
        return bool(self.include or self.exclude or self.plain or self.resume or self.jobs)

    @property
    def destination(self) -> Place | None:
        """The output of what does not go to standard output."""
        if self.output in ("", "-"):
            raise UsageError("this cannot be written to standard output", "use -o DST, or omit -o")
        return None if self.output is None else model_place(self.output, "output")

    @property
    def folder_destination(self) -> Place | None:
        """The output of a folder: a path, or a URL that ends with a slash."""
        if self.output is None or not is_url(self.output):
            return self.destination
        place = parse_place(self.output)
        return place / "" if isinstance(place, Url) else place

    def folder_request(self, context: CommandContext, key: str) -> FolderRequest:
        """The same of a folder under a key; reads the license."""
        if self.name is not None:
            raise UsageError("--name needs a file; the files of a folder keep their names", "omit --name")
        return FolderRequest(
            self.source,
            self.folder_destination,
            key=key,
            license_key=context.license(),
            selection=Selection(self.include, self.exclude, self.plain),
            resume=self.resume,
            force=self.force,
            jobs=self.jobs,
            operation_id=context.operation_id,
        )


def for_recipients(context: CommandContext, asked: Encryption, files: list[str]) -> Outcome:
    """One model for the public halves in `files`; uses no keystore."""
    context.needs_keystore = False
    if asked.of_folders or is_folder(asked.source):
        raise UsageError("a folder needs --key, because its list of files is signed", "encrypt each file by itself")
    recipients = [read_recipient(file) for file in files]
    model = model_source(context, asked.source)
    destination = model_destination(context, asked.output)
    with progress_bar(context, f"Encrypting {asked.source}") as report:
        made = encrypt_for_recipients(
            model,
            destination,
            recipients=recipients,
            now=instant_of(time.time()),
            name=asked.name,
            force=asked.force,
            progress=report,
            lock_timeout=context.lock_timeout,
            gate=context.gate_without_keystore.also_all({f"the recipient file {file}": file for file in files}),
        )
    named = ", ".join(recipient.key_id for recipient in recipients)
    return Outcome(
        result=sealed_json(made),
        view=[] if context.stdout_is_data else [Line(str(made.destination))],
        messages=[f"Encrypted {made.length} bytes for {named}; root {made.root.hex()}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
        shows_data=context.stdout_is_data,
    )


def warn_unreleased(context: CommandContext, made: Encrypted | EncryptedFolder[Any]) -> None:
    """Warn that readers refuse the output until it is released, where its model has a release."""
    if made.changed and context.manager.release_of(made.key.model_id) is not None:
        place = shlex.quote(str(made.destination or "CONTAINER"))
        words = f"the release of model {made.key.model_id} does not name it; run tiktrue-keys models release {place}"
        context.warn(Notice("not-released", words))


def folder(context: CommandContext, asked: Encryption, key: str) -> Outcome:
    """A folder under a key, from the beginning or from where an earlier run was stopped."""
    request = asked.folder_request(context, key)
    encrypt = _encryption_of(request)
    with progress_bar(context, f"Encrypting {asked.source}") as report:
        made = encrypt(context.writer, replace(request, progress=report))
    warn_unreleased(context, made)
    return _folder_outcome(made)


def _encryption_of(request: FolderRequest) -> Callable[[KeyManager, FolderRequest], EncryptedFolder[Any]]:
    if not isinstance(request.destination, Url):
        return encrypt_folder
    from tiktrue_keys.models.folder.upload import encrypt_folder_to

    if request.force or request.resume or request.jobs is not None:
        raise UsageError("--force, --resume and --jobs need a local destination", "omit them")
    return encrypt_folder_to


def plan(context: CommandContext, asked: Encryption, key: str) -> Outcome:
    """What the same words would do without --dry-run."""
    if asked.source == "-":
        raise UsageError("--dry-run cannot look at standard input", "omit --dry-run")
    if is_folder(asked.source):
        found = plan_folder(context.manager, asked.folder_request(context, key))
    else:
        license_key = context.license()
        found = plan_model(
            context.manager,
            model_place(asked.source, "source"),
            asked.destination,
            key=key,
            license_key=license_key,
            force=asked.force,
        )
    return Outcome(result=plan_json(found), view=[_plan_table(found)], messages=[_plan_words(found)])


def _folder_outcome(made: EncryptedFolder[Any]) -> Outcome:
    left_out = f"; left out {plural(len(made.left_out), 'file')}" if made.left_out else ""
    earlier = f", {plural(len(made.taken_over), 'file')} in an earlier run" if made.taken_over else ""
    done = done_to_files("Encrypted", made.files, made.plain, made.length)
    return Outcome(
        result=encrypted_folder_json(made),
        view=[Line(str(made.destination))],
        messages=[f"{done} under key {made.key.key_id}{earlier}{left_out}"],
        changed=made.changed,
        operation_id=made.operation_id,
        warnings=made.warnings,
    )


def _plan_table(found: EncryptionPlan) -> Table:
    rows = [(file.path, file.action, str(file.length)) for file in found.files]
    return Table(("file", "action", "bytes"), [*rows, *((path, "leave out", "") for path in found.left_out)])


def _plan_words(found: EncryptionPlan) -> str:
    return f"Would read {found.length} bytes and write {found.size} to {found.destination} under key {found.key.key_id}"

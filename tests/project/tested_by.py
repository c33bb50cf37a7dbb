"""Which test is about a module that has no test file of its name, by the test's path below tests/.

A golden scenario (.txt) counts for the commands that it runs.
"""

from __future__ import annotations

TESTED_BY: dict[str, str] = {
    "cli/checks/test_checks.py": "cli/checks/check cli/checks/keystore cli/checks/machine cli/checks/storage",
    "cli/commands/keystore/test_backup_restore.py": "cli/input/confirm_restore",
    "cli/commands/keystore/test_binding.py": (
        "cli/commands/keystore/binding_add cli/commands/keystore/binding_list "
        "cli/commands/keystore/binding_remove cli/commands/keystore/binding_test "
        "cli/context/devices cli/view/bound_ways"
    ),
    "cli/commands/keystore/test_escrow.py": "cli/input/share_words cli/view/escrows",
    "cli/commands/keystore/test_metrics.py": "cli/view/prometheus",
    "cli/commands/keystore/test_rebind.py": "cli/view/binding cli/view/drift",
    "cli/commands/keys/test_after_rotation.py": (
        "cli/commands/models/models_archive cli/context/configured_limits cli/view/lost core/operations/archive "
        "core/operations/lagging"
    ),
    "cli/commands/keys/test_leak.py": "cli/view/next_steps models/file/reencrypt_registered",
    "cli/context/test_default_places.py": "cli/context/actor",
    "cli/context/test_license.py": "cli/context/context cli/context/trusted_files",
    "cli/docs/test_completions.py": (
        "cli/commands/keystore/completion cli/docs/shells/bash cli/docs/shells/fish cli/docs/shells/lists "
        "cli/docs/shells/zsh"
    ),
    "cli/docs/test_generate.py": "cli/docs/manpages",
    "cli/docs/test_words.py": "cli/docs/program_page cli/docs/reference",
    "cli/program/test_boundary.py": (
        "cli/program/entry cli/program/hygiene cli/program/limits_of_process cli/program/main errors"
    ),
    "cli/program/test_options.py": "cli/program/parser",
    "cli/test_terminal.py": "cli/context/prompts cli/view/progress_bar cli/view/trees",
    "cli/view/test_envelope.py": "cli/view/keys cli/view/model_results cli/view/signer",
    "cli/view/test_hints.py": "core/keys/key_results core/notices",
    "cli/view/test_render.py": "cli/view/escape cli/view/outcome",
    "golden/scenarios/approvals.txt": (
        "cli/commands/keystore/approvals_add cli/commands/keystore/approvals_export "
        "cli/commands/keystore/approvals_list cli/commands/keystore/approvals_policy cli/view/approval_plans"
    ),
    "core/approvals/test_proposals.py": "core/approvals/plans core/operations/approvals",
    "core/containers/test_intents.py": "core/containers/owner_process",
    "core/keystore/test_commit.py": "core/keystore/make core/keystore/transaction",
    "core/keystore/test_copied.py": ("core/keystore/document core/keystore/paths core/keystore/store"),
    "core/keystore/test_open.py": "core/keystore/database core/keystore/schema",
    "core/keystore/test_rollback.py": "core/keystore/verification core/keystore/high_water",
    "core/operations/test_bind_device.py": (
        "core/keystore/device_sealing core/keystore/former_ways core/keystore/machine_secrets"
    ),
    "core/operations/test_backup.py": "core/keys/keyring core/keystore/backup core/operations/restore",
    "core/operations/test_cleanup.py": "core/keys/destruction",
    "core/operations/test_mirror.py": "core/keystore/cursors",
    "core/operations/test_clock.py": "core/operations/accept_clock",
    "core/operations/test_rekey.py": (
        "core/keystore/former core/keystore/renewal core/keystore/retired core/keystore/transfer "
        "core/operations/old_copies core/keys/renewed"
    ),
    "core/operations/test_revoke.py": "core/keys/revocation",
    "core/operations/test_rehearse.py": "core/keystore/rehearsal",
    "core/operations/test_rotate.py": "core/keys/rotation core/keys/rotation_event core/operations/results",
    "core/containers/test_registry.py": "core/containers/claims",
    "core/operations/test_rebind.py": "core/replacement",
    "core/keystore/test_drift_reseal.py": "core/operations/node_reseal",
    "core/keys/test_license_renewal.py": "core/keys/license_entries",
    "core/keys/test_deadlines.py": "core/keystore/agenda core/keystore/tallies",
    "core/operations/test_validate.py": "core/keys/health core/operations/verify",
    "core/test_durable_reading.py": "core/system_errors",
    "core/findings/test_rules.py": (
        "core/findings/finding core/findings/of_containers core/findings/of_fleet core/findings/of_keys "
        "core/findings/of_machine core/findings/of_upkeep core/findings/standing core/limits"
    ),
    "core/test_fingerprint.py": "core/machine/facts",
    "core/test_manager_concurrency.py": "core/reader",
    "core/audit/test_events.py": "core/keys/failure_record core/keystore/subject",
    "core/test_session.py": "core/forks core/read_only",
    "test_approved_operations.py": (
        "core/dispatch/new_holders core/operations/restored_policy models/registry/plaintext_approval"
    ),
    "fleet/test_commands.py": (
        "cli/commands/fleet/fleet_add cli/commands/fleet/fleet_card cli/commands/fleet/fleet_init "
        "cli/commands/fleet/fleet_list cli/commands/fleet/fleet_remove cli/commands/fleet/fleet_send "
        "cli/commands/fleet/fleet_show cli/commands/fleet/fleet_status cli/commands/fleet/fleet_sync cli/input/fleet "
        "cli/view/fleet_status"
    ),
    "fleet/test_delivery.py": (
        "core/dispatch/deliveries core/dispatch/distribution_request core/dispatch/peers core/keys/received "
        "fleet/apply fleet/backlog fleet/pin"
    ),
    "fleet/test_envelopes.py": "fleet/acknowledgements fleet/signed",
    "fleet/test_going_back.py": "core/dispatch/node_progress core/dispatch/node_streams fleet/challenges",
    "fleet/test_etcd.py": (
        "fleet/status fleet/sync fleet/transports/etcd fleet/transports/etcd_members fleet/transports/interface"
    ),
    "fleet/test_holding.py": "core/keys/holders",
    "fleet/test_hostile_etcd.py": "fleet/transports/etcd_answers",
    "fleet/test_hostile_transport.py": (
        "fleet/arrivals fleet/collect fleet/issuer_queue fleet/posts fleet/receive fleet/receive_result fleet/send"
    ),
    "fleet/test_issuer_containers.py": "models/container/signers",
    "fleet/test_promotion.py": "core/keys/promotion fleet/housekeeping",
    "fleet/test_refusals.py": "core/keys/standing_refusals",
    "fleet/test_restored_issuer.py": "cli/commands/fleet/fleet_accept_epoch",
    "fleet/test_revocation.py": (
        "core/dispatch/outbox core/dispatch/revocation_lists core/keys/list_freshness fleet/payloads"
    ),
    "fleet/test_authority.py": (
        "core/node_ids core/dispatch/peer core/dispatch/scopes core/keys/authority fleet/issuer_scopes fleet/unpin"
    ),
    "fleet/test_roles.py": "fleet/pin",
    "fleet/test_rounds.py": "cli/commands/fleet/fleet_receive fleet/cards fleet/own_identity",
    "fleet/test_watch.py": "cli/commands/fleet/watch cli/context/service",
    "fleet/test_transports.py": ("fleet/transports/spool fleet/transports/spool_files fleet/transports/spool_rounds"),
    "fleet/test_witnesses.py": "fleet/epochs",
    "golden/scenarios/status.txt": (
        "cli/commands/keystore/status_screen cli/view/finding_lines core/operations/keystore_status"
    ),
    "golden/scenarios/audit.txt": (
        "cli/commands/audit/audit_check_proof cli/commands/audit/audit_checkpoint cli/commands/audit/audit_export "
        "cli/commands/audit/audit_prove "
        "cli/commands/audit/audit_show cli/commands/audit/audit_verify cli/input/audit_filter"
    ),
    "golden/scenarios/backup.txt": "cli/commands/keystore/backup",
    "golden/scenarios/cleanup.txt": "cli/commands/keys/cleanup",
    "golden/scenarios/config.txt": "cli/commands/keystore/config_show",
    "golden/scenarios/doctor.txt": "cli/commands/keystore/doctor",
    "golden/scenarios/encrypt-decrypt.txt": "cli/commands/models/decrypt_model",
    "golden/scenarios/escrow.txt": (
        "cli/commands/keystore/escrow_create cli/commands/keystore/escrow_recover cli/commands/keystore/escrow_show "
        "cli/commands/keystore/escrow_verify"
    ),
    "golden/scenarios/folder.txt": "cli/commands/models/encrypt_folder_or_recipients",
    "golden/scenarios/generate-batch.txt": "cli/commands/keys/generate",
    "golden/scenarios/generate-from-file.txt": "cli/input/key_material",
    "golden/scenarios/list-filters.txt": "cli/commands/keys/list_keys",
    "golden/scenarios/model-inspect.txt": "cli/commands/models/inspect_model cli/commands/models/verify_model",
    "golden/scenarios/model-rotate.txt": "cli/commands/models/rewrap_model",
    "golden/scenarios/models.txt": (
        "cli/commands/models/models_forget cli/commands/models/models_list cli/commands/models/models_scan"
    ),
    "golden/scenarios/releases.txt": "cli/commands/models/models_release",
    "golden/scenarios/rekey.txt": "cli/commands/keystore/rekey",
    "golden/scenarios/rebind.txt": "cli/commands/keystore/binding_show",
    "golden/scenarios/recipient.txt": "cli/commands/models/export_public cli/commands/models/sign_model",
    "golden/scenarios/reencrypt.txt": "cli/commands/models/reencrypt_model cli/input/folders",
    "golden/scenarios/restore.txt": "cli/commands/keystore/restore",
    "golden/scenarios/resume.txt": "cli/commands/models/encrypt_model models/file/plan models/folder/plan",
    "golden/scenarios/revoke.txt": "cli/commands/keys/revoke",
    "golden/scenarios/rotate.txt": "cli/commands/keys/rotate",
    "golden/scenarios/show.txt": "cli/commands/keys/show",
    "golden/scenarios/validate.txt": "cli/commands/keys/validate",
    "models/container/test_container.py": "models/container/seal models/container/unseal",
    "models/container/test_model_file.py": "models/container/segments",
    "models/file/test_decrypt.py": "models/container/open",
    "models/file/test_encrypt.py": "models/file/output models/file/plaintext",
    "models/file/test_inspect.py": "models/file/verify",
    "models/file/test_open.py": "models/tensors",
    "models/file/test_read_only_keystore.py": "cli/input/audit_to",
    "models/file/test_rewrap.py": "models/file/target_key",
    "models/file/test_reencrypt.py": "models/container/reseal",
    "models/folder/test_folders.py": (
        "models/folder/compare models/folder/decrypt models/folder/encrypt models/folder/inspect models/folder/job "
        "models/folder/new_folder models/folder/plain models/folder/rewrap models/folder/target models/folder/verify"
    ),
    "models/folder/test_folder_figures.py": "models/folder/sealer",
    "models/folder/test_parallel.py": "models/container/data_key models/folder/swap",
    "models/folder/test_reencrypt.py": "models/folder/manifest_file",
    "models/folder/test_resume.py": "models/folder/state",
    "models/format/test_header.py": "models/format/kind",
    "models/format/test_recipient.py": "core/operations/export_public models/file/export_public",
    "models/pipeline/test_parallel.py": "models/pipeline/progress",
    "models/pipeline/test_pipeline.py": "models/pipeline/sinks models/pipeline/sources",
    "models/registry/test_containers.py": "core/operations/forget models/registry/tracking",
    "models/registry/test_intent.py": "models/folder/request models/folder/tree",
    "models/serving/test_execute.py": "models/serving/child",
    "models/settle/test_interrupted.py": "models/settle/folder",
    "models/storage/test_header_file.py": "models/storage/container_lock models/storage/files",
    "models/storage/test_protocol.py": "models/storage/location models/storage/object_requests",
    "models/storage/test_witness.py": "core/audit/dated_checkpoint",
    "models/storage/test_unsynced.py": "models/storage/descriptors",
    "recovery/test_escrow.py": "core/operations/standing_notices",
    "recovery/test_shares.py": "recovery/share_files",
    "roots/test_pkcs11.py": "roots/trust",
    "roots/test_ways.py": "core/keystore/device_secrets roots/fresh roots/loader roots/root",
    "roots/test_transit.py": "roots/transit_http",
    "remote/test_commands.py": "cli/input/locations",
    "remote/test_detached_header.py": (
        "models/container/header_of models/format/detached_header models/storage/objects"
    ),
    "remote/test_folders.py": "models/folder/upload",
    "remote/test_settling.py": "models/storage/deadline models/storage/upload",
    "test_format_page_records.py": "core/keystore/identity",
    "test_key_manager.py": "core/keys/creation core/manager core/operations/open_key",
    "test_model_encryption.py": "models/encryption",
    "vectors/test_vectors.py": "core/keys/wrapping core/keystore/rows",
}

# bash completion for tiktrue-keys; generated from the parser, do not edit.

# What may follow a command: its children, its options, the kind of its first argument.
_tiktrue_keys_of() {
    case "$1:$2" in
        ":commands") echo "generate list show rotate revoke validate cleanup encrypt-model decrypt-model rewrap-model reencrypt-model verify-model inspect-model sign-model exec-model models status doctor metrics audit backup restore escrow binding rebind rekey relicense approvals fleet export-public config completion" ;;
        ":options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "generate:commands") echo "" ;;
        "generate:options") echo "--lifetime --decrypt-for --rotate-every --rotate-before --label --no-license --new-license --count --from-file --new-chain --ephemeral --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "generate:argument") echo "text" ;;
        "list:commands") echo "" ;;
        "list:options") echo "--status --due --within --older-than --label --sort --limit --all --column --format --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "list:argument") echo "model" ;;
        "show:commands") echo "" ;;
        "show:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "show:argument") echo "key" ;;
        "rotate:commands") echo "" ;;
        "rotate:options") echo "--all --due --within --atomic --overlap --lifetime --rotate-every --rotate-before --notify --notify-all --prepublish --min-acks --via --backup-to --no-rewrap -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "rotate:argument") echo "key" ;;
        "revoke:commands") echo "" ;;
        "revoke:options") echo "--model --reason --rotate --new --via -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "revoke:argument") echo "key" ;;
        "validate:commands") echo "" ;;
        "validate:options") echo "--explain --deep --strict --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "validate:argument") echo "key" ;;
        "cleanup:commands") echo "" ;;
        "cleanup:options") echo "--after --cancel --confirm -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "cleanup:argument") echo "key" ;;
        "encrypt-model:commands") echo "" ;;
        "encrypt-model:options") echo "--key --recipient -o --output --name --include --exclude --plain --resume --jobs --force -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "encrypt-model:argument") echo "file" ;;
        "decrypt-model:commands") echo "" ;;
        "decrypt-model:options") echo "-o --output --force --allow-deprecated --allow-unsigned --allow-superseded --jobs --audit-to --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "decrypt-model:argument") echo "file" ;;
        "rewrap-model:commands") echo "" ;;
        "rewrap-model:options") echo "--all --to --jobs --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "rewrap-model:argument") echo "file" ;;
        "reencrypt-model:commands") echo "" ;;
        "reencrypt-model:options") echo "--to --recover-revoked --confirm --from --all --allow-unsigned --jobs --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "reencrypt-model:argument") echo "file" ;;
        "verify-model:commands") echo "" ;;
        "verify-model:options") echo "--allow-deprecated --allow-unsigned --allow-superseded --jobs --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "verify-model:argument") echo "file" ;;
        "inspect-model:commands") echo "" ;;
        "inspect-model:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "inspect-model:argument") echo "file" ;;
        "sign-model:commands") echo "" ;;
        "sign-model:options") echo "--expect-root --allow-deprecated --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "sign-model:argument") echo "file" ;;
        "exec-model:commands") echo "" ;;
        "exec-model:options") echo "--allow-deprecated --allow-unsigned --allow-superseded --audit-to --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "exec-model:argument") echo "file" ;;
        "models:commands") echo "list scan release archive forget" ;;
        "models:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models list:commands") echo "" ;;
        "models list:options") echo "--column --format --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models scan:commands") echo "" ;;
        "models scan:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models scan:argument") echo "folder" ;;
        "models release:commands") echo "" ;;
        "models release:options") echo "--only --withdraw -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models release:argument") echo "file" ;;
        "models archive:commands") echo "" ;;
        "models archive:options") echo "--location --undo --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models archive:argument") echo "file-id" ;;
        "models forget:commands") echo "" ;;
        "models forget:options") echo "--location --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "models forget:argument") echo "file-id" ;;
        "status:commands") echo "" ;;
        "status:options") echo "--strict --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "doctor:commands") echo "" ;;
        "doctor:options") echo "--accept-clock --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "metrics:commands") echo "" ;;
        "metrics:options") echo "--textfile --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit:commands") echo "show verify export checkpoint prove check-proof" ;;
        "audit:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit show:commands") echo "" ;;
        "audit show:options") echo "--key --model --event --outcome --actor --since --until --last --follow --column --format --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit verify:commands") echo "" ;;
        "audit verify:options") echo "--against --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit export:commands") echo "" ;;
        "audit export:options") echo "--format -o --output --key --model --event --outcome --actor --since --until --last --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit checkpoint:commands") echo "" ;;
        "audit checkpoint:options") echo "--to --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit prove:commands") echo "" ;;
        "audit prove:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit prove:argument") echo "text" ;;
        "audit check-proof:commands") echo "" ;;
        "audit check-proof:options") echo "--key --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "audit check-proof:argument") echo "file" ;;
        "backup:commands") echo "" ;;
        "backup:options") echo "--force --to --keep --audit-to --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "backup:argument") echo "file" ;;
        "restore:commands") echo "" ;;
        "restore:options") echo "-n --dry-run --accept-clock --rehearsal --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "restore:argument") echo "file" ;;
        "escrow:commands") echo "create verify show recover" ;;
        "escrow:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "escrow create:commands") echo "" ;;
        "escrow create:options") echo "-o --output --shares --threshold --replace --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "escrow verify:commands") echo "" ;;
        "escrow verify:options") echo "--share --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "escrow show:commands") echo "" ;;
        "escrow show:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "escrow recover:commands") echo "" ;;
        "escrow recover:options") echo "--share -n --dry-run --accept-clock --reset-policy --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "escrow recover:argument") echo "file" ;;
        "binding:commands") echo "show add list test remove" ;;
        "binding:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding show:commands") echo "" ;;
        "binding show:options") echo "--diff --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding add:commands") echo "" ;;
        "binding add:options") echo "--set --alternative --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding add:argument") echo "text" ;;
        "binding list:commands") echo "" ;;
        "binding list:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding test:commands") echo "" ;;
        "binding test:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding test:argument") echo "text" ;;
        "binding remove:commands") echo "" ;;
        "binding remove:options") echo "-n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "binding remove:argument") echo "text" ;;
        "rebind:commands") echo "" ;;
        "rebind:options") echo "--drop --replace --against -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "rekey:commands") echo "" ;;
        "rekey:options") echo "--compromised --new-host-secret -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "relicense:commands") echo "" ;;
        "relicense:options") echo "--old-license-file -n --dry-run --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals:commands") echo "policy list export add" ;;
        "approvals:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals policy:commands") echo "" ;;
        "approvals policy:options") echo "--require --approver --remove-approver --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals list:commands") echo "" ;;
        "approvals list:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals export:commands") echo "" ;;
        "approvals export:options") echo "-o --output --force --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals export:argument") echo "text" ;;
        "approvals add:commands") echo "" ;;
        "approvals add:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "approvals add:argument") echo "file" ;;
        "fleet:commands") echo "init card add list show remove status send receive sync accept-epoch" ;;
        "fleet:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet init:commands") echo "" ;;
        "fleet init:options") echo "--role --ephemeral --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet init:argument") echo "text" ;;
        "fleet card:commands") echo "" ;;
        "fleet card:options") echo "-o --output --force --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet add:commands") echo "" ;;
        "fleet add:options") echo "--expect --name --role --models --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet add:argument") echo "file" ;;
        "fleet list:commands") echo "" ;;
        "fleet list:options") echo "--column --format --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet show:commands") echo "" ;;
        "fleet show:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet show:argument") echo "node" ;;
        "fleet remove:commands") echo "" ;;
        "fleet remove:options") echo "--compromised --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet remove:argument") echo "node" ;;
        "fleet status:commands") echo "" ;;
        "fleet status:options") echo "--via --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet status:argument") echo "node" ;;
        "fleet send:commands") echo "" ;;
        "fleet send:options") echo "--to --all --via --keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet send:argument") echo "key" ;;
        "fleet receive:commands") echo "" ;;
        "fleet receive:options") echo "--via --watch --rewrap --strict --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet sync:commands") echo "" ;;
        "fleet sync:options") echo "--via --wait --promote-anyway --resend --accept-refusals --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet accept-epoch:commands") echo "" ;;
        "fleet accept-epoch:options") echo "--expect --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "fleet accept-epoch:argument") echo "node" ;;
        "export-public:commands") echo "" ;;
        "export-public:options") echo "-o --output --force --keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "export-public:argument") echo "key" ;;
        "config:commands") echo "show" ;;
        "config:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id --approval -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "config show:commands") echo "" ;;
        "config show:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "completion:commands") echo "" ;;
        "completion:options") echo "--keystore --host-secret --marks --license-file --lock-timeout --operation-id -y --yes --json -q --quiet -v --verbose --no-color -V --version -h --help" ;;
        "completion:argument") echo "words:bash zsh fish" ;;
    esac
}

# The kind of an option's value; nothing for a flag.
_tiktrue_keys_value() {
    case "$1:$2" in
        "generate:--lifetime") echo "text" ;;
        "generate:--decrypt-for") echo "text" ;;
        "generate:--rotate-every") echo "text" ;;
        "generate:--rotate-before") echo "text" ;;
        "generate:--label") echo "text" ;;
        "generate:--count") echo "text" ;;
        "generate:--from-file") echo "file" ;;
        "list:--status") echo "words:pending active rotating deprecated expired revoked destroyed" ;;
        "list:--within") echo "text" ;;
        "list:--older-than") echo "text" ;;
        "list:--label") echo "text" ;;
        "list:--sort") echo "words:model status created expires generation" ;;
        "list:--limit") echo "text" ;;
        "list:--column") echo "words:key status generation binding expires decrypts-until containers labels" ;;
        "list:--format") echo "words:table csv" ;;
        "rotate:--within") echo "text" ;;
        "rotate:--overlap") echo "text" ;;
        "rotate:--lifetime") echo "text" ;;
        "rotate:--rotate-every") echo "text" ;;
        "rotate:--rotate-before") echo "text" ;;
        "rotate:--notify") echo "node" ;;
        "rotate:--prepublish") echo "text" ;;
        "rotate:--min-acks") echo "text" ;;
        "rotate:--via") echo "text" ;;
        "rotate:--backup-to") echo "folder" ;;
        "revoke:--model") echo "model" ;;
        "revoke:--reason") echo "text" ;;
        "revoke:--via") echo "text" ;;
        "cleanup:--after") echo "text" ;;
        "cleanup:--cancel") echo "key" ;;
        "cleanup:--confirm") echo "key" ;;
        "encrypt-model:--key") echo "key" ;;
        "encrypt-model:--recipient") echo "file" ;;
        "encrypt-model:-o"|"encrypt-model:--output") echo "file" ;;
        "encrypt-model:--name") echo "text" ;;
        "encrypt-model:--include") echo "text" ;;
        "encrypt-model:--exclude") echo "text" ;;
        "encrypt-model:--plain") echo "text" ;;
        "encrypt-model:--resume") echo "file" ;;
        "encrypt-model:--jobs") echo "text" ;;
        "decrypt-model:-o"|"decrypt-model:--output") echo "file" ;;
        "decrypt-model:--jobs") echo "text" ;;
        "decrypt-model:--audit-to") echo "words:syslog journal" ;;
        "rewrap-model:--to") echo "key" ;;
        "rewrap-model:--jobs") echo "text" ;;
        "reencrypt-model:--to") echo "key" ;;
        "reencrypt-model:--confirm") echo "model" ;;
        "reencrypt-model:--from") echo "key" ;;
        "reencrypt-model:--jobs") echo "text" ;;
        "verify-model:--jobs") echo "text" ;;
        "sign-model:--expect-root") echo "text" ;;
        "exec-model:--audit-to") echo "words:syslog journal" ;;
        "models list:--column") echo "words:file-id state release path name keys" ;;
        "models list:--format") echo "words:table csv" ;;
        "models release:--withdraw") echo "file-id" ;;
        "models archive:--location") echo "file" ;;
        "models forget:--location") echo "file" ;;
        "metrics:--textfile") echo "file" ;;
        "audit show:--key") echo "key" ;;
        "audit show:--model") echo "model" ;;
        "audit show:--event") echo "words:accept-clock accept-epoch accept-refusals acknowledge approval-add approval-plan approval-policy approval-reset approval-use archive backup backup-removed binding-add carry-over challenge claim cleanup cleanup-cancel cleanup-destroy cleanup-mark clock-gap decrypt decrypt-block decrypt-folder deprecate distribute encrypt encrypt-folder encrypt-folder-resumable escrow-create escrow-recover escrow-verify exec export-public finding-cleared finding-raised fleet-sync forget generate intent issuer-scope keystore-create license-enroll license-renew move node-add node-init node-remove node-went-back open open-model promote queue rebind receive recover-revoked reencrypt reencrypt-folder register rekey release relicense renew-revocation-list reseal resend restore revoke rewrap rotate schema-upgrade sent sign unarchive" ;;
        "audit show:--outcome") echo "words:ok refused failed" ;;
        "audit show:--actor") echo "text" ;;
        "audit show:--since") echo "text" ;;
        "audit show:--until") echo "text" ;;
        "audit show:--last") echo "text" ;;
        "audit show:--column") echo "words:number time user event outcome key-or-model before after detail" ;;
        "audit show:--format") echo "words:table csv" ;;
        "audit verify:--against") echo "file" ;;
        "audit export:--format") echo "words:jsonl csv cef ocsf tlog" ;;
        "audit export:-o"|"audit export:--output") echo "file" ;;
        "audit export:--key") echo "key" ;;
        "audit export:--model") echo "model" ;;
        "audit export:--event") echo "words:accept-clock accept-epoch accept-refusals acknowledge approval-add approval-plan approval-policy approval-reset approval-use archive backup backup-removed binding-add carry-over challenge claim cleanup cleanup-cancel cleanup-destroy cleanup-mark clock-gap decrypt decrypt-block decrypt-folder deprecate distribute encrypt encrypt-folder encrypt-folder-resumable escrow-create escrow-recover escrow-verify exec export-public finding-cleared finding-raised fleet-sync forget generate intent issuer-scope keystore-create license-enroll license-renew move node-add node-init node-remove node-went-back open open-model promote queue rebind receive recover-revoked reencrypt reencrypt-folder register rekey release relicense renew-revocation-list reseal resend restore revoke rewrap rotate schema-upgrade sent sign unarchive" ;;
        "audit export:--outcome") echo "words:ok refused failed" ;;
        "audit export:--actor") echo "text" ;;
        "audit export:--since") echo "text" ;;
        "audit export:--until") echo "text" ;;
        "audit export:--last") echo "text" ;;
        "audit checkpoint:--to") echo "folder" ;;
        "audit check-proof:--key") echo "text" ;;
        "backup:--to") echo "folder" ;;
        "backup:--keep") echo "text" ;;
        "backup:--audit-to") echo "words:syslog journal" ;;
        "restore:--rehearsal") echo "folder" ;;
        "escrow create:-o"|"escrow create:--output") echo "folder" ;;
        "escrow create:--shares") echo "text" ;;
        "escrow create:--threshold") echo "text" ;;
        "escrow verify:--share") echo "file" ;;
        "escrow recover:--share") echo "file" ;;
        "binding add:--set") echo "text" ;;
        "rebind:--drop") echo "text" ;;
        "rebind:--replace") echo "text" ;;
        "rebind:--against") echo "file" ;;
        "rekey:--new-host-secret") echo "file" ;;
        "relicense:--old-license-file") echo "file" ;;
        "approvals policy:--require") echo "text" ;;
        "approvals policy:--approver") echo "text" ;;
        "approvals policy:--remove-approver") echo "text" ;;
        "approvals export:-o"|"approvals export:--output") echo "file" ;;
        "fleet init:--role") echo "words:node issuer" ;;
        "fleet card:-o"|"fleet card:--output") echo "file" ;;
        "fleet add:--expect") echo "text" ;;
        "fleet add:--name") echo "text" ;;
        "fleet add:--role") echo "words:node issuer" ;;
        "fleet add:--models") echo "model" ;;
        "fleet list:--column") echo "words:name role node-id models acknowledged seen" ;;
        "fleet list:--format") echo "words:table csv" ;;
        "fleet status:--via") echo "text" ;;
        "fleet send:--to") echo "node" ;;
        "fleet send:--via") echo "text" ;;
        "fleet receive:--via") echo "text" ;;
        "fleet sync:--via") echo "text" ;;
        "fleet sync:--wait") echo "text" ;;
        "fleet sync:--resend") echo "node" ;;
        "fleet sync:--accept-refusals") echo "node" ;;
        "fleet accept-epoch:--expect") echo "text" ;;
        "export-public:-o"|"export-public:--output") echo "file" ;;
        *:--keystore) echo "folder" ;;
        *:--host-secret) echo "file" ;;
        *:--marks) echo "folder" ;;
        *:--license-file) echo "file" ;;
        *:--lock-timeout) echo "text" ;;
        *:--operation-id) echo "text" ;;
        *:--approval) echo "text" ;;
    esac
}

_tiktrue_keys_reply() {
    local kind=$1 cur=$2
    case $kind in
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        key) mapfile -t COMPREPLY < <(compgen -W "$(tiktrue-keys list -q 2>/dev/null </dev/null)" -- "$cur") ;;
        model) mapfile -t COMPREPLY < <(compgen -W "$(tiktrue-keys list -q 2>/dev/null </dev/null | rev | cut -c18- | rev | sort -u)" -- "$cur") ;;
        node) mapfile -t COMPREPLY < <(compgen -W "$(tiktrue-keys fleet list --format csv --column name 2>/dev/null </dev/null | tail -n +2)" -- "$cur") ;;
        file-id) mapfile -t COMPREPLY < <(compgen -W "$(tiktrue-keys models list -q 2>/dev/null </dev/null)" -- "$cur") ;;
        words:*) mapfile -t COMPREPLY < <(compgen -W "${kind#words:}" -- "$cur") ;;
    esac
}

_tiktrue_keys() {
    local cur=${COMP_WORDS[COMP_CWORD]} path="" option="" word at commands
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $word == "=" ]]; then continue; fi # bash splits --name=value into three words
        if [[ -n $option ]]; then option=""; continue; fi
        if [[ $word == -* ]]; then
            if [[ -n $(_tiktrue_keys_value "$path" "$word") ]]; then option=$word; fi
        else
            commands=$(_tiktrue_keys_of "$path" commands)
            if [[ " $commands " == *" $word "* ]]; then path=${path:+$path }$word; fi
        fi
    done
    if [[ $cur == "=" ]]; then cur=""; fi
    if [[ -n $option ]]; then
        _tiktrue_keys_reply "$(_tiktrue_keys_value "$path" "$option")" "$cur"
        return
    fi
    commands=$(_tiktrue_keys_of "$path" commands)
    if [[ $cur == -* ]]; then
        _tiktrue_keys_reply "words:$(_tiktrue_keys_of "$path" options)" "$cur"
    elif [[ -n $commands ]]; then
        _tiktrue_keys_reply "words:$commands" "$cur"
    else
        _tiktrue_keys_reply "$(_tiktrue_keys_of "$path" argument)" "$cur"
    fi
}

complete -F _tiktrue_keys tiktrue-keys

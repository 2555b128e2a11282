/** Names and values of a refusal, by metadata key. */
export type ErrorFacts = Readonly<Record<string, string>>;

const grantToSet =
  'In a vault with access policies: interlock vault grant {vault} --principal set:{set} --permissions get,wrap-key,unwrap-key. In a vault with roles: interlock role assign set:{set} keyVaultCryptoServiceEncryptionUser --scope <scope of the vault>';
const moveSet = 'Or move the set to another key: interlock set assign-key {set} --key {assigned} --as-key-owner';
const previewUse = 'Preview what stops: interlock impact';

/** What the caller can do, by reason. Placeholders such as `{key}` are replaced with names of the refusal, see `placeholders`. */
const templates: Readonly<Record<string, string>> = {
  KEY_DISABLED: `Enable the key: interlock key enable {key} (or {version} if only this version is disabled). ${moveSet}`,
  KEY_EXPIRED: `Set a later expiry: interlock key set-dates {version} --expire-time +90d. ${moveSet}`,
  KEY_NOT_YET_VALID: 'Wait, or set an earlier date: interlock key set-dates {version} --not-before now',
  KEY_DELETED: `Recover the key: interlock key recover {key}. ${moveSet}`,
  KEY_PURGED:
    'Data under this key is unreadable for good, unless a backup of the key exists. A machine that still runs (with ultra disks) reads them until it is off: copy their data before. Restore a backup: interlock key restore {vault} --backup @<file>',
  KEY_VERSION_NOT_FOUND: 'List the versions: interlock key versions {key}',
  VAULT_DELETED:
    'Recover the vault: interlock vault recover {vault}. Its access policies come back with it; roles on it must be assigned again',
  IDENTITY_DELETED: `Give the set a new identity: interlock set update {set} --identity-type system-assigned. Then grant it the vault. ${grantToSet}`,
  KEY_VAULT_UNREACHABLE:
    'Try again. An operator checks the key vault (interlock status) and whether it is on hold (interlock hold show)',
  KEY_VAULT_ON_HOLD:
    'A wrong database: an operator corrects DATABASE_URL. A new one for a new cloud: start with an empty data folder. Otherwise an operator checks the states of keys and grants (interlock hold show), then confirms them: interlock hold confirm {hold}',
  THROTTLED: 'Try again after retryAfterMs. An operator adds RSA_WORKERS or replicas, or raises RATE_LIMIT_*',
  STORE_UNAVAILABLE:
    'Try again. The service cannot reach Postgres. Show which other services are affected: interlock status',
  DEPENDENCY_UNAVAILABLE: 'Try again. Show which services respond: interlock status',
  DISK_HOST_UNREACHABLE: 'Try again. An operator starts its process. Show the disk hosts: interlock disk-host list',
  DISK_HOST_LEASE_OVER: 'Try again. Show which services respond: interlock status',
  VM_HOST_UNREACHABLE: 'Try again. An operator starts its process. Show the VM hosts: interlock vm-host list',
  NO_VM_HOST_OPEN:
    'Try again. An operator adds a VM host, or resumes one: interlock vm-host resume <vm-host>. Show the VM hosts: interlock vm-host list',
  VM_START_TIMED_OUT:
    'Check that disk and key-vault respond (interlock status), then start it again: interlock vm start {vm}',
  GUEST_START_FAILED:
    'Start it again: interlock vm start {vm}. If that fails too, an operator finds the cause in the log of compute',
  CONTENTION: 'Read the resource again and repeat',
  ETAG_MISMATCH: 'The resource has changed: read it, decide again, and repeat with its new etag',
  INVALID_CLIENT:
    'Check the principal and its secret. A deleted principal is refused with the same reason; an administrator sees its state: interlock principal show <principal>',
  DISK_ATTACHED:
    'Deallocate the machine: interlock vm deallocate {vm}. To delete the disk or attach it elsewhere, detach it: interlock vm detach {vm} {disk}',
  DISK_NOT_ATTACHED: 'Show which machine has the disk: interlock disk show {disk}',
  DISK_IN_ACTIVE_ACCESS: 'End the direct access: interlock disk end-access {disk}',
  DISK_ENCRYPTION_SET_IN_USE:
    'Delete the disks and snapshots under the set, or move them to another set: interlock set resources {set}',
  ENCRYPTION_SET_MISSING: 'Name a set in encryption.disk_encryption_set (--set)',
  ULTRA_SSD_NOT_ENABLED: 'Create the machine with ultra_ssd_enabled (--ultra-ssd-enabled)',
  PURGE_PROTECTION_REQUIRED:
    'Enable purge protection: interlock vault enable-purge-protection {vault}. Or an operator sets REQUIRE_PURGE_PROTECTION=false',
  TARGET_WEAKER_PROTECTED:
    'Enable purge protection of the target vault (interlock vault enable-purge-protection {vault}), or assign a key of a vault that has it: interlock set assign-key {set} --key <vault>/<key>',
  OPERATION_IN_PROGRESS: 'Wait until the running operation has ended, then repeat',
  VAULT_NAME_HELD: 'Recover the deleted vault (interlock vault recover {vault}), purge it, or choose another name',
  KEY_NAME_HELD: 'Recover the deleted key (interlock key recover {key}), purge it, or choose another name',
  UPDATE_EMPTY:
    'Name at least one change: --auto-restart, --key-expiry, --auto-key-rotation-enabled, --spread or --identity-type (--no-… turns an option off)',
  KEY_OWNER_TOKEN_INVALID:
    'Send a fresh token of the key owner: --as-key-owner, or --key-owner <principal>:<secret file>. A token is valid for minutes',
  KEY_IN_USE: `${previewUse} {key} --action {action}. Then repeat the command with --confirm`,
  VAULT_IN_USE: `${previewUse} {vault} --action {action}. Then repeat the command with --confirm`,
  IDENTITY_IN_USE: `${previewUse} set:{set}. Then repeat the command with --confirm`,
  LAST_PLATFORM_OWNER:
    'First make another principal owner, and add a secret to it: interlock role assign <principal> owner --scope /',
  KEY_NOT_FOUND: 'List the keys: interlock key list {vault}. List the deleted keys: interlock key list-deleted {vault}',
  VAULT_NOT_FOUND: 'List the vaults: interlock vault list',
  VIRTUAL_MACHINE_NOT_FOUND: 'List the machines of the group: interlock vm list --group {group}',
  DISK_NOT_FOUND: 'List the disks of the group: interlock disk list --group {group}',
  SNAPSHOT_NOT_FOUND: 'List the snapshots of the group: interlock snapshot list --group {group}',
  DISK_ENCRYPTION_SET_NOT_FOUND: 'List the sets of the group: interlock set list --group {group}',
  PRINCIPAL_NOT_FOUND: 'List the principals: interlock principal list. set:<set> names the identity of a set',
  ROLE_ASSIGNMENT_NOT_FOUND: 'List the role assignments: interlock role assignments',
  ROLE_NOT_FOUND: 'List the roles: interlock role list',
  SUBSCRIPTION_NOT_FOUND: 'List the subscriptions: interlock subscription list',
  TENANT_NOT_FOUND: 'List the tenants: interlock tenant list',
  PARKED_FACT_NOT_FOUND: 'It may have been replayed. List the parked facts: interlock parked list',
  HOLD_NOT_FOUND: 'Show the current hold: interlock hold show',
};

/** Values of placeholders: the first metadata value of that form, otherwise `unknown`. */
const placeholders: Readonly<Record<string, { readonly form: RegExp; readonly unknown: string }>> = {
  version: { form: /^vaults\/[^/]+\/keys\/.+/, unknown: '<vault>/<key>/<version>' },
  key: { form: /^vaults\/[^/]+\/keys\/[^/]+/, unknown: '<vault>/<key>' },
  vault: { form: /^vaults\/[^/]+/, unknown: '<vault>' },
  set: { form: /^.+\/diskEncryptionSets\/[^/]+$/, unknown: '<set>' },
  vm: { form: /^.+\/virtualMachines\/[^/]+$/, unknown: '<vm>' },
  disk: { form: /^.+\/disks\/[^/]+$/, unknown: '<disk>' },
  group: { form: /(?<=^subscriptions\/[^/]+\/resourceGroups\/)[^/]+/, unknown: '<group>' },
};

/** Replacements of placeholders whose metadata key is missing. */
const unknownFacts: ErrorFacts = { assigned: '<vault>/<key>', hold: '<hold>', action: 'delete' };

/**
 * What the caller of a refused request can do: sentences with commands of the command line. Undefined if the message already
 * says it.
 * @param facts metadata of the refusal, and `resource`: the name in the request
 */
export function helpFor(reason: string, facts: ErrorFacts = {}): string | undefined {
  const template = reason === 'ACCESS_DENIED' ? accessHelp(facts) : templates[reason];
  return template?.replace(/\{(\w+)\}/g, (_, name: string) => filled(name, facts));
}

/** The help of a reason for documentation, with placeholders such as `<key>`. */
export const helpInGeneral = (reason: string): string | undefined =>
  templates[reason]?.replace(
    /\{(\w+)\}/g,
    (_, name: string) => placeholders[name]?.unknown ?? unknownFacts[name] ?? `<${name}>`,
  );

/** Reasons that have help. */
export const reasonsWithHelp: readonly string[] = Object.keys(templates);

function filled(name: string, facts: ErrorFacts): string {
  const placeholder = placeholders[name];
  if (placeholder === undefined) return facts[name] || (unknownFacts[name] ?? `<${name}>`);
  for (const value of Object.values(facts)) {
    const [found] = placeholder.form.exec(value) ?? [];
    if (found !== undefined) return found;
  }
  return placeholder.unknown;
}

/** A missing action is granted by a role, a missing permission by an access policy. A passed-on refusal names neither. */
function accessHelp({ action, permission, network }: ErrorFacts): string {
  if (network !== undefined)
    return 'The network rules of the vault do not serve the caller. Show them: interlock vault show {vault} -o json. Change them: interlock vault set-network-rules {vault}';
  if (action !== undefined)
    return `An administrator of the scope assigns a role that includes {action}: interlock role assign {principal} ${roleWith(action)} --scope {scope}`;
  if (permission === undefined) return `The set lacks its grant on the vault. ${grantToSet}`;
  const flag = permission.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `An administrator of the vault grants ${permission}: interlock vault grant {vault} --principal {principal} --permissions ${flag}`;
}

/** Built-in roles by the actions they allow, the least powerful first. */
const rolesByActions: readonly (readonly [role: string, allowed: RegExp])[] = [
  ['keyVaultCryptoUser', /^keyVault\/keys\/(get|list|encrypt|decrypt|wrapKey|unwrapKey|sign|verify)$/],
  ['keyVaultPurgeOperator', /^keyVault\/(keys|vaults)\/purge$/],
  ['keyVaultCryptoOfficer', /^keyVault\/keys\//],
  ['reader', /\/read$/],
  ['operator', /^compute\/virtualMachines\/(start|powerOff|deallocate|restart)$/],
  ['keyVaultDataAccessAdministrator', /^identity\/keyVaultRoleAssignments\//],
  ['keyVaultAdministrator', /^keyVault\//],
  ['contributor', /^(?!identity\/(roleAssignments|principalSecrets)\/|keyVault\/keys\/)/],
];

/** The least powerful built-in role that allows all of these actions. @param actions separated by commas */
export const roleWith = (actions: string): string =>
  rolesByActions.find(([, allowed]) => actions.split(',').every((action) => allowed.test(action)))?.[0] ?? 'owner';

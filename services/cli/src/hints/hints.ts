import { roleWith } from './role-hints.ts';

type Facts = Readonly<Record<string, string>>;

/** What is known of a vault that a grant is missing on. */
export interface KnownVault {
  readonly permissionModel: string;
  /** `subscriptions/{s}/resourceGroups/{g}` */
  readonly resourceGroup: string;
}

/** A hold of the key vault, by its id: machines and disks are told no more than that it gives no answer. */
export interface KnownHold {
  readonly hold: string;
}

/** What is behind a failure, where somebody has looked. */
export type Known = KnownVault | KnownHold;

/** What to look at where something gives no answer. */
export const whoServes = 'interlock status shows who serves';

/**
 * What can be done about a refusal, as a command where there is one; `undefined` where nothing sensible is known. What is said
 * about the command it ends with stands before it, or behind a `#`: a line that is pasted goes on to be a command.
 * @param short a name as people type it
 * @param known the vault that `vaultInQuestion` names, or the hold behind a silence, where somebody has looked
 */
export function hintFor(
  reason: string,
  facts: Facts,
  short: (name: string) => string,
  known?: Known,
): string | undefined {
  const knownVault = known !== undefined && 'permissionModel' in known ? known : undefined;
  const hold = known !== undefined && 'hold' in known ? known.hold : undefined;
  const about = (pattern: RegExp): string | undefined => {
    const found = Object.values(facts).find((value) => pattern.test(value));
    return found === undefined ? undefined : short(found);
  };
  const version = about(/^vaults\/[^/]+\/keys\//) ?? '<vault>/<key>';
  const key = version.split('/').slice(0, 2).join('/');
  const vault = about(/^vaults\/[^/]+$/) ?? version.split('/')[0] ?? '<vault>';
  const set = about(/\/diskEncryptionSets\/[^/]+$/) ?? '<set>';
  const machine = about(/\/virtualMachines\/[^/]+$/) ?? '<vm>';
  const disk = about(/\/disks\/[^/]+$/) ?? '<disk>';
  // Of a set that was given another key already, and whose disks wait for the word of who owns the old one.
  const assigned = facts.assigned_key ? short(facts.assigned_key).split('/').slice(0, 2).join('/') : undefined;
  const otherKey =
    assigned === undefined
      ? `or give the set another key: interlock set assign-key ${set} --key <vault>/<key> --as-key-owner`
      : `or give the word of the owner of the old key (--key-owner, or --as-key-owner where that is you): interlock set assign-key ${set} --key ${assigned} --as-key-owner`;
  // Who is refused is not told whether the version was disabled alone or with its key, and either takes another command.
  const enabling =
    version === key ? key : `${key} where the key was disabled as a whole, ${version} where this version was`;
  const hints: Facts = {
    KEY_DISABLED: `interlock key enable ${enabling}, ${otherKey}`,
    KEY_EXPIRED: `interlock key set-dates ${version} --expire-time +90d, or interlock set assign-key ${set} --key <vault>/<key>`,
    KEY_NOT_YET_VALID: `interlock key set-dates ${version} --not-before now`,
    KEY_DELETED: `interlock key recover ${key}, ${otherKey}`,
    KEY_PURGED: `data under it is lost for good, unless a backup of the key exists: interlock key restore ${vault} --backup @<file>`,
    KEY_VERSION_NOT_FOUND: `interlock key versions ${key}`,
    VAULT_DELETED: `interlock vault recover ${vault}; roles given on it are gone and must be given again, access policies come back`,
    ACCESS_DENIED: accessHint(facts, vault, set, knownVault),
    IDENTITY_DELETED: `interlock set update ${set} --identity-type system-assigned gives the set a new identity, which may do nothing yet; then ${grantHint(vault, set === '<set>' ? set : `set:${set}`, knownVault)}`,
    KEY_VAULT_UNREACHABLE:
      hold === undefined
        ? 'try again; interlock status shows whether the key vault serves'
        : `it serves, and is on hold: nobody can use a key. An operator has to ${holdHint(vault, hold)}`,
    KEY_VAULT_ON_HOLD: holdHint(vault, facts.hold ?? '<hold>'),
    THROTTLED: 'try again in a moment',
    STORE_UNAVAILABLE: 'the service does not reach Postgres: interlock status shows whom else that fails; try again',
    VM_START_TIMED_OUT: `${whoServes}; then interlock vm start ${machine}`,
    GUEST_START_FAILED: `interlock vm start ${machine}; where that fails as well, the cause is in the log of compute`,
    CONTENTION: 'try again',
    ETAG_MISMATCH: 'somebody changed it meanwhile: show it and repeat with its etag',
    INVALID_CLIENT:
      'check --as: the principal, and the file with its secret; a principal that was deleted is answered alike, of which somebody who may look is told by: interlock principal show <principal>',
    DISK_ATTACHED: `interlock vm deallocate ${machine}; to delete the disk, or give it to another machine, interlock vm detach ${machine} ${disk}`,
    DISK_NOT_ATTACHED: `interlock vm show ${machine} names its disks, interlock disk show ${disk} the machine a disk is attached to`,
    DISK_ENCRYPTION_SET_IN_USE: `interlock set resources ${set}`,
    ENCRYPTION_SET_MISSING: 'name a set with --set',
    ULTRA_SSD_NOT_ENABLED: 'make the machine with --ultra-ssd-enabled',
    PURGE_PROTECTION_REQUIRED: `interlock vault enable-purge-protection ${vault}`,
    TARGET_WEAKER_PROTECTED: `interlock vault enable-purge-protection ${vault}, or give the set a key of a vault that has it: interlock set assign-key ${set} --key <vault>/<key>`,
    OPERATION_IN_PROGRESS: 'wait for the running operation to end: --wait does',
    VAULT_NAME_HELD: `interlock vault recover ${vault}, or take another name`,
    KEY_NAME_HELD: `interlock key recover ${key}, or take another name`,
    UPDATE_EMPTY: `say what to change (--auto-restart, --key-expiry, --auto-key-rotation-enabled, --identity-type; --no-… turns off), for example: interlock set update ${set} --auto-restart`,
    KEY_OWNER_TOKEN_INVALID:
      'give the word anew: --as-key-owner, or --key-owner <principal>:<secret file>; a token lasts for minutes only',
    TIMEOUT: 'give it longer with --timeout',
    KEY_IN_USE: `interlock impact ${key} --action ${facts.action ?? 'delete'} says what would be lost with it; then the same again with --confirm ${key}, or ${key.split('/').at(-1)} for short`,
    VAULT_IN_USE: `interlock impact ${vault} --action ${facts.action ?? 'delete'} says what would be lost with it; then the same again with --confirm ${vault}`,
    IDENTITY_IN_USE: `interlock impact set:${set} says what would stop; then the same again with --confirm set:${set}`,
    LAST_PLATFORM_OWNER:
      'give another principal a secret and that role first: interlock role assign <principal> owner --scope /',
    KEY_NOT_FOUND: `those that can be recovered: interlock key list-deleted ${vault}; those there are: interlock key list ${vault}`,
    VAULT_NOT_FOUND: 'interlock vault list # those there are',
    VIRTUAL_MACHINE_NOT_FOUND: listHint('vm', machine),
    DISK_NOT_FOUND: listHint('disk', disk),
    SNAPSHOT_NOT_FOUND: listHint('snapshot', about(/\/snapshots\/[^/]+$/)),
    DISK_ENCRYPTION_SET_NOT_FOUND: listHint('set', set),
    PRINCIPAL_NOT_FOUND:
      facts.rpc === 'PreviewImpact'
        ? 'of the identity of a set: interlock impact set:<set>; the sets there are: interlock set list'
        : 'interlock principal list # those there are',
    ROLE_ASSIGNMENT_NOT_FOUND: 'interlock role assignments # those there are',
    ROLE_NOT_FOUND: 'interlock role list # those there are',
    SUBSCRIPTION_NOT_FOUND: 'interlock subscription list # those there are',
    TENANT_NOT_FOUND: 'interlock tenant list # those there are',
    PARKED_FACT_NOT_FOUND: 'interlock parked list # those there are; it may have been replayed',
    HOLD_NOT_FOUND: 'interlock hold show names the one there is',
  };
  return hints[reason];
}

/** What ends a hold. */
const holdHint = (vault: string, hold: string): string =>
  `look at what was restored (interlock hold show, interlock key list ${vault}), then interlock hold confirm ${hold}`;

/** Where what was named would be: a name in short lies in the group that was said last, which may be another one. */
function listHint(noun: string, short: string | undefined): string {
  const [group, subscription] = short?.split('/').slice(0, -1).toReversed() ?? [];
  const flags = `${group === undefined ? '' : ` --group ${group}`}${subscription === undefined ? '' : ` --subscription ${subscription}`}`;
  return `interlock ${noun} list${flags} # those there are; --group says in which resource group`;
}

/** How to ask about one set alone what is asked of all. */
const ofOneSet: Facts = {
  ListLeases: 'leases of a set you may see: interlock lease list --set <set>; of every set there is, ',
  PreviewImpact: 'of the identity of a set you may see: interlock impact set:<set>; of any principal, ',
};

/**
 * By which of its ways a right can be given depends on what was missing: a permission on keys, or an action. Where neither
 * is said (a disk or machine passes on what its vault said) both are named, each with the vaults it counts in.
 */
function accessHint(
  { permission, action, principal, scope, rpc }: Facts,
  vault: string,
  set: string,
  known: KnownVault | undefined,
): string {
  const who = principal?.replace('principals/', '') ?? (set === '<set>' ? '<principal>' : `set:${set}`);
  // The right on one set is what most have, and enough for what they want to know.
  const ofOne = action === 'compute/diskEncryptionSets/read' && scope === '/' ? (ofOneSet[rpc ?? ''] ?? '') : '';
  if (action !== undefined)
    return `${ofOne}the right ${action} is missing; who may give roles there gives it (interlock role list shows all roles): interlock role assign ${who} ${roleWith(action)} --scope ${scope ?? '<scope>'}`;
  if (permission === undefined) return grantHint(vault, who, known);
  const rights = permission.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `the permission ${permission} is missing: ${policyHint(vault, who, rights)}${addRemark}`;
}

const policyHint = (vault: string, who: string, rights: string): string =>
  `interlock vault grant ${vault} --principal ${who} --permissions ${rights} --add`;
const addRemark = ' # without --add that is all it may do then';

/** How a set gets the use of the keys of a vault; what belongs to the permission model that a vault does not have does nothing. */
function grantHint(vault: string, who: string, known: KnownVault | undefined): string {
  const byPolicy = policyHint(vault, who, 'get,wrap-key,unwrap-key');
  const byRole = (group: string): string =>
    `interlock role assign ${who} keyVaultCryptoServiceEncryptionUser --scope ${group}/vaults/${vault}`;
  if (known?.permissionModel === 'ACCESS_POLICY') return `${byPolicy}${addRemark}`;
  if (known?.permissionModel === 'ROLE_ASSIGNMENT') return byRole(known.resourceGroup);
  return `in a vault with access policies ${byPolicy}; in one with role assignments (interlock vault show ${vault} says which it is) ${byRole('<its resource group>')}`;
}

/** The vault whose permission model decides what helps; undefined where the refusal says all, or none is known. */
export function vaultInQuestion(reason: string, facts: Facts): string | undefined {
  const isOpen = reason === 'IDENTITY_DELETED' || reason === 'ACCESS_DENIED';
  if (!isOpen || facts.action !== undefined || facts.permission !== undefined) return undefined;
  return Object.values(facts).flatMap((value) => /^vaults\/[^/]+(?=\/keys\/|$)/.exec(value)?.[0] ?? [])[0];
}

import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { hintFor } from '../hints/hints.ts';
import { lookAtVault } from '../hints/vault-look.ts';
import type { Caller } from '../request/calls.ts';
import { isHeldOffByKey } from './held-off.ts';

/** A line beside an answer, for what a table of it does not say. @param short a name as people type it */
export type Note = (answer: JsonObject, request: JsonObject, short: (name: string) => string) => string | undefined;

/** The same, for what has to be asked. */
export type AskedNote = (
  ...given: [...Parameters<Note>, caller: Pick<Caller, 'call'>]
) => ReturnType<Note> | Promise<ReturnType<Note>>;

/** Whether `key create` and `key import` made a key, or a further version of one that was there. */
export const madeNote: Note = ({ name, versionCount }, _request, short) => {
  const key = short(String(name).split('/versions/')[0] ?? '');
  return Number(versionCount ?? 1) > 1
    ? `${key} was there: this is a new version of it, its ${ordinal(Number(versionCount))}. Sets that name an older one stay with that, unless they follow the newest`
    : undefined;
};

/** What `key disable` did: to one version, or to how many of how many; and where to look what comes of it. */
export const disabledNote: Note = (answer, request, short) => {
  const { keyVersions, disabled } = answer;
  const impact = `; what comes of it: interlock impact ${short(String(request.name))}`;
  if (!Array.isArray(keyVersions))
    return `disabled: this version alone, not its key (${keyOf(request, short)})${impact}`;
  const count = countOf(disabled);
  if (count === 0) return 'every version of it was disabled before: nothing has changed';
  if (count === keyVersions.length) return `disabled: ${versions(count)}, and with that the whole key${impact}`;
  const before = keyVersions.length - count;
  return `disabled: ${versions(count)}; ${before} of ${keyVersions.length} ${before === 1 ? 'was' : 'were'} disabled before${impact}`;
};

/** What `key enable` did, and which versions it left alone. */
export const enabledNote: Note = (answer, request, short) => {
  const { keyVersions, enabled } = answer;
  if (!Array.isArray(keyVersions)) return `enabled: this version alone, not its key (${keyOf(request, short)})`;
  const off = keyVersions.filter((version) => isObject(version) && version.enabled !== true);
  const count = countOf(enabled);
  const start =
    'machines it has stopped start by themselves where their set has auto restart on; what starts the others: interlock vm start --stopped-by-key';
  if (off.length === 0) {
    return count === 0
      ? 'every version of it was enabled before: nothing has changed'
      : `enabled: ${versions(count)}, and with that the whole key; ${start}`;
  }
  const names = off.map((version) => (isObject(version) ? short(String(version.name)) : '')).join(', ');
  const done = count === 0 ? 'nothing has changed' : `enabled: ${versions(count)}`;
  return `${done}; disabled by its own name and still so, to be enabled by it (interlock key enable <version>): ${names}`;
};

/** What somebody has to do for a set that cannot use its key. */
export const lostNote: AskedNote = async ({ name, keyAccess, activeKey }, _request, short, caller) => {
  const lost = (Array.isArray(keyAccess) ? keyAccess.filter(isObject) : []).filter(({ state }) => state === 'LOST');
  const active = versionIn(activeKey);
  const lines = await Promise.all(
    lost.map(async ({ keyVersion, reason }) => {
      const facts = {
        key_version: String(keyVersion),
        disk_encryption_set: String(name),
        // What is under an older version waits for the word by which it may move.
        assigned_key: active === String(keyVersion) ? '' : active,
      };
      const hint = hintFor(String(reason), facts, short, await lookAtVault(caller, String(reason), facts));
      return `it cannot use ${short(String(keyVersion))}: ${String(reason)}${hint === undefined ? '' : `\nhint: ${hint}`}`;
    }),
  );
  return lines.length === 0 ? undefined : lines.join('\n');
};

/** The version that a key of a set is; empty where it has none. */
const versionIn = (key: JsonValue | undefined): string =>
  key !== undefined && isObject(key) ? String(key.keyVersion ?? '') : '';

/** What patterns of roles do not say: how far they reach. */
export const rolesNote: Note = () =>
  '* stands for any run of characters, but never for the use of keys: keyVault/keys/… counts where it is written out';

/** Whether keys may be used, and what ends a hold. */
export const holdNote: Note = ({ hold }) =>
  hold === undefined || !isObject(hold)
    ? 'no hold: keys may be used'
    : `nobody may use a key${heldFor(hold)}. Then: interlock hold confirm ${hold.holdId}`;

/** One that was asked for need not follow a restore, and nobody knows to which position one would have gone back. */
const heldFor = ({ reason, position }: JsonObject): string =>
  reason === 'ASKED_FOR'
    ? ': a setting asks for that. Look at them first: where a store was restored, what was taken away since then is back'
    : `. Look at them first: what was taken away after position ${position} is back`;

/** What a state of a machine does not say: what it can be started for again, and what its next start will fail for. */
export const machineNote: Note = (machine, request, short) =>
  lines([mismatchNote(machine), returnedNote(machine, request, short), nextStartNote(machine, request, short)]);

/** That data is damaged, or was changed behind the machine's back. */
const mismatchNote = ({ guestIo }: JsonObject): string | undefined => {
  const count = guestIo !== undefined && isObject(guestIo) ? Number(guestIo.contentMismatchCount ?? 0) : 0;
  if (count === 0) return undefined;
  return `CONTENT_MISMATCH: ${counted(count, 'read')} returned other bytes than it has written; interlock vm activity-log says where`;
};

/** The same of a list. */
export const machinesNote: Note = (answer, request, short) =>
  lines([allReturnedNote(answer, request, short), allNextStartNote(answer)]);

const lines = (said: readonly (string | undefined)[]): string | undefined =>
  said.some((one) => one !== undefined) ? said.filter((one) => one !== undefined).join('\n') : undefined;

/** That a machine goes on with a lost key for as long as nobody turns it off, and what can be done before that. */
const nextStartNote: Note = ({ name, powerState, nextStartLosses }, _request, short) => {
  const losses = Array.isArray(nextStartLosses) ? nextStartLosses.filter(isObject) : [];
  const [first] = losses;
  if (first === undefined) return undefined;
  const disks = losses.map(({ disk }) => short(String(disk))).join(', ');
  const keeps = powerState === 'RUNNING' ? `it runs on with ${disks}, whose key is lost, and ` : '';
  const { reason, disk, diskEncryptionSet, keyVersion } = first;
  const facts = { disk: String(disk), key_version: String(keyVersion), disk_encryption_set: String(diskEncryptionSet) };
  const isGone = powerState === 'RUNNING' && losses.some((loss) => loss.reason === 'KEY_PURGED');
  const hint = isGone
    ? 'what is on it can be read in this machine, until that is off, and nowhere and never again without a backup of the key: copy it off before'
    : hintFor(String(reason), { ...facts, resource: String(name) }, short);
  const key = `${String(reason)} of ${short(String(keyVersion))}`;
  return `${keeps}its next start will fail: ${key}${hint === undefined ? '' : `\nhint: ${hint}`}`;
};

const allNextStartNote = ({ virtualMachines }: JsonObject): string | undefined => {
  const listed = Array.isArray(virtualMachines) ? virtualMachines.filter(isObject) : [];
  const count = listed.filter(
    ({ powerState, nextStartLosses }) => powerState === 'RUNNING' && countOf(nextStartLosses) > 0,
  ).length;
  if (count === 0) return undefined;
  const those =
    count === 1
      ? 'machine runs on with ultra disks whose key is lost, and its'
      : 'machines run on with ultra disks whose key is lost, and their';
  return `${count} ${those} next start will fail: interlock vm show <vm> says what helps`;
};

/** Whether what stopped a machine is the past, so that it can be started: its reason stays until it is. */
export const returnedNote: Note = (machine, _request, short) => {
  const { name, keyReturned, stopReason } = machine;
  const start = `interlock vm start ${short(String(name))}`;
  if (isOffWithHost(machine)) return `what it ran on was restarted: ${start}`;
  if (keyReturned !== true) return undefined;
  const what = stopReason === undefined ? 'what its last operation failed for' : 'what stopped it';
  return `${what} is over, its key can be used again: ${start}`;
};

/** The same of a list. */
export const allReturnedNote: Note = ({ virtualMachines }, _request, short) => {
  const listed = Array.isArray(virtualMachines) ? virtualMachines.filter(isObject) : [];
  // Those that `--stopped-by-key` means, and no others.
  const back = listed.filter((machine) => machine.keyReturned === true && isHeldOffByKey(machine)).length;
  const off = listed.filter(isOffWithHost).map(({ name }) => short(String(name)));
  const left = off.length > namedMax ? ` … (${off.length - namedMax} more)` : '';
  const lines = [
    ...(back === 0
      ? []
      : [
          `${counted(back, 'machine')} ${were(back)} stopped or kept off by a lost key that is back: interlock vm start starts one, with --stopped-by-key all`,
        ]),
    ...(off.length === 0
      ? []
      : [
          `${counted(off.length, 'machine')} ${were(off.length)} stopped when what ${off.length === 1 ? 'it runs' : 'they run'} on was restarted: interlock vm start ${off.slice(0, namedMax).join(' ')}${left}`,
        ]),
  ];
  return lines.length === 0 ? undefined : lines.join('\n');
};

/** As many machines are named in a command that is to be copied. */
const namedMax = 20;

/** Nobody stopped it, and nothing starts it by itself. */
const isOffWithHost = (machine: JsonObject): boolean =>
  machine.powerState === 'STOPPED' && machine.stopCause === 'HOST_RESTARTED' && !isHeldOffByKey(machine);

const were = (count: number): string => (count === 1 ? 'was' : 'were');

/** What a preview does not look at, where it would be gone with the key: somebody's own data, which only a count of wraps tells of. */
const unseen = ({ action, principal }: JsonObject): string =>
  principal === undefined && (action === 'DELETE' || action === 'PURGE')
    ? ' of what disk encryption sets know; of data that somebody wrapped with it by themselves nothing is known here'
    : '';

/** What a preview comes to. */
export const impactNote: Note = ({ impacts, refusedWith }, request, short) => {
  const what = supposed(request, short, ownerIn(impacts, short));
  const refusal =
    refusedWith === 'PURGE_PROTECTED'
      ? '; but the vault is purge protected: nobody can purge it, only the end of its retention does'
      : '';
  if (!Array.isArray(impacts) || impacts.length === 0)
    return `${what}: nothing depends on it${unseen(request)}${refusal}`;
  const lines = impacts.filter(isObject);
  const of = (kinds: RegExp) => lines.filter(({ kind }) => kinds.test(String(kind)));
  const stops = namesOf(of(/^VIRTUAL_MACHINE_STOPS$/));
  const again = namesOf(of(/^VIRTUAL_MACHINE_STOPS$/).filter(({ startsAgain }) => startsAgain === true));
  const fails = new Set([...namesOf(of(/^VIRTUAL_MACHINE_FAILS/))].filter((name) => !stops.has(name)));
  const unreadable = of(/_UNREADABLE$/);
  const resources = of(/^(DISK|SNAPSHOT)_UNAVAILABLE$/);
  const later = of(/^DISK_UNAVAILABLE_ONCE_STOPPED$/);
  const laterKind = later.every(({ sku }) => sku === 'ULTRA') ? 'ultra disk' : 'disk';
  const restart =
    again.size === 0
      ? ''
      : `, of which ${again.size} would start again by ${again.size === 1 ? 'itself' : 'themselves'} when the key is back`;
  const words = [
    stops.size === 0 ? '' : `${counted(stops.size, 'machine')} would stop${restart}`,
    fails.size === 0 ? '' : `${counted(fails.size, 'machine')} would fail at the next start`,
    resources.length === 0
      ? ''
      : `${counted(resources.length, 'disk or snapshot', 'disks and snapshots')} without data`,
    later.length === 0
      ? ''
      : `${counted(later.length, laterKind)} without data once ${later.length === 1 ? 'its machine is' : 'their machines are'} off`,
    unreadable.length === 0
      ? ''
      : `${counted(unreadable.length, 'disk or snapshot', 'disks and snapshots')} that nobody could ever read again without a backup of the key`,
  ].filter((one) => one !== '');
  const sets = namesOf(of(/^SET_LOSES_KEY$/));
  const only = `${sets.size > 1 ? `${sets.size} sets would lose their` : 'a set would lose its'} key, and nothing else`;
  const already = lines.every((line) => line.already === true) ? '; all of that is so already' : '';
  return `${what}: ${words.length === 0 ? only : words.join(', ')}${already}${refusal}`;
};

const participles: Readonly<Record<string, string>> = {
  DISABLE: 'disabled',
  DELETE: 'deleted',
  PURGE: 'purged',
  EXPIRE: 'expired',
};

/** `if every version of kv1/k1 were disabled`. What is meant where no action is said is the service's default. */
function supposed(
  { key, keyVersion, vault, principal, action }: JsonObject,
  short: (name: string) => string,
  owner: string | undefined,
): string {
  const asked = typeof action === 'string' && action !== 'ACTION_UNSPECIFIED' ? action : undefined;
  const said = asked ?? (vault === undefined ? (principal === undefined ? 'DISABLE' : 'REVOKE') : 'DELETE');
  const name = short(String(key ?? keyVersion ?? vault ?? principal ?? 'it'));
  const hint = asked === undefined ? ' (--action says what else)' : '';
  if (said === 'REVOKE') {
    return principal === undefined
      ? `if all grants of sets on ${name} were withdrawn${hint}`
      : `if all grants of ${owner === undefined || name.startsWith('set:') ? name : `set:${owner} (${name})`} were withdrawn${hint}`;
  }
  const isEvery = key !== undefined && (said === 'DISABLE' || said === 'EXPIRE');
  return `if ${isEvery ? 'every version of ' : ''}${name} were ${participles[said] ?? said.toLowerCase()}${hint}`;
}

/** The set whose identity loses its grants, where it was named by its id: all that comes of it is about that set. */
function ownerIn(impacts: JsonValue | undefined, short: (name: string) => string): string | undefined {
  const lines = Array.isArray(impacts) ? impacts.filter(isObject) : [];
  const [set, other] = new Set(lines.map(({ diskEncryptionSet }) => String(diskEncryptionSet ?? '')));
  return set === undefined || set === '' || other !== undefined ? undefined : short(set);
}

const ordinal = (number: number): string => ['', 'first', 'second', 'third'][number] ?? `${number}th`;

const keyOf = ({ name }: JsonObject, short: (name: string) => string): string =>
  short(String(name).split('/versions/')[0] ?? '');

const namesOf = (lines: readonly JsonObject[]): ReadonlySet<string> =>
  new Set(lines.map(({ resource }) => String(resource)));

const countOf = (value: JsonValue | undefined): number => (Array.isArray(value) ? value.length : 0);
const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
const versions = (count: number): string => counted(count, 'version');
const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

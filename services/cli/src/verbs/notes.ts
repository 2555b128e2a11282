import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { helpFor } from '@interlock/rpc';
import { isObject } from '../request/schema.ts';
import { objectsIn, textsIn } from './before.ts';

/** Lines for people below a response. @param short a name as users type it */
export type Note = (response: JsonObject, request: JsonObject, short: (name: string) => string) => string | undefined;

/** The help for each key that a set cannot use. */
export const setNote: Note = ({ name, keyAccess, activeKey }, _request, short) => {
  const active = isObject(activeKey) ? String(activeKey.keyVersion ?? '') : '';
  const lines = objectsIn(keyAccess)
    .filter(({ state }) => state === 'LOST')
    .map(({ keyVersion, reason }) => {
      const help = helpFor(String(reason), {
        key_version: String(keyVersion),
        disk_encryption_set: String(name),
        ...(active === String(keyVersion) ? {} : { assigned: active }),
      });
      return withHelp(`access lost to ${short(String(keyVersion))}: ${String(reason)}`, help);
    });
  return joined(lines);
};

/** Stops because of a host, which do not stand in the way of a start. */
const hostCauses: ReadonlySet<string> = new Set(['HOST_RESTARTED', 'HOST_LOST', 'HOST_DRAINED']);

/** Why a machine is stopped, or cannot start again, and what helps. */
export const machineNote: Note = (machine, _request, short) => {
  const { name, powerState, stopCause, keyReturned, stopReason, nextStartLosses, guestIo } = machine;
  const mismatches = isObject(guestIo) ? Number(guestIo.contentMismatchCount ?? 0) : 0;
  const lines: string[] = [];
  if (mismatches > 0)
    lines.push(
      `CONTENT_MISMATCH: ${mismatches} reads returned other bytes than were written; interlock vm activity-log shows them`,
    );
  if (keyReturned === true || (powerState === 'STOPPED' && hostCauses.has(String(stopCause))))
    lines.push(`the cause of the stop is over: interlock vm start ${short(String(name))}`);
  else if (isObject(stopReason))
    lines.push(withHelp(`stopped: ${String(stopReason.reason)}${placeOf(stopReason, short)}`, lossHelp(stopReason)));
  const [next] = objectsIn(nextStartLosses);
  if (next !== undefined) {
    const loss = `${String(next.reason)} of ${short(String(next.keyVersion))}${placeOf(next, short)}`;
    lines.push(withHelp(`the next start will fail: ${loss}`, lossHelp(next)));
  }
  return joined(lines);
};

/** Why a disk cannot be used, and what helps. */
export const diskNote: Note = ({ availability, unavailableReason, diskHost, diskHostState }, _request, short) => {
  const host = short(String(diskHost));
  const lines: string[] = [];
  if (availability === 'UNAVAILABLE') lines.push(`unavailable: ${String(unavailableReason)}, at the disk host ${host}`);
  if (diskHostState === 'HOST_UNREACHABLE')
    lines.push(withHelp(`its disk host ${host} does not respond`, helpFor('DISK_HOST_UNREACHABLE', {})));
  if (diskHostState === 'HOST_LOST') lines.push(`its disk host ${host} was declared lost`);
  return joined(lines);
};

/** Which disk hosts did not respond, so that their leases are missing in a list. */
export const leasesNote: Note = ({ unreachable }, _request, short) => {
  const hosts = textsIn(unreachable).map(short);
  if (hosts.length === 0) return undefined;
  const line = `not listed: the leases of ${hosts.join(', ')}, which ${hosts.length === 1 ? 'does' : 'do'} not respond; each runs out by itself`;
  return withHelp(line, helpFor('DISK_HOST_UNREACHABLE', {}));
};

/** How much depends on a disk host. */
export const diskHostImpactNote: Note = ({ resources }, { name }, short) => {
  const all = objectsIn(resources);
  const snapshots = all.filter((one) => String(one.name).includes('/snapshots/')).length;
  const different = (field: string): number => new Set(all.map((one) => one[field]).filter((text) => text)).size;
  const counts = [
    [different('virtualMachine'), 'machine', 'machines'],
    [all.length - snapshots, 'disk', 'disks'],
    [snapshots, 'snapshot', 'snapshots'],
    [different('diskEncryptionSet'), 'set', 'sets'],
  ] as const;
  const found = counts.flatMap(([count, one, many]) => (count === 0 ? [] : [`${count} ${count === 1 ? one : many}`]));
  return found.length === 0
    ? `nothing depends on ${short(String(name))}`
    : `depends on ${short(String(name))}: ${found.join(', ')}. Without it their I/O waits and then fails; nothing is lost`;
};

/** `, of the disk d1 at the disk host disk-0`, as far as it is known. */
const placeOf = ({ disk, diskHost }: JsonObject, short: (name: string) => string): string =>
  typeof diskHost !== 'string' || diskHost === ''
    ? ''
    : `, of the disk ${short(String(disk))} at the disk host ${short(diskHost)}`;

const lossHelp = ({ reason, disk, keyVersion, diskEncryptionSet }: JsonObject): string | undefined =>
  helpFor(String(reason), {
    disk: String(disk),
    key_version: String(keyVersion),
    disk_encryption_set: String(diskEncryptionSet),
  });

const withHelp = (line: string, help: string | undefined): string =>
  help === undefined ? line : `${line}\nhelp: ${help}`;
const joined = (lines: readonly string[]): string | undefined => (lines.length === 0 ? undefined : lines.join('\n'));

/** Whether keys may be used, and what ends a hold. */
export const holdNote: Note = ({ hold }) => {
  if (!isObject(hold)) return 'no hold: keys may be used';
  const cause =
    hold.reason === 'ASKED_FOR'
      ? 'the setting HOLD requests it'
      : `the store ends at position ${hold.position} and had reached ${hold.knownPosition}: it was restored, or it is another database`;
  return withHelp(`no key may be used: ${cause}`, helpFor('KEY_VAULT_ON_HOLD', { hold: String(hold.holdId) }));
};

/** The sum of a preview: how many machines would stop, and how many disks would lose their data. */
export const impactNote: Note = ({ impacts, refusedWith }, request, short) => {
  const lines = objectsIn(impacts);
  const counts = lines.length === 0 ? ['nothing depends on it'] : countsIn(lines);
  const already = lines.length > 0 && lines.every((line) => line.already === true) ? '; all of this is so already' : '';
  const refusal =
    refusedWith === 'PURGE_PROTECTED' ? '; purge protection refuses this until the retention has ended' : '';
  // A preview reads what sets know. Keys wrap other data too.
  const unseen =
    request.principal === undefined && (request.action === 'DELETE' || request.action === 'PURGE')
      ? '; data wrapped outside of disk encryption sets is not counted'
      : '';
  return `${supposed(request, short)}: ${counts.join(', ')}${already}${unseen}${refusal}`;
};

function countsIn(lines: readonly JsonObject[]): readonly string[] {
  const of = (kinds: RegExp): readonly JsonObject[] => lines.filter(({ kind }) => kinds.test(String(kind)));
  const stops = namesOf(of(/^VIRTUAL_MACHINE_STOPS$/));
  const restarts = namesOf(of(/^VIRTUAL_MACHINE_STOPS$/).filter(({ startsAgain }) => startsAgain === true));
  const fails = [...namesOf(of(/^VIRTUAL_MACHINE_FAILS/))].filter((name) => !stops.has(name));
  const restart = restarts.size === 0 ? '' : ` (${restarts.size} would restart when the key is back)`;
  const counts = [
    [stops.size, 'machine would stop', 'machines would stop', restart],
    [fails.length, 'machine would fail at its next start', 'machines would fail at their next start'],
    [of(/^(DISK|SNAPSHOT)_UNAVAILABLE$/).length, 'disk or snapshot', 'disks and snapshots', ' without data'],
    [of(/^DISK_UNAVAILABLE_ONCE_STOPPED$/).length, 'disk', 'disks', ' without data once the machine is off'],
    [
      of(/_UNREADABLE$/).length,
      'disk or snapshot',
      'disks and snapshots',
      ' unreadable for good without a backup of the key',
    ],
  ] as const;
  const found = counts.flatMap(([count, one, many, more = '']) =>
    count === 0 ? [] : [`${count} ${count === 1 ? one : many}${more}`],
  );
  const sets = namesOf(of(/^SET_LOSES_KEY$/)).size;
  return found.length > 0 ? found : [`${sets} ${sets === 1 ? 'set' : 'sets'} would lose access, no disks or machines`];
}

const participles: Readonly<Record<string, string>> = {
  DISABLE: 'disabled',
  DELETE: 'deleted',
  PURGE: 'purged',
  EXPIRE: 'expired',
  REVOKE: 'revoked',
};

/** `if every version of kv1/k1 were disabled`. Without an action the service's default applies. */
function supposed({ key, keyVersion, vault, principal, action }: JsonObject, short: (name: string) => string): string {
  const isGiven = typeof action === 'string' && action !== 'ACTION_UNSPECIFIED';
  const byDefault = vault !== undefined ? 'DELETE' : principal !== undefined ? 'REVOKE' : 'DISABLE';
  const done = isGiven ? action : byDefault;
  const name = short(String(key ?? keyVersion ?? vault ?? principal ?? 'it'));
  const what =
    done === 'REVOKE'
      ? `the grants of sets on ${name}`
      : key !== undefined && (done === 'DISABLE' || done === 'EXPIRE')
        ? `every version of ${name}`
        : name;
  const whose = done === 'REVOKE' && principal !== undefined ? `all grants of ${name}` : what;
  return `if ${whose} were ${participles[done] ?? done.toLowerCase()}${isGiven ? '' : ' (--action names another case)'}`;
}

const namesOf = (lines: readonly JsonObject[]): ReadonlySet<JsonValue | undefined> =>
  new Set(lines.map(({ resource }) => resource));

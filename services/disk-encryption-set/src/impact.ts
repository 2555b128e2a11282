import type { VirtualMachineImpact } from '@interlock/contracts/interlock/compute/v1/key_loss_preview.ts';
import type { EncryptedResource } from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import {
  Impact,
  type Impact_Kind,
  type PreviewImpactRequest_Action,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { type Cause, type Loaded, Rejection } from '@interlock/event-store';
import { askAccess } from './key-access.ts';
import { isReached, type Reach, reachedStandbys, reachedVersions } from './set/reach.ts';
import type { LossReason } from './set/reasons.ts';
import { type DiskEncryptionSet, keyVersionsOf, type SetBody, standbyVersionsOf } from './set/state.ts';
import { standbyIndex } from './set/streams.ts';
import { callFor, type SetParts } from './sets.ts';

/** What would happen, and to what. */
export interface Event {
  readonly action: Exclude<PreviewImpactRequest_Action, 'ACTION_UNSPECIFIED' | 'UNRECOGNIZED'>;
  readonly reach: Reach;
}

/**
 * Where a preview is: at one set, and there at its machines or its disks and snapshots (`token` continues the list of the
 * service that has them), or done with it and about to look for the next.
 */
export interface Place {
  /** Empty before the first set. */
  readonly set: string;
  readonly part: 'machines' | 'resources' | 'done';
  readonly token: string;
}

/** Before the first set. */
export const beginning: Place = { set: '', part: 'done', token: '' };

/** Most lines asked of another service at once. */
const pageSizeMax = 1_000;

/**
 * What would come of an event, one page of it. Machines are judged by compute with the function that stops them, disks by
 * the version the disk service has on record for each, so a set in the middle of a move is told apart disk by disk. A
 * standby key matters to its set, and to what only it opens by now. Holds one page and no more, however large the fleet.
 * @returns the lines, and where the next page begins: undefined at the end
 * @throws RpcFailure or Rejection of the services asked
 */
export const previewImpact = async (
  parts: Pick<SetParts, 'sets' | 'disks' | 'machines'>,
  event: Event,
  from: Place,
  limit: number,
  cause: Cause,
): Promise<{ readonly impacts: readonly Impact[]; readonly next: Place | undefined }> => {
  const impacts: Impact[] = [];
  let place: Place | undefined = from;
  while (place !== undefined && impacts.length < limit) {
    const room = Math.min(limit - impacts.length, pageSizeMax);
    const step: Step = await stepFrom(parts, event, place, room, cause);
    impacts.push(...step.impacts);
    place = step.next;
  }
  return { impacts, next: place };
};

interface Step {
  readonly impacts: readonly Impact[];
  readonly next: Place | undefined;
}

const stepFrom = async (
  { sets, disks, machines }: Pick<SetParts, 'sets' | 'disks' | 'machines'>,
  event: Event,
  { set, part, token: pageToken }: Place,
  pageSize: number,
  cause: Cause,
): Promise<Step> => {
  const done: Place = { set, part: 'done', token: '' };
  const { reach } = event;
  if (part === 'done') {
    const found = await nextSet(sets, reach, set);
    if (found === undefined) return { impacts: [], next: undefined };
    return beginningOf(found, event);
  }
  const body = bodyOf((await sets.load(set)).state);
  const { keyVersions, standbys } = reachedOf(reach, body);
  const isConcerned = keyVersions.length > 0 || (part === 'resources' && standbys.length > 0);
  // Deleted, or moved away, since the page before.
  if (body === undefined || !isConcerned) return { impacts: [], next: done };
  const isLenient = event.action === 'EXPIRE' && body.options.keyExpiry === 'next_start';
  if (part === 'machines') {
    const request = { diskEncryptionSet: set, keyVersions: [...keyVersions], pageSize, pageToken };
    const page = await machines.previewKeyLoss(request, callFor(cause));
    const token = page.nextPageToken;
    return {
      impacts: page.impacts.map((one) =>
        machineImpact(set, one, {
          isLenient,
          // A purged key never comes back (CMK-108); whether the set gets another one is nobody's promise.
          startsAgain: body.options.autoRestart && event.action !== 'PURGE',
          isLost: isLostAlready(body, keyVersions, event),
        }),
      ),
      next: { set, part: token === '' ? 'resources' : 'machines', token },
    };
  }
  const page = await disks.listEncryptedResources({ diskEncryptionSet: set, pageSize, pageToken }, callFor(cause));
  const token = page.nextPageToken;
  const standbysLeft =
    event.action === 'PURGE' ? await unpurged(disks, set, body, page.resources, cause) : standbyVersionsOf(body);
  return {
    impacts: page.resources.flatMap((listed) => {
      const resource = withStandbyAmong(standbysLeft, listed);
      const { keyVersion, standbyKeyVersion } = resource;
      const isLastWay = standbys.includes(standbyKeyVersion) && isPurged(body, keyVersion);
      // What a standby alone opens has no data now either, and a purge takes it all the same.
      const isNew = isLastWay && event.action === 'PURGE';
      const line = resourceImpact(set, resource, event, isLenient);
      if (keyVersions.includes(keyVersion))
        return [{ ...line, already: !isNew && isLostAlready(body, [keyVersion], event) }];
      return isLastWay ? [{ ...line, keyVersions: [standbyKeyVersion], standby: true, already: !isNew }] : [];
    }),
    next: token === '' ? done : { set, part, token },
  };
};

/** A set whose keys matter to somebody. */
const bodyOf = (state: DiskEncryptionSet): SetBody | undefined =>
  state.status === 'absent' || state.status === 'deleted' ? undefined : state;

/** What of a set is reached: versions of its keys, the active one first, and of its standby key. */
const reachedOf = (reach: Reach, body: SetBody | undefined) => ({
  keyVersions: body === undefined ? [] : reachedVersions(reach, body),
  standbys: body === undefined ? [] : reachedStandbys(reach, body),
});

/** The first set after `set` that names what is reached as its key or as its standby key. */
const nextSet = async (
  sets: SetParts['sets'],
  reach: Reach,
  set: string,
): Promise<Loaded<DiskEncryptionSet> | undefined> => {
  const after = set === '' ? {} : { after: set };
  const indexes = [reach.index, ...(reach.principal === undefined ? [standbyIndex(reach.path)] : [])];
  const pages = await Promise.all(indexes.map((index) => sets.list({ index, ...after, limit: 1 })));
  const [first] = pages.flatMap(({ items }) => items).sort((one, other) => (one.id < other.id ? -1 : 1));
  return first;
};

/** The line of a set itself, and where its other lines are. */
const beginningOf = ({ id, state }: Loaded<DiskEncryptionSet>, event: Event): Step => {
  const body = bodyOf(state);
  const { keyVersions, standbys } = reachedOf(event.reach, body);
  const isKeyReached = keyVersions.length > 0;
  if (body === undefined || (!isKeyReached && standbys.length === 0))
    return { impacts: [], next: { set: id, part: 'done', token: '' } };
  const line = Impact.fromPartial({
    kind: 'SET_LOSES_KEY',
    resource: id,
    diskEncryptionSet: id,
    keyVersions: [...(isKeyReached ? keyVersions : standbys)],
    already: isKeyReached && isLostAlready(body, keyVersions, event),
    standby: !isKeyReached,
  });
  // A standby opens no disk, so no machine needs it. Only what is under a purged key may have nothing else left.
  const mayBeLastWay = keyVersionsOf(body).some((keyVersion) => isPurged(body, keyVersion));
  const part = isKeyReached ? 'machines' : mayBeLastWay ? 'resources' : 'done';
  return { impacts: [line], next: { set: id, part, token: '' } };
};

/** Whether nothing brings that version back (CMK-108). */
const isPurged = ({ access }: SetBody, keyVersion: string): boolean => {
  const known = access[keyVersion];
  return known?.state === 'lost' && known.reason === 'KEY_PURGED';
};

/** Whether all of these versions are lost to the set as it is. What a purge adds to that is new, unless it was one. */
const isLostAlready = ({ access }: SetBody, keyVersions: readonly string[], { action }: Event): boolean =>
  keyVersions.every((version) => {
    const known = access[version];
    return known?.state === 'lost' && (action !== 'PURGE' || known.reason === 'KEY_PURGED');
  });

const machineImpact = (
  set: string,
  { virtualMachine, outcome, disks, powerState }: VirtualMachineImpact,
  of: { readonly isLenient: boolean; readonly startsAgain: boolean; readonly isLost: boolean },
): Impact => {
  const isStopped = outcome === 'STOPS' && !of.isLenient;
  return Impact.fromPartial({
    kind: isStopped ? 'VIRTUAL_MACHINE_STOPS' : 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START',
    resource: virtualMachine,
    diskEncryptionSet: set,
    disks: [...disks],
    powerState,
    already: !isStopped && of.isLost,
    startsAgain: isStopped && of.startsAgain,
  });
};

/** A wrap under a key that is no standby of the set any more, or is gone, helps nobody: no move takes it for its source. */
const withStandbyAmong = (standbys: readonly string[], resource: EncryptedResource): EncryptedResource =>
  standbys.includes(resource.standbyKeyVersion) ? resource : { ...resource, standbyKeyVersion: '' };

/** The reasons of a standby key that nothing brings back. Whatever else is in its way its owner can undo. */
const gone: ReadonlySet<string> = new Set<LossReason>(['KEY_PURGED', 'KEY_VERSION_NOT_FOUND']);

/**
 * The standby versions of a set that some of the resources have a wrap of and that are not gone themselves. A set follows its
 * keys, but hears nothing of its standby, so the vault is asked.
 * @throws RpcFailure or Rejection where there is no definite answer: nothing may be promised of it
 */
const unpurged = async (
  disks: SetParts['disks'],
  set: string,
  body: SetBody,
  resources: readonly EncryptedResource[],
  { correlationId }: Cause,
): Promise<readonly string[]> => {
  const left: string[] = [];
  for (const keyVersion of standbyVersionsOf(body)) {
    if (!resources.some(({ standbyKeyVersion }) => standbyKeyVersion === keyVersion)) continue;
    const answer = await askAccess(disks, { set, principal: body.principal, keyVersion, correlationId });
    if (answer.granted || !gone.has(answer.reason)) left.push(keyVersion);
  }
  return left;
};

const resourceImpact = (set: string, resource: EncryptedResource, event: Event, isLenient: boolean): Impact =>
  Impact.fromPartial({
    kind: kindOf(resource, event, isLenient),
    resource: resource.name,
    diskEncryptionSet: set,
    keyVersions: [resource.keyVersion],
    virtualMachine: resource.managedBy,
    sku: resource.sku,
  });

/** A purge takes the data of everything that no other key can unwrap (CMK-108, CMK-134). */
const kindOf = (resource: EncryptedResource, { action, reach }: Event, isLenient: boolean): Impact_Kind => {
  const { name, sku, openByMachine, standbyKeyVersion } = resource;
  const isSnapshot = name.split('/').at(-2) === 'snapshots';
  const isSurvivedByStandby = standbyKeyVersion !== '' && !isReached(reach, standbyKeyVersion);
  if (action === 'PURGE' && !isSurvivedByStandby) return isSnapshot ? 'SNAPSHOT_UNREADABLE' : 'DISK_UNREADABLE';
  if (isSnapshot) return 'SNAPSHOT_UNAVAILABLE';
  // One that is attached to a machine that is off is in nobody's memory (CMK-102).
  const isKeptWhileRunning = openByMachine && (sku === 'ULTRA' || isLenient);
  return isKeptWhileRunning ? 'DISK_UNAVAILABLE_ONCE_STOPPED' : 'DISK_UNAVAILABLE';
};

/** A place as the `after` of a page token. */
export const placeText = ({ set, part, token }: Place): string => [part, set, token].join('\n');

/** Reads it back. @throws Rejection INVALID_ARGUMENT PAGE_TOKEN_INVALID */
export const placeOf = (text: string): Place => {
  const [part, set, token, ...rest] = text.split('\n');
  const isPart = part === 'machines' || part === 'resources' || part === 'done';
  if (isPart && set !== undefined && token !== undefined && rest.length === 0) return { part, set, token };
  throw new Rejection(
    'INVALID_ARGUMENT',
    'PAGE_TOKEN_INVALID',
    'page_token must be the next_page_token of an earlier answer',
    { field: 'page_token' },
  );
};

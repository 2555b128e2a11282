import { outlivesKeyLoss } from '@interlock/access/outcome';
import type { VirtualMachineImpact } from '@interlock/contracts/interlock/compute/v1/key_loss_preview.ts';
import type { EncryptedResource } from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import {
  Impact,
  type Impact_Kind,
  type PreviewImpactRequest_Action,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { type Cause, type Loaded, Rejection } from '@interlock/event-store';
import { callFor, type SetParts } from '../sets.ts';
import { type ChangeScope, versionsInScope } from './change-scope.ts';
import type { DiskEncryptionSet, SetBody } from './state.ts';

/** A change and what it reaches. */
export interface Event {
  readonly action: Exclude<PreviewImpactRequest_Action, 'ACTION_UNSPECIFIED' | 'UNRECOGNIZED'>;
  readonly reach: ChangeScope;
}

/** Position of a preview: in the list of a set's machines or resources (`token` continues that list), or after the set. */
export interface Place {
  /** Empty before the first set. */
  readonly set: string;
  readonly part: 'machines' | 'resources' | 'done';
  readonly token: string;
}

/** Before the first set. */
export const beginning: Place = { set: '', part: 'done', token: '' };

/** Largest page of a call to another service. */
const pageSizeMax = 1_000;

/**
 * One page of the impact of a change. compute judges machines with the function that stops them; the disk service knows the
 * version of each disk, so a set may be in the middle of a rotation.
 * @returns the lines, and the position of the next page: undefined at the end
 * @throws RpcFailure or Rejection of the called services
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
    const { items } = await sets.list({ index: reach.index, ...(set === '' ? {} : { after: set }), limit: 1 });
    const [found] = items;
    return found === undefined ? { impacts: [], next: undefined } : beginningOf(found, event);
  }
  const body = bodyOf((await sets.load(set)).state);
  const keyVersions = body === undefined ? [] : versionsInScope(reach, body);
  // Deleted, or rotated, since the page before.
  if (body === undefined || keyVersions.length === 0) return { impacts: [], next: done };
  const isLenient = event.action === 'EXPIRE' && body.options.keyExpiry === 'next_start';
  if (part === 'machines') {
    const request = { diskEncryptionSet: set, keyVersions: [...keyVersions], pageSize, pageToken };
    const page = await machines.previewKeyLoss(request, callFor(cause));
    const token = page.nextPageToken;
    return {
      impacts: page.impacts.map((one) =>
        machineImpact(set, one, {
          isLenient,
          // A purged key never comes back (CMK-108).
          startsAgain: body.options.autoRestart && event.action !== 'PURGE',
          isLost: isLostAlready(body, keyVersions, event),
        }),
      ),
      next: { set, part: token === '' ? 'resources' : 'machines', token },
    };
  }
  const page = await disks.listEncryptedResources({ diskEncryptionSet: set, pageSize, pageToken }, callFor(cause));
  const token = page.nextPageToken;
  const reached = page.resources.filter(({ keyVersion }) => keyVersions.includes(keyVersion));
  return {
    impacts: reached.map((resource) =>
      resourceImpact(set, resource, event, { isLenient, isLost: isLostAlready(body, [resource.keyVersion], event) }),
    ),
    next: token === '' ? done : { set, part, token },
  };
};

const bodyOf = (state: DiskEncryptionSet): SetBody | undefined =>
  state.status === 'absent' || state.status === 'deleted' ? undefined : state;

/** The line of a set itself, and the position of its other lines. */
const beginningOf = ({ id, state }: Loaded<DiskEncryptionSet>, event: Event): Step => {
  const body = bodyOf(state);
  const keyVersions = body === undefined ? [] : versionsInScope(event.reach, body);
  if (body === undefined || keyVersions.length === 0)
    return { impacts: [], next: { set: id, part: 'done', token: '' } };
  const line = Impact.fromPartial({
    kind: 'SET_LOSES_KEY',
    resource: id,
    diskEncryptionSet: id,
    keyVersions: [...keyVersions],
    already: isLostAlready(body, keyVersions, event),
  });
  return { impacts: [line], next: { set: id, part: 'machines', token: '' } };
};

/** Whether the set has lost all of these versions already. A purge is new unless they are purged. */
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

const resourceImpact = (
  set: string,
  resource: EncryptedResource,
  { action }: Event,
  of: { readonly isLenient: boolean; readonly isLost: boolean },
): Impact =>
  Impact.fromPartial({
    kind: kindOf(resource, action, of.isLenient),
    resource: resource.name,
    diskEncryptionSet: set,
    keyVersions: [resource.keyVersion],
    virtualMachine: resource.managedBy,
    sku: resource.sku,
    already: of.isLost,
  });

/** After a purge no key can unwrap what is under the key (CMK-108, CMK-134). */
const kindOf = (
  { name, sku, openByMachine }: EncryptedResource,
  action: Event['action'],
  isLenient: boolean,
): Impact_Kind => {
  const isSnapshot = name.split('/').at(-2) === 'snapshots';
  if (action === 'PURGE') return isSnapshot ? 'SNAPSHOT_UNREADABLE' : 'DISK_UNREADABLE';
  if (isSnapshot) return 'SNAPSHOT_UNAVAILABLE';
  // The DEK of a disk of a stopped machine is in no host's memory (CMK-102).
  const isKeptWhileRunning = openByMachine && (outlivesKeyLoss(sku) || isLenient);
  return isKeptWhileRunning ? 'DISK_UNAVAILABLE_ONCE_STOPPED' : 'DISK_UNAVAILABLE';
};

/** A position as the `after` of a page token. */
export const placeText = ({ set, part, token }: Place): string => [part, set, token].join('\n');

/** Reads it back. @throws Rejection INVALID_ARGUMENT PAGE_TOKEN_INVALID */
export const placeOf = (text: string): Place => {
  const [part, set, token, ...rest] = text.split('\n');
  const isPart = part === 'machines' || part === 'resources' || part === 'done';
  if (isPart && set !== undefined && token !== undefined && rest.length === 0) return { part, set, token };
  throw new Rejection(
    'INVALID_ARGUMENT',
    'PAGE_TOKEN_INVALID',
    'page_token must be the next_page_token of an earlier response',
    { field: 'page_token' },
  );
};

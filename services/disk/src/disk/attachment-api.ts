import {
  type AttachDiskRequest,
  type BeginAccessRequest,
  type BeginAccessResponse,
  type CloseDisksRequest,
  type CloseDisksResponse,
  type DetachDiskRequest,
  type EndAccessRequest,
  type OpenDiskItem,
  OpenDiskRequest,
  type OpenDiskResponse,
  type OpenDisksRequest,
  type OpenDisksResponse,
} from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { Disk as WireDisk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Cause, type Loaded, Rejection, StoreUnavailable, writeEvent } from '@interlock/event-store';
import { type Call, itemRefusal, names, onBehalfOf, principalOf, runAsCall, settleItems } from '@interlock/rpc';
import { contextFromTraceparent, DomainAttribute, type Random } from '@interlock/runtime';
import { context, trace } from '@opentelemetry/api';
import { closingsMax, opensMax } from '../batch-limits.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import { accessSecretLength, accessTokenOf, hashAccessToken, newAccessToken } from '../host/data/access-token.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { refuseWhileChanging } from '../moves/encryption-change.ts';
import { type Step, StepBarrier } from '../step-barrier.ts';
import {
  accessible,
  attach,
  beginAccess,
  detach,
  endAccess,
  type OpenRequest,
  open,
  openable,
} from './attachment-decider.ts';
import { closeDisks, closedOnWire, closingOf } from './closing.ts';
import type { Control } from './control.ts';
import { setOf, skuOnWire } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import { openDisk } from './opening.ts';
import { named, showDisk } from './reads.ts';
import { type Disk, type DiskProcess, diskSteps } from './state.ts';

/** Longest direct access, in seconds. */
const accessSecondsMax = 86_400;

/** What attaching and opening need. */
interface AttachmentParts extends Control {
  readonly random: Random;
  /** `host:port` of the DiskDataService that has the disks. */
  readonly dataAddress: string;
  /** Address at which the disks are network block devices, or empty. */
  readonly nbdAddress: string;
}

/** Who may read and write a disk: request in, disk or token out. */
export const attachmentApi = (parts: AttachmentParts) => {
  const { clock, log } = parts;
  const show = (loaded: Loaded<Disk>) => showDisk(parts, loaded);
  const ending = { ...parts, ...parts.ending };
  return {
    async attachDisk(request: AttachDiskRequest, call: Call): Promise<WireDisk> {
      const { requestId, osDisk: isOsDisk } = request;
      if (requestId === '') throw invalid('REQUEST_ID_MISSING', 'request_id', 'must be set, to recognize a repeat');
      const attachment = { virtualMachine: machine(request.virtualMachine), isOsDisk, requestId };
      const name = named(request.name);
      await refuseWhileChanging(parts, name);
      return show(await changeAccess(parts, name, attach(clock.now(), attachment), call, 'attach'));
    },
    async openDisks({ items }: OpenDisksRequest, call: Call): Promise<OpenDisksResponse> {
      const barrier = new StepBarrier(clock);
      const outcomes = await settleItems(items, { sizeMax: opensMax, log }, (item) =>
        barrier.member((step) => openItem(parts, item, call, step)),
      );
      return {
        outcomes: outcomes.map((outcome) =>
          'answer' in outcome
            ? { outcome: { $case: 'opened', value: outcome.answer.opened }, event: writeEvent(outcome.answer.event) }
            : { outcome: { $case: 'refused', value: { ...outcome.refused } }, event: '' },
        ),
      };
    },
    async closeDisks({ closings }: CloseDisksRequest, { cause }: Call): Promise<CloseDisksResponse> {
      if (closings.length === 0 || closings.length > closingsMax) throw batchSizeInvalid(closings.length);
      const outcomes = await closeDisks(ending, closings.map(closingOf), cause);
      return {
        outcomes: outcomes.map((outcome) =>
          'refused' in outcome
            ? { outcome: { $case: 'refused', value: { ...itemRefusal(outcome.refused) } }, event: '' }
            : closedOnWire(outcome.disk),
        ),
      };
    },
    async detachDisk(request: DetachDiskRequest, call: Call): Promise<WireDisk> {
      const { name, virtualMachine, requestId } = request;
      const decide = detach(clock.now(), machine(virtualMachine), requestId === '' ? undefined : requestId);
      return show(await changeAccess(ending, named(name), decide, call, 'detach'));
    },
    beginAccess: (request: BeginAccessRequest, call: Call) => beginDirectAccess(parts, request, call),
    async endAccess({ name, accessToken }: EndAccessRequest, call: Call): Promise<WireDisk> {
      const tokenHash = accessToken === '' ? undefined : hashAccessToken(accessToken);
      return show(await changeAccess(ending, named(name), endAccess(clock.now(), tokenHash), call, 'access'));
    },
  };
};

const machine = (virtualMachine: string): string => {
  names.virtualMachine.parse(virtualMachine, 'virtual_machine');
  trace.getActiveSpan()?.setAttribute(DomainAttribute.virtualMachine, virtualMachine);
  return virtualMachine;
};

/**
 * Decides in the disk's turn. A repeat returns the event of that process. If the events no longer contain an access, the host
 * ends it.
 */
const changeAccess = (
  { turns, disks, host }: Control,
  name: string,
  decide: (disk: Disk) => readonly DiskEvent[],
  { cause }: Call,
  process: DiskProcess,
): Promise<Loaded<Disk>> =>
  turns(name, async () => {
    const changed = await disks.transact(name, decide, cause).catch((error: unknown) => {
      if (error instanceof StoreUnavailable) host.doubt(name);
      throw error;
    });
    if (changed.state.status !== 'active' || changed.state.access === null) host.close(name);
    const before = changed.state.steps?.[process];
    if (changed.events.length === 0 && before !== undefined) cause.tracker?.found(`disk-${name}`, before);
    return changed;
  });

const secretOf = (requested: Uint8Array, random: Random): Uint8Array => {
  if (requested.length === 0) return random.bytes(accessSecretLength);
  if (requested.length === accessSecretLength) return requested;
  throw invalid(
    'ACCESS_SECRET_INVALID',
    'access_secret',
    `must have ${accessSecretLength} bytes, or be empty (got ${requested.length})`,
  );
};

/** An open with the event that records it. */
interface Opened {
  readonly opened: OpenDiskResponse;
  readonly event: string;
}

/** Opens one disk, in the trace and under the correlation id of its own origin. */
const openItem = async (
  parts: AttachmentParts,
  { open: request, origin }: OpenDiskItem,
  call: Call,
  step: Step,
): Promise<Opened> => {
  const cause = onBehalfOf(call.cause, origin);
  const open = () => openForMachine(parts, request ?? OpenDiskRequest.create(), cause, step);
  const isOwn = cause.traceparent === call.cause.traceparent;
  return runAsCall({ ...call, cause }, () =>
    isOwn ? open() : context.with(contextFromTraceparent(cause.traceparent), open),
  );
};

const openForMachine = async (
  parts: AttachmentParts,
  request: OpenDiskRequest,
  cause: Cause,
  step: Step,
): Promise<Opened> => {
  const { clock, random, host, dataAddress, nbdAddress } = parts;
  const name = named(request.name);
  const virtualMachine = machine(request.virtualMachine);
  const secret = secretOf(request.accessSecret, random);
  const opening: OpenRequest = {
    virtualMachine,
    tokenHashOf: (attachEpoch) => hashAccessToken(accessTokenOf(attachEpoch, secret)),
    before: request.attachEpochBefore,
  };
  const access = {
    allowed: openable(clock.now(), opening),
    decide: (attachEpoch: number, grant: { accessEpoch: number; principal: string | undefined } | undefined) => {
      const { accessEpoch = 0, principal } = grant ?? {};
      const epochs = { attachEpoch, accessEpoch, hostEpoch: host.epoch };
      const opened = { ...epochs, ...(principal === undefined ? {} : { principal }) };
      return open(clock.now(), opening, opened);
    },
  };
  const { state, version } = await openDisk(parts, name, access, cause, step);
  const opened = {
    accessToken: accessTokenOf(state.attachEpoch, secret),
    attachEpoch: state.attachEpoch,
    dataAddress,
    nbdAddress,
    diskHost: hostNameOnWire(state.host),
    accessEpoch: state.accessEpoch,
    sku: skuOnWire[state.sku],
    diskEncryptionSet: setOf(state.encryption),
    keyVersion: state.keyVersion,
    sizeBytes: state.sizeGib * bytesPerGib,
    diskVersion: version,
    principal: state.principal ?? '',
  };
  return { opened, event: diskSteps(name, state, 'open')[0] ?? '' };
};

const beginDirectAccess = async (
  parts: AttachmentParts,
  request: BeginAccessRequest,
  call: Call,
): Promise<BeginAccessResponse> => {
  const { clock, random, host, dataAddress, nbdAddress } = parts;
  const name = named(request.name);
  const { accessLevel, durationSeconds } = request;
  if (accessLevel !== 'READ' && accessLevel !== 'WRITE') {
    throw invalid('ACCESS_LEVEL_MISSING', 'access_level', 'must be READ or WRITE');
  }
  if (durationSeconds < 1 || durationSeconds > accessSecondsMax) {
    throw invalid('DURATION_INVALID', 'duration_seconds', `must be 1 to ${accessSecondsMax} (got ${durationSeconds})`, {
      value: String(durationSeconds),
    });
  }
  const level = accessLevel === 'READ' ? 'read' : 'write';
  const expiresAt = clock.now() + durationSeconds * 1_000;
  let accessToken = '';
  const access = {
    allowed: accessible,
    decide: (attachEpoch: number, grant: { accessEpoch: number } | undefined) => {
      const { token, tokenHash } = newAccessToken(attachEpoch, random);
      accessToken = token;
      const accessEpoch = grant?.accessEpoch ?? 0;
      return beginAccess(clock.now(), {
        principal: principalOf(call),
        attachEpoch,
        level,
        tokenHash,
        expiresAt,
        accessEpoch,
        hostEpoch: host.epoch,
      });
    },
  };
  const { state } = await openDisk(parts, name, access, call.cause);
  const sizeBytes = state.sizeGib * bytesPerGib;
  return { accessToken, expireTime: new Date(expiresAt), dataAddress, nbdAddress, sizeBytes };
};

const invalid = (
  reason: string,
  field: string,
  what: string,
  metadata: Readonly<Record<string, string>> = {},
): Rejection => new Rejection('INVALID_ARGUMENT', reason, `${field} ${what}`, { field, ...metadata });

const batchSizeInvalid = (size: number): Rejection =>
  invalid('BATCH_SIZE_INVALID', 'closings', `must have 1 to ${closingsMax} items (got ${size})`, {
    size: String(size),
    limit: String(closingsMax),
  });

import {
  type AttachDiskRequest,
  type BeginAccessRequest,
  type BeginAccessResponse,
  type CloseDiskRequest,
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
import { type Category, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import { type Call, itemRefusal, names, onBehalfOf, principalOf, runAsCall, settleItems } from '@interlock/rpc';
import { type Clock, contextFromTraceparent, DomainAttribute, type Logger, type Random } from '@interlock/runtime';
import { context, trace } from '@opentelemetry/api';
import { accessSecretLength, accessTokenOf, hashAccessToken, newAccessToken } from '../host/data/access-token.ts';
import type { Sessions } from '../host/data/sessions.ts';
import { bytesPerGib } from '../host/volume/volume-making.ts';
import { openCohort, type Step } from '../moves/cohort.ts';
import { refuseWhileChanging } from '../moves/encryption-change.ts';
import type { ShowDisk } from './api.ts';
import {
  accessible,
  attach,
  beginAccess,
  detach,
  endAccess,
  type OpenWish,
  open,
  openable,
} from './attachment-decider.ts';
import type { Closing, ClosingWish } from './closing.ts';
import { setOf, skuOnWire } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import type { Opening } from './opening.ts';
import type { Disk } from './state.ts';
import type { Turns } from './turns.ts';

/** Most disks opened in one call: as many as the vault takes in one. */
const opensMax = 256;
/** Most disks closed in one call: some 250 bytes each on their way, and one commit. */
const closingsMax = 1_000;
/** Longest direct access, in seconds. */
const accessSecondsMax = 86_400;

/** Who may read and write a disk: request in, disk or token out. */
export const attachmentApi = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly opening: Opening;
  readonly closing: Closing;
  readonly sessions: Sessions;
  readonly turns: Turns;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** `host:port` of the DiskDataService that has the disks. */
  readonly dataAddress: string;
  readonly show: ShowDisk;
}) => {
  const { disks, opening, closing, sessions, turns, clock, random, log, dataAddress, show } = parts;

  const named = (name: string): string => {
    names.disk.parse(name, 'name');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.disk, name);
    return name;
  };
  const machine = (virtualMachine: string): string => {
    names.virtualMachine.parse(virtualMachine, 'virtual_machine');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.virtualMachine, virtualMachine);
    return virtualMachine;
  };
  const secretOf = (asked: Uint8Array): Uint8Array => {
    if (asked.length === 0) return random.bytes(accessSecretLength);
    if (asked.length === accessSecretLength) return asked;
    throw new Rejection(
      'INVALID_ARGUMENT',
      'ACCESS_SECRET_INVALID',
      `access_secret must have ${accessSecretLength} bytes, or be empty, not ${asked.length}`,
      { field: 'access_secret' },
    );
  };
  /** Decides in the disk's turn; a session the events know no longer ends with it. */
  const change = (name: string, decide: (disk: Disk) => readonly DiskEvent[], { cause }: Call): Promise<Loaded<Disk>> =>
    turns(name, async () => {
      const changed = await disks.transact(name, decide, cause).catch((error: unknown) => {
        if (error instanceof StoreUnavailable) sessions.doubt(name);
        throw error;
      });
      if (changed.state.status !== 'active' || changed.state.access === null) sessions.end(name);
      return changed;
    });

  const openOne = async (
    request: OpenDiskRequest,
    { cause }: Pick<Call, 'cause'>,
    step: Step,
  ): Promise<OpenDiskResponse> => {
    const name = named(request.name);
    const virtualMachine = machine(request.virtualMachine);
    const secret = secretOf(request.accessSecret);
    const wish: OpenWish = {
      virtualMachine,
      tokenHashOf: (attachEpoch) => hashAccessToken(accessTokenOf(attachEpoch, secret)),
      before: request.attachEpochBefore,
    };
    const { state, version } = await opening(
      name,
      openable(clock.now(), wish),
      (attachEpoch, grant) => {
        const { accessEpoch = 0, principal } = grant ?? {};
        return open(clock.now(), wish, {
          attachEpoch,
          accessEpoch,
          ...(principal === undefined ? {} : { principal }),
        });
      },
      cause,
      step,
    );
    return {
      accessToken: accessTokenOf(state.attachEpoch, secret),
      attachEpoch: state.attachEpoch,
      dataAddress,
      accessEpoch: state.accessEpoch,
      sku: skuOnWire[state.sku],
      diskEncryptionSet: setOf(state.encryption),
      keyVersion: state.keyVersion,
      sizeBytes: state.sizeGib * bytesPerGib,
      diskVersion: version,
      principal: state.principal ?? '',
    };
  };
  /** In the trace and under the correlation id of the work it belongs to, as if it had come alone. */
  const openItem = async (
    { open: request, origin }: OpenDiskItem,
    call: Call,
    step: Step,
  ): Promise<OpenDiskResponse> => {
    const cause = onBehalfOf(call.cause, origin);
    const open = (): Promise<OpenDiskResponse> => openOne(request ?? OpenDiskRequest.create(), { cause }, step);
    const isOwn = cause.traceparent === call.cause.traceparent;
    return runAsCall({ ...call, cause }, () =>
      isOwn ? open() : context.with(contextFromTraceparent(cause.traceparent), open),
    );
  };

  return {
    async attachDisk(request: AttachDiskRequest, call: Call): Promise<WireDisk> {
      const { requestId, osDisk: isOsDisk } = request;
      if (requestId === '') {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'REQUEST_ID_MISSING',
          'request_id must name this wish, so that a repeat attaches nothing twice',
          {
            field: 'request_id',
          },
        );
      }
      const wish = { virtualMachine: machine(request.virtualMachine), isOsDisk, requestId };
      const name = named(request.name);
      await refuseWhileChanging(parts, name);
      return show(await change(name, attach(clock.now(), wish), call));
    },
    async openDisks({ items }: OpenDisksRequest, call: Call): Promise<OpenDisksResponse> {
      const cohort = openCohort(clock);
      const outcomes = await settleItems(items, { sizeMax: opensMax, log }, (item) =>
        cohort.member((step) => openItem(item, call, step)),
      );
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'opened', value: outcome.answer }
              : { $case: 'refused', value: { ...outcome.refused } },
        })),
      };
    },
    async closeDisks({ closings }: CloseDisksRequest, { cause }: Call): Promise<CloseDisksResponse> {
      if (closings.length === 0 || closings.length > closingsMax) throw batchSizeInvalid(closings.length);
      const outcomes = await closing(closings.map(closingWish), cause);
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'refused' in outcome
              ? { $case: 'refused', value: { ...itemRefusal(outcome.refused) } }
              : { $case: 'closed', value: {} },
        })),
      };
    },
    async detachDisk(request: DetachDiskRequest, call: Call): Promise<WireDisk> {
      const { name, virtualMachine, requestId } = request;
      const decide = detach(clock.now(), machine(virtualMachine), requestId === '' ? undefined : requestId);
      return show(await change(named(name), decide, call));
    },
    async beginAccess(request: BeginAccessRequest, call: Call): Promise<BeginAccessResponse> {
      const name = named(request.name);
      const { accessLevel, durationSeconds } = request;
      if (accessLevel !== 'READ' && accessLevel !== 'WRITE') {
        throw new Rejection('INVALID_ARGUMENT', 'ACCESS_LEVEL_MISSING', 'access_level must be READ or WRITE', {
          field: 'access_level',
        });
      }
      if (durationSeconds < 1 || durationSeconds > accessSecondsMax) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'DURATION_INVALID',
          `duration_seconds must be 1 to ${accessSecondsMax}, not ${durationSeconds}`,
          { field: 'duration_seconds', value: String(durationSeconds) },
        );
      }
      const level = accessLevel === 'READ' ? 'read' : 'write';
      const expiresAt = clock.now() + durationSeconds * 1_000;
      const told = { accessToken: '' };
      const { state } = await opening(
        name,
        accessible,
        (attachEpoch, grant) => {
          const { token, tokenHash } = newAccessToken(attachEpoch, random);
          told.accessToken = token;
          return beginAccess(clock.now(), {
            principal: principalOf(call),
            attachEpoch,
            level,
            tokenHash,
            expiresAt,
            accessEpoch: grant?.accessEpoch ?? 0,
          });
        },
        call.cause,
      );
      const { accessToken } = told;
      return { accessToken, expireTime: new Date(expiresAt), dataAddress, sizeBytes: state.sizeGib * bytesPerGib };
    },
    async endAccess({ name, accessToken }: EndAccessRequest, call: Call): Promise<WireDisk> {
      const tokenHash = accessToken === '' ? undefined : hashAccessToken(accessToken);
      return show(await change(named(name), endAccess(clock.now(), tokenHash), call));
    },
  };
};

/** @throws Rejection INVALID_ARGUMENT */
const closingWish = ({ name, virtualMachine, deallocated, attachEpoch }: CloseDiskRequest): ClosingWish => {
  names.disk.parse(name, 'name');
  names.virtualMachine.parse(virtualMachine, 'virtual_machine');
  return { name, virtualMachine, isDeallocated: deallocated, attachEpoch };
};

const batchSizeInvalid = (size: number): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'BATCH_SIZE_INVALID', `a batch has 1 to ${closingsMax} items, not ${size}`, {
    field: 'closings',
    size: String(size),
    limit: String(closingsMax),
  });

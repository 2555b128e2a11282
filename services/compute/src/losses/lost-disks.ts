import { type AccessReason, accessReasonOf, concerns, isOutage } from '@interlock/access';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Category, type Cause, noteEventSpan, Rejection } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import type { Disks, Patience } from '../disk-service/disks.ts';
import { type Guests, machineAt } from '../guests/guests.ts';
import { limiter } from '../limiter.ts';
import { keyStopWork, ownCause, unlessCaused } from '../vm/causes.ts';
import { isPinned } from '../vm/disk-state.ts';
import type { VmEvent } from '../vm/events.ts';
import { type SeenLost, stopForLostDisks } from '../vm/key-loss.ts';
import type { VmDisk } from '../vm/machine.ts';
import type { Machine, Vm } from '../vm/state.ts';
import type { KnownLoss, Losses } from './losses.ts';
import type { StopMeter } from './stop-metrics.ts';

/** The report of a disk host, if one started the search. */
export interface LostReport {
  readonly cause: Cause;
  /** 32 hexadecimal digits; empty if the report was not traced. */
  readonly traceId: string;
}

/** What the search needs. */
export interface LostDiskParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly guests: Pick<Guests, 'hasGuests' | 'look'>;
  readonly losses: Pick<Losses, 'of'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether this replica works on a machine, and so knows its guest. */
  readonly isOurs: (vm: string) => boolean;
  /** Called with the machines that are stopping. */
  readonly begin: (ids: readonly string[]) => void;
  readonly measure: StopMeter;
}

/** An open disk without data, and the event that took its key away, if it is known. */
type LookedUp = SeenLost & { readonly cause: Cause | undefined };

/** Machines decided at once. */
const machinesMax = 64;
/** Disks without data kept in memory at once. */
const batchSize = 1_000;

/**
 * Stops machines by the current state of their disks in the disk service. This is how an outage stops machines: it ends opens
 * of disks and has no number. The sweep uses it too, in case no fact arrived.
 */
export class LostDisks {
  readonly #parts: LostDiskParts;
  readonly #inTurn = limiter(machinesMax);

  constructor(parts: LostDiskParts) {
    this.#parts = parts;
  }

  /**
   * Stops each machine that has a disk of the set, or of one of its versions, open without data. It reads the disk again
   * after the machine, right before the decision, so the reply is never older than access restored.
   * @param filter `diskHost`: only what is on that host; absent: on any
   * @returns the number of machines that it stops
   * @throws TimedOut, Interrupted, Rejection of the disk service
   */
  async stopUnder(
    {
      diskHost,
      ...filter
    }: { readonly diskEncryptionSet: string; readonly keyVersion?: string; readonly diskHost?: string },
    report: LostReport | undefined,
    patience: Patience,
  ): Promise<number> {
    let stopped = 0;
    let batch = new Map<string, string[]>();
    const decide = async (): Promise<void> => {
      const machines = [...batch];
      batch = new Map();
      const outcomes = await Promise.all(
        machines.map(([vm, names]) => this.#inTurn(() => this.#stopOne(vm, names, report, patience))),
      );
      stopped += outcomes.filter(Boolean).length;
    };
    for await (const found of this.#parts.disks.ofSet({ ...filter, unavailableOnly: true }, patience)) {
      if (found.managedBy === '' || reasonOf(found) === undefined) continue;
      if (diskHost !== undefined && found.diskHost !== diskHost) continue;
      batch.set(found.managedBy, [...(batch.get(found.managedBy) ?? []), found.name]);
      if (batch.size >= batchSize) await decide();
    }
    await decide();
    return stopped;
  }

  /** @returns whether the machine is stopped now */
  async #stopOne(
    vm: string,
    names: readonly string[],
    report: LostReport | undefined,
    patience: Patience,
  ): Promise<boolean> {
    const { vms, guests, clock, random, begin, measure } = this.#parts;
    const { state } = await vms.load(vm);
    if (state.status !== 'active') return false;
    const open = state.disks.filter(({ disk, access }) => names.includes(disk) && access === 'open');
    if (open.every(isPinned) && !(await this.#hasLostPinned(vm, state))) return false;
    const looked = await this.#lookAll(open, report?.traceId ?? '', patience);
    const [first] = looked;
    if (first === undefined) return false;
    const hasCause = report !== undefined && report.cause.causes.length > 0;
    const by = (hasCause ? report.cause : (first.cause ?? report?.cause)) ?? ownCause(random);
    const stop = stopForLostDisks(looked, { work: keyStopWork(by, clock, random), isInstant: !guests.hasGuests });
    // A later machine of the name may have a disk of that name, opened as often.
    const isSame = (now: Vm): boolean => now.status === 'active' && now.createdAt === state.createdAt;
    const { events } = await vms.transact(vm, (now) => (isSame(now) ? stop(now) : []), by, unlessCaused(by, 'open'));
    measure(events);
    if (events.length > 0) begin([vm]);
    return events.length > 0;
  }

  /**
   * The losses of open disks. The first is the reason of the stop, and its cause that of the stop (G10). A refusal is before an outage:
   * the vault has decided since some of the disks were read. An ultra disk is after the others, which would stop the machine without it.
   */
  async #lookAll(open: readonly VmDisk[], traceId: string, patience: Patience): Promise<readonly LookedUp[]> {
    const pinned = new Set(open.filter(isPinned).map(({ disk }) => disk));
    const rankOf = ({ loss }: LookedUp): number => (pinned.has(loss.disk) ? 2 : 0) + (isOutage(loss.reason) ? 1 : 0);
    const looked: LookedUp[] = [];
    for (const disk of open) {
      const found = await this.#look(disk, traceId, patience);
      if (found !== undefined) looked.push(found);
    }
    return looked.toSorted((a, b) => rankOf(a) - rankOf(b));
  }

  /** The loss of an open disk, if the disk service still says that it has no data. */
  async #look(disk: VmDisk, traceId: string, patience: Patience): Promise<LookedUp | undefined> {
    const found = await this.#readAgain(disk.disk, patience);
    const reason = found && reasonOf(found);
    if (!found || !reason) return undefined;
    const keyVersion = found.keyVersion || disk.keyVersion;
    const known = await this.#lossOfRefusal(disk, keyVersion, reason);
    const loss = {
      reason,
      disk: disk.disk,
      set: disk.set,
      keyVersion,
      // The disk may have lost its data before, for another loss that is over.
      since: known?.since ?? found.unavailableSince?.getTime() ?? this.#parts.clock.now(),
      traceId: known?.traceId || traceId,
      accessEpoch: known?.accessEpoch ?? 0,
      ...(known?.principal === undefined ? {} : { principal: known.principal }),
      // Each host finds out by itself whether the vault responds.
      ...(isOutage(reason) && found.diskHost !== '' ? { host: found.diskHost } : {}),
    };
    return { loss, attachEpoch: disk.attachEpoch, cause: known?.cause ?? causeIn(found) };
  }

  /** The known loss behind the state of a disk: it has a number and a cause. A loss that does not concern the open is ignored. */
  async #lossOfRefusal(disk: VmDisk, keyVersion: string, reason: AccessReason): Promise<KnownLoss | undefined> {
    const known = await this.#parts.losses.of(disk.set, keyVersion);
    return known.find((one) => one.reason === reason && !one.isOver && concerns(one, disk));
  }

  /** The disk as it is now; undefined if it is deleted. */
  async #readAgain(name: string, patience: Patience): Promise<Disk | undefined> {
    try {
      return await this.#parts.disks.insist((client, options) => client.getDisk({ name }, options), patience);
    } catch (error) {
      if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /**
   * Whether a guest that runs with ultra disks has lost their data. If the guest ended together with its host, that is why
   * the machine is off, and not the key (CMK-102): the replica that works on the machine sees it. A start that tries another VM host
   * has closed its disks: it opens them again, and a refusal fails it.
   */
  async #hasLostPinned(vm: string, machine: Machine): Promise<boolean> {
    const { guests, isOurs } = this.#parts;
    if (machine.power.state !== 'running') return false;
    return !guests.hasGuests || (isOurs(vm) && (await guests.look(machineAt(vm, machine))) === 'running');
  }
}

/** The cause of a loss that no fact or report named: the disk service answers with the event that took the key away. */
const causeIn = ({ unavailableOrigin: origin }: Disk): Cause | undefined => {
  if (origin === undefined) return undefined;
  const { correlationId, cause, traceparent } = origin;
  noteEventSpan(traceparent, cause);
  return {
    correlationId,
    causes: [{ id: cause, kind: 'answer' }],
    caller: 'system:compute',
    ...(traceparent === '' ? {} : { traceparent }),
  };
};

/**
 * Why a disk has no data, as its host reports; `undefined` while it has. A throttled vault has decided nothing. An unreachable
 * one is reported after the grace of the host.
 */
export const reasonOf = ({ availability, unavailableReason }: Disk): AccessReason | undefined => {
  const reason = accessReasonOf(unavailableReason);
  return availability === 'UNAVAILABLE' && reason !== 'THROTTLED' ? reason : undefined;
};

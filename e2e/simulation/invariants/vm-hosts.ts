import type { RecordedEvent } from '@interlock/event-store';
import { readEvent } from '@interlock/lab/judge/events/recorded';
import { type Findings, seconds } from '@interlock/lab/judge/findings';
import type { DiskIo } from '@interlock/lab/judge/invariants/io';
import type { VmHostDisturbed } from '@interlock/lab/judge/model/disturbances';
import type { KnownMachine } from '@interlock/lab/judge/model/machines';
import type { GuestDisk } from '../../../services/compute/src/guests/vm-host.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { RunningGuest, SimulatedVmHost } from '../cloud/vm-hosts.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/** How long a stop waits for a VM host besides the guest (G2), in milliseconds. */
export const vmHostStopMs = 2_000;

/** The name of a VM host in disturbances. */
export const disturbedVmHost = ({ name }: Pick<SimulatedVmHost, 'name'>): VmHostDisturbed => `vmHosts/${name}`;

/** An operation, with the guest that did it. */
export interface GuestIo extends DiskIo {
  /** Full name of its machine; a text for a user. */
  readonly who: string;
  /** Of a guest at a VM host, as `RunningGuest` has it. */
  readonly run?: number;
}

interface Parts {
  readonly world: Pick<SimulatedCloud, 'guests' | 'vmHosts'>;
  readonly truth: Pick<SimulatedTruth, 'nowMs' | 'disks' | 'machines'>;
  readonly log: Findings;
}

/**
 * The guests that may read and write. A guest whose VM host is away is fenced: it runs, but every open of its disks has ended, and then
 * its machine is off (G2).
 */
export const guestsWithAccess = ({ world, truth }: Parts): ReadonlyMap<string, readonly GuestDisk[]> => {
  const isOpen = ({ disk, accessToken }: GuestDisk): boolean => {
    const open = truth.disks.disks.get(disk)?.open;
    return open?.by === 'machine' && open.attachEpoch === Number(accessToken.split('.')[0]);
  };
  const found = new Map<string, GuestDisk[]>();
  for (const { vm, disks } of world.guests.all()) {
    const open = disks.filter(isOpen);
    if (open.length > 0) found.set(vm, [...(found.get(vm) ?? []), ...open]);
  }
  return found;
};

/** A machine as its record places it. */
interface Placed {
  /** `vmHosts/{vm_host}`. */
  host: string;
  /** When it was recorded off last, and the newest run of its guest then. */
  off?: { readonly atMs: number; readonly run: number };
  /** The newest run whose write was acknowledged, and when. */
  wrote?: { readonly atMs: number; readonly run: number };
}

type ReadPlacedEvent =
  | { readonly type: 'VmPlaced'; readonly host: string }
  | { readonly type: 'VmStopping'; readonly end?: string }
  | { readonly type: 'VmStopped' };

/** The stop of a machine is recorded. */
const offTypes: ReadonlySet<string> = new Set(['VmStopped', 'VmDeallocated', 'VmDeleted', 'VmStartFailed']);

const hostStatus: Readonly<Record<string, string>> = {
  VmHostRegistered: 'open',
  VmHostOpened: 'open',
  VmHostCordoned: 'cordoned',
  VmHostDraining: 'draining',
  VmHostDrained: 'drained',
  VmHostLost: 'lost',
  VmHostDeleted: 'deleted',
};

/**
 * G2 with VM hosts: a machine that is recorded off does no I/O, whether its guest ended or not; of two guests of one machine, only the
 * later one writes; and once nothing is disturbed, the guests are those of the records.
 */
export class VmHostJudge {
  readonly #parts: Parts;
  readonly #placed = new Map<string, Placed>();
  /** States of hosts, by full name. */
  readonly #status = new Map<string, string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Applies an event of compute, after the truth has applied it. */
  onEvent(recorded: RecordedEvent): void {
    const { stream, type } = recorded;
    const status = hostStatus[type];
    if (status !== undefined) this.#status.set(`vmHosts/${stream.slice('vmhost-'.length)}`, status);
    if (this.#parts.world.vmHosts.length === 0 || !stream.startsWith('vm-')) return;
    const vm = stream.slice('vm-'.length);
    const placed = this.#placed.get(vm) ?? { host: '' };
    this.#placed.set(vm, placed);
    const event = readEvent<ReadPlacedEvent>(recorded);
    if (event.type === 'VmPlaced') placed.host = event.host;
    else if (event.type === 'VmStopping') this.#judgeEnd(vm, placed.host, event.end);
    else if (offTypes.has(type)) placed.off = { atMs: this.#parts.truth.nowMs(), run: this.#newestRun(vm) };
  }

  /** G3: no guest here ends by itself, so each end of one has its host as the reason. */
  #judgeEnd(vm: string, host: string, end: string | undefined): void {
    const status = this.#status.get(host) ?? 'open';
    const wasLost = this.#parts.world.vmHosts.some((one) => disturbedVmHost(one) === host && one.wasLost);
    const isTrue: Readonly<Record<string, boolean>> = {
      HOST_LOST: status === 'lost',
      HOST_DRAINED: status === 'draining',
      HOST_RESTARTED: wasLost,
    };
    if (end === undefined || isTrue[end] === true) return;
    this.#parts.log.violate('G3', `${vm} is not stopped by ${end} of ${host}, which is ${status}`, 'it is');
  }

  /** Checks what must hold at any moment: no host goes back to an outdated placement. */
  check(): void {
    for (const { name, outdated } of this.#parts.world.vmHosts)
      if (outdated[0] !== undefined)
        this.#parts.log.violate('G2', `${name} starts no outdated or stopped placement`, outdated[0]);
  }

  #newestRun(vm: string): number {
    return Math.max(0, ...this.#parts.world.guests.all().flatMap((guest) => (guest.vm === vm ? guest.run : [])));
  }

  /** Judges what a guest at a VM host did. */
  onIo({ kind, disk, who, run, invokedMs, outcome }: GuestIo): void {
    const { log, truth } = this.#parts;
    const placed = this.#placed.get(who);
    if (run === undefined || placed === undefined || outcome.kind !== 'ok') return;
    const { off, wrote } = placed;
    const power = truth.machines.machines.get(who)?.power;
    const isOff = power === undefined || power === 'stopped' || power === 'deallocated';
    if (off !== undefined && invokedMs > off.atMs && (isOff || run <= off.run)) {
      const actual = `a ${kind} on ${disk} invoked at ${seconds(invokedMs)} succeeded`;
      log.violate('G2', `the guest of ${who} does no I/O after it was recorded off at ${seconds(off.atMs)}`, actual);
    }
    if (kind !== 'write') return;
    if (wrote !== undefined && run < wrote.run && invokedMs > wrote.atMs) {
      const actual = `an earlier guest wrote to ${disk} at ${seconds(invokedMs)}`;
      log.violate('G2', `only the newest guest of ${who} writes: it did at ${seconds(wrote.atMs)}`, actual);
    }
    if (wrote === undefined || run >= wrote.run) placed.wrote = { run, atMs: truth.nowMs() };
  }

  /** Checks what must hold once nothing is disturbed: each machine that runs has one guest, where its record says, and there is no other. */
  checkSettled(log: Findings): void {
    const { world, truth } = this.#parts;
    if (world.vmHosts.length === 0) return;
    const guests = Map.groupBy(world.guests.all(), ({ vm }) => vm);
    for (const machine of truth.machines.machines.values()) {
      const at = (guests.get(machine.name) ?? []).map(({ host }) => `vmHosts/${host}`);
      const expected = this.#expectedAt(machine);
      if (expected === undefined || at.join() === expected.join()) continue;
      const text = (hosts: readonly string[]): string => hosts.join(' and ') || 'no VM host';
      log.violate('G2', `${machine.name} is ${machine.power} and has a guest at ${text(expected)}`, text(at));
      return;
    }
    this.#checkDisks(guests, log);
    const [orphan] = [...guests.keys()].filter((vm) => !truth.machines.machines.has(vm));
    if (orphan !== undefined) log.violate('G2', `${orphan} does not exist, so it has no guest`, 'it has one');
  }

  /** G5: a guest has the disks that its record has, also if its host did not respond when one was attached or detached. */
  #checkDisks(guests: ReadonlyMap<string, readonly RunningGuest[]>, log: Findings): void {
    for (const { name, power, disks } of this.#parts.truth.machines.machines.values()) {
      const [guest] = guests.get(name) ?? [];
      if (power !== 'running' || guest === undefined || [...disks.values()].some(({ phase }) => phase !== 'attached'))
        continue;
      const has = guest.disks.map(({ disk }) => disk).toSorted();
      const expected = [...disks.keys()].toSorted();
      if (has.join() !== expected.join())
        log.violate('G5', `the guest of ${name} has ${expected.join(', ')}`, has.join(', '));
    }
  }

  /** Where guests of a machine run; undefined while something is done with it. */
  #expectedAt({ name, power }: KnownMachine): readonly string[] | undefined {
    if (power === 'stopped' || power === 'deallocated') return [];
    if (power !== 'running') return undefined;
    const host = this.#placed.get(name)?.host ?? '';
    // Every host registered before the history began.
    const status = this.#status.get(host) ?? 'open';
    return mayHaveGuests.has(status) ? [host] : [`a host that is not ${status}`];
  }
}

/** A draining host keeps a machine whose next start would fail because of a lost key (CMK-102). */
const mayHaveGuests: ReadonlySet<string> = new Set(['open', 'cordoned', 'draining']);

import type { RecordedEvent } from '@interlock/event-store';
import type { KeyLoss, MachineSku, ReadVmEvent } from '../events/compute.ts';
import { readEvent } from '../events/recorded.ts';
import type { Loss } from '../model/losses.ts';
import type { KnownMachine } from '../model/machines.ts';
import type { Truth } from '../model/truth.ts';

/** What a loss must do to a machine (CMK-100, CMK-102, CMK-103, CMK-111). */
export type Expected = 'stops' | 'keeps running' | 'untouched';

/** What the loss of a key must do to a machine. @param skus classes of its disks under the key */
export const expectedOf = (skus: readonly MachineSku[]): Expected => {
  if (skus.length === 0) return 'untouched';
  return skus.every((sku) => sku === 'ULTRA') ? 'keeps running' : 'stops';
};

/** A stop that names a key. */
export interface ObservedStop {
  readonly loss: KeyLoss;
  readonly atMs: number;
  readonly event: RecordedEvent;
  /** When its guest had ended. */
  stoppedMs?: number;
  /** The loss that the vault reported after an outage, for which the machine had stopped. */
  explained?: string;
}

/** A start that was requested while the key was lost. */
export interface ObservedStart {
  readonly requestedMs: number;
  readonly event: RecordedEvent;
  /** Undefined while it is in progress. */
  outcome?: 'running' | 'failed';
  /** Reason of the failure; empty if it did not fail. */
  reason: string;
}

/** A machine during a loss. */
export interface ObservedMachine {
  readonly name: string;
  /** Classes of its disks under the lost key at the start of the loss. */
  readonly skus: readonly MachineSku[];
  /** Whether it was running or starting at the start of the loss. */
  readonly wasOn: boolean;
  /** Full names of those disks. */
  readonly disks: readonly string[];
  /** When the last of them was under another key version: from then on the loss does not concern the machine. */
  leftMs?: number;
  /** Whether a disk under the key was being attached or detached at the start of the loss. */
  readonly isChanging: boolean;
  readonly stops: ObservedStop[];
  readonly starts: ObservedStart[];
}

/** A disk under a lost key version. */
export interface ObservedDisk {
  readonly name: string;
  /** Unique name of its disk host at the start of the loss. */
  readonly host: string;
  /** Whether it was an ultra disk of a running machine. */
  readonly isPinned: boolean;
  /** When it was under another key version: a rotation may rewrap it during the loss. */
  leftMs?: number;
}

/** A time in which a set could not use a key version, and what happened to the machines. */
export interface ObservedLoss {
  readonly set: string;
  readonly keyVersion: string;
  readonly loss: Loss;
  /** Disks under it at its start. */
  readonly disks: readonly ObservedDisk[];
  /** Every machine that existed at its start, by name. */
  readonly machines: ReadonlyMap<string, ObservedMachine>;
}

/** Records every loss of a replay, and what machines do while it lasts. */
export class LossRecorder {
  readonly #truth: Truth;
  readonly #found: ObservedLoss[] = [];
  readonly #seen = new Set<Loss>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  all(): readonly ObservedLoss[] {
    return this.#found;
  }

  /** Applies each event after the truth has applied it. */
  onEvent(event: RecordedEvent): void {
    if (event.stream.startsWith('vm-')) this.#onMachineEvent(event);
    if (event.stream.startsWith('disk-')) this.#onDiskEvent(event);
    this.#truth.losses.refreshDates();
    for (const { set, keyVersion } of this.#truth.losses.pairs()) {
      const last = this.#truth.losses.losses(set, keyVersion, 'running').at(-1);
      if (!last || this.#seen.has(last)) continue;
      this.#seen.add(last);
      this.#found.push(this.#observe(set, keyVersion, last));
    }
  }

  #observe(set: string, keyVersion: string, loss: Loss): ObservedLoss {
    const { disks, machines } = this.#truth;
    const under = [...disks.disks.values()].filter(
      (disk) => disk.set === set && disks.keyVersionOf(disk) === keyVersion && !disk.isSnapshot,
    );
    const names = new Set(under.map(({ name }) => name));
    return {
      set,
      keyVersion,
      loss,
      disks: under.map(({ name, host, sku, open }) => ({
        ...{ name, host, isPinned: sku === 'ultra' && open?.by === 'machine' },
      })),
      machines: new Map([...machines.machines.values()].map((machine) => [machine.name, observed(machine, names)])),
    };
  }

  #onMachineEvent(event: RecordedEvent): void {
    const name = event.stream.slice('vm-'.length);
    for (const { loss, machines } of this.#found) {
      const machine = machines.get(name);
      // A stop that started during the loss may end after it.
      if (machine === undefined || (loss.untilMs !== undefined && event.type !== 'VmStopped')) continue;
      if (machine.leftMs === undefined || !event.type.startsWith('VmStart')) note(machine, event);
    }
  }

  #onDiskEvent({ stream, time }: RecordedEvent): void {
    const { disks: known } = this.#truth;
    const disk = known.disks.get(stream.slice('disk-'.length));
    for (const { set, keyVersion, loss, disks, machines } of this.#found) {
      const observedDisk = disks.find(({ name }) => name === disk?.name);
      if (loss.untilMs !== undefined || disk === undefined || observedDisk === undefined) continue;
      if (disk.set === set && known.keyVersionOf(disk) === keyVersion) continue;
      observedDisk.leftMs ??= time;
      const left = new Set(disks.flatMap(({ name, leftMs }) => (leftMs === undefined ? [] : [name])));
      for (const machine of machines.values())
        if (machine.disks.includes(disk.name) && machine.disks.every((name) => left.has(name))) machine.leftMs ??= time;
    }
  }
}

const observed = ({ name, power, disks }: KnownMachine, under: ReadonlySet<string>): ObservedMachine => ({
  name,
  skus: [...disks.values()].flatMap(({ disk, sku, phase }) => (under.has(disk) && phase === 'attached' ? [sku] : [])),
  disks: [...disks.values()].flatMap(({ disk, phase }) => (under.has(disk) && phase === 'attached' ? [disk] : [])),
  isChanging: [...disks.values()].some(({ disk, phase }) => under.has(disk) && phase !== 'attached'),
  wasOn: power === 'running' || power === 'starting',
  stops: [],
  starts: [],
});

const note = ({ starts, stops }: ObservedMachine, recorded: RecordedEvent): void => {
  const { time: atMs } = recorded;
  const event = readEvent<ReadVmEvent>(recorded);
  const start = starts.at(-1);
  switch (event.type) {
    case 'VmStopping':
      if (event.reason) stops.push({ loss: event.reason, atMs, event: recorded });
      return;
    case 'VmStopped': {
      const stop = stops.at(-1);
      if (stop) stop.stoppedMs ??= atMs;
      return;
    }
    case 'OutageExplained': {
      const stop = stops.at(-1);
      if (stop) stop.explained = event.loss.reason;
      return;
    }
    case 'VmStarting':
      starts.push({ requestedMs: atMs, event: recorded, reason: '' });
      return;
    case 'VmStarted':
      if (start) start.outcome = 'running';
      return;
    case 'VmStartFailed':
      if (start) Object.assign(start, { outcome: 'failed', reason: event.failure.code });
      return;
  }
};

import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { IoRecord } from '@interlock/lab';
import type { DiskIo } from '@interlock/lab/judge/invariants/io';
import { PATIENT_RETRY, type RetryPolicy } from '@interlock/rpc';
import type { GuestDisk } from '../../../services/compute/src/guests/vm-host.ts';
import type { Part } from '../../simulation/cloud/parts.ts';
import type { Committed, SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import type { RunningGuest } from '../../simulation/cloud/vm-hosts.ts';
import { type DataAccess, flush, type IoStage, readSomething, writeSomething } from '../../simulation/workload/io.ts';
import type { Stage } from '../../simulation/workload/stage.ts';
import { dataFrom } from './guest-data.ts';

/** What guests need. */
export interface GuestParts extends Omit<IoStage, 'clients'> {
  readonly world: SimulatedCloud;
  readonly disturbances: Pick<Stage['disturbances'], 'lastMs'>;
  /** Whether a fault separates two parts. */
  readonly isCut: (a: Part, b: Part) => boolean;
  /** Mean time between the end of a disk's operation and its next one, in milliseconds. */
  readonly everyMs: number;
  /** Longest operation, in milliseconds. */
  readonly timeoutMs: number;
}

/** Shares of the operations of a guest; the rest are reads. */
const writes = 0.45;
const flushes = 0.1;
/** How long after the last disturbance a write without a response can still take effect, in milliseconds. */
const lateWriteMs = 2_000;
/**
 * As a guest process: what the disk host answers is never repeated, and a read or flush waits for a host that does not respond. A write
 * fails then, unlike that of a process: a try of it that arrives late could overwrite a later write.
 */
const retry: RetryPolicy = { ...PATIENT_RETRY, attemptsMax: 1 };
/** Events of compute that change the disks of a guest. */
const changes: ReadonlySet<string> = new Set(['VmStarted', 'DiskAttachedToVm']);

type Data = ReturnType<IoStage['clients']['dataAt']>;

/** The guests of a simulated cloud: each of their disks is read, written and flushed while its machine runs. */
export class Guests {
  #records: IoRecord[] = [];
  readonly #parts: GuestParts;
  readonly #clients: IoStage['clients'];
  /** Wall clock when the monotonic clock was 0. */
  readonly #epochMs: number;
  /** Disks with a loop, by access token: a new open has a new token. */
  readonly #busy = new Map<string, Promise<void>>();
  #operations = 0;
  #isOver = false;

  constructor(parts: GuestParts) {
    this.#parts = parts;
    const { clock, people, as, hasControl } = parts.world;
    const { client, connectTo } = as(people.administrator);
    const open = (address: string): Data =>
      hasControl
        ? connectTo('disk', address).client(DiskDataServiceDefinition, { retry })
        : client('disk', DiskDataServiceDefinition, { retry });
    const data = new Map<string, Data>();
    this.#clients = {
      dataAt: (address) => {
        const found = data.get(address) ?? open(address);
        data.set(address, found);
        return found;
      },
    };
    this.#epochMs = clock.now() - Math.floor(clock.monotonicMs());
  }

  /** Every operation, by completion: the same list while it grows, and another one if an operation changes. */
  get records(): readonly IoRecord[] {
    return this.#records;
  }

  /** Starts work on disks that a machine has since this commit. */
  onCommit({ service, events }: Committed): void {
    if (service !== 'compute') return;
    for (const { stream, type } of events) if (changes.has(type)) this.#begin(stream.slice('vm-'.length));
  }

  /** Starts work on the disks of machines that run now. */
  begin(): void {
    for (const vm of new Set(this.#parts.world.guests.all().map((guest) => guest.vm))) this.#begin(vm);
  }

  /** Ends all work. Resolves when no operation is in progress. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#busy.values());
  }

  #begin(vm: string): void {
    if (this.#isOver) return;
    for (const guest of this.#guestsOf(vm))
      for (const disk of guest.disks)
        if (!this.#busy.has(disk.accessToken)) this.#busy.set(disk.accessToken, this.#work(guest, disk));
  }

  /** The guests of a machine: a VM host that is away may have an earlier one. */
  #guestsOf(vm: string): readonly RunningGuest[] {
    return this.#parts.world.guests.all().filter((guest) => guest.vm === vm);
  }

  #runs(vm: string, { accessToken }: GuestDisk): boolean {
    if (this.#isOver) return false;
    return this.#guestsOf(vm).some(({ disks }) => disks.some((one) => one.accessToken === accessToken));
  }

  async #work({ vm, host, run }: RunningGuest, guestDisk: GuestDisk): Promise<void> {
    const { world, everyMs, timeoutMs } = this.#parts;
    const random = world.random.fork(`guest of ${guestDisk.disk} ${guestDisk.accessToken}`);
    const access: DataAccess = {
      disk: guestDisk.disk,
      address: guestDisk.dataAddress,
      token: guestDisk.accessToken,
      by: 'machine',
      who: vm,
      ...(host === undefined ? {} : { run }),
      timeoutMs,
    };
    let isUnsure = false;
    const onIo = (io: DiskIo): void => {
      isUnsure ||= io.outcome.kind === 'unknown';
      this.#record(vm, io);
    };
    const { dataAt } = this.#clients;
    const clients = host === undefined ? this.#clients : { dataAt: dataFrom(host, dataAt, this.#parts) };
    const stage: IoStage = { ...this.#parts, clients, random, judge: this.#judgeWith(onIo) };
    while (this.#runs(vm, guestDisk)) {
      if (isUnsure && this.#isCalm()) {
        stage.truth.contentOf(access.disk).endSession();
        isUnsure = false;
      }
      const kind = random.fraction();
      if (kind < writes) await writeSomething(stage, access);
      else if (kind < writes + flushes) await flush(stage, access);
      else await readSomething(stage, access);
      await world.clock.sleep(everyMs * (0.5 + random.fraction()));
    }
  }

  #judgeWith(onIo: (io: DiskIo) => void): IoStage['judge'] {
    const { judge } = this.#parts;
    return {
      onIo: (io) => {
        judge.onIo(io);
        onIo(io);
      },
      onWrongContent: (disk, wrong) => {
        judge.onWrongContent(disk, wrong);
        this.#spoil(disk);
      },
      onFailure: (action, error) => judge.onFailure(action, error),
    };
  }

  /** Marks that the last operation on a disk returned other bytes than were written. */
  #spoil(disk: string): void {
    const n = this.#records.findLastIndex((record) => record.disk === disk);
    const record = this.#records[n];
    if (record !== undefined)
      this.#records = this.#records.with(n, { ...record, ok: false, reason: 'CONTENT_MISMATCH' });
  }

  /** Whether no earlier write can still take effect. */
  #isCalm(): boolean {
    const { world, disturbances } = this.#parts;
    const lastMs = disturbances.lastMs(['disk', 'volumes', 'calls', 'outside']) ?? 0;
    return world.clock.monotonicMs() - lastMs > lateWriteMs;
  }

  #record(machine: string, { kind, disk, invokedMs, outcome }: DiskIo): void {
    const completedMonotonicMs = this.#parts.world.clock.monotonicMs();
    this.#operations += 1;
    this.#records.push({
      machine,
      disk,
      op: kind,
      seq: this.#operations,
      invokedMs: this.#epochMs + Math.floor(invokedMs),
      completedMs: this.#epochMs + Math.floor(completedMonotonicMs),
      invokedMonotonicMs: invokedMs,
      completedMonotonicMs,
      ok: outcome.kind === 'ok',
      reason: outcome.kind === 'ok' ? '' : outcome.kind === 'refused' ? outcome.reason : outcome.code,
    });
  }
}

import { randomUUID } from 'node:crypto';
import type { EventStore, Sql } from '@interlock/event-store';
import type { Scope } from '@interlock/runtime';
import { virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import { until } from '../../cloud/until.ts';
import type { BenchCloud } from '../bench.ts';
import { inFlight } from '../measure.ts';
import { FactCounter } from './fact-counter.ts';
import { type FleetMachine, type FleetPlace, planFleet } from './plan.ts';
import { backendsOf, cpuTimes, type Worked, worked } from './processes.ts';
import { type machineSeeder, startStopped } from './seed-machines.ts';

/** compute's table of machines' state rows, as the event store names it. */
export const vmTable = `${virtualMachines.name}_v${virtualMachines.stateVersion}`;

/** Machines that one call of the seeders stores: bounds the bench's memory. */
const chunkSize = 5_000;
/** Limits for everything the services do with a fleet of any size. */
const limitMs = 600_000;
const rotationLimitMs = 3_600_000;
/** Machines of a `StartVirtualMachines` call, and calls in flight: enough to keep both cores busy. */
const startCallMax = 256;
const startCallsInFlight = 2;

/** The parts of a fleet. */
interface FleetParts extends BenchCloud {
  readonly place: FleetPlace;
  /** The key version that the bench disables. */
  readonly keyVersion: string;
  readonly stopping: number;
  readonly vaultStore: EventStore;
  readonly computeSql: Sql;
  readonly seedMachines: ReturnType<typeof machineSeeder>;
}

/** A cloud of separate processes with a fleet of machines without guests. */
export class Fleet {
  readonly cloud: BenchCloud['cloud'];
  readonly clients: BenchCloud['clients'];
  readonly data: BenchCloud['data'];
  readonly place: FleetPlace;
  /** Machines that must stop when the key is disabled. */
  readonly stopping: number;
  /** compute's database. */
  readonly computeSql: Sql;
  readonly #parts: FleetParts;
  #keyVersion: string;
  #attachEpoch = 1;

  constructor(parts: FleetParts) {
    ({ cloud: this.cloud, clients: this.clients, data: this.data, place: this.place } = parts);
    ({ stopping: this.stopping, computeSql: this.computeSql, keyVersion: this.#keyVersion } = parts);
    this.#parts = parts;
  }

  /** The planned machines. */
  machines(isWanted = (_: FleetMachine) => true): readonly FleetMachine[] {
    return [...planFleet(this.stopping, this.place)].filter(isWanted);
  }

  /** Calls `work` with the planned machines, some thousand at a time. */
  async inChunks(machines: readonly FleetMachine[], work: (chunk: readonly FleetMachine[]) => Promise<unknown>) {
    for (let at = 0; at < machines.length; at += chunkSize) await work(machines.slice(at, at + chunkSize));
  }

  /** Counts facts of compute of that type about this fleet from now on. */
  countFacts(type: string, scope: Scope): Promise<FactCounter> {
    const stream = `${this.#parts.name}_interlock_compute`;
    return new FactCounter(type, this.place.group).consume(this.cloud.nats, stream, scope);
  }

  /** Measures work on `count` machines or disks. Processes of compute's database are listed as `postgres`. */
  measured(count: number, work: () => Promise<unknown>): Promise<Worked> {
    const backends = async () => (await backendsOf(this.computeSql)).map((pid) => [pid, 'postgres'] as const);
    return worked(count, async () => cpuTimes(this.cloud, new Map(await backends())), work);
  }

  /** Disables the key; resolves when the stop of the last machine is published and listed. */
  async revoke(stopped: FactCounter): Promise<void> {
    stopped.reset();
    await this.clients.keyVault.disableKeyVersion({ name: this.#keyVersion });
    await stopped.reached(this.stopping, limitMs);
    // A row changes with its event, so a published stop is listed: checked here for one machine, by `assertListed` for all.
    const request = { parent: this.place.group, powerState: 'STOPPED' as const, pageSize: 1 };
    const { virtualMachines: found } = await this.clients.compute.listVirtualMachines(request);
    if (found.length === 0) throw new Error('the stop of a machine was published but is not listed');
  }

  /** Enables the key; resolves when every set has access. */
  async enableKey(): Promise<void> {
    await this.clients.keyVault.enableKeyVersion({ name: this.#keyVersion });
    await until('the sets have access to their key', async () => {
      const { lost } = this.place;
      const sets = await Promise.all(lost.map(({ name }) => this.clients.sets.getDiskEncryptionSet({ name })));
      return sets.every(({ keyAccess }) => keyAccess.every(({ state }) => state === 'AVAILABLE'));
    });
  }

  /** Enables the key; resolves when compute has stored for every machine that it may start. */
  async restoreAccess(): Promise<void> {
    await this.enableKey();
    await this.#untilNoRow('every machine may start', '%"blocked":[{%');
  }

  /**
   * Enables the key and stores every machine as running, without unwrapping.
   * @param running how many of the machines, from the first, run already
   */
  async restore(running = 0): Promise<void> {
    await this.rest();
    await this.restoreAccess();
    await this.rest();
    this.#attachEpoch += 1;
    const epoch = await this.#parts.vaultStore.head();
    await this.inChunks(this.machines(({ stops }) => stops).slice(running), (chunk) =>
      this.#parts.seedMachines(chunk, startStopped, epoch, this.#attachEpoch),
    );
    await this.rest();
    await this.computeSql`vacuum`;
  }

  /** Resolves when every service has published everything it stored. */
  async rest(): Promise<void> {
    for (const service of ['key-vault', 'disk-encryption-set', 'disk', 'compute'] as const) {
      const relay = () => this.clients.messaging(service).getRelay({});
      await until(`${service} has published everything`, async () => (await relay()).gap === 0, limitMs);
    }
  }

  /** Resolves when the disks of all stopped machines are closed. */
  disksClosed(): Promise<unknown> {
    return this.#untilNoRow('the disks of stopped machines are closed', '%"access":"closing"%');
  }

  /** Checks that exactly the machines that had to stop are listed as stopped by the key, and all others as running. */
  async assertListed(): Promise<void> {
    const counts = { stopped: 0, running: 0 };
    let pageToken = '';
    do {
      const page = { parent: this.place.group, pageSize: 1_000, pageToken };
      const { virtualMachines: found, nextPageToken } = await this.clients.compute.listVirtualMachines(page);
      for (const { powerState, stopReason } of found) {
        if (powerState === 'STOPPED' && stopReason?.reason === 'KEY_DISABLED') counts.stopped += 1;
        if (powerState === 'RUNNING') counts.running += 1;
      }
      pageToken = nextPageToken;
    } while (pageToken !== '');
    const running = this.machines().length - this.stopping;
    if (counts.stopped !== this.stopping || counts.running !== running)
      throw new Error(`${this.stopping} machines must be stopped and ${running} running: ${JSON.stringify(counts)}`);
  }

  /** Starts this many machines through the API; resolves when the last is published as running. @returns their disks */
  async startMachines(count: number, started: FactCounter): Promise<number> {
    const chosen = this.machines(({ stops }) => stops).slice(0, count);
    started.reset();
    await inFlight(startCallsInFlight, Math.ceil(count / startCallMax), async (call) => {
      const names = chosen.slice(call * startCallMax, (call + 1) * startCallMax).map(({ name }) => name);
      const { outcomes } = await this.clients.compute.startVirtualMachines({ names });
      for (const { outcome } of outcomes)
        if (outcome?.$case !== 'starting') throw new Error(`a start was refused: ${outcome?.value.message}`);
    });
    await started.reached(count, limitMs);
    return chosen.reduce((sum, { disks }) => sum + disks.length, 0);
  }

  /** Rotates the key and assigns the new version to every set under it; resolves when no set needs the old version. */
  async rotate(): Promise<void> {
    const { keyVault, sets } = this.clients;
    const [key = ''] = this.#keyVersion.split('/versions/');
    const { name: newVersion, keyUrl } = await keyVault.rotateKey({ name: key, requestId: randomUUID() });
    // A watch instead of polls: polling takes a third of the CPU time that the rotation needs.
    const moved = async (name: string): Promise<void> => {
      const changes = sets.watchDiskEncryptionSet({ name }, { deadlineMs: rotationLimitMs });
      for await (const { activeKey, previousKeys } of changes)
        if (activeKey?.keyUrl === keyUrl && previousKeys.length === 0) return;
      throw new Error(`the watch of ${name} ended while it needed the old version`);
    };
    await Promise.all(
      this.place.lost.map(async ({ name }) => {
        await sets.assignKey({ name, keyUrl });
        await moved(name);
      }),
    );
    this.#keyVersion = newVersion;
  }

  async #untilNoRow(what: string, pattern: string): Promise<void> {
    await until(
      what,
      async () => {
        const [found] = await this.computeSql<{ count: number }[]>`
          select count(*)::int as count from rows where table_name = ${vmTable} and row::text like ${pattern}`;
        return found?.count === 0;
      },
      limitMs,
    );
  }
}

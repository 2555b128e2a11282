import type { RecordedEvent } from '@interlock/event-store';
import type {
  ContentRecord,
  Effect,
  Experiment,
  GuaranteeRecord,
  Lab,
  Observed,
  RefusalRecord,
  SteadyCheck,
  Step,
  Undo,
} from '@interlock/lab';
import { isFaultAction, isHostAction, keyOfTarget } from '@interlock/lab';
import type { History } from '@interlock/lab/judge/journal/history';
import { guaranteesOf } from '@interlock/lab/judge/recording/guarantees';
import { type DiskFacts, MachineLog } from '@interlock/lab/judge/recording/machine-log';
import { rawRecord } from '@interlock/lab/judge/recording/raw-record';
import type { Disturbance, RefusedOperation } from '@interlock/lab/judge/recording/replay';
import { serviceNames } from '@interlock/local/services.ts';
import type { Workload } from '@interlock/rpc';
import { type Clock, systemClock, systemRandom } from '@interlock/runtime';
import { type KeyState, readKeyState } from '../../cloud/key-state.ts';
import type { KeyOwner } from '../../cloud/service-owner.ts';
import type { CloudAccess } from './cloud-access.ts';
import { compareDisks } from './content.ts';
import { type GuestJournals, ioRecordOf } from './guest-journals.ts';
import { comparedByGuests } from './guest-reads.ts';
import { carryOutHostAction, type HostUndo, planHostAction, undoHostAction } from './host-actions.ts';
import { targetOfHost, whereabouts, withHosts } from './hosts.ts';
import { insist } from './insist.ts';
import {
  carryOutKeyAction,
  isKeyAction,
  type KeyEffect,
  type KeyUndo,
  orRefused,
  planKeyAction,
  undoKeyAction,
} from './key-actions.ts';
import {
  carryOutMachineAction,
  isBusy,
  isMachineAction,
  type MachineUndo,
  planMachineAction,
  startStopped,
  undoMachineAction,
} from './machine-actions.ts';
import type { MadeEstate } from './planned-estate.ts';
import { untilPowerOfEach, untilSettled } from './settled-machines.ts';
import { atMachineTimes } from './shifted-times.ts';
import { refusedIdentities, refusedUses } from './sightings.ts';
import { brokenCheck } from './steady-checks.ts';

/** What an action on a key stores in addition to its undo, to find the machines that it stopped. */
interface KeyData extends KeyUndo {
  readonly machines: readonly string[];
}

/** How long to wait for the commit of an action, while its service is disturbed, and the pause between two checks. In milliseconds. */
const effectWithinMs = 2_000;
const lookEveryMs = 50;
const backWithinMs = 60_000;
/** Longest call of a service while a fault is on it, in milliseconds. */
const disturbedDeadlineMs = 500;

/** Whether the events of a service are read through this part: with disk hosts, those of disk through its control process. */
const isControlOf = (service: Workload, part: Disturbance['parts'][number]): boolean =>
  service === 'disk' && part === 'disk-control';

/** An experiment's estate on a cloud of real processes. */
export class CloudLab implements Lab {
  readonly clock: Clock = systemClock;
  readonly versions: Readonly<Record<string, string>>;
  readonly #access: CloudAccess;
  readonly #experiment: Experiment;
  readonly #estate: MadeEstate;
  readonly #close: () => Promise<void>;
  readonly #journals: GuestJournals;
  readonly #keys = new Map<string, KeyState>();
  /** What each disk was when the timeline started, by its full name. */
  readonly #disks = new Map<string, DiskFacts>();
  readonly #sinceMs = systemClock.now();
  readonly #starting: Promise<void>[] = [];
  /** Operations of users that services refused because of a key. */
  readonly #refusals: RefusedOperation[] = [];
  /** When machines were stopped to compare their disks: later changes of their power are not of the experiment. */
  #comparedMs = Number.POSITIVE_INFINITY;
  #isCompared = false;
  /** When access was last restored, or a fault ended: later reads of guests show what is left. */
  #givenBackMs = systemClock.now();

  /** @param close removes the estate and closes what was opened for it */
  constructor(access: CloudAccess, experiment: Experiment, estate: MadeEstate, close: () => Promise<void>) {
    this.#access = access;
    this.#experiment = experiment;
    this.#estate = estate;
    this.#close = close;
    this.versions = access.versions;
    this.#journals = access.journals(estate.machines.map(({ name }) => name));
  }

  /** Reads the state of every key, before any fault. */
  async prepare(): Promise<void> {
    for (const [name, place] of this.#estate.keys)
      this.#keys.set(name, await readKeyState(this.#access.clients, place));
    const { disks } = this.#access.clients;
    for (const { name, key } of this.#estate.machines.flatMap((machine) => machine.disks)) {
      const { diskHost } = await disks.getDisk({ name });
      const keyVersion = this.#keys.get(key)?.keyVersion ?? '';
      this.#disks.set(name, { keyVersion, diskHost: targetOfHost(diskHost) });
    }
  }

  async plan(step: Step): Promise<Undo> {
    const { name, action } = step;
    return { step: name, action, data: await this.#planned(step) };
  }

  async #planned(step: Step): Promise<Readonly<Record<string, unknown>>> {
    const { action, targets, options } = step;
    const { clients, faults } = this.#access;
    const [target = ''] = targets;
    if (isFaultAction(action) || isHostAction(action)) {
      const { machines } = this.#estate;
      const named = {
        ...step,
        targets: withHosts(step, machines, await whereabouts(clients, step, machines, this.#disks)),
      };
      return isFaultAction(action) ? faults.plan(named) : { ...planHostAction(named, machines) };
    }
    if (isMachineAction(action)) {
      const machines = this.#estate.machines.filter(({ group }) => group === target);
      if (machines.length === 0) throw new Error(`${step.name}: no machine is in the group ${target}`);
      const { keys } = this.#estate;
      return { ...(await planMachineAction(clients, step, { machines, keys, uuid: systemRandom.uuid })) };
    }
    const keyName = this.#keyNameOf(target);
    const key = this.#keyNamed(keyName);
    if (action === 'throttle') return { ...(await faults.plan(step)), keyVersion: key.keyVersion };
    const to = options.to === undefined ? {} : { to: this.#keyNamed(String(options.to)) };
    const machines = this.#estate.machines.flatMap(({ name, disks }) =>
      disks.some((disk) => disk.key === keyName) ? [name] : [],
    );
    return { ...planKeyAction(step, { key, uuid: systemRandom.uuid, ...to }), machines: await this.#notOff(machines) };
  }

  /** Machines that are off before the timeline stay off when access is restored with `start: true`. */
  async #notOff(names: readonly string[]): Promise<readonly string[]> {
    const { compute } = this.#access.clients;
    const power = await Promise.all(names.map(async (name) => (await compute.getVirtualMachine({ name })).powerState));
    return names.filter((_, n) => power[n] !== 'STOPPED' && power[n] !== 'DEALLOCATED');
  }

  /** The key of a group; of a machine that existed before; or the key of that name. */
  #keyNameOf(target: string): string {
    const { estate } = this.#experiment;
    if (estate.kind === 'planned') return keyOfTarget(estate, target);
    const machine = this.#estate.machines.find(({ group }) => group === target);
    return machine?.disks.find(({ key }) => key !== 'platform')?.key ?? target;
  }

  #keyNamed(name: string): KeyState {
    const key = this.#keys.get(name);
    if (key === undefined) throw new Error(`no key is named ${name}; there are ${[...this.#keys.keys()].join(', ')}`);
    return key;
  }

  async carryOut(step: Step, { action, data }: Undo): Promise<Effect> {
    const { clients, faults } = this.#access;
    if (isKeyAction(action)) {
      const invokedMs = this.clock.now();
      const undo = data as unknown as KeyData;
      const work = () => carryOutKeyAction(this.#owner, action, undo);
      const effect = await orRefused({ action, key: undo.key }, this.clock.now, work);
      return this.#effectOf(step.name, effect, invokedMs);
    }
    if (isHostAction(action)) {
      const { host } = data as unknown as HostUndo;
      await insist(this.clock, () => carryOutHostAction(clients, action, data as unknown as HostUndo));
      return { effectMs: this.clock.now(), hosts: step.targets.includes(host) ? [] : [host] };
    }
    if (!isMachineAction(action)) return faults.carryOut(step, data);
    const work = () => carryOutMachineAction(clients, action, data as unknown as MachineUndo, this.clock.now);
    return this.#refusedBy(step.name, await insist(this.clock, work, isBusy));
  }

  async undo({ step, action, data }: Undo, start: boolean): Promise<Effect> {
    const { clients, faults } = this.#access;
    if (!isMachineAction(action)) this.#givenBackMs = this.clock.now();
    if (isKeyAction(action)) {
      const undo = data as unknown as KeyData;
      const invokedMs = this.clock.now();
      const effect = await insist(this.clock, () => undoKeyAction(this.#owner, action, undo));
      if (start) {
        const starting = insist(this.clock, () => startStopped(clients, this.clock, undo.key.place.set, undo.machines));
        // It is awaited later. A failure before that must not end the runner.
        starting.catch(() => undefined);
        this.#starting.push(starting);
      }
      return this.#effectOf(step, effect, invokedMs);
    }
    if (isHostAction(action)) {
      await insist(this.clock, () => undoHostAction(clients, action, data as unknown as HostUndo));
      return {};
    }
    if (!isMachineAction(action)) return faults.undo(action, data);
    await insist(this.clock, () => undoMachineAction(clients, action, data as unknown as MachineUndo), isBusy);
    return {};
  }

  /** Waits until the machines that an undo starts are starting. @throws Error of the first that does not */
  async started(): Promise<void> {
    await Promise.all(this.#starting);
  }

  get #owner(): KeyOwner {
    const { clients } = this.#access;
    return {
      clients,
      now: () => this.clock.now(),
      ownerToken: async () => clients.tokens.token('interlock:key-vault'),
    };
  }

  #refusedBy(step: string, refused: readonly RefusalRecord[]): Effect {
    this.#refusals.push(...refused.map((one) => ({ ...one, step })));
    return refused.length === 0 ? {} : { refused };
  }

  /** When the commit of an action was stored by its owner. */
  async #effectOf(
    step: string,
    { event, effectMs, keyVersions, refused }: KeyEffect,
    invokedMs: number,
  ): Promise<Effect> {
    if (refused !== undefined) return this.#refusedBy(step, [refused]);
    if (effectMs !== undefined || event === undefined)
      return { keyVersions, ...(effectMs === undefined ? {} : { effectMs }) };
    const lastMs = this.clock.monotonicMs() + backWithinMs;
    for (let endMs = this.clock.monotonicMs() + effectWithinMs; ; ) {
      const feed = await this.#access.feeds.read(event.service).catch(() => undefined);
      // A service that is down or paused shows its commit when it responds again.
      if (feed === undefined) endMs = Math.min(lastMs, this.clock.monotonicMs() + effectWithinMs);
      const events = atMachineTimes(event.service, feed ?? [], this.#access.faults.shifts());
      const found = events.find(
        ({ stream, type, time }) => stream === event.stream && event.types.includes(type) && time >= invokedMs,
      );
      if (found !== undefined) {
        const traceId = traceOf(found);
        return { keyVersions, effectMs: found.time, ...(traceId === undefined ? {} : { traceId }) };
      }
      // The state was so already, so nothing was committed.
      if (this.clock.monotonicMs() > endMs) return { keyVersions };
      await this.clock.sleep(lookEveryMs);
    }
  }

  /**
   * While a fault affects a service that does not respond, its events that were read earlier. After the fault, a connection may need
   * some seconds until it is made again.
   */
  async #events(service: Workload): Promise<readonly RecordedEvent[]> {
    const { feeds, faults } = this.#access;
    const read = this.#isDisturbed(service)
      ? feeds.read(service, disturbedDeadlineMs).catch(() => feeds.known(service))
      : insist(this.clock, () => feeds.read(service));
    return atMachineTimes(service, await read, faults.shifts());
  }

  /** As `#events`, of the guests. */
  #history(): Promise<History> {
    const journals = this.#journals;
    return this.#isDisturbed('compute')
      ? journals.read(disturbedDeadlineMs).catch(() => journals.known())
      : insist(this.clock, () => journals.read());
  }

  #isDisturbed(service: Workload): boolean {
    return this.#access.faults
      .disturbances()
      .some(
        ({ parts, toMs }) =>
          toMs === undefined &&
          parts.some((part) => part === service || part === 'store' || isControlOf(service, part)),
      );
  }

  async check(check: SteadyCheck): Promise<string | undefined> {
    const { clients } = this.#access;
    const history = () => this.#history();
    return brokenCheck(check, { clients, estate: this.#estate, history, nowMs: this.clock.now() });
  }

  async observe(): Promise<Observed> {
    const { clients, faults, terms } = this.#access;
    const read = async (service: Workload) => [service, await this.#events(service)] as const;
    const events = Object.fromEntries(await Promise.all(serviceNames.map(read))) as Record<
      Workload,
      readonly RecordedEvent[]
    >;
    const history = (await this.#history()).filter(({ completedAt }) => completedAt < this.#comparedMs);
    const log = new MachineLog();
    for (const event of events.compute) if (event.time < this.#comparedMs) log.apply(event);
    const { machines } = this.#estate;
    const facts = { disturbances: faults.disturbances(), terms, sinceMs: this.#sinceMs, untilMs: this.#comparedMs };
    const guarantees = (): readonly GuaranteeRecord[] =>
      guaranteesOf({
        events,
        history,
        disturbances: faults.disturbances(),
        refusals: this.#refusals,
        terms,
        machines: new Set(machines.map(({ name }) => name)),
        sinceMs: this.#sinceMs,
      });
    const refused = await refusedUses(clients, this.#estate, this.#sinceMs);
    const identities = refusedIdentities(events['disk-encryption-set'], this.#sinceMs);
    return {
      machines: log.records(machines, this.#disks, (name) => this.#journals.console(name)),
      io: history.map(ioRecordOf),
      sightings: [...refused, ...identities, ...faults.sightings()].sort((one, other) => one.atMs - other.atMs),
      // Judged only when it is read: abort conditions seldom need it.
      get guarantees() {
        return guarantees();
      },
      ...(this.#isCompared && { raw: rawRecord(events, { ...facts, findings: [] }) }),
    };
  }

  async compareContent(): Promise<ContentRecord> {
    this.#isCompared = true;
    const { machines } = this.#estate;
    // The record judges a machine that does not start again.
    await Promise.allSettled(this.#starting);
    await untilSettled({ compute: this.#access.clients.compute, clock: this.clock }, machines, () => this.#history());
    const { clients, tls } = this.#access;
    const isRead = (machine: (typeof machines)[number]): boolean =>
      this.#experiment.estate.kind === 'planned' && !machine.isQemu;
    const disksOf = (some: typeof machines) => some.flatMap(({ disks }) => disks.map(({ name }) => name));
    if (tls === undefined) return comparedByGuests(await this.#history(), disksOf(machines), this.#givenBackMs);
    const others = disksOf(machines.filter((machine) => !isRead(machine)));
    const byGuests = comparedByGuests(await this.#history(), others, this.#givenBackMs);
    const read = machines.filter(isRead);
    if (read.length === 0) return byGuests;
    const names = read.map(({ name }) => name);
    this.#comparedMs = this.clock.now();
    await Promise.all(names.map((name) => clients.compute.deallocateVirtualMachine({ name })));
    const settling = { compute: clients.compute, clock: this.clock };
    await untilPowerOfEach(settling, names, 'is deallocated', (power) => power === 'DEALLOCATED');
    const direct = await compareDisks(clients, tls, await this.#history(), disksOf(read));
    return {
      disksCompared: direct.disksCompared + byGuests.disksCompared,
      bytesCompared: direct.bytesCompared + byGuests.bytesCompared,
      bytesLost: direct.bytesLost + byGuests.bytesLost,
    };
  }

  async close(): Promise<void> {
    const { faults, feeds, keepEvents } = this.#access;
    try {
      await faults.close();
      for (const service of keepEvents === undefined ? [] : serviceNames)
        keepEvents?.(service, await feeds.read(service), this.#sinceMs);
    } finally {
      await this.#close();
    }
  }
}

const traceOf = ({ cause }: RecordedEvent): string | undefined => cause.traceparent?.split('-')[1];

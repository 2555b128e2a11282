import type { RecordedEvent } from '@interlock/event-store';
import { workloads } from '@interlock/host';
import {
  type ContentRecord,
  type Effect,
  type Experiment,
  groupsOf,
  type IoRecord,
  type Lab,
  type MachineRecord,
  type Observed,
  type SightingRecord,
  type SteadyCheck,
  type Step,
  takesAccess,
  type Undo,
} from '@interlock/lab';
import { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { type DiskFacts, MachineLog } from '@interlock/lab/judge/recording/machine-log';
import type { Workload } from '@interlock/rpc';
import type { VirtualClock } from '@interlock/runtime';
import type { SimulatedSpan } from '../../simulation/cloud/recorded-span.ts';
import { type Committed, createSimulatedCloud, type SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { Judge } from '../../simulation/invariants/judge.ts';
import { openTruth, type SimulatedTruth } from '../../simulation/truth/truth.ts';
import { type Clients, clientsOf } from '../../simulation/workload/estate.ts';
import { targetOfHost } from '../cloud/hosts.ts';
import { type MadeEstate, untilRunning } from '../cloud/planned-estate.ts';
import { Actions, keyVersionsIn } from './actions.ts';
import { type ContentStage, compareContent } from './content.ts';
import { callUntilFailure } from './failing-calls.ts';
import { Faults } from './faults.ts';
import { Findings, recordedRows } from './guarantees.ts';
import { Guests } from './guests.ts';
import { diskHostsOf, type ExperimentImage, vmHostsOf } from './image.ts';
import type { ExperimentSettings } from './settings.ts';
import { Sightings } from './sightings.ts';

/** What a lab needs. */
export interface LabParts {
  readonly experiment: Experiment;
  readonly settings: ExperimentSettings;
  readonly image: ExperimentImage;
  readonly seed: number;
  /** Mean time between two operations of a guest on a disk, in milliseconds. */
  readonly everyMs: number;
  readonly keep: Keep;
}

/** What is kept of a run in addition to its record. */
export interface Keep {
  /** Receives all events of a service when the lab is closed. Those of the run are stored at `sinceMs` or later. */
  readonly events?: (service: Workload, events: readonly RecordedEvent[], sinceMs: number) => void;
  /** Called with each event, in the order of the commits of all services. */
  readonly committed?: (event: RecordedEvent) => void;
  /** Receives the lines of the services' logs when the lab is closed, in JSON. */
  readonly log?: (lines: readonly string[]) => void;
  /** Receives each span when it ends. */
  readonly span?: (span: SimulatedSpan) => void;
}

/** How often the judges check everything, in milliseconds. */
const lookMs = 250;
/** How long machines may take to be on or off after everything is restored, in milliseconds. */
const restMs = 120_000;
/** Shortest start and shutdown of a guest, in milliseconds; the longest take twice as long. */
const guestStartMs = 200;
const guestStopMs = 20;
/** How long guests work after that, so that the record shows which machines work again, in milliseconds. */
const afterwardsMs = 2_000;

/** The record at the start of the comparison of contents: what the comparison does is not part of the run. */
interface Frozen {
  readonly machines: readonly MachineRecord[];
  readonly io: readonly IoRecord[];
  readonly sightings: readonly SightingRecord[];
}

/** A simulated cloud with the estate of one experiment. Time passes while the lab is open. */
export class SimulatedLab implements Lab {
  readonly clock: VirtualClock;
  readonly versions: Readonly<Record<string, string>> = { node: process.version };
  readonly #experiment: Experiment;
  readonly #made: MadeEstate;
  readonly #world: SimulatedCloud;
  readonly #clients: Clients;
  readonly #truth: SimulatedTruth;
  readonly #findings: Findings;
  readonly #judge: Judge;
  readonly #faults: Faults;
  readonly #actions: Actions;
  readonly #guests: Guests;
  readonly #sightings: Sightings;
  readonly #machines = new MachineLog();
  readonly #keep: Keep;
  readonly #over = Promise.withResolvers<void>();
  readonly #driving: Promise<void>;
  #isOver = false;
  /** When the machines ran, in milliseconds since the epoch. */
  #sinceMs = 0;
  #diskFacts: ReadonlyMap<string, DiskFacts> = new Map();
  #frozen: Frozen | undefined;
  #judged: Pick<Observed, 'guarantees' | 'raw'> | undefined;

  private constructor(world: SimulatedCloud, { experiment, settings, image, everyMs, keep }: LabParts) {
    this.#keep = keep;
    this.#experiment = experiment;
    this.#made = image.made;
    this.#world = world;
    this.clock = world.clock;
    const clients = clientsOf(world);
    this.#clients = clients;
    const truth = openTruth(world);
    this.#truth = truth;
    for (const committed of image.commits) truth.apply(committed);
    const nowMs = (): number => world.clock.monotonicMs();
    const disturbances = new Disturbances(nowMs);
    this.#findings = new Findings(nowMs);
    const { log } = this.#findings;
    this.#judge = new Judge({ world, log, truth, disturbances, clients });
    this.#sightings = new Sightings(world);
    const onGone = this.#sightings.onGone.bind(this.#sightings);
    this.#faults = new Faults({ world, truth, disturbances, onGone });
    const hostOf = (disk: string): string => targetOfHost(truth.disks.hostOf(disk));
    this.#actions = new Actions({ plan: experiment, world, clients, made: image.made, faults: this.#faults, hostOf });
    this.#guests = new Guests({
      ...this.#stage(),
      world,
      disturbances,
      isCut: (a, b) => this.#faults.isCut(a, b),
      everyMs,
      timeoutMs: settings.guestIoTimeoutMs,
    });
    world.onCommit((committed) => this.#onCommit(committed));
    this.#driving = world.run(() => this.#over.promise);
  }

  /** Starts the machines of the estate and their guests. @throws Error if a machine does not start */
  static async open(parts: LabParts): Promise<SimulatedLab> {
    const { seed, image, settings, keep } = parts;
    const start = {
      seed,
      image: image.cloud,
      settings: settings.cloud,
      diskHosts: diskHostsOf(parts.experiment),
      vmHosts: vmHostsOf(parts.experiment),
      refusesForEnded: true,
      ...(keep.span && { recordSpan: keep.span }),
    };
    const world = await createSimulatedCloud(start);
    const lab = new SimulatedLab(world, parts);
    try {
      await lab.#through(lab.#begin());
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  plan(step: Step): Promise<Undo> {
    return this.#through(this.#plan(step));
  }

  carryOut(step: Step, undo: Undo): Promise<Effect> {
    const [target = ''] = 'targets' in undo.data ? (undo.data.targets as readonly string[]) : step.targets;
    if (this.#experiment.proof.some(({ of, see }) => of === step.name && see === 'calls-fail'))
      void callUntilFailure(
        { world: this.#world, clients: this.#clients, isOver: () => this.#isOver, sightings: this.#sightings },
        { action: step.action, target },
      );
    return this.#through(this.#actions.carryOut(step, undo));
  }

  undo(undo: Undo, start: boolean): Promise<Effect> {
    return this.#through(this.#actions.undo(undo, start));
  }

  check(check: SteadyCheck): Promise<string | undefined> {
    return this.#through(this.#check(check));
  }

  async observe(): Promise<Observed> {
    const { machines, io, sightings } = this.#frozen ?? this.#recorded();
    return { machines, io, sightings, ...(this.#judged ?? { guarantees: this.#findings.violated() }) };
  }

  compareContent(): Promise<ContentRecord> {
    return this.#through(this.#compare());
  }

  async close(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const service of workloads) {
      const events = await this.#world.storeOf(service).feed(0, 10_000_000);
      this.#keep.events?.(service, events, this.#sinceMs);
    }
    this.#keep.log?.(this.#world.serviceLog);
    this.#over.resolve();
    await this.#driving.finally(() => this.#world.close());
  }

  /** The result of work, or the reason why time cannot advance any more. */
  #through<Result>(work: Promise<Result>): Promise<Result> {
    return Promise.race([work, this.#driving.then(() => work)]);
  }

  /** Plans a step. If it takes a key away, compares the services' prediction with what runs. */
  async #plan(step: Step): Promise<Undo> {
    const undo = await this.#actions.plan(step);
    for (const value of takesAccess(step.action) ? keyVersionsIn(undo) : []) {
      const before = this.#judge.forecast(value);
      const target = { $case: 'keyVersion', value } as const;
      const { impacts } = await this.#clients.sets.previewImpact({ target, action: 'DISABLE' });
      this.#judge.onPreview(value, impacts, before);
    }
    return undo;
  }

  async #begin(): Promise<void> {
    const { compute, disks } = this.#clients;
    const { clock, settings, random, guests } = this.#world;
    const names = this.#made.machines.map(({ name }) => name);
    const pace = random.fork('guests');
    for (const name of names) {
      guests.slowToStart.set(name, guestStartMs * (1 + pace.fraction()));
      guests.slowToStop.set(name, guestStopMs * (1 + pace.fraction()));
    }
    const { outcomes } = await compute.startVirtualMachines({ names });
    const refused = outcomes.find(({ outcome }) => outcome?.$case !== 'starting');
    if (refused) throw new Error(`a machine was refused its start: ${JSON.stringify(refused.outcome)}`);
    for (const name of names) await untilRunning({ clients: this.#clients, clock }, name);
    // The timeline starts at a random point in the life of a lease: renewals come after a third to half of it.
    await clock.sleep((random.fork('phase').fraction() * settings.leases.ttlMs) / 2);
    const all = this.#made.machines.flatMap((machine) => machine.disks.map(({ name }) => name));
    const shown = await Promise.all(all.map((name) => disks.getDisk({ name })));
    this.#diskFacts = new Map(
      shown.map(({ name, keyVersion, diskHost }) => [name, { keyVersion, diskHost: targetOfHost(diskHost) }]),
    );
    this.#sinceMs = clock.now();
    this.#sightings.begin();
    this.#guests.begin();
    void this.#look();
  }

  #onCommit(committed: Committed): void {
    const { service, events } = committed;
    for (const event of events) this.#keep.committed?.(event);
    const copies = this.#truth.apply(committed);
    this.#judge.onCommit(committed, copies);
    this.#actions.onCommit(committed);
    if (service === 'compute') for (const event of events) this.#machines.apply(event);
    this.#guests.onCommit(committed);
    if (service !== 'disk') return;
    for (const { stream, type } of events) {
      // An open waits for the writes of the previous session, so none of them can take effect afterwards.
      if (type === 'DiskOpened') this.#truth.contents.get(stream.slice('disk-'.length))?.endSession();
    }
  }

  async #look(): Promise<void> {
    while (!this.#isOver) {
      this.#judge.check();
      await this.clock.sleep(lookMs);
    }
  }

  #stage(): ContentStage {
    const world = this.#world;
    let number = 0;
    return {
      world,
      clients: this.#clients,
      log: this.#findings.log,
      truth: this.#truth,
      judge: this.#judge,
      random: world.random.fork('guests'),
      nextNumber: () => {
        number += 1;
        return number;
      },
    };
  }

  async #check(check: SteadyCheck): Promise<string | undefined> {
    switch (check.kind) {
      case 'services-ready': {
        const down = workloads.find((service) => this.#faults.isDown(service));
        return down === undefined ? undefined : `${down} is not ready`;
      }
      case 'leases-held': {
        const { leases } = await this.#clients.disks.listLeases({});
        const other = leases.find(({ state }) => state !== 'HELD');
        if (other) return `the lease of ${other.diskEncryptionSet} is ${other.state}`;
        const isUnderKey = groupsOf(this.#experiment.estate).some(({ disks }) =>
          disks.some(({ key }) => key !== 'platform'),
        );
        return leases.length === 0 && isUnderKey ? 'no lease is held' : undefined;
      }
      case 'io':
        return this.#gapProblem(check.group, check.gapMs);
    }
  }

  #gapProblem(group: string, gapMs: number): string | undefined {
    const sinceMs = this.clock.now() - gapMs;
    const active = new Set(
      this.#guests.records
        .filter(({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs >= sinceMs)
        .map(({ disk }) => disk),
    );
    const silent = this.#made.machines
      .filter((machine) => machine.group === group)
      .flatMap(({ disks }) => disks.map(({ name }) => name))
      .find((name) => !active.has(name));
    return silent === undefined ? undefined : `no good operation on ${silent} in the last ${gapMs} ms`;
  }

  /** @param sightings no condition reads them before the end */
  #recorded(sightings: readonly SightingRecord[] = []): Frozen {
    return {
      machines: this.#machines.records(this.#made.machines, this.#diskFacts),
      // Not copied: an abort condition reads it at once, and no operation comes after the end of the guests.
      io: this.#guests.records,
      sightings,
    };
  }

  async #compare(): Promise<ContentRecord> {
    this.#judge.heal();
    await this.#world.faults.healAll();
    await this.#rest();
    await this.clock.sleep(afterwardsMs);
    await this.#guests.end();
    this.#frozen = this.#recorded(await this.#sightings.all());
    const disks = this.#made.machines.flatMap((machine) => machine.disks.map(({ name }) => name));
    const content = await compareContent(this.#stage(), disks);
    await this.#settle();
    const recorded = {
      io: this.#frozen.io,
      disturbances: this.#faults.disturbed,
      refusals: this.#actions.refusals,
      machines: this.#made.machines.map(({ name }) => name),
      sinceMs: this.#sinceMs,
    };
    this.#judged = await recordedRows(this.#world, recorded, this.#findings.rows());
    return content;
  }

  /** Waits until each machine is on or off. */
  async #rest(): Promise<void> {
    const endMs = this.clock.monotonicMs() + restMs;
    const isBusy = (): boolean => [...this.#truth.machines.machines.values()].some(({ power }) => !atRest.has(power));
    while (isBusy() && this.clock.monotonicMs() < endMs) await this.clock.sleep(lookMs);
  }

  /** Lets time pass until no judge finds anything in progress, and then judges. */
  async #settle(): Promise<void> {
    const { bounds } = this.#judge;
    const endMs = this.clock.monotonicMs() + bounds.leaseTtlMs + bounds.authzTtlMs + bounds.stopMs;
    const isSettled = async (): Promise<boolean> => (await this.#judge.isSettled()) && this.#judge.hasEveryFact();
    while (!(await isSettled()) && this.clock.monotonicMs() < endMs) await this.clock.sleep(1_000);
    await this.#judge.checkSettled();
    await this.#judge.checkEnd();
  }
}

const atRest: ReadonlySet<string> = new Set(['running', 'stopped', 'deallocated']);

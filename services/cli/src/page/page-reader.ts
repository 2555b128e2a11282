import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { PowerRecord } from '@interlock/lab';
import type { ActivePower } from '@interlock/lab/report/activity/activity';
import { RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { keyOf } from '../report/gather.ts';
import { readJournal } from '../report/journals.ts';
import type { Caller } from '../request/calls.ts';
import { methodOf, Service } from '../request/schema.ts';
import { readProblems } from '../watch/reading.ts';
import { Audits } from './audits.ts';
import { GuestIo } from './guest-io.ts';
import type { LiveRows } from './live-rows.ts';
import { MachineEvents } from './machine-events.ts';
import { ResourceReader } from './resource-reader.ts';
import { putFew, putMachines } from './resources.ts';
import type { CloudRow, PageMachine } from './rows.ts';

/** The cloud is read at this interval, in milliseconds, and at once when a machine or a key has a new event. */
const LOOK_MS = 1_000;
/** Whether there are new events is asked at this interval, in milliseconds: an event is shown within 300 ms. */
const NEWS_MS = 100;
/**
 * Reading an audit log is itself an entry of it: without a sign that something happened it is read this often, in milliseconds, with one
 * once in `LOOK_MS`.
 */
const AUDIT_MS = 15_000;
/** Power states of a machine that are shown, the newest. */
const POWER_MAX = 60;
/** Journals are read of so many machines, those that stopped last: one has up to 100,000 operations. */
const JOURNALS_MAX = 12;

/** What is read. */
export interface ReaderOptions {
  readonly caller: Pick<Caller, 'call' | 'principal'>;
  readonly rows: LiveRows;
  readonly clock: Clock;
  /** Full name of a group or subscription. */
  readonly parent: string;
  readonly title: string;
  /** How far back the timeline goes, in milliseconds. */
  readonly windowMs: number;
  /** A name as users type it. */
  readonly short: (name: string) => string;
}

/** Reads the cloud for the page, once for all viewers. A failure of a service leaves what is known of it. */
export class PageReader {
  readonly #options: ReaderOptions;
  readonly #events: MachineEvents;
  readonly #audits: Audits;
  readonly #io: GuestIo;
  #pageMachines: readonly PageMachine[] = [];
  #machines: ReadonlyMap<string, KnownMachine> = new Map();
  /** Full names of the keys that disks use. */
  #keys: readonly string[] = [];
  readonly #resources: ResourceReader;
  /** Machines with an event since the reading of machines began that is the newest, or is under way. */
  #changedMeanwhile = new Set<string>();
  #cloud: Pick<CloudRow, 'state' | 'sinceMs'>;
  #boundMs: number | undefined;
  /** Position of the newest event of key-vault; 0 if it could not be read. */
  #keyPosition = 0;
  #isAuditOwed = false;
  /** When the audit logs were read, by the monotonic clock. */
  #auditMs = Number.NEGATIVE_INFINITY;
  readonly #stopsRead = new Map<string, number>();
  readonly #unread = new Map<string, string>();

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#resources = new ResourceReader({ ...options, orNothing: this.#orNothing });
    this.#events = new MachineEvents(options.caller);
    this.#audits = new Audits(options.caller, options.short);
    this.#io = new GuestIo(options.caller, options.rows);
    this.#cloud = { state: 'reading', sinceMs: options.clock.now() };
  }

  /** Reads again and again while there is a viewer. Ends with the signal. */
  async run(present: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      await present();
      const startMs = clock.monotonicMs();
      await this.#look(false);
      const endMs = clock.monotonicMs();
      // Half of the time at most, also if there is always something new.
      await clock.sleep(Math.max(NEWS_MS, endMs - startMs), signal);
      while (!signal.aborted && clock.monotonicMs() < endMs + LOOK_MS && !(await this.#hasNews()))
        await clock.sleep(NEWS_MS, signal);
    }
  }

  /** Reads once, and publishes what changed. */
  look(): Promise<void> {
    return this.#look(true);
  }

  /** @param isPatient waits for disks and machines; otherwise a later look takes those of a large cloud */
  async #look(isPatient: boolean): Promise<void> {
    const { caller, rows, clock, title, windowMs } = this.#options;
    const fromMs = clock.now() - windowMs;
    if (this.#resources.begin()) this.#changedMeanwhile = new Set();
    const before = await this.#readEvents(fromMs);
    // Before everything else, which takes a while.
    if (before.size > 0) rows.publish();
    const [problems] = await Promise.all([readProblems(caller), this.#resources.readFew()]);
    const isRead = await this.#resources.take(isPatient);
    const { found } = this.#resources;
    putFew(rows, found);
    if (isRead) this.#putMachines(fromMs);
    const changed = new Set([...before, ...(await this.#readEvents(fromMs))]);
    if (isRead) this.#putStates(this.#changedMeanwhile);
    const isAuditDue = await this.#isAuditDue(changed.size > 0);
    if (found.disks !== undefined && isAuditDue) {
      const vaults = [...new Set(this.#keys.map((key) => key.split('/').slice(0, 2).join('/')))];
      await this.#orNothing('audit log', () => this.#audits.read(vaults, fromMs));
      rows.set('changes', this.#audits.changes(this.#keys));
      this.#putAudit();
    }
    await this.#readJournals(changed, fromMs);
    await this.#orNothing('journals of guests', () => this.#io.read(this.#pageMachines, fromMs));
    const isGone = Object.values(problems).every((problem) => problem !== '');
    const state = isGone ? 'gone' : found.machines === undefined ? 'reading' : 'live';
    if (state !== this.#cloud.state) this.#cloud = { state, sinceMs: clock.now() };
    // In steps, so that the row changes rarely.
    const shownFromMs = Math.floor(fromMs / LOOK_MS / 10) * LOOK_MS * 10;
    const unread = isGone ? [] : [...this.#unread].map(([what, why]) => `${what}: ${why}`);
    this.#boundMs = boundOf(found.leases ?? []) ?? this.#boundMs;
    rows.set('cloud', { title, ...this.#cloud, fromMs: shownFromMs, boundMs: this.#boundMs, problems, unread });
    rows.publish();
  }

  /** Whether a machine or a key has an event that was not read. */
  async #hasNews(): Promise<boolean> {
    if (this.#resources.isRead) return true;
    const hasEvents = await this.#orNothing('stored events of compute', () => this.#events.hasNew());
    return hasEvents === true || (await this.#keyHead()) !== this.#keyPosition;
  }

  /** Position of the newest event of key-vault; 0 if it cannot be read. */
  async #keyHead(): Promise<number> {
    const method = methodOf(Service.messaging, 'ReadEvents');
    const request = { afterPosition: String(this.#keyPosition), pageSize: 1 };
    const page = await this.#orNothing('stored events of key-vault', () =>
      this.#options.caller.call('key-vault', method, request),
    );
    return Number(page?.headPosition ?? 0);
  }

  /** Whether there may be new entries: a key or a machine has a new event, now or at the last look, or time has passed. */
  async #isAuditDue(hasChanged: boolean): Promise<boolean> {
    const head = await this.#keyHead();
    const isKeyNew = head !== this.#keyPosition;
    this.#keyPosition = head;
    const isNew = hasChanged || isKeyNew;
    this.#isAuditOwed ||= isNew;
    const nowMs = this.#options.clock.monotonicMs();
    // Keys change rarely, many machines change for a second and more.
    const isDue = isKeyNew || nowMs - this.#auditMs >= (this.#isAuditOwed ? LOOK_MS : AUDIT_MS);
    if (!isDue) return false;
    this.#auditMs = nowMs;
    // Entries are stored a moment after their events, so a look after a change reads again.
    this.#isAuditOwed = isNew;
    return true;
  }

  #putAudit(): void {
    const { rows } = this.#options;
    const entries = this.#audits.rows();
    // The oldest first: rows are kept in the order of their changes.
    for (const entry of entries.toReversed()) rows.set(`audit ${entry.name}`, entry);
    rows.retain('audit ', new Set(entries.map(({ name }) => `audit ${name}`)));
  }

  /** Reads new events of machines, and sets their states. @returns machines that have some */
  async #readEvents(fromMs: number): Promise<ReadonlySet<string>> {
    const changed = await this.#orNothing('stored events of compute', () => this.#events.read(fromMs));
    if (changed === undefined) return new Set();
    for (const name of changed) this.#changedMeanwhile.add(name);
    this.#putPower(changed, fromMs);
    this.#putStates(changed);
    return changed;
  }

  /** Sets everything about the machines that were read. */
  #putMachines(fromMs: number): void {
    const { rows, short } = this.#options;
    const { found } = this.#resources;
    this.#pageMachines = putMachines(rows, found, short);
    this.#machines = new Map(found.machines?.map((machine) => [String(machine.name), knownMachine(machine)]));
    const keys = new Set((found.disks ?? []).map(({ keyVersion }) => keyOf(String(keyVersion ?? ''))));
    this.#keys = [...keys].filter((key) => key !== '');
    this.#putPower(this.#machines.keys(), fromMs);
    rows.retain('power ', new Set([...this.#machines.keys()].map((name) => `power ${name}`)));
  }

  #putPower(names: Iterable<string>, fromMs: number): void {
    for (const name of names) {
      const machine = this.#machines.get(name);
      if (machine === undefined) continue;
      const states = powerOf(this.#events.of(name), machine, fromMs);
      this.#options.rows.set(`power ${name}`, states.slice(-POWER_MAX));
    }
  }

  /** Sets the states of machines from their events, where these are newer than what was read of the machines. */
  #putStates(changed: ReadonlySet<string>): void {
    if (changed.size === 0) return;
    this.#pageMachines = this.#pageMachines.map((machine) => {
      const newest = changed.has(machine.name) ? this.#events.of(machine.name).at(-1) : undefined;
      if (newest === undefined || newest.state.toUpperCase() === machine.power) return machine;
      const { state, reason, atMs } = newest;
      const isLasting = state === 'running' || state === 'stopped' || state === 'deallocated';
      const since = isLasting ? new Date(atMs).toISOString() : '';
      const now: PageMachine = { ...machine, power: state.toUpperCase(), reason, since };
      this.#options.rows.set(`machine ${machine.name}`, now);
      return now;
    });
  }

  /** Reads when machines that a key stopped last read or wrote. */
  async #readJournals(changed: ReadonlySet<string>, fromMs: number): Promise<void> {
    if (changed.size === 0) return;
    const { caller, rows, short } = this.#options;
    const stops = [...changed].flatMap((name) => {
      const stop = this.#events.of(name).findLast(({ state, reason }) => state === 'stopped' && reason !== '');
      return stop === undefined || stop.atMs === this.#stopsRead.get(name) ? [] : [{ name, atMs: stop.atMs }];
    });
    const newest = stops.filter(({ name }) => this.#machines.has(name)).toSorted((a, b) => b.atMs - a.atMs);
    for (const { name, atMs: stopMs } of newest.slice(0, JOURNALS_MAX)) {
      this.#stopsRead.set(name, stopMs);
      const io = await this.#orNothing(`journal of ${short(name)}`, () => readJournal(caller, name, fromMs));
      const good = io?.findLast(({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs <= stopMs);
      if (good !== undefined) rows.set(`good ${name}`, { atMs: good.completedMs, stopMs });
    }
    rows.retain('good ', new Set([...this.#machines.keys()].map((name) => `good ${name}`)));
  }

  /** What a read returns; undefined if a service does not respond or refuses, which is noted. */
  readonly #orNothing = async <Value>(what: string, read: () => Promise<Value>): Promise<Value | undefined> => {
    try {
      const value = await read();
      this.#unread.delete(what);
      return value;
    } catch (error) {
      if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
      this.#unread.set(what, error.message);
      return undefined;
    }
  };
}

/** How long a lease lasts, from one that is held: its age and what is left, in whole seconds because of the margin of the host's clock. */
function boundOf(leases: readonly JsonObject[]): number | undefined {
  const held = leases.find(({ state }) => state === 'HELD');
  if (held === undefined) return undefined;
  return Math.ceil((Number(held.ageMs ?? 0) + Number(held.expiresInMs ?? 0)) / 1_000) * 1_000;
}

/** A machine as compute lists it. */
interface KnownMachine extends Pick<PageMachine, 'name' | 'power' | 'reason'> {
  /** Of a machine that runs or is off: since when, in milliseconds since the epoch. NaN if unknown. */
  readonly since: number;
}

const knownMachine = ({ name, powerState, startTime, stopTime, stopReason }: JsonObject): KnownMachine => ({
  name: String(name),
  power: String(powerState),
  since: Date.parse(String((powerState === 'RUNNING' ? startTime : stopTime) ?? '')),
  reason: typeof stopReason === 'object' ? String(Reflect.get(Object(stopReason), 'reason') ?? '') : '',
});

/**
 * Power states since `fromMs`, with the one at that time: events before it are not read, so it follows from the first event after it, or
 * from how the machine is listed.
 */
export function powerOf(events: readonly PowerRecord[], machine: KnownMachine, fromMs: number): readonly ActivePower[] {
  const [first] = events;
  if (first !== undefined) {
    const ranBefore = first.state === 'stopping' && first.atMs > fromMs;
    return ranBefore ? [{ atMs: fromStep(fromMs), state: 'running', reason: '', traceId: '' }, ...events] : events;
  }
  const { power, reason, since } = machine;
  const atMs = Number.isNaN(since) ? fromStep(fromMs) : since;
  if (power === 'RUNNING') return [{ atMs, state: 'running', reason: '', traceId: '' }];
  if (power === 'STOPPED') return [{ atMs, state: 'stopped', reason, traceId: '' }];
  return power === 'DEALLOCATED' ? [{ atMs, state: 'deallocated', reason: '', traceId: '' }] : [];
}

/** A start of the timeline that changes rarely, although the timeline moves. */
const fromStep = (ms: number): number => Math.floor(ms / 600_000) * 600_000;

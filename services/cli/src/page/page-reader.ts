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
import { newestResources, putResources, type Resources, readResources } from './resources.ts';
import type { CloudRow, PageMachine } from './rows.ts';

/** Poll interval, in milliseconds. */
const LOOK_MS = 1_000;
/** Reading all resources takes at most one part of so many of the time: a large cloud is read more rarely. */
const REST_FACTOR = 9;
/** Reading an audit log is itself an entry of it: without a sign that something happened it is read this often, in milliseconds. */
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
  #resources: Resources | undefined;
  /** When the resources are read again, by the monotonic clock. */
  #resourcesAtMs = 0;
  #cloud: Pick<CloudRow, 'state' | 'sinceMs'>;
  #boundMs: number | undefined;
  /** Position of the newest event of key-vault; 0 if it could not be read. */
  #keyPosition = 0;
  #isAuditOwed = false;
  /** When the audit logs are read in any case, by the monotonic clock. */
  #auditAtMs = 0;
  readonly #stopsRead = new Map<string, number>();
  readonly #unread = new Map<string, string>();

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#events = new MachineEvents(options.caller);
    this.#audits = new Audits(options.caller, options.short);
    this.#io = new GuestIo(options.caller, options.rows);
    this.#cloud = { state: 'reading', sinceMs: options.clock.now() };
  }

  /** Reads again and again while there is a viewer. Ends with the signal. */
  async run(present: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await present();
      await this.look();
      await this.#options.clock.sleep(LOOK_MS, signal);
    }
  }

  /** Reads once, and publishes what changed. */
  async look(): Promise<void> {
    const { caller, rows, clock, short, title, windowMs } = this.#options;
    const fromMs = clock.now() - windowMs;
    const problems = await readProblems(caller);
    const isRead = await this.#readResources();
    const changed = await this.#orNothing('stored events of compute', () => this.#events.read(fromMs));
    const found = this.#resources;
    if (found !== undefined) {
      if (isRead) this.#pageMachines = putResources(rows, found, short);
      const keys = [...new Set((found.disks ?? []).map(({ keyVersion }) => keyOf(String(keyVersion ?? ''))))];
      const named = keys.filter((key) => key !== '');
      const vaults = [...new Set(named.map((key) => key.split('/').slice(0, 2).join('/')))];
      if (await this.#isAuditDue(changed !== undefined && changed.size > 0)) {
        await this.#orNothing('audit log', () => this.#audits.read(vaults, fromMs));
        rows.set('changes', this.#audits.changes(named));
        this.#putAudit();
      }
    }
    this.#putPower(isRead ? undefined : changed, fromMs);
    await this.#readJournals(changed, fromMs);
    await this.#orNothing('journals of guests', () => this.#io.read(this.#pageMachines, fromMs));
    const isGone = Object.values(problems).every((problem) => problem !== '');
    const state = isGone ? 'gone' : found?.machines === undefined ? 'reading' : 'live';
    if (state !== this.#cloud.state) this.#cloud = { state, sinceMs: clock.now() };
    // In steps, so that the row changes rarely.
    const shownFromMs = Math.floor(fromMs / LOOK_MS / 10) * LOOK_MS * 10;
    const unread = isGone ? [] : [...this.#unread].map(([what, why]) => `${what}: ${why}`);
    this.#boundMs = boundOf(found?.leases ?? []) ?? this.#boundMs;
    rows.set('cloud', { title, ...this.#cloud, fromMs: shownFromMs, boundMs: this.#boundMs, problems, unread });
    rows.publish();
  }

  /** @returns whether they were read */
  async #readResources(): Promise<boolean> {
    const { caller, clock, parent } = this.#options;
    const startMs = clock.monotonicMs();
    if (startMs < this.#resourcesAtMs) return false;
    const now = await readResources(caller, parent, (what, read) => this.#orNothing(what, read));
    this.#resources = newestResources(this.#resources, now);
    const endMs = clock.monotonicMs();
    this.#resourcesAtMs = endMs + (endMs - startMs) * REST_FACTOR;
    return true;
  }

  /** Whether there may be new entries: a key or a machine has a new event, now or at the last look, or time has passed. */
  async #isAuditDue(hasChanged: boolean): Promise<boolean> {
    const { caller, clock } = this.#options;
    const known = this.#keyPosition;
    const read = () =>
      caller.call('key-vault', methodOf(Service.messaging, 'ReadEvents'), {
        afterPosition: String(known),
        pageSize: 1,
      });
    const page = await this.#orNothing('stored events of key-vault', read);
    const head = Number(page?.headPosition ?? 0);
    this.#keyPosition = head;
    const nowMs = clock.monotonicMs();
    // Entries are stored a moment after their events, so the look after a change reads again.
    const isDue = hasChanged || head !== known || this.#isAuditOwed || nowMs >= this.#auditAtMs;
    this.#isAuditOwed = hasChanged || head !== known;
    if (isDue) this.#auditAtMs = nowMs + AUDIT_MS;
    return isDue;
  }

  #putAudit(): void {
    const { rows } = this.#options;
    const entries = this.#audits.rows();
    // The oldest first: rows are kept in the order of their changes.
    for (const entry of entries.toReversed()) rows.set(`audit ${entry.name}`, entry);
    rows.retain('audit ', new Set(entries.map(({ name }) => `audit ${name}`)));
  }

  /** Sets the power states of machines. @param changed names; undefined: of all */
  #putPower(changed: ReadonlySet<string> | undefined, fromMs: number): void {
    const { rows } = this.#options;
    if (changed?.size === 0) return;
    const machines = this.#machines();
    for (const machine of machines.filter(({ name }) => changed === undefined || changed.has(name)))
      rows.set(`power ${machine.name}`, powerOf(this.#events.of(machine.name), machine, fromMs).slice(-POWER_MAX));
    rows.retain('power ', new Set(machines.map(({ name }) => `power ${name}`)));
  }

  /** Reads when machines that a key stopped last read or wrote. */
  async #readJournals(changed: ReadonlySet<string> | undefined, fromMs: number): Promise<void> {
    if (changed === undefined || changed.size === 0) return;
    const { caller, rows, short } = this.#options;
    const stops = [...changed].flatMap((name) => {
      const stop = this.#events.of(name).findLast(({ state, reason }) => state === 'stopped' && reason !== '');
      return stop === undefined || stop.atMs === this.#stopsRead.get(name) ? [] : [{ name, atMs: stop.atMs }];
    });
    const known = new Set(this.#machines().map(({ name }) => name));
    const newest = stops.filter(({ name }) => known.has(name)).toSorted((a, b) => b.atMs - a.atMs);
    for (const { name, atMs: stopMs } of newest.slice(0, JOURNALS_MAX)) {
      this.#stopsRead.set(name, stopMs);
      const io = await this.#orNothing(`journal of ${short(name)}`, () => readJournal(caller, name, fromMs));
      const good = io?.findLast(({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs <= stopMs);
      if (good !== undefined) rows.set(`good ${name}`, { atMs: good.completedMs, stopMs });
    }
    rows.retain('good ', new Set([...known].map((name) => `good ${name}`)));
  }

  readonly #machines = (): readonly KnownMachine[] =>
    (this.#resources?.machines ?? []).map(({ name, powerState, startTime, stopTime, stopReason }) => ({
      name: String(name),
      power: String(powerState),
      since: Date.parse(String((powerState === 'RUNNING' ? startTime : stopTime) ?? '')),
      reason: typeof stopReason === 'object' ? String(Reflect.get(Object(stopReason), 'reason') ?? '') : '',
    }));

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

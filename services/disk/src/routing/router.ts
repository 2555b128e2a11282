import { type Category, type EventOf, Rejection } from '@interlock/event-store';
import { type Call, passingOn } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { choice, type Placed } from '../fleet/choice.ts';
import type { FleetHost } from '../fleet/decider.ts';
import type { HostLink } from './host-link.ts';
import type { HostLinks } from './host-links.ts';
import { KnownRoutes } from './known-routes.ts';

/**
 * After so many milliseconds without a response of one host the next one is called too, for what any host can answer: the same time
 * as until a host is probed. A healthy host answers in a few milliseconds.
 */
const nextAfterMs = 500;

/** Most hosts that are called for one disk: it may have moved to another one since its row was read. */
const attemptsMax = 3;

/** A disk or snapshot, as far as its host matters. */
type OnHost = { readonly status: 'absent' } | { readonly status: string; readonly host: string };
type Records = Pick<Category<OnHost, EventOf>, 'loadMany'>;

/** Makes a call at a host, with the options that pass the caller's own call on. */
export type Send<Answer> = (link: HostLink, options: ReturnType<typeof passingOn>) => Promise<Answer>;

/** What of a call is passed on. */
export type PassedCall = Pick<Call, 'token' | 'cause' | 'remainingMs' | 'signal'>;

/** Something new. */
export interface NewOne {
  /** Full name. */
  readonly name: string;
  /** Full name of the disk or snapshot that it is a copy of. */
  readonly source?: string | undefined;
  /** What its place depends on, found out only if it is to be placed; absent: any host may take it. */
  readonly placed?: () => Promise<Placed>;
}

/** What the router needs. */
export interface RouterParts {
  readonly links: Pick<HostLinks, 'to' | 'serving' | 'hosts' | 'refresh' | 'expect'>;
  readonly clock: Pick<Clock, 'sleep'>;
  /** The disks and snapshots of every host. */
  readonly records: { readonly disks: Records; readonly snapshots: Records };
}

/**
 * Passes calls on to the hosts that have to execute them, with the caller's own token: a host authorizes, decides and executes. So a
 * wrong route costs a call, never a wrong decision.
 */
export class Router {
  readonly #parts: RouterParts;
  readonly #routes = new KnownRoutes();

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  /** Calls one host. @throws as `HostLink.call` */
  async at<Answer>(host: string, call: PassedCall, send: Send<Answer>): Promise<Answer> {
    const link = await this.#parts.links.to(host);
    return link.call(call.signal, (_link, signal) => send(link, passingOn(call, signal)));
  }

  /**
   * Calls the host of a disk or snapshot. If it does not exist, or its host is lost, any serving host answers.
   * @param name full name
   * @param withoutHost answers if the host does not respond; by default the call is refused
   * @throws as `HostLink.call`
   */
  async atHostOf<Answer>(
    name: string,
    call: PassedCall,
    send: Send<Answer>,
    withoutHost?: (host: string) => Promise<Answer>,
  ): Promise<Answer> {
    let host = (await this.hostsOf([name])).get(name);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return host === undefined ? await this.atAny(name, call, send) : await this.at(host, call, send);
      } catch (error) {
        if (!isNotHere(error) && !isUnreachable(error)) throw error;
        const now = (await this.readHostsOf([name])).get(name);
        const isElsewhere = isNotHere(error) || now !== host;
        if (!isElsewhere && withoutHost !== undefined && host !== undefined) return withoutHost(host);
        if (!isElsewhere || attempt === attemptsMax) throw error;
        host = now;
      }
    }
  }

  /**
   * Calls the first serving host that responds, in the order that a key prefers them.
   * @throws as `HostLink.call`
   */
  async atAny<Answer>(key: string, call: PassedCall, send: Send<Answer>): Promise<Answer> {
    let last: unknown = noneServing();
    for await (const host of this.#inTurn(await this.#parts.links.serving(key))) {
      try {
        return await this.at(host, call, send);
      } catch (error) {
        if (!isAway(error)) throw error;
        last = error;
      }
    }
    throw last;
  }

  /**
   * As `atAny`, for a read: one more host is called each time no host has responded for half a second, and the first answer counts. So
   * a host that does not respond delays what a set finds out about its key by half a second, not by the time of its probes.
   */
  async atFirst<Answer>(key: string, call: PassedCall, send: Send<Answer>): Promise<Answer> {
    const { links, clock } = this.#parts;
    const ending = new AbortController();
    const passed = { ...call, signal: AbortSignal.any([call.signal, ending.signal]) };
    const answers: Promise<() => Answer>[] = [];
    try {
      for await (const host of this.#inTurn(await links.serving(key))) {
        answers.push(definite(this.at(host, passed, send)));
        const first = Promise.any(answers).catch(() => undefined);
        const answer = await Promise.race([first, clock.sleep(nextAfterMs, ending.signal).then(() => undefined)]);
        if (answer) return answer();
      }
      return (await Promise.any(answers))();
    } catch (error) {
      throw error instanceof AggregateError ? (error.errors.at(-1) ?? noneServing()) : error;
    } finally {
      ending.abort();
    }
  }

  /**
   * Calls the host where something new is made: that of the disk if it exists, because the call may be a repeat, else that of its
   * source, else the best host. One that is full, closed or unreachable is followed by the next, at most 16; none is tried twice.
   * @throws as `HostLink.call`; Rejection FAILED_PRECONDITION NO_DISK_HOST_OPEN
   */
  async atNewHost<Answer>(
    { name, source, placed: place }: NewOne,
    call: PassedCall,
    send: Send<Answer>,
  ): Promise<Answer> {
    const existing = (await this.readHostsOf([name])).get(name);
    if (existing !== undefined) return this.atHostOf(name, call, send);
    if (source !== undefined) return this.#asOf(source, name, call, send);
    if (place === undefined) return this.atAny(name, call, send);
    const placed = await place();
    let last: unknown;
    let hasBeenFull = false;
    for await (const host of this.#inTurn(await this.#choice(placed))) {
      try {
        return await this.at(host, call, send);
      } catch (error) {
        if (isNotHere(error)) return this.atHostOf(name, call, send);
        const isFull = error instanceof Rejection && error.reason === 'STORAGE_FULL';
        if (!isAway(error) && !isClosed(error) && (!isFull || hasBeenFull)) throw error;
        hasBeenFull ||= isFull;
        last = error;
      }
    }
    throw last ?? this.#noneOpen(placed);
  }

  /**
   * The hosts of disks and snapshots by full name, as they were last read. Absent: it does not exist, or its host is lost, so every
   * host may end it.
   */
  async hostsOf(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { found, unknown } = this.#routes.find(names);
    if (unknown.length > 0) for (const [name, host] of await this.#read(unknown)) found.set(name, host);
    return this.#withoutLost(found);
  }

  /** As `hostsOf`, as the store has them now: for a new place, and for what was not at the host that was called. */
  async readHostsOf(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.#withoutLost(await this.#read(names));
  }

  async #read(names: readonly string[]): Promise<Map<string, string>> {
    const { records } = this.#parts;
    const ofSnapshots = names.filter((name) => name.split('/').at(-2) === 'snapshots');
    const ofDisks = names.filter((name) => name.split('/').at(-2) === 'disks');
    const loaded = await Promise.all([
      ofDisks.length === 0 ? [] : records.disks.loadMany(ofDisks),
      ofSnapshots.length === 0 ? [] : records.snapshots.loadMany(ofSnapshots),
    ]);
    const read = new Map<string, string>();
    for (const { id, state } of loaded.flat()) if ('host' in state) read.set(id, state.host);
    this.#routes.replace(names, read);
    return read;
  }

  async #withoutLost(found: Map<string, string>): Promise<ReadonlyMap<string, string>> {
    const { links } = this.#parts;
    const known = new Set(links.hosts().map(({ name }) => name));
    if (![...found.values()].every((host) => known.has(host))) await links.refresh();
    const lost = new Set(links.hosts().flatMap(({ name, status }) => (status === 'lost' ? [name] : [])));
    for (const [name, host] of found) if (lost.has(host)) found.delete(name);
    return found;
  }

  /** Makes a copy at the host of its source; a repeat finds the copy there, also after the source was deleted. */
  async #asOf<Answer>(source: string, name: string, call: PassedCall, send: Send<Answer>): Promise<Answer> {
    try {
      return await this.atHostOf(source, call, send);
    } catch (error) {
      // The copy was made meanwhile, at the host that the source had.
      if (!isNotHere(error)) throw error;
      return this.atHostOf(name, call, send);
    }
  }

  /**
   * Hosts one after the other. All of them are probed if one does not respond, so that several which do not cost the time of one:
   * the later ones are refused at once then.
   */
  async *#inTurn(hosts: readonly string[]): AsyncGenerator<string, undefined> {
    const ends = await Promise.all(hosts.slice(1).map((host) => this.#parts.links.expect(host)));
    try {
      yield* hosts;
    } finally {
      for (const end of ends) end();
    }
    return undefined;
  }

  async #choice(placed: Placed): Promise<readonly string[]> {
    const { links } = this.#parts;
    const found = choice(links.hosts(), placed);
    if (found.length > 0) return found;
    await links.refresh();
    return choice(links.hosts(), placed);
  }

  #noneOpen({ sizeGib }: Placed): Rejection {
    const hosts = this.#parts.links.hosts();
    const states = hosts.map(({ name, status, isServing }) => `${name} ${isServing ? status : stateOf(status)}`);
    return new Rejection(
      'FAILED_PRECONDITION',
      'NO_DISK_HOST_OPEN',
      `no disk host takes a new disk of ${sizeGib} GiB: ${states.join(', ') || 'none has registered'}. One must be open, reachable and have a tenth of its storage free`,
      { hosts: states.join(', ') },
    );
  }
}

const stateOf = (status: FleetHost['status']): string => (status === 'lost' ? 'lost' : `${status}, unreachable`);

/** The answer of a host, or its refusal, as a function. @throws as `HostLink.call` if it is away */
const definite = <Answer>(answer: Promise<Answer>): Promise<() => Answer> =>
  answer.then(
    (value) => () => value,
    (error: unknown) => {
      if (isAway(error)) throw error;
      return () => {
        throw error;
      };
    },
  );

/** Whether a host refused work because another one has the disk. */
export const isNotHere = (error: unknown): boolean => error instanceof Rejection && error.reason === 'DISK_NOT_HERE';

/** Whether a host did not take the call at all, so that another one may. */
export const isAway = (error: unknown): boolean =>
  error instanceof Rejection && (error.reason === 'DISK_HOST_UNREACHABLE' || error.reason === 'DISK_HOST_BUSY');

/** Whether a host does not respond. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof Rejection && error.reason === 'DISK_HOST_UNREACHABLE';

/** Whether a host takes nothing new. */
const isClosed = (error: unknown): boolean => error instanceof Rejection && error.reason === 'NO_DISK_HOST_OPEN';

const noneServing = (): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_UNREACHABLE',
    'no disk host responds: try again, or start one. Disks are unchanged',
  );

import type { CauseKind, RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';

/** Events of each service in the order of its feed. */
export type Histories = Readonly<Partial<Record<Workload, readonly RecordedEvent[]>>>;

/** A recorded event with its data as they are read here: every field may be missing. */
export interface Seen extends RecordedEvent {
  readonly service: Workload;
  // biome-ignore lint/suspicious/noExplicitAny: data of every kind of event; a rule that reads a wrong field derives nothing
  readonly data: any;
}

/** A cause that the data of an event imply: one of these events, as one of these kinds. */
export interface Implied {
  readonly kinds: readonly CauseKind[];
  /** The events, or a test for them if there may be many. */
  readonly anyOf: readonly Seen[] | ((candidate: Seen) => boolean);
  /** Whether it may be missing: the data do not tell in which of several ways the event came about. */
  readonly isOptional?: true;
}

/** The whole history, indexed for the rules. It reads no causes. */
export class Timeline {
  readonly events: readonly Seen[];
  readonly #byStream: ReadonlyMap<string, readonly Seen[]>;
  readonly #byCorrelation: ReadonlyMap<string, readonly Seen[]>;
  readonly #byType: ReadonlyMap<string, readonly Seen[]>;
  readonly #byPosition: ReadonlyMap<string, Seen>;
  /** Names of principals of our own services, and of sets. */
  readonly #services: ReadonlySet<string>;

  constructor(histories: Histories) {
    this.events = Object.entries(histories).flatMap(([service, events]) =>
      events.map((event) => ({ ...event, service: service as Workload })),
    );
    this.#byStream = Map.groupBy(this.events, ({ stream }) => stream);
    this.#byCorrelation = Map.groupBy(this.events, ({ cause }) => cause.correlationId);
    this.#byType = Map.groupBy(this.events, ({ type }) => type);
    this.#byPosition = new Map(this.events.map((event) => [`${event.service} ${event.position}`, event]));
    const ofServices = this.ofType('PrincipalCreated').filter(
      ({ data }) => data.workload !== undefined || data.principalType === 'managed_identity',
    );
    this.#services = new Set(ofServices.map(({ stream }) => `principals/${stream.slice('principal-'.length)}`));
  }

  ofStream(stream: string): readonly Seen[] {
    return this.#byStream.get(stream) ?? [];
  }

  ofCorrelation(id: string): readonly Seen[] {
    return this.#byCorrelation.get(id) ?? [];
  }

  ofType(...types: readonly string[]): readonly Seen[] {
    return types.flatMap((type) => this.#byType.get(type) ?? []);
  }

  at(service: Workload, position: number): readonly Seen[] {
    const found = this.#byPosition.get(`${service} ${position}`);
    return found ? [found] : [];
  }

  /** Whether a user or operator requested it, so that it has no earlier cause. */
  isRequested({ cause: { caller } }: Seen): boolean {
    return caller.startsWith('principals/') && !this.#services.has(caller);
  }

  /** The newest earlier event of the same stream of these types; empty without one. */
  newestBefore(event: Seen, isWanted: (before: Seen) => boolean): readonly Seen[] {
    const found = this.ofStream(event.stream)
      .slice(0, event.version - 1)
      .findLast(isWanted);
    return found === undefined ? [] : [found];
  }

  /**
   * The first event that the same commit stored in the stream of an event: the event itself, if it is the first. A commit has one
   * time and one span, and its events are next to each other in the feed.
   */
  firstOfCommit(event: Seen): Seen {
    const events = this.ofStream(event.stream);
    let first = event;
    for (let at = event.version - 2; at >= 0; at -= 1) {
      const before = events[at];
      if (before === undefined || !isTogether(before, event)) break;
      first = before;
    }
    return first;
  }
}

const isTogether = (before: Seen, event: Seen): boolean =>
  before.time === event.time &&
  before.cause.traceparent === event.cause.traceparent &&
  event.position - before.position === event.version - before.version;

/** Whether an event is of one of these types. */
export const isOf =
  (...types: readonly string[]) =>
  ({ type }: Pick<Seen, 'type'>): boolean =>
    types.includes(type);

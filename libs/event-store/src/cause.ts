/**
 * How one event led to another:
 * - `message`: it was consumed as a published fact;
 * - `call`: it led to the request that appended;
 * - `step`: the process continues the event of its own service;
 * - `answer`: a called service appended it before it responded, or named it as the reason of its answer;
 * - `timer`: it armed the timer that expired.
 */
export type CauseKind = 'message' | 'call' | 'step' | 'answer' | 'timer';

/** One cause of an event. */
export interface CausedBy {
  /** `eventId` of the event that came first; it may be stored by another service. */
  readonly id: string;
  readonly kind: CauseKind;
}

/** Why a change happens: stored with every event of the change, and from there copied to every published fact. */
export interface Cause {
  /** The request (or timer) that started the chain; a UUID. The same in every service. */
  readonly correlationId: string;
  /** The events that led to the change directly. Empty: an operator's request, or the start of a service. */
  readonly causes: readonly CausedBy[];
  /** `principals/<id>`, or `system:<part>` for changes without a caller. */
  readonly caller: string;
  /** W3C trace context of the deciding span. */
  readonly traceparent?: string;
  /** W3C trace state and baggage of the request that started the chain. */
  readonly tracestate?: string;
  readonly baggage?: string;
  /** Follows the work that has this cause; never stored. Copies of the cause share it. */
  readonly tracker?: CauseTracker;
}

/** Identity of an event: its place in its stream. Names of categories are unique over all services, so this is unique too. */
export const eventId = (stream: string, version: number): string => `${stream}@${version}`;

/** Ids of the events of an append. */
export const idsOf = ({
  stream,
  expected,
  events,
}: {
  readonly stream: string;
  readonly expected: number;
  readonly events: readonly unknown[];
}): string[] => events.map((_event, n) => eventId(stream, expected + 1 + n));

/** Most events that a tracker keeps: what a call reports to its caller, and what one change names as answers. */
export const TRACKED_EVENTS_MAX = 1_024;

/**
 * Follows one piece of work: a call that is served, a run of a process, a message. It notes what the work appended and which
 * events its calls led to, so that the next change of the work names them as its causes.
 */
export class CauseTracker {
  /** Newest event of each stream, in the order of appends. */
  readonly #appended = new Map<string, string>();
  readonly #answers = new Set<string>();
  #newest: string | undefined;

  /** The newest event that the work appended; undefined before the first. */
  get newest(): string | undefined {
    return this.#newest;
  }

  /** The newest event of each stream that the work appended to. */
  appended(): readonly string[] {
    return [...this.#appended.values()];
  }

  /** A called service appended these events before it responded. */
  answered(ids: Iterable<string>): void {
    for (const id of ids) if (this.#answers.size < TRACKED_EVENTS_MAX) this.#answers.add(id);
  }

  /** The causes of the next change of a stream. `first`: those of the work itself; `given`: causes in place of those and of its steps. */
  causesOf(stream: string | undefined, first: readonly CausedBy[], given?: readonly CausedBy[]): readonly CausedBy[] {
    const before = stream === undefined ? undefined : this.#appended.get(stream);
    const own: readonly CausedBy[] = given ?? (before === undefined ? first : [{ id: before, kind: 'step' }]);
    if (this.#answers.size === 0) return own;
    return [...own, ...[...this.#answers].map((id): CausedBy => ({ id, kind: 'answer' }))];
  }

  /** A change of the work is stored: its answers are used up. */
  stored(stream: string, version: number): void {
    this.#answers.clear();
    this.found(stream, version);
  }

  /** Another process of the same service appended these events, to which the work was passed on. */
  passedOn(ids: Iterable<string>): void {
    for (const id of ids) {
      const at = id.lastIndexOf('@');
      const version = Number(id.slice(at + 1));
      if (at > 0 && Number.isSafeInteger(version)) this.found(id.slice(0, at), version);
    }
  }

  /** The events of the work are already stored: a repeated request has the same response. */
  found(stream: string, version: number): void {
    const id = eventId(stream, version);
    this.#newest = id;
    this.#appended.delete(stream);
    if (this.#appended.size < TRACKED_EVENTS_MAX) this.#appended.set(stream, id);
  }
}

/** The same cause with a tracker of its own. */
export const followed = (cause: Cause): Cause => ({ ...cause, tracker: new CauseTracker() });

/** Work of a process that continues these events of its own service, under a cause's caller, correlation and trace. */
export const continuing = (cause: Omit<Cause, 'causes'>, ...ids: readonly string[]): Cause => ({
  ...cause,
  causes: ids.map((id) => ({ id, kind: 'step' })),
  tracker: new CauseTracker(),
});

/** Work that a timer started, which these events armed. */
export const timedBy = (cause: Omit<Cause, 'causes'>, ...ids: readonly string[]): Cause => ({
  ...cause,
  causes: ids.map((id) => ({ id, kind: 'timer' })),
  tracker: new CauseTracker(),
});

/** The event that a call made for this cause continues: the newest of the work, else its own first cause. */
export const callingEvent = ({ causes = [], tracker }: Partial<Cause>): string | undefined =>
  tracker?.newest ?? causes[0]?.id;

/**
 * The cause of each further event that a commit stores in one stream. It follows from the first event, which has the causes of the
 * change: the loss of a key follows from the removal of the identity.
 * @param first id of the first event
 */
export const afterFirst = (cause: Cause, first: string): Cause => ({ ...cause, causes: [{ id: first, kind: 'step' }] });

/** The cause as it is stored. */
export const withoutTracker = (cause: Cause): Cause => {
  if (cause.tracker === undefined) return cause;
  const { tracker: _tracker, ...plain } = cause;
  return plain;
};

/**
 * The cause of the next change of this stream; of several streams if it is undefined.
 * @param given causes that the change has in place of those of the cause
 */
export const storedCause = (cause: Cause, stream: string | undefined, given?: readonly CausedBy[]): Cause => {
  const { tracker } = cause;
  if (tracker !== undefined) return { ...withoutTracker(cause), causes: tracker.causesOf(stream, cause.causes, given) };
  return given === undefined ? cause : { ...cause, causes: given };
};

import {
  type Category,
  type Cause,
  CursorConflict,
  type CursorMove,
  type EventOf,
  type EventStore,
  Rejection,
  type Transacted,
} from '@interlock/event-store';
import type { FleetHost } from './decider.ts';
import type { DiskHostEvent } from './events.ts';

/**
 * Where new disks and snapshots are made: on this host while it is open. A commit that begins one requires the placement cursor of
 * the host, and a cordon moves that cursor. So after a cordon nothing new begins there, whatever a process remembers, and a list
 * of what is there is complete.
 */
export class Placement {
  readonly #store: Pick<EventStore, 'cursor'>;
  readonly #hosts: Pick<Category<FleetHost, DiskHostEvent>, 'load'>;
  readonly #host: string;
  /** The cursor of the host when it was found open; undefined: it has to be read. */
  #open: CursorMove | undefined;

  constructor(
    store: Pick<EventStore, 'cursor'>,
    hosts: Pick<Category<FleetHost, DiskHostEvent>, 'load'>,
    host: string,
  ) {
    this.#store = store;
    this.#hosts = hosts;
    this.#host = host;
  }

  /**
   * Commits what begins something new on this host: also that a volume moves there. A repeat that decides nothing succeeds in every state of the host.
   * @throws Rejection of `decide`; FAILED_PRECONDITION NO_DISK_HOST_OPEN
   */
  async begin<State, Event extends EventOf>(
    kind: Pick<Category<State, Event>, 'transact'>,
    name: string,
    decide: (state: State) => readonly Event[],
    cause: Cause,
    options: { readonly expected?: number | undefined } = {},
  ): Promise<Transacted<State, Event>> {
    for (;;) {
      const { guard, status } = this.#open ? { guard: this.#open, status: 'open' as const } : await this.#read();
      const decideHere = (state: State): readonly Event[] => {
        const events = decide(state);
        if (events.length > 0 && guard === undefined) throw noneOpen(this.#host, status);
        return events;
      };
      try {
        const { expected } = options;
        return await kind.transact(name, decideHere, cause, { guard, ...(expected === undefined ? {} : { expected }) });
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
        this.#open = undefined;
      }
    }
  }

  async #read(): Promise<{ readonly guard: CursorMove | undefined; readonly status: FleetHost['status'] }> {
    // The cursor first: a cordon after this moves it.
    const at = await this.#store.cursor(placementCursor(this.#host));
    const { status } = (await this.#hosts.load(this.#host)).state;
    this.#open = status === 'open' ? { name: placementCursor(this.#host), from: at, to: at } : undefined;
    return { guard: this.#open, status };
  }
}

/** Name of the cursor that each begin on a host requires, and that whatever closes the host moves. */
export const placementCursor = (host: string): string => `placement/${host}`;

const noneOpen = (host: string, status: FleetHost['status']): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'NO_DISK_HOST_OPEN',
    `no disk host takes new disks and snapshots: ${host} is ${status === 'absent' ? 'not registered' : status}. Resume it: interlock disk-host resume ${host}`,
    { disk_host: `diskHosts/${host}`, state: status },
  );

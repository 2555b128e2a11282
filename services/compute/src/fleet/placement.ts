import {
  type Category,
  type Cause,
  CursorConflict,
  type CursorMove,
  type EventStore,
  Rejection,
} from '@interlock/event-store';
import { expectedVersion, names } from '@interlock/rpc';
import type { FleetVmHost } from './decider.ts';
import type { VmHostEvent } from './events.ts';

/** What placement and whatever closes a host need. */
export interface PlacementParts {
  readonly store: Pick<EventStore, 'cursor'>;
  readonly hosts: Pick<Category<FleetVmHost, VmHostEvent>, 'load' | 'transact'>;
}

/**
 * What the commit that places a machine at a host requires (`TransactOptions.guard`): the host is open, and nothing closed it since.
 * So after a cordon, or once the host is lost, no machine is placed there, whatever a process remembers, and a list of the machines
 * there is complete. The commit fails with a `CursorConflict` after a cordon: choose again.
 * @param host full name
 * @throws Rejection UNAVAILABLE VM_HOST_NOT_OPEN
 */
export const placementGuard = async ({ store, hosts }: PlacementParts, host: string): Promise<CursorMove> => {
  const { vmHost } = names.vmHost.parse(host, 'vm_host');
  const name = placementCursor(vmHost);
  // The cursor first: a cordon after this moves it.
  const at = await store.cursor(name);
  const { status } = (await hosts.load(vmHost)).state;
  if (status === 'open') return { name, from: at, to: at };
  throw new Rejection(
    'UNAVAILABLE',
    'VM_HOST_NOT_OPEN',
    `${host} takes no new machine, because it is ${status === 'absent' ? 'not registered' : status}: try again, which chooses another one`,
    { vm_host: host, state: status },
  );
};

/**
 * Commits what closes a host. It moves the placement cursor, so that no machine is placed there afterwards (`placementGuard`).
 * @param host short name
 * @param options.timer the process that armed the timer which led to it
 * @throws Rejection of `decide`; ABORTED ETAG_MISMATCH
 */
export const closeHost = async (
  { store, hosts }: PlacementParts,
  host: string,
  decide: (state: FleetVmHost) => readonly VmHostEvent[],
  cause: Cause,
  { etag = '', timer }: { readonly etag?: string; readonly timer?: string } = {},
): Promise<void> => {
  const name = placementCursor(host);
  for (;;) {
    const from = await store.cursor(name);
    const guard = { name, from, to: from + 1 };
    try {
      await hosts.transact(host, decide, cause, { ...expectedVersion(etag), guard, timer });
      return;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
    }
  }
};

/** Name of the cursor that each placement at a host requires, and that whatever closes the host moves. */
const placementCursor = (host: string): string => `placement/${host}`;

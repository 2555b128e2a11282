import type { Category, Page } from '@interlock/event-store';
import type { VmEvent } from '../vm/events.ts';
import type { Vm } from '../vm/state.ts';

/** What closes the disks of machines that are off. A pass over a set goes before it. */
export interface DiskClosing {
  /** Machines of this set may have disks to close. */
  ofSet(set: string): void;
  /** Runs work that goes first: no disks are closed meanwhile. */
  after<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** Machines read, decided and stored together: bounds the memory of a pass and the pause of the event loop. */
const pageSize = 500;

/** A page of the machines that have a disk of a set, in the order of their names. @param after name of the last machine before it */
export const pageOfSet = (
  vms: Pick<Category<Vm, VmEvent>, 'list'>,
  set: string,
  after: string | undefined,
): Promise<Page<Vm>> =>
  vms.list({ index: { index: 'set', value: set }, limit: pageSize, ...(after === undefined ? {} : { after }) });

/** Stores all pages of a set: reads the next page while the previous one is stored. */
export const throughSet = async (
  vms: Pick<Category<Vm, VmEvent>, 'list'>,
  set: string,
  store: (page: Page<Vm>) => Promise<void>,
): Promise<void> => {
  let storing: Promise<void> = Promise.resolve();
  let after: string | undefined;
  do {
    const page = await pageOfSet(vms, set, after);
    await storing;
    storing = store(page);
    // A failure is thrown by the await of `storing`; until then the next page may still be on its way.
    storing.catch(() => undefined);
    after = page.next;
  } while (after !== undefined);
  await storing;
};

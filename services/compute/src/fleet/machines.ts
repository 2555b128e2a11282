import type { Category, IndexEntry, Loaded } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import type { VmEvent } from '../vm/events.ts';
import type { Vm } from '../vm/state.ts';

/** Machines read at once. */
const pageSize = 500;

/**
 * The machines that are on at a VM host: their newest guest was started there, and they are not off.
 * @param host short name
 */
export const machinesAt = (vms: Pick<Category<Vm, VmEvent>, 'list' | 'count'>, host: string) => {
  const index: IndexEntry = { index: 'vmHost', value: names.vmHost.format({ vmHost: host }) };
  return {
    count: (): Promise<number> => vms.count(index),
    /** In order of their names. */
    async *pages(): AsyncGenerator<readonly Loaded<Vm>[], void> {
      let after: string | undefined;
      do {
        const page = await vms.list({ index, limit: pageSize, ...(after === undefined ? {} : { after }) });
        yield page.items;
        after = page.next;
      } while (after !== undefined);
    },
  };
};

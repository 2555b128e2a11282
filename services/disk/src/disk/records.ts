import { outlivesKeyLoss } from '@interlock/access/outcome';
import type { Loaded } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { ofHost } from '../fleet/own.ts';
import type { DiskRecord, DiskRecords } from '../host/records.ts';
import { endAccess } from './attachment-decider.ts';
import { type Control, isSnapshotName } from './control.ts';
import { accessAt, existing } from './decider.ts';
import { skuOnWire } from './encryption.ts';
import { type ActiveDisk, diskSteps, grantOf } from './state.ts';

/** Disks read at once. */
const pageSize = 1_000;

/** A disk as its host sees it. */
export const recordOf = ({ id: name, state }: Loaded<ActiveDisk>, clock: Pick<Clock, 'now'>): DiskRecord => ({
  holder: { ...state, name },
  access: accessAt(state, clock.now()),
  attachEpoch: state.attachEpoch,
  grant: grantOf(state),
  openedBy: diskSteps(name, state, state.access?.by === 'user' ? 'access' : 'open')[0],
  isMoving: state.moving !== null,
  outlivesKeyLoss: outlivesKeyLoss(skuOnWire[state.sku]),
});

/** The store as the host reads it. */
export const openRecords = ({
  disks,
  snapshots,
  hostName,
  stored,
  turns,
  clock,
}: Pick<Control, 'disks' | 'snapshots' | 'hostName' | 'stored' | 'turns' | 'clock'>): DiskRecords => ({
  async disk(name) {
    const loaded = await disks.load(name);
    return recordOf({ ...loaded, state: existing(loaded.state) }, clock);
  },
  async accesses(names) {
    const found = await disks.loadMany(names);
    return new Map(
      found.flatMap(({ id, state }) =>
        state.status === 'active'
          ? [[id, { access: accessAt(state, clock.now()), attachEpoch: state.attachEpoch }] as const]
          : [],
      ),
    );
  },
  async holder(name) {
    const { state } = await (isSnapshotName(name) ? snapshots : disks).load(name);
    return state.status === 'active' ? { ...state, name } : undefined;
  },
  async *withAccess() {
    let after: string | undefined;
    do {
      const page = await disks.list({
        index: ofHost(hostName),
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      for (const { id, state } of page.items) {
        if (state.status === 'active' && accessAt(state, clock.now()) !== null) yield id;
      }
      after = page.next;
    } while (after !== undefined);
  },
  header: stored.get,
  async endAccess(name, tokenHash, cause) {
    await turns(name, () => disks.transact(name, endAccess(clock.now(), tokenHash), cause, { timer: 'access' }));
  },
});

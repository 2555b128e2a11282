import { isDeepStrictEqual } from 'node:util';
import type { Category, Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import { type ManagementRecord, parentOf, type RecordContent, type RecordEvent, recordId } from './record.ts';

/** A record that exists. */
export type PresentRecord = Extract<ManagementRecord, { status: 'present' }>;

/** Resource groups, tags, and resources that only management knows. */
export interface Records {
  find(armId: string): Promise<PresentRecord | undefined>;
  /** In the order of the ids. */
  findMany(armIds: readonly string[]): Promise<readonly (PresentRecord | undefined)[]>;
  /** Creates or replaces. @returns the record, and whether it is new */
  put(
    armId: string,
    content: RecordContent,
    caller: Caller,
  ): Promise<{ readonly record: PresentRecord; readonly isNew: boolean }>;
  /** Stores the record again as it is: a replica works on it (`isRenewed`). Does nothing if it does not exist. */
  renew(armId: string, caller: Caller): Promise<void>;
  delete(armId: string, caller: Caller): Promise<void>;
  /** Records of the same type in the same scope. @param armId of any of them */
  listBeside(armId: string): Promise<readonly PresentRecord[]>;
  /** Records of all groups of a subscription. @param type `Microsoft.Network/virtualNetworks` */
  listOfType(subscription: string, type: string): Promise<readonly PresentRecord[]>;
}

/** Opens the records over their streams. */
export const openRecords = (streams: Category<ManagementRecord, RecordEvent>, clock: Pick<Clock, 'now'>): Records => ({
  async find(armId) {
    const { state } = await streams.load(recordId(armId));
    return state.status === 'present' ? state : undefined;
  },
  async findMany(armIds) {
    const found = await streams.loadMany(armIds.map(recordId));
    return found.map(({ state }) => (state.status === 'present' ? state : undefined));
  },
  async put(armId, content, caller) {
    let isNew = false;
    const { state } = await streams.transact(
      recordId(armId),
      (record) => {
        isNew = record.status === 'absent';
        const isSame =
          record.status === 'present' && record.armId === armId && isDeepStrictEqual(record.content, content);
        return isSame ? [] : [{ type: 'RecordPut', armId, content, at: clock.now() }];
      },
      causeOf(caller),
    );
    if (state.status === 'absent') throw new Error(`${armId} was put and is absent`);
    return { record: state, isNew };
  },
  async renew(armId, caller) {
    const decide = (record: ManagementRecord): readonly RecordEvent[] =>
      record.status === 'absent'
        ? []
        : [{ type: 'RecordPut', armId: record.armId, content: record.content, at: clock.now() }];
    await streams.transact(recordId(armId), decide, causeOf(caller));
  },
  async delete(armId, caller) {
    const decide = (record: ManagementRecord): readonly RecordEvent[] =>
      record.status === 'absent' ? [] : [{ type: 'RecordDeleted', at: clock.now() }];
    await streams.transact(recordId(armId), decide, causeOf(caller));
  },
  listBeside: (armId) => listWhere(streams, 'parent', parentOf(armId)),
  listOfType: (subscription, type) => listWhere(streams, 'type', `subscriptions/${subscription}/${type}`.toLowerCase()),
});

const listWhere = async (
  streams: Category<ManagementRecord, RecordEvent>,
  index: string,
  value: string,
): Promise<readonly PresentRecord[]> => {
  const found = await streams.listAll({ index: { index, value } });
  return found.flatMap(({ state }) => (state.status === 'present' ? [state] : []));
};

const causeOf = ({ correlationId, principal }: Caller): Cause => ({
  correlationId,
  causes: [],
  caller: `principals/${principal}`,
});

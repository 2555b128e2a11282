import type { CategoryDefinition, Json } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** Members of a resource that only management knows, as the client sent them. */
export type RecordContent = Readonly<Record<string, Json>>;

/** The facts about one record. */
export type RecordEvent =
  | {
      readonly type: 'RecordPut';
      /** ARM id as the client wrote it last. */
      readonly armId: string;
      readonly content: RecordContent;
      readonly at: Instant;
    }
  | { readonly type: 'RecordDeleted'; readonly at: Instant };

/** What management has of a resource and no service has: absent ──put──▶ present ──delete──▶ absent. */
export type ManagementRecord =
  | { readonly status: 'absent' }
  | {
      readonly status: 'present';
      readonly armId: string;
      readonly content: RecordContent;
      readonly createdAt: Instant;
      readonly updatedAt: Instant;
    };

/** How records are stored, and listed by the scope and type they lie in. */
export const records: CategoryDefinition<ManagementRecord, RecordEvent> = {
  name: 'armrecord',
  stateVersion: 1,
  initial: { status: 'absent' },
  evolve: (record, event) =>
    event.type === 'RecordDeleted'
      ? { status: 'absent' }
      : {
          status: 'present',
          armId: event.armId,
          content: event.content,
          createdAt: record.status === 'present' ? record.createdAt : event.at,
          updatedAt: event.at,
        },
  indexes: (record, id) =>
    record.status === 'present'
      ? [
          { index: 'parent', value: parentOf(id) },
          { index: 'type', value: typeOf(id) },
        ]
      : [],
};

/** Subscription and type of a resource in a group, in lower case: `subscriptions/<s>/microsoft.network/virtualnetworks`. */
export const typeOf = (armId: string): string =>
  parentOf(armId).replace(/^(subscriptions\/[^/]+)\/resourcegroups\/[^/]+\/providers\//, '$1/');

/** Everything of an ARM id but its last segment, in lower case. */
export const parentOf = (armId: string): string => recordId(armId).replace(/\/[^/]+$/, '');

/** Id of a record's stream: the ARM id in lower case, without the slash at its start. */
export const recordId = (armId: string): string => armId.toLowerCase().replace(/^\//, '');

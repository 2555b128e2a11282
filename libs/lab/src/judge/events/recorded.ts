import type { RecordedEvent } from '@interlock/event-store';

/** A recorded event as the judge reads it: its type with its data. @template E what the judge reads of such events; of others only `type` is there */
export const readEvent = <E extends { readonly type: string }>({ type, data }: RecordedEvent): E =>
  ({ type, ...data }) as unknown as E;

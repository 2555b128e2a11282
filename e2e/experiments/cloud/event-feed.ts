import type { StoredEvent } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Cause, RecordedEvent, StreamName } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import type { Clients } from '../../cloud/clients.ts';

/** Reads the events of services as they are stored. */
export interface EventFeeds {
  /**
   * All events of a service up to now, in the order of its feed.
   * @param deadlineMs longest time of one call; by default that of the client
   * @throws Rejection, RpcFailure if the service does not respond
   */
  read(service: Workload, deadlineMs?: number): Promise<readonly RecordedEvent[]>;
  /** The events read so far. */
  known(service: Workload): readonly RecordedEvent[];
}

/** Most events of a call. */
const pageSize = 1_000;

/** Reads through the API, each time only new events. */
export const eventFeeds = (messaging: Clients['messaging']): EventFeeds => {
  const known = new Map<Workload, RecordedEvent[]>();
  const reading = new Map<Workload, Promise<void>>();
  const fetch = async (service: Workload, deadlineMs: number | undefined): Promise<void> => {
    const events = known.get(service) ?? [];
    known.set(service, events);
    for (;;) {
      const afterPosition = events.at(-1)?.position ?? 0;
      const options = deadlineMs === undefined ? {} : { deadlineMs };
      const page = await messaging(service).readEvents({ afterPosition, pageSize }, options);
      events.push(...page.events.map(recordedOf));
      if (page.events.length === 0 || (events.at(-1)?.position ?? 0) >= page.headPosition) return;
    }
  };
  return {
    known: (service) => known.get(service) ?? [],
    async read(service, deadlineMs) {
      const running = reading.get(service) ?? fetch(service, deadlineMs).finally(() => reading.delete(service));
      reading.set(service, running);
      await running;
      return [...(known.get(service) ?? [])];
    },
  };
};

const recordedOf = (event: StoredEvent): RecordedEvent => {
  const { position, eventId: id, version, type, schema, data = {}, meta, eventTime } = event;
  const cause = meta as unknown as Cause;
  return {
    position,
    stream: event.stream as StreamName,
    version,
    id,
    type,
    schema,
    data,
    cause,
    time: eventTime?.getTime() ?? 0,
  };
};

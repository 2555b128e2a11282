import type { Cause, RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import connect from 'postgres';

/** Where the events of services are read as they are stored. */
export interface EventFeeds {
  /** All events of a service up to now, in the order of its feed. @throws Error while its database does not respond */
  read(service: Workload): Promise<readonly RecordedEvent[]>;
  close(): Promise<void>;
}

/** Positions behind the last one that are read again: what was committed late between two reads. */
const againCount = 200;
/** Longest wait for a connection, in seconds. */
const connectTimeoutS = 5;

type Row = Omit<RecordedEvent, 'id' | 'cause' | 'time'> & {
  readonly meta: Cause & { id: string };
  readonly time: string;
};

/** Reads straight from the databases, also while a service is down; each read fetches only what is new. */
export const eventFeeds = (databaseUrls: Readonly<Record<Workload, string>>): EventFeeds => {
  const feeds = new Map<Workload, Feed>();
  return {
    read(service) {
      const feed = feeds.get(service) ?? new Feed(databaseUrls[service]);
      feeds.set(service, feed);
      return feed.read();
    },
    close: async () => {
      await Promise.all([...feeds.values()].map((feed) => feed.close()));
    },
  };
};

class Feed {
  readonly #sql: ReturnType<typeof connect>;
  readonly #events = new Map<number, RecordedEvent>();
  #last = 0;
  #reading: Promise<void> | undefined;

  constructor(url: string) {
    this.#sql = connect(url, { max: 1, connect_timeout: connectTimeoutS, onnotice: () => undefined });
  }

  async read(): Promise<readonly RecordedEvent[]> {
    this.#reading ??= this.#fetch().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
    return [...this.#events.values()].sort((one, other) => one.position - other.position);
  }

  close(): Promise<void> {
    return this.#sql.end({ timeout: 1 });
  }

  async #fetch(): Promise<void> {
    const rows = await this.#sql<Row[]>`
      select position, stream, version, type, schema, data, meta, time_ms::text as time from events
      where position > ${this.#last - againCount} order by position`;
    for (const {
      meta: { id, ...cause },
      time,
      ...event
    } of rows) {
      const position = Number(event.position);
      this.#events.set(position, { ...event, position, id, cause, time: Number(time) });
      this.#last = Math.max(this.#last, position);
    }
  }
}

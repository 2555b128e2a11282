import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import type { Session } from '../session/session.ts';

/** Poll interval, in milliseconds. */
const LOOK_MS = 1_000;

/** Which events are shown. */
export interface EventsWanted {
  readonly services: readonly Workload[];
  /** Position after which to start; undefined: all, or with `isFollowed` those from now on. */
  readonly after: number | undefined;
  /** Continues with new events until Ctrl-C or `--timeout`; a service that does not respond is called again. */
  readonly isFollowed: boolean;
}

/**
 * Shows stored events of services, by time.
 * @throws Rejection, RpcFailure if a service cannot be read at the start
 */
export async function showEvents(session: Session, { services, after, isFollowed }: EventsWanted): Promise<void> {
  const { clock, terminal, timeoutMs } = session;
  const startedMs = clock.monotonicMs();
  const isOver = () => timeoutMs !== undefined && clock.monotonicMs() - startedMs >= timeoutMs;
  const feeds = await Promise.all(
    services.map(async (service) =>
      feedOf(session, service, after ?? (isFollowed ? await headOf(session, service) : 0)),
    ),
  );
  show(session, await Promise.all(feeds.map((feed) => feed.read())));
  const silent = new Set<Workload>();
  while (isFollowed && !isOver()) {
    await clock.sleep(LOOK_MS);
    const found = await Promise.all(
      feeds.map(async ({ service, read }) => {
        try {
          const events = await read();
          silent.delete(service);
          return events;
        } catch (error) {
          if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
          if (!silent.has(service)) terminal.err(`${service}: ${error.message}; called again every second`);
          silent.add(service);
          return [];
        }
      }),
    );
    show(session, found);
  }
}

interface StoredEvent {
  readonly service: Workload;
  readonly event: JsonObject;
}

const readEvents = () => methodOf(Service.messaging, 'ReadEvents');

const headOf = async ({ caller }: Session, service: Workload): Promise<number> =>
  Number((await caller.call(service, readEvents(), { pageSize: 1 })).headPosition ?? 0);

/** The events of a service; each read returns those that are new. */
const feedOf = ({ caller }: Session, service: Workload, from: number) => {
  const method = readEvents();
  let position = from;
  return {
    service,
    async read(): Promise<readonly StoredEvent[]> {
      const found: StoredEvent[] = [];
      for (;;) {
        const page = await caller.call(service, method, { afterPosition: String(position), pageSize: PAGE_SIZE_MAX });
        const events = elementsIn(method, page);
        found.push(...events.map((event) => ({ service, event })));
        position = Number(events.at(-1)?.position ?? position);
        if (events.length === 0 || position >= Number(page.headPosition ?? 0)) return found;
      }
    },
  };
};

const show = ({ output, terminal }: Session, found: readonly (readonly StoredEvent[])[]): void => {
  const byTime = found.flat().toSorted((a, b) => String(a.event.eventTime).localeCompare(String(b.event.eventTime)));
  for (const one of byTime) {
    if (output.isDocument) output.writeNext({ service: one.service, ...one.event });
    else terminal.out(lineOf(one));
  }
};

/** `2026-01-01T00:00:00.500Z  key-vault 12  key-vaults/kv1/keys/k1  KeyVersionDisabled {"version":"1"}` */
const lineOf = ({ service, event }: StoredEvent): string =>
  `${event.eventTime}  ${service} ${event.position}  ${event.stream}  ${event.type} ${JSON.stringify(event.data ?? {})}`;

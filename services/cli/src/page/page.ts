import { existsSync } from 'node:fs';
import { context, ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api';
import { shortName } from '../request/names.ts';
import { beforeEnd } from '../session/endings.ts';
import type { Session } from '../session/session.ts';
import { pageFiles } from './assets.ts';
import { type Door, openDoor, type Served } from './door.ts';
import { experimentAnswer } from './experiment.ts';
import { impactAnswer } from './impact.ts';
import { keepAddress, keptAddress, newAddress } from './kept-address.ts';
import { LiveRows } from './live-rows.ts';
import { PageReader } from './page-reader.ts';
import { type TraceSource, traceAnswer } from './traces.ts';
import { viewersOf } from './viewers.ts';

/** What is served, and where. */
export interface PageOptions extends TraceSource {
  /** Full name of a group or subscription. */
  readonly parent: string;
  readonly title: string;
  /** How far back the timeline goes, in milliseconds. */
  readonly windowMs: number;
  /** Undefined: that of the page served last from the data folder, or a free one. */
  readonly port: number | undefined;
}

/** Serves the live page until Ctrl-C or the end of `--timeout`. @throws Error EADDRINUSE for a named port that is in use */
export async function servePage(session: Session, options: PageOptions): Promise<void> {
  const { caller, clock, random, terminal, settings, timeoutMs } = session;
  const rows = new LiveRows();
  const short = (name: string): string => shortName(name, settings.names);
  const asPage = <Result>(work: () => Promise<Result>): Promise<Result> =>
    context.with(unsampled(random.bytes(24)), work);
  const viewers = viewersOf(rows, random.uuid(), clock);
  const files = await pageFiles();
  const served: Served = {
    answer: async (path) => {
      const traceId = /^traces\/([0-9a-f]{32})$/.exec(path)?.[1];
      if (traceId !== undefined) return traceAnswer(traceId, options);
      const own = files.get(path) ?? experimentAnswer(path, options.data);
      return own ?? asPage(() => impactAnswer(path, { caller, short }));
    },
    stream: viewers.add,
  };
  const door = await opened(served, session, options);
  const ended = new AbortController();
  const cancel = beforeEnd(() => door.close());
  try {
    terminal.out(door.address);
    terminal.err(`shows ${options.title} in a browser on this computer, and changes nothing; Ctrl-C ends it`);
    const reader = new PageReader({ caller, rows, clock, short, ...options });
    const reading = asPage(() => reader.run(viewers.present, ended.signal));
    const end = timeoutMs === undefined ? new Promise<void>(() => undefined) : clock.sleep(timeoutMs);
    await Promise.race([reading, end]);
  } finally {
    ended.abort();
    cancel();
    await door.close();
  }
}

/** Opens the door at its last address, if that is free. */
async function opened(served: Served, { random }: Session, { port, data }: PageOptions): Promise<Door> {
  const folder = data !== undefined && existsSync(data) ? data : undefined;
  const kept = port === undefined && folder !== undefined ? keptAddress(folder) : undefined;
  if (kept !== undefined) {
    try {
      return await openDoor(served, kept);
    } catch (error) {
      // Another page of this folder is open: it keeps the address.
      if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')
        return openDoor(served, newAddress(random));
      throw error;
    }
  }
  const address = newAddress(random, port);
  const door = await openDoor(served, address);
  if (folder !== undefined) keepAddress(folder, { ...address, port: door.port });
  return door;
}

/** A trace that is not sampled: the calls of the page, one round each second, would replace the spans that users look for. */
function unsampled(bytes: Uint8Array) {
  const hex = Buffer.from(bytes).toString('hex');
  const spanContext = { traceId: hex.slice(0, 32), spanId: hex.slice(32, 48), traceFlags: TraceFlags.NONE };
  return trace.setSpanContext(ROOT_CONTEXT, spanContext);
}

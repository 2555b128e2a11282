import type { Rows } from '../src/page/rows.ts';

/** The connection to the command that serves the page. */
export interface Connection {
  readonly isOpen: boolean;
  /** Since when it is so, in milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** The rows of the page, and whether they are still updated. */
export interface Feed {
  readonly rows: Map<string, unknown>;
  /** Rises with every message. */
  version: number;
  connection: Connection;
  /** When the newest message came, in milliseconds since the epoch. */
  newestMs: number;
}

/** A stream that the server refused is opened again after this time, in milliseconds. A lost one the browser opens again itself. */
const REOPEN_MS = 2_000;
/**
 * Receives rows until the page is closed. What is known stays when the connection is lost; after it, the server sends what changed since
 * the last message.
 */
export function openFeed(onChange: () => void): Feed {
  const nowMs = Date.now();
  const feed: Feed = { rows: new Map(), version: 0, connection: { isOpen: false, sinceMs: nowMs }, newestMs: nowMs };
  const connected = (isOpen: boolean): void => {
    if (feed.connection.isOpen !== isOpen) feed.connection = { isOpen, sinceMs: Date.now() };
    onChange();
  };
  const open = (): void => {
    const source = new EventSource('events');
    source.onopen = () => connected(true);
    source.onmessage = ({ data }) => {
      feed.newestMs = Date.now();
      const part: Part = JSON.parse(String(data));
      apply(feed.rows, part);
      feed.version += 1;
      // The state between two parts of a large change is no state of the cloud.
      if (!part.isMore) onChange();
    };
    source.onerror = () => {
      connected(false);
      if (source.readyState === EventSource.CLOSED) window.setTimeout(open, REOPEN_MS);
    };
  };
  open();
  return feed;
}

/** A message of the server. */
interface Part {
  /** Whether what was known before is to be forgotten. */
  readonly isReset: boolean;
  /** Whether another part of the same change follows. */
  readonly isMore: boolean;
  /** A deleted row is null. */
  readonly rows: Readonly<Record<string, unknown>>;
}

function apply(rows: Map<string, unknown>, part: Part): void {
  if (part.isReset) rows.clear();
  for (const [name, row] of Object.entries(part.rows)) {
    if (row === null) rows.delete(name);
    else rows.set(name, row);
  }
}

/** One row; undefined before it was received. */
export const rowOf = <Name extends keyof Rows>({ rows }: Feed, name: Name): Rows[Name] | undefined =>
  rows.get(name) as Rows[Name] | undefined;

/** The rows of a kind, by the rest of their names. */
export const rowsOf = <Kind extends 'set' | 'lease' | 'host' | 'machine' | 'power' | 'good' | 'io' | 'audit'>(
  { rows }: Feed,
  kind: Kind,
): ReadonlyMap<string, Rows[`${Kind} ${string}`]> => {
  const prefix = `${kind} `;
  const found = new Map<string, Rows[`${Kind} ${string}`]>();
  for (const [name, row] of rows)
    if (name.startsWith(prefix)) found.set(name.slice(prefix.length), row as Rows[`${Kind} ${string}`]);
  return found;
};

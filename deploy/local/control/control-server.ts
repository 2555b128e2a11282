import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Clock } from '@interlock/runtime';
import type { DataFolder } from '../data-folder.ts';
import { type CloudControl, type ControlledPart, cloudParts } from './cloud-control.ts';
import type { EstateRequest, TestControls } from './controls-for-tests.ts';

/** What the launcher does for other processes of its user. */
export const controlCalls = ['processes', 'describe', 'kill', 'restart', 'pause', 'resume', 'clock', 'estate'] as const;
export type ControlCall = (typeof controlCalls)[number];

/** The body of a call. */
export interface ControlRequest {
  readonly part?: ControlledPart;
  /** After which the launcher undoes a `kill` or `pause` itself, in milliseconds. */
  readonly forMs?: number;
  /** For `clock`: by how much to advance the clocks of the cloud, in milliseconds. If absent, they stay. */
  readonly advanceMs?: number;
  readonly estate?: EstateRequest;
}

/** A running control server. */
export interface ControlServer {
  /** Path of its socket, in a folder that only its user can enter. */
  readonly path: string;
  close(): Promise<void>;
}

/** Longest path of a socket, in bytes. */
const pathBytesMax = 100;

/**
 * Serves the control of a cloud on a socket of the data folder: HTTP, `POST /<call>` with a JSON body. Commands and experiments
 * of other processes use it to end and restart what this process started.
 * @param describe what `describe` returns: all addresses, secrets included
 */
export const serveControl = async (
  control: CloudControl,
  {
    data,
    clock,
    say,
    describe,
    testControls,
  }: {
    readonly data: DataFolder;
    readonly clock: Clock;
    readonly say: (line: string) => void;
    readonly describe: () => unknown;
    /** Absent: `clock` and `estate` are refused. */
    readonly testControls?: TestControls | undefined;
  },
): Promise<ControlServer> => {
  const { path, remove } = socketPath(data);
  const undoLater = async (part: ControlledPart, forMs: number, undo: 'restart' | 'resume'): Promise<void> => {
    await clock.sleep(forMs, ending.signal);
    if (ending.signal.aborted) return;
    await control[undo](part).catch((error: unknown) => say(`${part} was not healed: ${messageOf(error)}`));
  };
  const answer = async (call: string, request: ControlRequest): Promise<unknown> => {
    const { part, forMs } = request;
    if (call === 'processes') return control.processes();
    if (call === 'describe') return describe();
    if (call === 'clock' || call === 'estate') return controlled(testControls, call, request);
    if (call !== 'kill' && call !== 'restart' && call !== 'pause' && call !== 'resume')
      throw new Error(`no call is named ${call}; there are ${controlCalls.join(', ')}`);
    const all = new Set([...cloudParts, ...(await control.processes()).map((one) => one.part)]);
    if (part === undefined || !all.has(part))
      throw new Error(`part must be one of ${[...all].join(', ')} (got ${part})`);
    say(`${call} ${part}${forMs === undefined ? '' : ` for ${forMs} ms`}, requested by another process`);
    await control[call](part);
    if (forMs !== undefined && (call === 'kill' || call === 'pause'))
      void undoLater(part, forMs, call === 'kill' ? 'restart' : 'resume');
    return {};
  };
  const ending = new AbortController();
  const server = createServer((request, response) => {
    void handle(request, answer).then(({ status, body }) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return {
    path,
    close: async () => {
      ending.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      remove();
    },
  };
};

/** Moves clocks, and exports and imports estates. @throws Error for a cloud that was started without these */
const controlled = async (
  controls: TestControls | undefined,
  call: 'clock' | 'estate',
  { advanceMs, estate }: ControlRequest,
): Promise<unknown> => {
  if (controls === undefined) throw new Error(`${call} needs a cloud that was started with --test-controls`);
  if (call === 'clock') {
    return { aheadMs: advanceMs === undefined ? controls.aheadMs() : await controls.advance(advanceMs) };
  }
  if (estate === undefined) throw new Error('estate needs a request');
  return controls.estate(estate);
};

const handle = async (
  request: IncomingMessage,
  answer: (call: string, given: ControlRequest) => Promise<unknown>,
): Promise<{ readonly status: number; readonly body: unknown }> => {
  try {
    const given = await text(request);
    const call = (request.url ?? '').slice(1);
    return { status: 200, body: await answer(call, given === '' ? {} : JSON.parse(given)) };
  } catch (error) {
    return { status: 400, body: { error: messageOf(error) } };
  }
};

/** The path of a socket may have 107 bytes, so that of a deep data folder is in the temporary folder. */
const socketPath = (data: DataFolder): { readonly path: string; readonly remove: () => void } => {
  const path = data.path('control.sock');
  if (Buffer.byteLength(path) <= pathBytesMax) {
    // The socket of a launcher that was killed. This launcher holds the folder now.
    rmSync(path, { force: true });
    return { path, remove: () => rmSync(path, { force: true }) };
  }
  const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
  return { path: join(folder, 'control.sock'), remove: () => rmSync(folder, { recursive: true, force: true }) };
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

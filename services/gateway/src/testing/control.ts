import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { RestError } from '../errors/rest-error.ts';

/** Parts of a cloud that its launcher can end, pause and start again. */
export const cloudParts = [
  'identity',
  'key-vault',
  'disk-encryption-set',
  'disk',
  'compute',
  'nats',
  'postgres',
] as const;

/** What the launcher does for the gateway. */
export interface LauncherCalls {
  processes: { readonly request: object; readonly result: readonly object[] };
  kill: Fault;
  pause: Fault;
  resume: Fault;
  restart: Fault;
  clock: { readonly request: { readonly advanceMs?: number }; readonly result: { readonly aheadMs: number } };
  estate: {
    readonly request: { readonly estate: object };
    readonly result: { readonly exitCode: number; readonly out: string; readonly err: string };
  };
}

interface Fault {
  readonly request: { readonly part: (typeof cloudParts)[number]; readonly forMs?: number };
  readonly result: object;
}

/** Calls the launcher. @throws RestError 409 with its reason, or 503 if it does not respond */
export type CallLauncher = <Call extends keyof LauncherCalls>(
  call: Call,
  given: LauncherCalls[Call]['request'],
) => Promise<LauncherCalls[Call]['result']>;

/** Calls the launcher of a local cloud on its control socket: HTTP, `POST /<call>` with a JSON body. @param path of the socket */
export const launcherAt =
  (path: string): CallLauncher =>
  async (call, given) => {
    const { status, body } = await send(path, call, given);
    if (status === 200) return body as never;
    throw new RestError(409, 'Conflict', `${call} failed: ${(body as { readonly error?: string }).error}`);
  };

const send = (path: string, call: string, given: object): Promise<{ status: number; body: unknown }> =>
  new Promise((resolve, reject) => {
    const sent = request({ socketPath: path, path: `/${call}`, method: 'POST', agent: false }, (response) => {
      json(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    sent.once('error', (cause) => {
      const message = `the launcher of this cloud does not respond: ${cause.message}`;
      reject(new RestError(503, 'ServiceUnavailable', message, {}, { cause }));
    });
    sent.end(JSON.stringify(given));
  });

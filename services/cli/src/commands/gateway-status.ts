import { existsSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { copiedFrom } from '@interlock/local/data-folder.ts';
import type { GatewayAccess } from '@interlock/local/gateway.ts';
import { type Clock, readUserFile } from '@interlock/runtime';

/** State of the gateway of a local cloud. */
export interface GatewayStatus {
  readonly url: string;
  readonly state: 'serving' | 'unreachable';
  /** Duration of the request, in milliseconds. */
  readonly answerMs: number;
  /** Why it is not `serving`; empty when it is. */
  readonly problem: string;
}

/** A gateway that does not respond within this time counts as unreachable, in milliseconds. */
const limitMs = 2_000;

/**
 * Requests the metadata of the gateway of a local cloud, as every client does first.
 * @param data folder of its launcher
 * @returns undefined if no gateway was started there
 */
export const readGatewayStatus = async (
  data: string | undefined,
  clock: Pick<Clock, 'monotonicMs'>,
): Promise<GatewayStatus | undefined> => {
  const file = data === undefined ? undefined : join(data, 'gateway.json');
  if (data === undefined || file === undefined || !existsSync(file) || copiedFrom(data) !== undefined) return undefined;
  const { url, authorityFile }: GatewayAccess = JSON.parse(readUserFile(file).toString('utf8'));
  const startedMs = clock.monotonicMs();
  const problem = await problemOf(`${url}/metadata/endpoints?api-version=2022-09-01`, readUserFile(authorityFile));
  const answerMs = Math.round(clock.monotonicMs() - startedMs);
  return { url, state: problem === '' ? 'serving' : 'unreachable', answerMs, problem };
};

/** Why a URL is not served with 200; empty if it is. */
const problemOf = (url: string, ca: Buffer): Promise<string> =>
  new Promise((resolve) => {
    const request = get(url, { ca, timeout: limitMs, agent: false }, (reply) => {
      reply.resume();
      resolve(reply.statusCode === 200 ? '' : `${url} returns status ${reply.statusCode}`);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${limitMs} ms`)));
    request.on('error', ({ message }) => resolve(message));
  });

import { readFileSync } from 'node:fs';
import type { UnwrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { Rejection } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import {
  type Channel,
  connect,
  type ItemRefusal,
  itemError,
  openChannel,
  RpcFailure,
  type Workload,
} from '@interlock/rpc';
import { systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import type { Row } from './row.ts';
import { services } from './who.ts';

/** The outcome of a call: a response, a refusal of the service, or neither. */
export interface Outcome {
  readonly code: string;
  /** Empty if the service gave none. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The credentials that a caller presents. */
export interface Shown {
  readonly bearer?: string;
  /** Access token of a disk. */
  readonly diskAccess?: string;
}

/** Clients of every service, for callers with their own tokens. */
export interface Calls {
  /** Calls an RPC. Of a stream of responses only the first is awaited. */
  call(row: Row, request: unknown, shown: Shown): Promise<Outcome>;
  close(): void;
}

/** Opens the ways, over TLS. */
export const openCalls = (cloud: LocalCloud): Calls => {
  const ca = readFileSync(cloud.authorityFile, 'utf8');
  const channels = new Map<Workload, Channel>(
    services.map((service) => [service, openChannel({ address: cloud.addresses[service], tls: { ca } })]),
  );
  const clientOf = ({ service, definition }: Row): object => {
    const channel = channels.get(service);
    if (!channel) throw new Error(`${service} is no service`);
    const audience = `interlock:${service}`;
    const seams = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('outside') };
    return connect({ channel, definition, credentials: undefined, audience, ...seams });
  };
  return {
    async call(row, request, { bearer, diskAccess }) {
      const client = clientOf(row);
      const { requestStream } = row.definition.methods[row.method] ?? {};
      const options = {
        ...(bearer === undefined ? {} : { token: bearer }),
        ...(diskAccess === undefined ? {} : { metadata: Metadata().set('x-interlock-disk-access', diskAccess) }),
      };
      const sent = requestStream === true ? streamOf(request) : request;
      try {
        const answer = Reflect.apply(Reflect.get(client, row.method), client, [sent, options]);
        const received: unknown = await (isStream(answer) ? firstOf(answer) : answer);
        // A batch succeeds as a whole. The refusal is that of its item.
        const refused = refusedItemOf(received);
        if (refused) throw itemError(refused, { method: row.rpc, peer: row.service });
        return { code: 'OK', reason: '', message: '', metadata: {} };
      } catch (error) {
        if (error instanceof Rejection) {
          const { code, reason, message, metadata } = error;
          return { code, reason, message, metadata };
        }
        if (error instanceof RpcFailure) return { code: error.code, reason: '', message: error.message, metadata: {} };
        throw error;
      }
    },
    close: () => {
      for (const channel of channels.values()) channel.close();
    },
  };
};

async function* streamOf(messages: unknown): AsyncGenerator<unknown> {
  if (!Array.isArray(messages)) throw new Error('the request of a stream is a list of messages');
  yield* messages;
}

const refusedItemOf = (answer: unknown): ItemRefusal | undefined => {
  if (typeof answer !== 'object' || answer === null || !('outcomes' in answer)) return undefined;
  const { outcomes } = answer as { readonly outcomes: UnwrapKeysResponse['outcomes'] };
  const refused = outcomes.find(({ outcome }) => outcome?.$case === 'refused')?.outcome;
  return refused?.$case === 'refused' ? refused.value : undefined;
};

const isStream = (answer: unknown): answer is AsyncIterable<unknown> =>
  typeof answer === 'object' && answer !== null && Symbol.asyncIterator in answer;

const firstOf = async (answers: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of answers) return;
};

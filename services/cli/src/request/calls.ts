import type { JsonObject, Message } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import {
  type CallOptions,
  type Channel,
  connect,
  type IssuedToken,
  PATIENT_RETRY,
  tokenSource,
  type Workload,
} from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { UsageError } from '../problems.ts';
import type { Credentials } from '../session/environment.ts';
import { type Method, methodOf, Service } from './schema.ts';

/** Calls the methods of all services as one principal. */
export interface Caller {
  /** A call with one response. @throws Rejection, RpcFailure, UsageError */
  call(service: Workload, method: Method, request: JsonObject, options?: CallOptions): Promise<JsonObject>;
  /** A call with a stream of responses. @throws the same */
  stream(service: Workload, method: Method, request: JsonObject, options?: CallOptions): AsyncIterable<JsonObject>;
  /** An access token of the principal for a service. */
  token(service: Workload): Promise<string>;
  /** `principals/{uuid}` of the credentials. */
  readonly principal: string;
  /** A caller with other credentials. */
  as(credentials: Credentials): Caller;
}

export interface CallerOptions {
  /**
   * Returns the channel to a service, for a call of a method (`package.Service/Method`). Called for each call, so it has to reuse
   * channels. Throws if the service cannot be called.
   */
  readonly channel: (service: Workload, method: string) => Channel;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  /** Deadline of calls without their own, in milliseconds. */
  readonly deadlineMs: number;
}

/** Makes a caller. The first call that needs a token fetches it. */
export function caller(options: CallerOptions): Caller {
  const { channel, credentials, clock, random, tracer, deadlineMs } = options;
  const plain = { clock, random, tracer, defaultDeadlineMs: deadlineMs, retry: PATIENT_RETRY };
  const issueToken = methodOf(Service.identity, 'IssueToken');
  const tokens = tokenSource({
    clock,
    issue: async (audience) => {
      if ('tokens' in credentials) return tokenIn(credentials.tokens, audience);
      const request = { clientId: credentials.principal, clientSecret: credentials.secret, audience };
      const { accessToken, expireTime } = await call('identity', issueToken, request).catch((error: unknown) => {
        throw ofIdentity(error);
      });
      return {
        token: String(accessToken),
        expireTime: typeof expireTime === 'string' ? Date.parse(expireTime) : clock.now(),
      };
    },
  });
  const functionOf = (service: Workload, { definition, key, path }: Method): ((...args: unknown[]) => unknown) => {
    const client = connect({
      ...plain,
      channel: channel(service, path),
      definition,
      credentials: publicMethods.has(path) ? undefined : tokens,
      audience: audienceOf(service),
    });
    const found: unknown = Reflect.get(client, key);
    if (typeof found !== 'function') throw new Error(`${path} is no function of its client`);
    return (...args) => Reflect.apply(found, client, args);
  };
  const call = async (service: Workload, method: Method, request: JsonObject, options: CallOptions = {}) => {
    const answer = await functionOf(service, method)(method.requestOf(request), options);
    return method.jsonOf(answer as Message);
  };
  return {
    principal: `principals/${credentials.principal}`,
    call: async (service, method, request, options) => {
      try {
        return await call(service, method, request, options);
      } catch (error) {
        throw withResource(error, request);
      }
    },
    stream: async function* (service, method, request, options = {}) {
      try {
        const answers = functionOf(service, method)(method.requestOf(request), options) as AsyncIterable<Message>;
        for await (const answer of answers) yield method.jsonOf(answer);
      } catch (error) {
        throw withResource(error, request);
      }
    },
    token: async (service) => tokens.token(audienceOf(service)),
    as: (other) => caller({ ...options, credentials: other }),
  };
}

/** Adds the name in the request to the metadata: a decider does not know the name of what it decides about. */
export function withResource(error: unknown, { name }: JsonObject): unknown {
  if (!(error instanceof Rejection) || typeof name !== 'string' || name === '') return error;
  const { code, reason, message, metadata, help } = error;
  return new Rejection(code, reason, message, { ...metadata, resource: name }, { cause: error, help });
}

/** Marks an error as one of identity: the service that the token is for may respond. */
function ofIdentity(error: unknown): unknown {
  if (!(error instanceof Rejection) || error.code !== 'UNAVAILABLE') return error;
  const { code, reason, message, metadata } = error;
  const text = `identity issued no token: ${message}`;
  return new Rejection(code, reason, text, { ...metadata, token_issuer: 'identity' }, { cause: error });
}

/** A token that the caller brought. Its service says when it has ended. @throws UsageError for a service without one */
const tokenIn = (tokens: Readonly<Partial<Record<Workload, string>>>, audience: string): IssuedToken => {
  const [, token] = Object.entries(tokens).find(([name]) => audienceOf(name as Workload) === audience) ?? [];
  if (token === undefined) throw new UsageError(`the credentials have no token for ${audience}`);
  return { token, expireTime: Number.MAX_SAFE_INTEGER };
};

/** Audience of the tokens of a service. */
const audienceOf = (service: Workload): string => `interlock:${service}`;

/** Methods without a token: they work with a wrong secret. */
const publicMethods: ReadonlySet<string> = new Set(
  ['IssueToken', 'GetJsonWebKeySet'].map((name) => `${Service.identity}/${name}`),
);

import { Rejection } from '@interlock/event-store';
import { type Clock, logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Authorization } from './authorization.ts';
import type { Authorizer } from './authorizer.ts';
import type { Call, Principal } from './call.ts';
import type { Channel } from './channel.ts';
import { openChannel } from './channel.ts';
import type { ConnectOptions } from './client.ts';
import { connect, type RpcClient } from './client.ts';
import { serveInProcess } from './in-process.ts';
import { startServer } from './server.ts';
import type { PipelineOptions } from './server-pipeline.ts';
import { type Implementation, service } from './service.ts';
import { tokenSource } from './token-source.ts';

/** The message of the test service, in every direction. */
export interface Word {
  readonly text: string;
}

const word = {
  encode: (message: Word) => ({ finish: (): Uint8Array => Buffer.from(JSON.stringify(message)) }),
  decode: (bytes: Uint8Array): Word => JSON.parse(Buffer.from(bytes).toString()),
  fromPartial: ({ text = '' }: Partial<Word>): Word => ({ text }),
};

/** A service with one method of each kind and its own codec, like the data path. */
export const echoDefinition = {
  name: 'Echo',
  fullName: 'test.Echo',
  methods: {
    echo: {
      name: 'Echo',
      requestType: word,
      requestStream: false,
      responseType: word,
      responseStream: false,
      options: { idempotencyLevel: 'IDEMPOTENT' },
    },
    change: {
      name: 'Change',
      requestType: word,
      requestStream: false,
      responseType: word,
      responseStream: false,
      options: {},
    },
    list: {
      name: 'List',
      requestType: word,
      requestStream: false,
      responseType: word,
      responseStream: true,
      options: { idempotencyLevel: 'NO_SIDE_EFFECTS' },
    },
    join: {
      name: 'Join',
      requestType: word,
      requestStream: true,
      responseType: word,
      responseStream: false,
      options: {},
    },
  },
} as const;

export type EchoHandlers = Implementation<typeof echoDefinition>;
export type EchoRules = Authorization<typeof echoDefinition>;
export type EchoClient = RpcClient<typeof echoDefinition>;

const handlers: EchoHandlers = {
  echo: async (request) => request,
  change: async (request) => request,
  list: async function* ({ text }) {
    for (const letter of text) yield { text: letter };
  },
  join: async (words) => {
    let text = '';
    for await (const word of words) text += word.text;
    return { text };
  },
};

/** Every verified principal may call everything. */
export const openRules: EchoRules = {
  echo: { authenticated: true, why: 'test' },
  change: { authenticated: true, why: 'test' },
  list: { authenticated: true, why: 'test' },
  join: { authenticated: true, why: 'test' },
};

/** The principal with this id, which is also its token; `workload:<service>` is the principal of that service. */
export const principalNamed = (id: string): Principal => {
  const principal = { id, name: `principals/${id}`, tenant: 'tenant' };
  const [kind, workload] = id.split(':');
  return kind === 'workload' && workload !== undefined
    ? { ...principal, kind, workload }
    : { ...principal, kind: 'user' };
};

export interface EchoOptions {
  readonly handlers?: Partial<EchoHandlers>;
  readonly rules?: Partial<EchoRules>;
  readonly authorize?: Authorizer;
  readonly clock?: Clock;
  readonly server?: Partial<PipelineOptions> & { readonly messageBytesMax?: number };
  readonly client?: Partial<ConnectOptions<typeof echoDefinition>>;
}

/** A served echo service and a client to it. */
export interface Echo {
  readonly client: EchoClient;
  readonly channel: Channel;
  /** A client with other settings over the same channel. */
  connect(options: Partial<ConnectOptions<typeof echoDefinition>>): EchoClient;
  /** Lines of the server's log. */
  readonly logged: string[];
  stopServer(): Promise<void>;
  close(): Promise<void>;
}

export type StartEcho = (options?: EchoOptions) => Promise<Echo>;

/** The ways to serve it, for suites that run over all of them. */
export const transports: Readonly<Record<'gRPC' | 'in process' | 'in process, not encoded', StartEcho>> = {
  gRPC: async (options = {}) => {
    const { logged, pipeline, bound } = prepare(options);
    const server = await startServer({
      ...pipeline,
      address: '127.0.0.1:0',
      tls: 'plaintext',
      services: [bound],
    });
    const channel = openChannel({ address: server.address, tls: 'plaintext' });
    const stopServer = () => server.stop({ graceMs: 2_000, streamGraceMs: 0 });
    return {
      ...clients(channel, options),
      logged,
      stopServer,
      close: async () => {
        channel.close();
        await stopServer();
      },
    };
  },
  'in process': (options = {}) => startInProcess(options, true),
  'in process, not encoded': (options = {}) => startInProcess(options, false),
};

const startInProcess = async (options: EchoOptions, isEncoded: boolean): Promise<Echo> => {
  const { logged, pipeline, bound } = prepare(options);
  const server = serveInProcess({ ...pipeline, name: 'echo', services: [bound], isEncoded });
  const stopServer = async () => server.stop();
  return { ...clients(server.channel, options), logged, stopServer, close: stopServer };
};

function prepare(options: EchoOptions) {
  const logged: string[] = [];
  const clock = options.clock ?? systemClock;
  const pipeline = {
    authenticate: async (token: string) => {
      if (token !== 'bad') return principalNamed(token);
      throw new Rejection('UNAUTHENTICATED', 'TOKEN_SIGNATURE_INVALID', 'bad token');
    },
    authorize: options.authorize ?? (async () => ({ allowed: true, principalActive: true })),
    clock,
    random: systemRandom,
    tracer: trace.getTracer('test'),
    log: logger({ service: 'echo', clock, write: (line) => logged.push(line) }),
    ...options.server,
  };
  const bound = service({
    definition: echoDefinition,
    implementation: { ...handlers, ...options.handlers },
    authorization: { ...openRules, ...options.rules },
  });
  return { logged, pipeline, bound };
}

function clients(channel: Channel, options: EchoOptions) {
  const clock = options.clock ?? systemClock;
  const connectWith = (more: Partial<ConnectOptions<typeof echoDefinition>>): EchoClient =>
    connect({
      channel,
      definition: echoDefinition,
      clock,
      random: systemRandom,
      tracer: trace.getTracer('test'),
      credentials: tokenSource({
        issue: async () => ({ token: 'user-1', expireTime: Number.MAX_SAFE_INTEGER }),
        clock,
      }),
      audience: 'interlock:echo',
      retry: { attemptsMax: 4, backoffMs: 1, backoffMsMax: 2 },
      ...more,
    });
  return { channel, client: connectWith(options.client ?? {}), connect: connectWith };
}

/** The part of a call's context that tests check. */
export type SeenCall = Pick<Call, 'caller' | 'cause' | 'requestId' | 'token' | 'deadline'>;

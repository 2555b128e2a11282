import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { GetJsonWebKeySetRequest } from '@interlock/contracts/interlock/identity/v1/token.ts';
import {
  type Authorizer,
  type Channel,
  connect,
  type Definition,
  healthProbe,
  type KeySource,
  type RpcClient,
  type TokenSource,
  tokenSource,
  type Workload,
} from '@interlock/rpc';
import type { Clock, Random, Scope } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { ClientOptions, ConnectTo } from './assembly.ts';

/** The other services, for one service. */
export interface Peers {
  client<D extends Definition>(service: Workload, definition: D, options?: ClientOptions): RpcClient<D>;
  readonly connectTo: ConnectTo;
  /** Identity's public keys, which verify tokens. */
  readonly keys: KeySource;
  /** Checks a permission at identity, uncached. */
  readonly check: Authorizer;
}

export interface PeersOptions {
  /**
   * Opens a channel to a service; called again for each client with its own channel options.
   * @param address `host:port` of one process of the service; by default that of the service
   */
  readonly open: (service: Workload, options: ClientOptions, address?: string) => Channel;
  readonly workload: { readonly id: string; readonly secret: string };
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly scope: Scope;
  /** Deadline of calls without their own, in milliseconds; by default that of the client. */
  readonly deadlineMs?: number;
}

/** Opens the channels to the other services. They connect with the first call. */
export const openPeers = (options: PeersOptions): Peers => {
  const { clock, random, tracer, scope, deadlineMs } = options;
  const shared = new Map<Workload, Channel>();

  const channelTo = (service: Workload, client: ClientOptions): Channel => {
    const isOwn = client.messageBytesMax !== undefined || client.channelOptions !== undefined;
    const existing = isOwn ? undefined : shared.get(service);
    if (existing) return existing;
    const channel = options.open(service, client);
    scope.defer(`channel to ${service}`, () => channel.close());
    if (!isOwn) shared.set(service, channel);
    return channel;
  };

  const clientOver = <D extends Definition>(
    channel: Channel,
    service: Workload,
    definition: D,
    {
      credentials,
      retry,
    }: { readonly credentials: TokenSource | undefined } & { readonly retry?: ClientOptions['retry'] | undefined },
  ) =>
    connect({
      ...{ channel, definition, credentials, audience: `interlock:${service}`, clock, random, tracer },
      ...(retry && { retry }),
      ...(deadlineMs === undefined ? {} : { defaultDeadlineMs: deadlineMs }),
    });

  const clientAs = <D extends Definition>(
    service: Workload,
    definition: D,
    credentials: TokenSource | undefined,
    client: ClientOptions = {},
  ) => clientOver(channelTo(service, client), service, definition, { credentials, retry: client.retry });

  const publicIdentity = clientAs('identity', IdentityServiceDefinition, undefined);
  const own = tokenSource({
    clock,
    issue: async (audience) => {
      const { id, secret } = options.workload;
      const { accessToken, expireTime } = await publicIdentity.issueToken({
        clientId: id,
        clientSecret: secret,
        audience,
      });
      return { token: accessToken, expireTime: expireTime?.getTime() ?? clock.now() };
    },
  });
  const identity = clientAs('identity', IdentityServiceDefinition, own);

  return {
    client: (service, definition, client = {}) => clientAs(service, definition, client.credentials ?? own, client),
    connectTo(service, address) {
      const channel = options.open(service, {}, address);
      return {
        client: (definition, { retry } = {}) => clientOver(channel, service, definition, { credentials: own, retry }),
        responds: healthProbe(channel, { clock, random, tracer }),
        close: () => channel.close(),
      };
    },
    keys: async () => {
      const { keys } = await publicIdentity.getJsonWebKeySet(GetJsonWebKeySetRequest.create());
      return { keys: keys.map((key) => ({ ...key })) };
    },
    check: async (principal, action, scope) => {
      const request = { principal: principal.name, action, scope };
      const { allowed, principalActive, position, grantedAt, grantedActions, grantedNotActions } =
        await identity.checkPermission(request);
      return { allowed, principalActive, position, grantedAt, grantedActions, grantedNotActions };
    },
  };
};

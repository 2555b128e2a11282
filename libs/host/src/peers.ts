import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { GetJsonWebKeySetRequest } from '@interlock/contracts/interlock/identity/v1/token.ts';
import {
  type Authorizer,
  type Channel,
  connect,
  type Definition,
  type KeySource,
  type RpcClient,
  type TokenSource,
  tokenSource,
  type Workload,
} from '@interlock/rpc';
import type { Clock, Random, Scope } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { ClientWish } from './assembly.ts';

/** The other services, seen from one. */
export interface Peers {
  client<D extends Definition>(service: Workload, definition: D, wish?: ClientWish): RpcClient<D>;
  /** The public keys tokens are verified with, from identity. */
  readonly keys: KeySource;
  /** Asks identity about a permission, uncached. */
  readonly check: Authorizer;
}

export interface PeersOptions {
  /** Opens a channel to a service; called again for a wish of its own. */
  readonly open: (service: Workload, wish: ClientWish) => Channel;
  readonly workload: { readonly id: string; readonly secret: string };
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly scope: Scope;
}

/** Opens the ways to the other services. Connections are made with the first call. */
export const openPeers = (options: PeersOptions): Peers => {
  const { clock, random, tracer, scope } = options;
  const shared = new Map<Workload, Channel>();

  const channelTo = (service: Workload, wish: ClientWish): Channel => {
    const isOwn = wish.messageBytesMax !== undefined || wish.channelOptions !== undefined;
    const existing = isOwn ? undefined : shared.get(service);
    if (existing) return existing;
    const channel = options.open(service, wish);
    scope.defer(`channel to ${service}`, () => channel.close());
    if (!isOwn) shared.set(service, channel);
    return channel;
  };

  const clientAs = <D extends Definition>(
    service: Workload,
    definition: D,
    credentials: TokenSource | undefined,
    wish: ClientWish = {},
  ) =>
    connect({
      channel: channelTo(service, wish),
      definition,
      credentials,
      audience: `interlock:${service}`,
      clock,
      random,
      tracer,
    });

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
    client: (service, definition, wish = {}) => clientAs(service, definition, wish.credentials ?? own, wish),
    keys: async () => {
      const { keys } = await publicIdentity.getJsonWebKeySet(GetJsonWebKeySetRequest.create());
      return { keys: keys.map((key) => ({ ...key })) };
    },
    check: async (principal, action, scope) => {
      const asked = { principal: principal.name, action, scope };
      const { allowed, principalActive, position, grantedAt, grantedActions, grantedNotActions } =
        await identity.checkPermission(asked);
      return { allowed, principalActive, position, grantedAt, grantedActions, grantedNotActions };
    },
  };
};

/** A wish in the form `openChannel` takes it: without what was not wished for. */
export const channelWish = ({
  messageBytesMax,
  channelOptions,
}: ClientWish): Pick<ClientWish, 'messageBytesMax' | 'channelOptions'> => ({
  ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
  ...(channelOptions === undefined ? {} : { channelOptions }),
});

import type { KeyAccess as GrantedAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { UnwrapKeyRequest, UnwrapKeyResponse } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import type {
  CheckAccessRequest,
  RewrapRequest,
  RewrapResponse,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import {
  type BatchItem,
  type Batching,
  type BatchOutcome,
  type ItemRefusal,
  itemError,
  openBatching,
  type RpcClient,
  type SendBatch,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { SentCall } from './lease.ts';

/** What disks need of a vault. */
export type VaultClient = Pick<
  RpcClient<typeof KeyVaultServiceDefinition>,
  'checkAccess' | 'wrapKey' | 'unwrapKeys' | 'rewrapKeys'
>;

/** A reply of the vault, or the failure of the call, and when the call started. */
export type Reply<Answer> = { readonly sent: SentCall } & BatchOutcome<Answer>;

/** The vault as one identity calls it. Calls of about the same time are sent together. */
export interface BatchingVault {
  readonly client: VaultClient;
  readonly unwrap: Batching<UnwrapKeyRequest, Reply<UnwrapKeyResponse>>;
  readonly rewrap: Batching<RewrapRequest, Reply<RewrapResponse>>;
  /** One call for all requests of the same before it is sent. The first one names the resource. */
  check(request: CheckAccessRequest): Promise<Reply<GrantedAccess>>;
}

/** Items of one call. The vault takes up to 256; these are 15 ms of RSA-2048 on two cores, so the call itself costs little. */
const itemsMax = 128;

/** Opens it. @param nextCall starts a call: all items of a call start at one moment, right before it is sent */
export const openBatchingVault = (parts: {
  readonly client: VaultClient;
  readonly nextCall: () => SentCall;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly tracer: Tracer;
}): BatchingVault => {
  const { client, nextCall, clock, tracer } = parts;
  const checks = new Map<string, Batching<CheckAccessRequest, Reply<GrantedAccess>>>();

  /** @param call returns one outcome per item */
  const reply = <Request, Answer>(
    name: string,
    sizeMax: number,
    call: SendBatch<Request, Answer>,
    onIdle = () => {},
  ): Batching<Request, Reply<Answer>> =>
    openBatching<Request, Reply<Answer>>({
      name,
      sizeMax,
      clock,
      tracer,
      onIdle,
      async send(items, within) {
        const sent = nextCall();
        try {
          const outcomes = await withFreshToken(() => call(items, within));
          return outcomes.map((outcome) => ({ answer: { sent, ...outcome } }));
        } catch (error) {
          return items.map(() => ({ answer: { sent, error } }));
        }
      },
    });

  return {
    client,
    unwrap: reply('unwrap data keys', itemsMax, async (items, within) => {
      const wanted = items.map(({ request, origin }) => ({ unwrap: request, origin }));
      const { outcomes } = await client.unwrapKeys({ items: wanted }, within);
      return outcomes.map(({ outcome }) =>
        outcome?.$case === 'unwrapped' ? { answer: outcome.value } : { error: refused('UnwrapKeys', outcome?.value) },
      );
    }),
    rewrap: reply('rewrap data keys', itemsMax, async (items, within) => {
      const wanted = items.map(({ request, origin }) => ({ rewrap: request, origin }));
      const { outcomes } = await client.rewrapKeys({ items: wanted }, within);
      return outcomes.map(({ outcome }) =>
        outcome?.$case === 'rewrapped' ? { answer: outcome.value } : { error: refused('RewrapKeys', outcome?.value) },
      );
    }),
    check(request) {
      const { keyVersion } = request;
      const known = checks.get(keyVersion);
      if (known) return known(request);
      const checking = reply(
        'check access',
        Number.POSITIVE_INFINITY,
        async (items: readonly BatchItem<CheckAccessRequest>[], within) => {
          const [first] = items;
          if (!first) return [];
          const answer = await client.checkAccess(first.request, within);
          return items.map(() => ({ answer }));
        },
        () => checks.delete(keyVersion),
      );
      checks.set(keyVersion, checking);
      return checking(request);
    },
  };
};

/** Repeats a call whose token was refused: the next token is new, and identity refuses one to a deleted identity. */
export const withFreshToken = async <Answer>(call: () => Promise<Answer>): Promise<Answer> => {
  try {
    return await call();
  } catch (error) {
    if (error instanceof Rejection && error.code === 'UNAUTHENTICATED') return call();
    throw error;
  }
};

const refused = (method: string, refusal: ItemRefusal | undefined): Error =>
  refusal
    ? itemError(refusal, { method, peer: 'key-vault' })
    : new Error(`the reply of ${method} has no outcome for an item`);

import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { SigningKeyEvent } from './events.ts';

/** The public half of a key that signs tokens or signed them. */
export interface SigningKey {
  readonly kid: string;
  readonly n: string;
  readonly e: string;
  readonly requestId: string;
  readonly createdAt: Instant;
  /** Published until then; absent for the key that signs now. */
  readonly retiresAt?: Instant;
}

/** All keys, oldest first; the last one signs. Every other one overlaps until its `retiresAt`. */
export interface SigningKeys {
  readonly keys: readonly SigningKey[];
}

/** The one stream of this category. */
export const signingKeysId = 'tokens';

/** How the signing keys are stored. */
export const signingKeys: CategoryDefinition<SigningKeys, SigningKeyEvent> = {
  name: 'signing_key',
  readable: ['kid', 'requestId', 'retireOthersAt', 'at'],
  stateVersion: 1,
  initial: { keys: [] },
  evolve: ({ keys }, event) => {
    const { kid, n, e, requestId, at } = event;
    const retired = keys.map((key) => ({
      ...key,
      retiresAt: Math.min(key.retiresAt ?? event.retireOthersAt, event.retireOthersAt),
    }));
    // Retired for good: nothing it signed is valid any more.
    return { keys: [...retired.filter((key) => key.retiresAt > at), { kid, n, e, requestId, createdAt: at }] };
  },
};

/** Makes a key the signing one. The same request again, or a key already there, decides nothing. */
export const activate =
  (
    at: Instant,
    key: { readonly kid: string; readonly n: string; readonly e: string; readonly requestId: string },
    overlapMs: number,
  ) =>
  ({ keys }: SigningKeys): readonly SigningKeyEvent[] =>
    keys.some(({ kid, requestId }) => kid === key.kid || requestId === key.requestId)
      ? []
      : [{ type: 'SigningKeyActivated', ...key, retireOthersAt: at + overlapMs, at }];

/** The keys a verifier must accept at that time, newest last. */
export const publishedKeys = ({ keys }: SigningKeys, at: Instant): readonly SigningKey[] =>
  keys.filter((key) => (key.retiresAt ?? Number.POSITIVE_INFINITY) > at);

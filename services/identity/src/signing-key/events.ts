import type { Instant } from '@interlock/runtime';

/** The facts of the keys that sign tokens: one stream. These names and shapes are on disk: add; never rename, never reuse. */
export type SigningKeyEvent = {
  /** A new key signs from now on; the one before it stays published until every token it signed has ended. */
  readonly type: 'SigningKeyActivated';
  readonly kid: string;
  /** Modulus and exponent, base64url (RFC 7518 §6.3.1). */
  readonly n: string;
  readonly e: string;
  /** The request of the rotation: a repeat has no effect. */
  readonly requestId: string;
  /** When keys activated before this one stop being published. */
  readonly retireOthersAt: Instant;
  readonly at: Instant;
};

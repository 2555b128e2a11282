import { hostSpec } from '@interlock/host';
import { int, optional, secretFile, text, url } from '@interlock/runtime';

/** Settings of this service. */
export const identitySpec = {
  bootstrapFile: secretFile('JSON file with the first tenant, the administrator and the principals of the services'),
  masterKeyFile: text('File of 32 bytes that seals the signing keys; created at the first start'),
  tokenIssuer: text('`iss` of the tokens', { default: 'https://identity.interlock' }),
  clientAssertionAudience: optional(
    url(
      'URL that client assertions must be for, or below: GATEWAY_URL of the gateway. Absent: only secrets are accepted',
    ),
  ),
  userTokenLifetimeMs: int('Lifetime of tokens of users, applications and services', {
    min: 1_000,
    default: 600_000,
  }),
  tokenFailuresPerSecond: int(
    'Failed IssueToken calls a second from one address at one replica; above it the address waits; 0: no limit',
    { min: 0, default: 10 },
  ),
  tokenFailuresBurst: int('Failed calls at once after idle time; 0: as many as in ten seconds', {
    min: 0,
    default: 0,
  }),
  tokensPrincipalPerSecond: int('Tokens a second of a principal at one replica; 0: no limit', {
    min: 0,
    default: 10,
  }),
  tokensPrincipalBurst: int('Tokens at once after idle time; 0: as many as in ten seconds', { min: 0, default: 0 }),
  // Also the lifetime of tokens of managed identities.
  authzTtlMs: hostSpec.authzTtlMs,
} as const;

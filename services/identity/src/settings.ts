import { hostSpec } from '@interlock/host';
import { int, secretFile, text } from '@interlock/runtime';

/** The settings of this service beside those of every service. */
export const identitySpec = {
  bootstrapFile: secretFile('JSON file with the first tenant, administrator and the principals of the services'),
  masterKeyFile: text(
    'File of 32 bytes the signing keys are sealed under; made at the first start, where nothing is sealed yet',
  ),
  tokenIssuer: text('`iss` of the tokens', { default: 'https://identity.interlock' }),
  userTokenLifetimeMs: int('How long tokens of users, applications and services live', {
    min: 1_000,
    default: 600_000,
  }),
  tokenFailuresPerSecond: int(
    'Failed calls of IssueToken a second from one network address at one replica; above it the address waits; 0: no limit',
    { min: 0, default: 10 },
  ),
  tokenFailuresBurst: int('Failed calls at once after a quiet time; 0: as many as in ten seconds', {
    min: 0,
    default: 0,
  }),
  tokensPrincipalPerSecond: int('Tokens a second of one principal at one replica; 0: no limit', {
    min: 0,
    default: 10,
  }),
  tokensPrincipalBurst: int('Tokens at once after a quiet time; 0: as many as in ten seconds', { min: 0, default: 0 }),
  // Tokens of managed identities live no longer than an answer about permissions is used: a lost identity is lost soon.
  authzTtlMs: hostSpec.authzTtlMs,
} as const;

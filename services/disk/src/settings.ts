import type { ConfigProblem } from '@interlock/runtime';

/**
 * What is wrong with a lease time that each setting alone allows: key-vault may go on for `authzTtlMs` after a role or a
 * principal is gone, so a lease that is not twice as long would be worth less than the answer it rests on.
 */
export const leaseProblems = (settings: {
  readonly leaseTtlMs: number;
  readonly authzTtlMs: number;
}): readonly ConfigProblem[] =>
  settings.leaseTtlMs >= 2 * settings.authzTtlMs
    ? []
    : [
        {
          name: 'LEASE_TTL_MS',
          got: String(settings.leaseTtlMs),
          expected: `at least twice AUTHZ_TTL_MS, which is ${settings.authzTtlMs}: ${2 * settings.authzTtlMs} or more`,
        },
      ];

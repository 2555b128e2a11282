import { hostService, hostSpec } from '@interlock/host';
import { int, secretFile, systemRandom, text } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { parseBootstrap } from './bootstrap.ts';

await hostService({
  name: 'identity',
  env: process.env,
  settings: {
    bootstrapFile: secretFile('JSON file with the first tenant, administrator and the principals of the services'),
    masterKeyFile: text('File of 32 bytes the signing keys are sealed under; made when missing'),
    tokenIssuer: text('`iss` of the tokens', { default: 'https://identity.interlock' }),
    userTokenLifetimeMs: int('How long tokens of users, applications and services live', {
      min: 1_000,
      default: 600_000,
    }),
    // Tokens of managed identities live no longer than an answer about permissions is used: a lost identity is lost soon.
    authzTtlMs: hostSpec.authzTtlMs,
  },
  assemble: async (seams) => {
    const { bootstrapFile, masterKeyFile, tokenIssuer, userTokenLifetimeMs, authzTtlMs } = seams.settings;
    return assemble({
      ...seams,
      settings: {
        bootstrap: parseBootstrap(bootstrapFile),
        masterKey: await obtainMasterKey(masterKeyFile, systemRandom),
        issuer: tokenIssuer,
        lifetimes: { userMs: userTokenLifetimeMs, managedIdentityMs: authzTtlMs },
      },
    });
  },
});

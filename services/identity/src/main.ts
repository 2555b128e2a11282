import { hostService } from '@interlock/host';
import { rateOf, systemRandom } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { parseBootstrap } from './bootstrap/bootstrap.ts';
import { identitySpec } from './settings.ts';
import { hasSigningKeys } from './signing-key/key-ring.ts';

await hostService({
  name: 'identity',
  env: process.env,
  args: process.argv.slice(2),
  settings: identitySpec,
  assemble: async (seams) => {
    const { bootstrapFile, masterKeyFile, tokenIssuer, userTokenLifetimeMs, authzTtlMs } = seams.settings;
    return assemble({
      ...seams,
      settings: {
        bootstrap: parseBootstrap(bootstrapFile),
        masterKey: await obtainMasterKey(masterKeyFile, systemRandom, async () =>
          (await hasSigningKeys(seams.store)) ? 'the key that signs tokens' : undefined,
        ),
        issuer: tokenIssuer,
        assertionAudience: seams.settings.clientAssertionAudience,
        tokenRates: {
          failures: rateOf(seams.settings.tokenFailuresPerSecond, seams.settings.tokenFailuresBurst),
          principal: rateOf(seams.settings.tokensPrincipalPerSecond, seams.settings.tokensPrincipalBurst),
        },
        lifetimes: { userMs: userTokenLifetimeMs, managedIdentityMs: authzTtlMs },
      },
    });
  },
});

import { aliasesOf, type CloudNames } from './names.ts';

/** The UUID that clients use for the subscription `dev`. */
export const testSubscription = '11111111-1111-4111-8111-111111111111';

/** Names of a gateway in tests. */
export const testNames: CloudNames = {
  gateway: 'https://localhost:8443',
  vaultSuffix: 'vault.interlock.localhost:8443',
  keyUrlSuffix: 'vault.interlock.localhost',
  tenants: aliasesOf(undefined, 'GATEWAY_TENANTS'),
  subscriptions: aliasesOf(`${testSubscription}=dev`, 'GATEWAY_SUBSCRIPTIONS'),
  challengeTenant: 't',
};

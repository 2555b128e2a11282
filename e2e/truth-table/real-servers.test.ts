import { causesNamed } from './causes.ts';
import { testCausesOnServers } from './test-cells.ts';

// One cause of each effect, and of losses one by the key and one by a grant. real-servers.long.test.ts plays every cause.
testCausesOnServers(
  causesNamed('disable-key', 'remove-policy', 'expire-key, next start', 'vault-unreachable', 'throttle'),
);

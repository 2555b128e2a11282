import { causesNamed } from './causes.ts';
import { testCausesOnServers } from './test-cells.ts';

// Losses by the key and by a grant, and an outage. real-servers.long.test.ts plays every cause.
testCausesOnServers(causesNamed('disable-key', 'remove-policy', 'vault-unreachable'));

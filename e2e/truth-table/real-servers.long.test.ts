import { causes } from './causes.ts';
import { testCausesOnServers } from './test-cells.ts';

// Every cause on real servers. In `npm test`, real-servers.test.ts plays one of each kind, and the other files every cause on what
// the simulation runs on.
testCausesOnServers(causes);

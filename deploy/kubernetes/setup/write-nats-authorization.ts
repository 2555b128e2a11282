import { writeFileSync } from 'node:fs';
import { natsAuthorizationPatch } from './nats-authorization.ts';

const file = new URL('../overlays/production/nats-authorization.yaml', import.meta.url);
/** As many partitions as services have unless `PARTITION_COUNT` says otherwise. */
writeFileSync(file, natsAuthorizationPatch(4));

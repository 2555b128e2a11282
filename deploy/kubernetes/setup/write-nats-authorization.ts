import { writeFileSync } from 'node:fs';
import { natsAuthorizationMap } from './nats-authorization.ts';

const file = new URL('../base/nats-authorization.yaml', import.meta.url);
/** As many partitions as services have unless `PARTITION_COUNT` says otherwise. */
writeFileSync(file, natsAuthorizationMap(4));

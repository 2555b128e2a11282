import { writeFileSync } from 'node:fs';
import { natsAuthorizationMap } from './nats-authorization.ts';

const file = new URL('../base/nats-authorization.yaml', import.meta.url);
/** The number of partitions of services without `PARTITION_COUNT`. */
writeFileSync(file, natsAuthorizationMap(4));

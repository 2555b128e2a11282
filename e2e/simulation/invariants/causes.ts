import type { RecordedEvent } from '@interlock/event-store';
import { judgeCauses } from '@interlock/lab/judge/causes/judge-causes';
import type { Findings } from '@interlock/lab/judge/findings';
import type { Workload } from '@interlock/rpc';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';

const services: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** G10: every event names exactly the causes that its data imply. */
export const checkCauses = async ({ storeOf }: Pick<SimulatedCloud, 'storeOf'>, log: Findings): Promise<void> => {
  const histories: Partial<Record<Workload, readonly RecordedEvent[]>> = {};
  for (const service of services) histories[service] = await storeOf(service).feed(0, 1_000_000);
  const [fault] = judgeCauses(histories).faults;
  if (fault !== undefined) log.violate('G10', 'every event names its causes', fault);
};

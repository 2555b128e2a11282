import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { workloads } from '@interlock/host';
import { isVmHostTarget, type Step } from '@interlock/lab';
import type { Workload } from '@interlock/rpc';
import type { VmHostPart } from '../../simulation/cloud/parts.ts';
import type { SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import type { Clients } from '../../simulation/workload/estate.ts';
import type { Sightings } from './sightings.ts';

/** How long a part is called until a call fails, the longest call, and the time between two, in milliseconds: as on the local cloud. */
const callsMs = 10_000;
const callMs = 1_000;
const pauseMs = 250;

interface Caller {
  readonly world: SimulatedCloud;
  readonly clients: Pick<Clients, 'compute'>;
  readonly sightings: Pick<Sightings, 'onFailedCall'>;
  /** Whether the run is over. */
  readonly isOver: () => boolean;
}

/**
 * Calls what a step kills or pauses until a call fails, as the local cloud does, because no other service may call it. Callers reach a VM
 * host through compute, which says whether it serves. Does nothing for other steps and parts.
 * @param step its target is named by number
 */
export const callUntilFailure = async (
  { world, clients, sightings, isOver }: Caller,
  { action, target }: Pick<Step, 'action'> & { readonly target: string },
): Promise<void> => {
  const { clock } = world;
  const part = [...workloads, ...world.vmHosts.map(({ name }) => name)].find((name) => name === target);
  if (part === undefined || !isCalledAfter(action, part)) return;
  for (const endMs = clock.monotonicMs() + callsMs; !isOver() && clock.monotonicMs() < endMs; ) {
    const failure = isVmHostTarget(part) ? await awayness(clients, part) : await failingCall(world, part);
    if (failure !== undefined) {
      sightings.onFailedCall(part, failure);
      return;
    }
    await clock.sleep(pauseMs);
  }
};

/** Callers outside do not notice that a service is cut off from another one; compute notices that a VM host is. */
const isCalledAfter = (action: Step['action'], part: Workload | VmHostPart): boolean =>
  action === 'kill' || action === 'pause' || (action === 'cut' && isVmHostTarget(part));

const failingCall = async ({ people, as }: SimulatedCloud, service: Workload): Promise<string | undefined> => {
  const client = as(people.administrator).client(service, MessagingServiceDefinition);
  return client.getRelay({}, { deadlineMs: callMs }).then(
    () => undefined,
    (error: unknown) => `GetRelay: ${error instanceof Error ? error.message : String(error)}`,
  );
};

const awayness = async ({ compute }: Pick<Clients, 'compute'>, vmHost: VmHostPart): Promise<string | undefined> => {
  const { liveness } = await compute.getVmHost({ name: `vmHosts/${vmHost}` });
  return liveness === 'SERVING' ? undefined : `${vmHost} is ${liveness}`;
};

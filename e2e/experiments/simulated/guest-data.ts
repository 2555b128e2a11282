import { RpcFailure } from '@interlock/rpc';
import type { VirtualClock } from '@interlock/runtime';
import type { Part } from '../../simulation/cloud/parts.ts';
import type { SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import type { IoStage } from '../../simulation/workload/io.ts';

type DataAt = IoStage['clients']['dataAt'];
type Data = ReturnType<DataAt>;
type Options = NonNullable<Parameters<Data['flush']>[1]>;

/** Time between two looks whether a cut is over, in milliseconds. */
const lookMs = 50;
/** Longest wait of a call without a deadline, in milliseconds. */
const waitMs = 10_000;

interface HostParts {
  readonly world: Pick<SimulatedCloud, 'clock' | 'diskHosts'>;
  /** Whether two parts do not reach each other. */
  readonly isCut: (a: Part, b: Part) => boolean;
}

/** Data clients of the guests at a VM host: a call waits while the host does not reach the disk host, at most until its deadline. */
export const dataFrom =
  (host: Part, dataAt: DataAt, { world: { clock, diskHosts }, isCut }: HostParts): DataAt =>
  (address) => {
    const data = dataAt(address);
    const to = diskHosts.find((one) => one.address === address)?.part ?? 'disk';
    const reach = (options: Options = {}): Promise<void> =>
      untilReached(clock, () => isCut(host, to), options, address);
    return {
      ...data,
      async *read(request, options) {
        await reach(options);
        yield* data.read(request, options);
      },
      async write(request, options) {
        await reach(options);
        return data.write(request, options);
      },
      async flush(request, options) {
        await reach(options);
        return data.flush(request, options);
      },
    } satisfies Data;
  };

const untilReached = async (
  clock: VirtualClock,
  isCut: () => boolean,
  { signal, deadlineMs = waitMs }: Options,
  peer: string,
): Promise<void> => {
  const endMs = clock.monotonicMs() + deadlineMs;
  while (isCut()) {
    signal?.throwIfAborted();
    if (clock.monotonicMs() >= endMs)
      throw new RpcFailure('DEADLINE_EXCEEDED', 'DiskDataService', peer, 'the VM host does not reach it');
    await clock.sleep(lookMs, signal);
  }
};

import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { SimulatedHost } from '../cloud/disk-hosts.ts';
import type { Part } from '../cloud/parts.ts';
import type { Stage } from '../workload/stage.ts';

/** A fault that lasts for a time. */
export interface Fault {
  readonly name: string;
  readonly weight: number;
  /** Whether it needs disk hosts beside a control process; by default not. */
  readonly needsHosts?: boolean;
  /** Whether it needs VM hosts; by default not. */
  readonly needsVmHosts?: boolean;
  strike(stage: Stage): void;
}

/** Sometimes longer than a lease, so that a history includes the bound and what happens after it. */
export const durationMs = ({ random }: Stage): number =>
  random.chance(0.3) ? 8_000 + random.fraction() * 20_000 : 100 + random.fraction() * 5_000;

/** Notes the disturbance, and ends it after its time or when the history ends all faults. */
export const during = (
  stage: Stage,
  struck: readonly Disturbed[],
  heal: () => void,
  lastsMs = durationMs(stage),
): void => {
  const end = stage.disturbances.begin(...struck);
  stage.later(lastsMs, async () => {
    heal();
    end();
  });
};

/** A process of disk that a fault strikes. */
export interface DiskProcess {
  readonly part: Exclude<Part, 'bus' | 'store' | 'outside'>;
  readonly replica: number;
  readonly disturbed: readonly Disturbed[];
  /** Undefined for a control process. */
  readonly host: SimulatedHost | undefined;
}

const processOfHost = (host: SimulatedHost): DiskProcess => ({
  part: host.part,
  replica: host.replica.replica,
  disturbed: host.disturbed,
  host,
});

const control: DiskProcess = { part: 'disk', replica: 0, disturbed: ['disk-control'], host: undefined };

/** Any process with volumes. */
export const pickHost = ({ world, random }: Pick<Stage, 'world' | 'random'>): SimulatedHost => {
  const [only, ...others] = world.diskHosts;
  if (only === undefined) throw new Error('a world has a disk host');
  // Without a choice nothing is drawn, so that histories with one process of disk keep their draws.
  return others.length === 0 ? only : random.pick([only, ...others]);
};

/** Share of the faults of disk that strike its control process, if there is one. */
const controlShare = 0.3;

/** Any process of disk. */
export const pickDiskProcess = (stage: Pick<Stage, 'world' | 'random'>): DiskProcess =>
  stage.world.hasControl && stage.random.chance(controlShare) ? control : processOfHost(pickHost(stage));

/** Every process of disk. */
export const allOfDisk = ({ world }: Pick<Stage, 'world'>): readonly DiskProcess[] => [
  ...(world.hasControl ? [control] : []),
  ...world.diskHosts.map(processOfHost),
];

/**
 * Ends a disk host and the power of its storage; it starts again later, unless another fault has started it before.
 * @param isMachineLost on another machine @param awayMs until it starts
 */
export const crashDisk = (
  stage: Pick<Stage, 'world' | 'truth' | 'disturbances' | 'judge' | 'random' | 'later'>,
  host: SimulatedHost,
  isMachineLost = false,
  awayMs = stage.random.fraction() * 3_000,
): void => {
  const { world, truth, disturbances, judge } = stage;
  const { name, replica, disturbed } = host;
  if (isMachineLost) judge.onMachineLost(name);
  // From now on each flush of these opens fails: the storage lost what they did not flush. Meanwhile another machine may be lost.
  const noteLost = (): void => {
    for (const volumeId of judge.volumesOfLostMachines(name)) world.storage.note('flush', volumeId);
  };
  if (isMachineLost) world.faults.loseMachine('disk', replica.replica);
  else world.faults.crash('disk', replica.replica);
  noteLost();
  for (const [disk, content] of truth.contents) if (truth.disks.hostOf(disk) === name) content.crash();
  const end = disturbances.begin(...disturbed);
  // What it had in memory is lost from now on, whenever it starts.
  disturbances.noteStart(...disturbed);
  stage.later(awayMs, async () => {
    const isStarted = await world.faults.restart('disk', replica.replica);
    if (isStarted) disturbances.noteStart(...disturbed);
    noteLost();
    end();
  });
};

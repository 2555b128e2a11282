import type { PowerState, VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { type Io, type Journals, lastGoodIo, lastSegment } from '@interlock/lab/judge/journal/journal';
import { expectedPlaces } from '@interlock/lab/judge/journal/records';
import { until } from '../../cloud/until.ts';
import { makeMachine } from '../../cloud/world.ts';
import { causes, type TableCause, type TableCauseName } from '../../truth-table/causes.ts';
import { inflict, type Keyed, type Owner } from '../../truth-table/inflict.ts';
import { makeKeyed, untilAvailable } from '../../truth-table/stage.ts';
import { millisOf, quietly, untilSeen } from '../evidence/observe.ts';
import type { TimedLoss, TimedMachine } from '../evidence/timed.ts';
import { patienceMs } from '../settings.ts';
import { groupsOf, type People, type Person, type World } from '../world.ts';

/** Causes that are not timed here, and why. */
export const untimed = [
  { name: 'expire-key, next start', why: 'stops nothing' },
  { name: 'purge-key', why: 'refused here: the vaults of this run are purge protected' },
  { name: 'vault-unreachable', why: 'takes as long as the lease and the grace of the disk host, by their settings' },
  { name: 'throttle', why: 'stops nothing' },
] as const satisfies readonly { readonly name: TableCauseName; readonly why: string }[];

/** Every other cause: its owner can undo it. */
type Timed = Exclude<TableCauseName, (typeof untimed)[number]['name']>;

/** Machines of one lane go through its causes one after the other. Lanes run in parallel, each with its own key. */
export const lanes: readonly { readonly model?: 'ROLE_ASSIGNMENT'; readonly causes: readonly Timed[] }[] = [
  { causes: ['disable-key', 'expire-key', 'delete-identity', 'remove-permission get', 'disable-version'] },
  { causes: ['delete-key', 'not-yet-valid', 'set-identity-none', 'remove-permission wrap', 'close-network'] },
  { causes: ['delete-vault', 'remove-policy', 'switch-permission-model', 'remove-permission unwrap'] },
  {
    model: 'ROLE_ASSIGNMENT',
    causes: ['remove-role', 'recover-vault-without-role', 'remove-operation wrap', 'remove-operation unwrap'],
  },
];
/** Classes of their only disks: every class from which a machine can boot. Each further machine is a further process, eighteen times. */
const skus = ['PREMIUM_SSD', 'STANDARD_SSD', 'STANDARD_HDD'] as const;
/** Reads and writes per second: enough to see within 40 ms when they end. */
const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 25, ioSizeBytes: 4_096 } as const;

/** Loses the key in every way and restores access, with a few machines each, and times it. */
export const timeCauses = (world: World, { administrator }: People): Promise<void> =>
  world.timeline.step(
    {
      who: 'Vault administrator',
      title: `Loses and regains keys in ${lanes.flatMap((lane) => lane.causes).length} ways, ${skus.length} machines each`,
      event: { label: `${lanes.length * skus.length} more machines`, kind: 'aside' },
      rules: ['CMK-27', 'CMK-38', 'CMK-104', 'CMK-120', 'CMK-122', 'CMK-123', 'CMK-133'],
    },
    async () => {
      const timed = await Promise.all(lanes.map((lane, n) => playLane(world, administrator, lane, n)));
      world.evidence.timed = timed.flat();
    },
  );

interface Lane {
  readonly machines: readonly { readonly name: string; readonly sku: string }[];
  readonly journals: () => Promise<Journals>;
}

const playLane = async (
  world: World,
  person: Person,
  { model, causes: names }: (typeof lanes)[number],
  n: number,
): Promise<readonly TimedLoss[]> => {
  const owner = { ...person, administrator: person.principal };
  const group = groupsOf(world).timed(n);
  const keyed = await makeKeyed(owner, group, { model, purgeProtectionEnabled: true });
  const machines = await Promise.all(
    skus.map(async (sku) => ({
      sku,
      name: await makeMachine(
        person,
        { group, set: keyed.set },
        `timed${n}-${sku.toLowerCase().replaceAll('_', '-')}`,
        [sku],
        workload,
      ),
    })),
  );
  const journals = world.journalsOf(machines.map(({ name }) => name));
  const timed: TimedLoss[] = [];
  for (const cause of causes.filter(({ name }) => names.some((one) => one === name))) {
    world.signal.throwIfAborted();
    timed.push(await timeCause(world, person, owner, keyed, cause, { machines, journals }));
  }
  await Promise.all(machines.map(({ name }) => person.compute.powerOffVirtualMachine({ name, skipShutdown: true })));
  return timed;
};

const timeCause = async (
  { clock }: World,
  person: Person,
  owner: Owner,
  keyed: Keyed,
  cause: TableCause,
  { machines, journals }: Lane,
): Promise<TimedLoss> => {
  const { compute } = person;
  const allIn = (power: PowerState) => Promise.all(machines.map(({ name }) => inPower(person, name, power)));
  await untilSeen('the guests write', async () =>
    allHave(await journals(), machines, ({ op, ok }) => ok && op === 'write'),
  );
  const stopped = async () => {
    await allIn('STOPPED');
  };

  const sentAtMs = clock.now();
  const { effectMs: lostAtMs = sentAtMs, undo } = await inflict(owner, keyed, cause, stopped);
  const [off, journal] = [await allIn('STOPPED'), await journals()];
  const returnedAtMs = clock.now();
  await undo();
  await quietly(() => untilAvailable(owner, keyed));
  await Promise.all(
    machines.map(({ name }) => until(`${name} starts`, async () => compute.startVirtualMachine({ name }))),
  );
  const on = await allIn('RUNNING');
  const isCheck = ({ op, invokedAt }: Io): boolean => op === 'verify' && invokedAt >= returnedAtMs;
  // They check all of it before they write again.
  const isNewWrite = ({ op, ok, invokedAt }: Io): boolean => op === 'write' && ok && invokedAt >= returnedAtMs;
  await untilSeen('the guests have looked for all they wrote', async () =>
    allHave(await journals(), machines, isNewWrite),
  );
  const after = await journals();

  const seen = ({ name, sku }: (typeof machines)[number], at: number): TimedMachine => {
    const id = lastSegment(name);
    const before = journal[id] ?? [];
    const disks = [...new Set(before.map(({ disk }) => disk))];
    const written = disks.flatMap((disk) => expectedPlaces(before, disk).map(({ offset }) => `${disk} ${offset}`));
    const checks = (after[id] ?? []).filter(isCheck);
    const found = new Set(checks.flatMap(({ ok, disk, offset }) => (ok ? `${disk} ${offset}` : [])));
    return {
      name: id,
      sku,
      reason: off[at]?.stopReason?.reason ?? '',
      lastGoodIoAfterMs: (lastGoodIo(before, disks) ?? Number.NaN) - lostAtMs,
      stoppedAfterMs: millisOf(off[at]?.stopTime) - lostAtMs,
      runningAfterMs: millisOf(on[at]?.startTime) - returnedAtMs,
      written: written.length,
      verified: written.filter((place) => found.has(place)).length,
      mismatched: checks.filter(({ reason }) => reason === 'CONTENT_MISMATCH').length,
    };
  };
  return { cause: cause.name, reason: cause.stopReason ?? cause.reason, machines: machines.map(seen) };
};

/** Waits until a machine is in that power state, by a watch and without polling. */
const inPower = async ({ compute }: Person, name: string, power: PowerState): Promise<VirtualMachine> => {
  const limits = { signal: AbortSignal.timeout(patienceMs), deadlineMs: patienceMs };
  for await (const machine of compute.watchVirtualMachine({ name }, limits)) {
    if (machine.powerState === power) return machine;
  }
  throw new Error(`${name} is not ${power} after ${patienceMs} ms`);
};

const allHave = (journals: Journals, machines: Lane['machines'], isIt: (io: Io) => boolean): boolean =>
  machines.every(({ name }) => (journals[lastSegment(name)] ?? []).some(isIt));

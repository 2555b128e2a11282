import type { Impact_Kind } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { shortName } from '@interlock/lab/short-name';
import { attempt, inWords } from '../attempt.ts';
import { each, type Finding, finding, listed, millis } from '../findings.ts';
import { historyOf, readFleet, untilAtWork, untilFleet, untilSeen } from '../observe.ts';
import {
  groupsOf,
  type KeySet,
  type Keys,
  machines,
  namesIn,
  type People,
  type Person,
  type PlannedMachine,
  spareDisk,
  type World,
} from '../world.ts';
import { createDisk } from './disks.ts';
import { deallocate, idsOf, start } from './machines.ts';
import { assignKey } from './rotation.ts';

/** Machines of the plan, by what losing the key must do to them. */
const thatMust = (onLoss: PlannedMachine['onLoss']): readonly string[] =>
  idsOf(machines.filter((machine) => machine.onLoss === onLoss));
const ultra = 'vm-ultra';

/**
 * Deletes the key and tries everything that needs it; then restores the machines under the other key, authorized by a principal who
 * could have recovered the old one.
 */
export const deleteAndAssign = async (world: World, people: People, set: KeySet, keys: Keys): Promise<void> => {
  const { timeline } = world;
  const { vaultAdministrator, vmUser } = people;
  const [key = ''] = keys.generated.name.split('/versions/');
  const predicted = await timeline.step(
    { who: 'Vault administrator', title: 'Asks what deleting the key would do', rules: ['CMK-100', 'CMK-102'] },
    () => predictedBy(vaultAdministrator, key),
  );
  await timeline.step(
    { who: 'Vault administrator', title: 'Deletes the key', rules: ['CMK-10', 'CMK-100', 'CMK-102'] },
    async () => {
      await vaultAdministrator.keyVault.deleteKey({ name: key, confirmName: key });
      await untilFleet(world, vmUser, 'stopped', thatMust('stops'), ({ powerState }) => powerState === 'STOPPED');
    },
  );
  await seeDeleted(world, vmUser, predicted);
  await Promise.all([refuseDataKeys(world, vmUser), coldStart(world, vmUser)]);
  await timeline.step(
    {
      who: 'Administrator',
      title: 'Assigns the other key, authorized by the owner of the deleted one',
      rules: ['CMK-121', 'CMK-126'],
    },
    async () => {
      const keyOwnerToken = await vaultAdministrator.tokens.token('interlock:key-vault');
      await assignKey(people, set, keys.imported, keyOwnerToken);
    },
  );
  await returnToWork(world, vmUser);
};

/** The predicted effect on machines if the key were deleted. @returns the machines with an impact of a kind */
const predictedBy = async ({ sets }: Person, key: string): Promise<(kind: Impact_Kind) => readonly string[]> => {
  const target = { $case: 'key', value: key } as const;
  const { impacts } = await sets.previewImpact({ target, action: 'DELETE', pageSize: 1_000 });
  return (kind) => impacts.filter((impact) => impact.kind === kind).map(({ resource }) => shortName(resource));
};

/** What the deletion did to the machines, beside what was predicted. */
const seeDeleted = async (
  world: World,
  vmUser: Person,
  predicted: Awaited<ReturnType<typeof predictedBy>>,
): Promise<void> => {
  const { see } = world;
  const fleet = await readFleet(world, vmUser);
  const are = (onLoss: PlannedMachine['onLoss'], state: string): Finding =>
    each(
      thatMust(onLoss).map((id) => {
        const { powerState = '', stopReason } = fleet.get(id) ?? {};
        return { id, seen: `${powerState} ${stopReason?.reason ?? ''}`.trim() };
      }),
      ({ seen }) => seen === state,
      ({ id, seen }) => `${id} is ${seen}`,
      'after the deletion ',
    );
  const isPredicted = (kind: Impact_Kind, what: string, onLoss: PlannedMachine['onLoss']): Finding => {
    const [named, meant] = [predicted(kind).toSorted(), thatMust(onLoss).toSorted()];
    return finding(named.join() === meant.join(), `predicted: ${what} ${listed(named)}; it was ${listed(meant)}`);
  };
  const stopped = are('stops', 'STOPPED KEY_DELETED');
  see('CMK-10', 'deletion', stopped);
  see('CMK-100', 'deletion', stopped, isPredicted('VIRTUAL_MACHINE_STOPS', 'stops', 'stops'));
  const failsLater = 'runs on and fails at its next start';
  see(
    'CMK-102',
    'deletion',
    are('keeps running', 'RUNNING'),
    isPredicted('VIRTUAL_MACHINE_FAILS_AT_NEXT_START', failsLater, 'keeps running'),
  );
  see('CMK-111', 'deletion', are('untouched', 'RUNNING'));
};

/** Everything that needs a data key is refused at once and leaves nothing incomplete (CMK-110). */
const refuseDataKeys = (world: World, vmUser: Person): Promise<void> => {
  const { timeline, see } = world;
  const names = namesIn(world);
  const { compute, disks } = vmUser;
  const late = { id: 'too-late', sku: 'PREMIUM_SSD', set: 'house' } as const;
  const spare = names.disk(spareDisk.id);
  const host = names.machine('vm-platform');
  const title = 'Wants a disk, a snapshot, an attachment and an export under the lost key';
  return timeline.step({ who: 'VM user', title, rules: ['CMK-110'] }, async () => {
    const attempts = await Promise.all([
      attempt('creating a disk', () => createDisk(world, vmUser, late)),
      attempt('taking a snapshot', () =>
        disks.createSnapshot({
          parent: groupsOf(world).machines,
          snapshotId: 'too-late',
          sourceDisk: names.disk('hdd-os'),
        }),
      ),
      attempt('reading through an access token', () => world.dataPath.read(vmUser, spare, 0, 4_096)),
    ]);
    // After the read, because a disk that is being attached refuses others for that reason.
    attempts.push(
      await attempt('attaching to a running machine', () => compute.attachDisk({ name: host, lun: 7, disk: spare })),
    );
    const { powerState, dataDisks } = await untilSeen('the attachment has ended', async () => {
      const found = await compute.getVirtualMachine({ name: host });
      return found.provisioningState !== 'UPDATING' && found;
    });
    const leftovers = await Promise.all([
      attempt('reading that disk', () => disks.getDisk({ name: names.disk(late.id) })),
      attempt('reading that snapshot', () => disks.getSnapshot({ name: names.snapshot('too-late') })),
    ]);
    const { state } = await disks.getDisk({ name: spare });
    see(
      'CMK-110',
      'deletion',
      each(
        attempts,
        ({ outcome, reason }) => outcome === 'refused' && reason === 'KEY_DELETED',
        (one) => `${inWords(one)} in ${millis(one.tookMs)}`,
      ),
      each(leftovers, ({ code }) => code === 'NOT_FOUND', inWords),
      finding(
        powerState === 'RUNNING' && dataDisks.length === 0 && state === 'UNATTACHED',
        `the machine that was to get a disk is ${powerState} with ${dataDisks.length} data disks; the disk is ${state}`,
      ),
    );
  });
};

/** An ultra machine keeps what it has open, but cannot open it again (CMK-102). */
const coldStart = (world: World, vmUser: Person): Promise<void> => {
  const { timeline, see } = world;
  return timeline.step(
    { who: 'VM user', title: 'Deallocates the ultra machine and starts it: it fails', rules: ['CMK-102', 'CMK-106'] },
    async () => {
      await deallocate(world, vmUser, [ultra]);
      const [started] = await start(world, vmUser, [ultra]);
      if (started === undefined) throw new Error(`nothing was started of ${ultra}`);
      const { outcome, code, power, message } = started;
      const { failure } = await vmUser.compute.getVirtualMachine({ name: namesIn(world).machine(ultra) });
      const namesDisk = failure?.accessLoss?.disk === namesIn(world).disk('ultra-data');
      see(
        'CMK-102',
        'cold start',
        finding(
          outcome === 'failed' && code === 'KEY_DELETED' && power === 'DEALLOCATED' && namesDisk,
          `given back and started it ${outcome} (${code}), is ${power}, and the failure ${namesDisk ? 'names' : 'does not name'} its ultra disk: ${message}`,
        ),
      );
      see('CMK-106', 'cold start', finding(outcome === 'failed', `deallocated ${ultra}: ${outcome}`));
    },
  );
};

/** Starts the machines under the other key and waits until their guests have found all that they wrote, and work again. */
const returnToWork = (world: World, vmUser: Person): Promise<void> => {
  const { clock, see, timeline } = world;
  const fromMs = clock.now();
  return timeline.step(
    { who: 'VM user', title: 'Starts every machine again', rules: ['CMK-121', 'CMK-126', 'CMK-127'] },
    async () => {
      const starts = await start(world, vmUser, [...thatMust('stops'), ultra]);
      const running = starts.filter(({ outcome }) => outcome === 'running').map(({ machine }) => machine);
      const isRunning = ({ id }: PlannedMachine): boolean => running.includes(id);
      const io = await untilAtWork(world, machines.filter(isRunning), fromMs);
      const work = starts.map((started) => {
        const { reads = 0, writes = 0 } = io.find(({ machine }) => machine === started.machine) ?? {};
        return { ...started, reads, writes };
      });
      const works = (some: typeof work): Finding =>
        each(
          some,
          ({ outcome, reads, writes }) => outcome === 'running' && reads > 0 && writes > 0,
          ({ machine, outcome, code, reads, writes }) =>
            `${machine} ${outcome}${code && ` (${code})`}, ${reads + writes} reads and writes`,
          'under the other key: ',
        );
      see('CMK-121', 'other key', works(work.filter(({ machine }) => machine !== ultra)));
      see('CMK-126', 'other key', works(work.filter(({ machine }) => machine === ultra)));
      const history = await world.history();
      const checks = running.flatMap((id) =>
        historyOf(history, id).filter(({ op, invokedAt }) => op === 'verify' && invokedAt >= fromMs),
      );
      const verified = checks.filter(({ ok }) => ok).length;
      const mismatched = checks.filter(({ reason }) => reason === 'CONTENT_MISMATCH').length;
      see(
        'CMK-127',
        'other key',
        finding(
          verified > 0 && mismatched === 0,
          `under the other key the guests found ${verified} of their earlier records, ${mismatched} differed`,
        ),
      );
    },
  );
};

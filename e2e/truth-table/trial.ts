import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { isFinal } from '@interlock/lab/causes';
import { until } from '../cloud/until.ts';
import type { TableCause } from './causes.ts';
import { type Content, openContent } from './content.ts';
import { disksUnderKey, fleetIn, type Member } from './fleet.ts';
import { injectLossAt, type Keyed } from './inject-loss.ts';
import { inOne, lookAt, machinesIn, type Shown, shownOf } from './looking.ts';
import { type Place, subscription } from './place.ts';
import { dataOf, startOf } from './returning.ts';
import { makeKeyed, setStage, untilAvailable } from './stage.ts';
import { type Cell, cellsOf, type Expectation } from './table.ts';

/** What was seen of a cell, with the values of an expectation if they match one. */
export type Seen = Readonly<Record<keyof Expectation, string>>;

/** What was seen of every cell of a cause. */
export type Verdicts = ReadonlyMap<Cell, Seen>;

/** How long it may take until no operation is in progress, in milliseconds. Later differences are reported as they are. */
const restMs = 90_000;

/**
 * Plays one cause on a fleet with a machine for every disk class and state: brings the machines into their states, takes
 * the key away, reads their state, tries to start them, restores access, starts them and reads what was written.
 * @throws Error if the stage cannot be set, or the key not be taken away or restored; the results are in the verdicts
 */
export const tryCause = async (place: Place, cause: TableCause): Promise<Verdicts> => {
  const group = `${subscription}/resourceGroups/g${randomUUID().slice(0, 8)}`;
  const keyed = await makeKeyed(place, group, { ...cause, purgeProtectionEnabled: false });
  const content = openContent(place);
  const members = new Map(fleetIn(group).map((member) => [member, cellFor(cause, member)]));
  const all = [...members.keys()];

  const { gates, answers } = await setStage(place, keyed.set, all, content);
  const stopped = () => untilStopped(place, cause, keyed, members);
  const { undo } = await injectLossAt(place, keyed, cause, stopped);
  const injectedAtMs = place.clock.monotonicMs();
  await stopped();
  await untilRenewed(place, cause, keyed, injectedAtMs);
  for (const gate of gates) gate.open();

  const answered = await ofEach(all, async (member) => (await answers.get(member)) ?? 'none');
  const shown = await untilAtRest(place, keyed, members);
  const io = await ofEach(all, (member) => tryAsGuest(content, member));
  const starts = await ofEach(all, (member) => startOf(place, member));
  await undo();
  if (!isFinal(cause.played.cause)) await untilAvailable(place, keyed);
  const data = await ofEach(all, (member) => dataOf(place, keyed.set, member, content));

  const unseen = { end: '', stopReason: '', disks: '', diskReason: '', set: '' };
  return new Map(
    [...members].map(([member, cell]) => [
      cell,
      {
        ...(shown.get(member) ?? unseen),
        answer: answered.get(member) ?? '',
        io: io.get(member) ?? '',
        start: starts.get(member) ?? '',
        data: data.get(member) ?? '',
      },
    ]),
  );
};

const cellFor = (cause: TableCause, { diskClass, state }: Member): Cell => {
  const found = cellsOf(cause).find((cell) => cell.diskClass === diskClass && cell.state === state);
  if (!found) throw new Error(`no cell for ${cause.name} × ${diskClass} × ${state}`);
  return found;
};

const ofEach = async (
  members: readonly Member[],
  look: (member: Member) => Promise<string>,
): Promise<ReadonlyMap<Member, string>> =>
  new Map(await Promise.all(members.map(async (member) => [member, await look(member)] as const)));

/** Reads and writes of the guest on every disk of a machine that is under the key. */
const tryAsGuest = async (content: Content, member: Member): Promise<string> =>
  inOne(await Promise.all(disksUnderKey(member).map((disk) => content.tryAsGuest(member, disk))));

/**
 * Waits until the running machines that must stop are off: then compute has received the loss, and steps that wait at
 * the gates meet it. The cells report those that do not stop.
 */
const untilStopped = async (
  place: Place,
  { effect }: TableCause,
  keyed: Keyed,
  members: ReadonlyMap<Member, Cell>,
): Promise<void> => {
  const stopping = [...members]
    .filter(([{ state }, { expected }]) => state === 'running' && expected.end === 'STOPPED')
    .map(([{ vm }]) => vm);
  await inTime(place, 'machines have stopped', async () => {
    const machines = await machinesIn(place.compute, [...members.keys()][0]?.vm ?? '');
    const isOver = stopping.every((vm) => machines.get(vm)?.powerState === 'STOPPED');
    return isOver && (effect !== 'loss' || (await isReceived(place, keyed)));
  });
};

/**
 * If running machines must continue: waits until the vault has granted this host another lease. Running machines could use the
 * earlier lease for a while. If no other one is granted, the earlier one has ended at the end of this wait, and I/O shows it.
 */
const untilRenewed = async (place: Place, { effect }: TableCause, { set }: Keyed, sinceMs: number): Promise<void> => {
  if (effect !== 'start only' && effect !== 'throttle') return;
  await inTime(place, 'the lease was won again', async () => {
    const nowMs = place.clock.monotonicMs();
    const { leases } = await place.disks.listLeases({ diskEncryptionSet: set });
    return leases.length > 0 && leases.every(({ state, ageMs }) => state === 'HELD' && nowMs - ageMs > sinceMs);
  });
};

/** Whether compute has received the loss from the set itself. */
const isReceived = async (place: Place, { set, keyVersion }: Keyed): Promise<boolean> => {
  const { keyAccess } = await place.sets.getDiskEncryptionSet({ name: set });
  const lost = keyAccess.find((access) => access.keyVersion === keyVersion && access.state === 'LOST');
  return lost !== undefined && (await place.receivedLoss({ set, keyVersion })) >= lost.accessEpoch;
};

const untilAtRest = async (
  place: Place,
  keyed: Keyed,
  members: ReadonlyMap<Member, Cell>,
): Promise<ReadonlyMap<Member, Shown>> => {
  let shown: ReadonlyMap<Member, Shown> = new Map();
  await inTime(place, 'everything is as expected', async () => {
    shown = await lookAt(place, keyed, [...members.keys()]);
    return [...members].every(([member, { expected }]) => isDeepStrictEqual(shown.get(member), shownOf(expected)));
  });
  return shown;
};

/** Waits for a condition for a limited time. If it does not become true, later checks show that. */
const inTime = async ({ clock }: Place, what: string, condition: () => Promise<boolean>): Promise<void> => {
  await Promise.allSettled([until(what, condition, restMs, clock)]);
};

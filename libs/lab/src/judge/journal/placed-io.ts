import type { RecordedEvent } from '@interlock/event-store';
import type { GuaranteeRecord } from '../../record.ts';
import type { ReadVmEvent } from '../events/compute.ts';
import { readEvent } from '../events/recorded.ts';
import type { History, Recorded } from './history.ts';

/** A time in which a guest of a machine may work at a VM host. */
interface Stay {
  readonly vmHost: string;
  readonly fromMs: number;
  /** When compute recorded that the machine is off; Infinity if it did not. */
  readonly toMs: number;
}

/**
 * Judges the journals at VM hosts (G2): no operation of a guest that begins after its machine is recorded as off succeeds, also while
 * the host does not respond and the guest runs on; and two guests of a machine never work at the same time. Guests and compute share the
 * clock of this computer, or `events` have its times.
 * @param events of compute @param history only what has the VM host of the guest is judged
 * @returns nothing if no guest ran at a VM host
 */
export const judgePlacedIo = (events: readonly RecordedEvent[], history: History): readonly GuaranteeRecord[] => {
  const placed = history.filter(({ vmHost }) => vmHost !== undefined);
  if (placed.length === 0) return [];
  const stays = staysIn(events);
  const broken = placed.flatMap((io): readonly GuaranteeRecord[] => {
    if (!io.ok || isWithin(io, stays.get(io.machine) ?? [])) return [];
    const seen = `${io.op} ${io.seq} of ${io.disk} succeeded at ${io.vmHost}, where no guest of the machine may work: invoked ${new Date(io.invokedAt).toISOString()}`;
    return [{ rule: 'G2', subject: io.machine, holds: false, seen }];
  });
  if (broken.length > 0) return [...new Map(broken.map((one) => [one.subject, one])).values()];
  const seen = `${placed.length} operations of guests at VM hosts, each while its machine was on there`;
  return [{ rule: 'G2', subject: 'every guest at a VM host', holds: true, seen }];
};

const isWithin = ({ vmHost, invokedAt }: Recorded, stays: readonly Stay[]): boolean =>
  stays.some((stay) => stay.vmHost === vmHost && invokedAt >= stay.fromMs && invokedAt <= stay.toMs);

/** The stays of each machine, by its full name. */
const staysIn = (events: readonly RecordedEvent[]): ReadonlyMap<string, readonly Stay[]> => {
  const stays = new Map<string, Stay[]>();
  for (const recorded of events) {
    if (!recorded.stream.startsWith('vm-')) continue;
    const name = recorded.stream.slice('vm-'.length);
    const own = stays.get(name) ?? [];
    const event = readEvent<ReadVmEvent>(recorded);
    const last = own.at(-1);
    const isOff = event.type === 'VmStopped' || event.type === 'VmStartFailed' || event.type === 'VmDeleted';
    const isOver = isOff || event.type === 'VmPlaced';
    if (isOver && last !== undefined && last.toMs === Number.POSITIVE_INFINITY)
      own[own.length - 1] = { ...last, toMs: recorded.time };
    if (event.type !== 'VmPlaced') continue;
    own.push({
      vmHost: event.host.replace('vmHosts/', ''),
      fromMs: recorded.time,
      toMs: Number.POSITIVE_INFINITY,
    });
    stays.set(name, own);
  }
  return stays;
};

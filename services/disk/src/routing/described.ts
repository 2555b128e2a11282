import { outlivesKeyLoss } from '@interlock/access/outcome';
import type { Disk as WireDisk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { Snapshot as WireSnapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import type { DescribeVolumesResponse } from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { currentCall, RpcFailure } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { skuOnWire } from '../disk/encryption.ts';
import { type HostView, showDisks } from '../disk/reads.ts';
import type { Disk } from '../disk/state.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import { showSnapshots } from '../snapshot/reads.ts';
import type { HostLinks } from './host-links.ts';

/** How long a read waits for a host, in milliseconds. Without its response a disk is shown as the store knows it. */
const describeMs = 1_000;

/** What a process without disks knows of them by itself. */
export const withoutDisks: HostView = { isPinned: () => false, allocatedBytes: async () => 0 };

/**
 * A disk whose host does not respond. Its host may have the data key of an open ultra disk in memory, and only the host can say that
 * it has not: such a disk is not shown as unavailable, because its machine would stop (CMK-102, G3).
 */
export const withoutAnswer: HostView = {
  isPinned: (_name, disk) =>
    disk.status === 'active' && disk.access?.by === 'machine' && outlivesKeyLoss(skuOnWire[disk.sku]),
  allocatedBytes: withoutDisks.allocatedBytes,
};

/** What showing needs. */
interface ShowParts extends Pick<Control, 'availability' | 'fleet' | 'clock'> {
  readonly links: Pick<HostLinks, 'to' | 'hosts'>;
}

/**
 * Shows disks and snapshots as their hosts do: these know the storage that is taken, pinned disks, and losses that are not published.
 * One of a host that does not respond is shown as the store has it, with that state of the host.
 */
export const showAsHosts = (parts: ShowParts) => ({
  async disks(page: readonly Loaded<Disk>[]): Promise<WireDisk[]> {
    const { answers, silent } = await describe(parts, page);
    const fleet = withSilent(parts.fleet, silent);
    const described = answers.flatMap(({ disks }) => disks);
    return inOrder(page, described, (rest) => showDisks({ ...parts, fleet, host: withoutAnswer }, rest));
  },
  async snapshots(page: readonly Loaded<Snapshot>[]): Promise<WireSnapshot[]> {
    const { answers, silent } = await describe(parts, page);
    const fleet = withSilent(parts.fleet, silent);
    const described = answers.flatMap(({ snapshots }) => snapshots);
    return inOrder(page, described, (rest) => showSnapshots({ ...parts, fleet, host: withoutDisks }, rest));
  },
});

/** What was described, and the rest as it is shown here, in the order of the page. */
const inOrder = async <State, Wire extends { readonly name: string }>(
  page: readonly Loaded<State>[],
  described: readonly Wire[],
  show: (rest: readonly Loaded<State>[]) => Promise<readonly Wire[]>,
): Promise<Wire[]> => {
  const byName = new Map(described.map((one) => [one.name, one]));
  for (const one of await show(page.filter(({ id }) => !byName.has(id)))) byName.set(one.name, one);
  return page.flatMap(({ id }) => byName.get(id) ?? []);
};

/** Calls each serving host of a page at once, as this service: a host describes only to control processes. */
const describe = async (
  { links }: ShowParts,
  page: readonly Loaded<Disk | Snapshot>[],
): Promise<{ readonly answers: readonly DescribeVolumesResponse[]; readonly silent: ReadonlySet<string> }> => {
  const silent = new Set<string>();
  const serving = new Set(links.hosts().flatMap(({ name, isServing }) => (isServing ? [name] : [])));
  const byHost = Map.groupBy(page, ({ state }) => ('host' in state ? state.host : ''));
  const all = [...byHost].filter(([host]) => serving.has(host));
  const found = await Promise.all(
    all.map(async ([host, some]) => {
      const request = { names: some.map(({ id }) => id) };
      try {
        const link = await links.to(host);
        const { signal } = new AbortController();
        return await link.call(signal, (_link, ending) =>
          link.volumes.describeVolumes(request, { deadlineMs: describeMs, signal: ending }),
        );
      } catch (error) {
        if (!isWithoutAnswer(error)) throw error;
        silent.add(host);
        return undefined;
      }
    }),
  );
  return { answers: found.flatMap((answer) => answer ?? []), silent };
};

/** The fleet, in which a host that gave no answer just now is unreachable: an ended host keeps its lease for a while. */
const withSilent = (
  fleet: Pick<Control['fleet'], 'conditionOf'>,
  silent: ReadonlySet<string>,
): Pick<Control['fleet'], 'conditionOf'> => ({
  conditionOf: (host) => {
    const condition = fleet.conditionOf(host);
    return condition === 'serving' && silent.has(host) ? 'unreachable' : condition;
  },
});

/** Whether the host did not respond in time, which its disks show by themselves. The end of the own call is an error. */
const isWithoutAnswer = (error: unknown): boolean => {
  if ((currentCall()?.remainingMs() ?? 1) <= 0) return false;
  if (error instanceof RpcFailure) return error.code === 'DEADLINE_EXCEEDED';
  return error instanceof Rejection && error.code === 'UNAVAILABLE';
};

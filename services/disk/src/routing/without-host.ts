import type { CloseDiskRequest, DetachDiskRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { Disk as WireDisk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Category, type EventStore, type Loaded, Rejection, type StreamName } from '@interlock/event-store';
import { type Call, names, type Settled } from '@interlock/rpc';
import { type Clock, keyedMutex } from '@interlock/runtime';
import { detach } from '../disk/attachment-decider.ts';
import { closeDisks, closedOnWire, closingOf } from '../disk/closing.ts';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import type { Fence } from '../fleet/fence.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { ownStreams, refusalToEnd } from '../fleet/own.ts';
import { hostNameOnWire } from '../fleet/wire.ts';

/** The caller gets an answer so long before its deadline, in milliseconds. */
const answerMs = 1_000;

type EndingCall = Pick<Call, 'cause' | 'remainingMs' | 'signal'>;
type Closed = ReturnType<typeof closedOnWire>;

/** What ends accesses without their host. */
export interface WithoutHostParts {
  readonly store: Pick<EventStore, 'read'>;
  /** The disks of every host. */
  readonly disks: Category<Disk, DiskEvent>;
  readonly fence: Pick<Fence, 'passed'>;
  readonly fleet: Pick<Fleet, 'isLost' | 'folderOf' | 'leaseOf'>;
  readonly show: (disks: readonly Loaded<Disk>[]) => Promise<readonly WireDisk[]>;
  readonly clock: Clock;
}

/**
 * Closes and detaches disks whose host does not respond (G2). The commit is that of the host, and the answer waits until the host
 * cannot serve the access any more (`Fence`). A repeat waits for the same event, at any control process, so the wait ends after the
 * time of one lease even if each call is shorter.
 */
export class WithoutHost {
  readonly #parts: WithoutHostParts;

  constructor(parts: WithoutHostParts) {
    this.#parts = parts;
  }

  /** @returns an outcome for each, in their order @throws Rejection INVALID_ARGUMENT; UNAVAILABLE DISK_HOST_UNREACHABLE */
  async closeDisks(
    host: string,
    requests: readonly CloseDiskRequest[],
    call: EndingCall,
  ): Promise<readonly Settled<Closed>[]> {
    const { clock } = this.#parts;
    // What the host has in memory ends as `Fence` says.
    const ending = { disks: this.#ofHost(host), turns: keyedMutex(), clock, host: notHere };
    const outcomes = await closeDisks(ending, requests.map(closingOf), call.cause);
    const disks = outcomes.flatMap((outcome) => ('disk' in outcome ? [outcome.disk] : []));
    if (disks.length > 0) await this.#fenced(host, disks, call);
    return outcomes.map((outcome) =>
      'disk' in outcome ? { answer: closedOnWire(outcome.disk) } : { error: outcome.refused },
    );
  }

  /** @throws as the host does; Rejection UNAVAILABLE DISK_HOST_UNREACHABLE */
  async detachDisk(
    host: string,
    { name, virtualMachine, requestId }: DetachDiskRequest,
    call: EndingCall,
  ): Promise<WireDisk> {
    names.disk.parse(name, 'name');
    names.virtualMachine.parse(virtualMachine, 'virtual_machine');
    const decide = detach(this.#parts.clock.now(), virtualMachine, requestId === '' ? undefined : requestId);
    const detached = await this.#ofHost(host).transact(name, decide, call.cause);
    const before = detached.state.steps?.detach;
    if (detached.events.length === 0 && before !== undefined) call.cause.tracker?.found(`disk-${name}`, before);
    await this.#fenced(host, [detached], call);
    const [shown] = await this.#parts.show([detached]);
    if (shown === undefined) throw new Error(`${name} was not shown`);
    return shown;
  }

  /** A disk that has another host meanwhile is refused. */
  #ofHost(host: string): Category<Disk, DiskEvent> {
    return ownStreams(this.#parts.disks, refusalToEnd(host, this.#parts.fleet));
  }

  async #fenced(host: string, disks: readonly Loaded<Disk>[], call: EndingCall): Promise<void> {
    const positions = await Promise.all(disks.map((disk) => this.#positionOf(disk)));
    const wait = { leftMs: () => call.remainingMs() - answerMs, signal: call.signal };
    if (await this.#parts.fence.passed(host, Math.max(0, ...positions), call.cause, wait)) return;
    throw new Rejection(
      'UNAVAILABLE',
      'DISK_HOST_UNREACHABLE',
      `disk host ${host} does not respond. The end of the access is stored, and is certain once the lease of the host is over: try again`,
      { disk_host: hostNameOnWire(host) },
    );
  }

  /** The position of the newest event of a disk; 0 if it has none. */
  async #positionOf({ id, version }: Loaded<Disk>): Promise<number> {
    const stream: StreamName = `disk-${id}`;
    return version === 0 ? 0 : ((await this.#parts.store.read(stream, version - 1)).at(-1)?.position ?? 0);
  }
}

/** A control process has no sessions. */
const notHere = { close: () => undefined, doubt: () => undefined } as const;

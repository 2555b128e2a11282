import type { RecordedEvent } from '@interlock/event-store';
import type { ReadDiskEvent, ReadSnapshotEvent } from '@interlock/lab/judge/events/disk';
import { readEvent } from '@interlock/lab/judge/events/recorded';
import type { Findings } from '@interlock/lab/judge/findings';
import { type DiskTruth, nameIn } from '@interlock/lab/judge/model/disks';
import { nameOf } from '../cloud/parts.ts';
import type { Committed, SimulatedCloud } from '../cloud/simulated-cloud.ts';

const hostStream = 'diskhost-';

/** What a control process commits if the host of the disk does not respond. */
const committedByControl: ReadonlySet<string> = new Set(['DiskClosed', 'DiskDetached', 'AccessEnded', 'AttachGivenUp']);

/** What any host commits if the host of the disk is lost. */
const committedForLost: ReadonlySet<string> = new Set([
  ...committedByControl,
  ...['DiskDeleting', 'DiskDeleted', 'DiskCreateFailed'],
  ...['SnapshotDeleting', 'SnapshotDeleted', 'SnapshotCreateFailed'],
  'VolumeMoveFailed',
  'FormerVolumeRemoved',
]);

/** What a lost host may still commit, if it was paused meanwhile and does not know yet: the end of what it had begun. */
const endedByLost: ReadonlySet<string> = new Set([
  ...['DiskCreateFailing', 'DiskCreateFailed', 'SnapshotCreateFailing', 'SnapshotCreateFailed'],
  'VolumeMoveFailed',
]);

/** What the state of a disk host becomes by an event. */
const statusAfter: Readonly<Record<string, string>> = {
  DiskHostRegistered: 'open',
  DiskHostOpened: 'open',
  DiskHostCordoned: 'cordoned',
  DiskHostDraining: 'draining',
  DiskHostDrained: 'drained',
  DiskHostLost: 'lost',
  DiskHostDeleted: 'deleted',
};

/**
 * G5: a disk has one host, which does all work on it. Only that host commits to the stream of a disk or snapshot, besides
 * closes and detaches while it does not respond, and the removal of what a move left at another host. What a lost host has is ended by
 * any other one, and what it had begun by itself. Nothing begins on or moves to
 * a host that an operator closed; and no disk or snapshot names a deleted one.
 */
export class HostJudge {
  readonly #parts: {
    readonly world: Pick<SimulatedCloud, 'diskHosts'>;
    readonly truth: { readonly disks: Pick<DiskTruth, 'disks' | 'hostOf'> };
    readonly log: Findings;
  };
  /** By disk or snapshot that moved, or left something behind in a move that failed. */
  readonly #moves = new Map<
    string,
    { readonly host: string; readonly receiver: string; readonly former: string | undefined }
  >();
  /** States of hosts; in the estate, with which a history starts, each is open. */
  readonly #status = new Map<string, string>();

  constructor(parts: {
    readonly world: Pick<SimulatedCloud, 'diskHosts'>;
    readonly truth: { readonly disks: Pick<DiskTruth, 'disks' | 'hostOf'> };
    readonly log: Findings;
  }) {
    this.#parts = parts;
  }

  /** Judges a commit of disk, after the truth has applied it. */
  onCommit({ by, events }: Pick<Committed, 'by' | 'events'>): void {
    for (const event of events) {
      const { stream, type } = event;
      if (stream.startsWith(hostStream)) this.#onHost(stream.slice(hostStream.length), type);
      else if (stream.startsWith('disk-') || stream.startsWith('snapshot-')) this.#onVolume(event, by);
    }
  }

  #onHost(host: string, type: string): void {
    const { truth, log } = this.#parts;
    const status = statusAfter[type];
    if (status !== undefined) this.#status.set(host, status);
    if (status !== 'deleted') return;
    const left = [...truth.disks.disks.values()].find((disk) => disk.host === host);
    if (left) log.violate('G5', `no disk names ${host}, which is deleted`, `${left.name} does`);
  }

  #onVolume(event: RecordedEvent, by: Committed['by']): void {
    const { world, log } = this.#parts;
    const { stream, type } = event;
    const name = nameIn(stream);
    const host = this.#workerOf(event);
    const process = world.diskHosts.find((one) => one.name === host);
    const isOwner = by !== undefined && process !== undefined && nameOf(by) === nameOf(process.replica);
    const isLost = this.#status.get(host) === 'lost';
    const isByControl = by !== undefined && nameOf(by) === 'disk' && committedByControl.has(type);
    const isEnding = (isOwner ? endedByLost : committedForLost).has(type);
    const isAllowed = isLost ? isEnding : isOwner || isByControl;
    if (by !== undefined && !isAllowed)
      log.violate(
        'G5',
        `only ${host}, the host of ${name}, works on it${isLost ? ', and it is lost' : ''}`,
        `${nameOf(by)} committed ${type}`,
      );
    const begins = beginsOn(event, host);
    const status = this.#status.get(begins ?? '') ?? 'open';
    if (status !== 'open') log.violate('G5', `nothing begins on ${begins}, which is ${status}`, `${type} of ${name}`);
  }

  /** The host that may commit an event: that of the disk before it, or the one that has the volume which is removed. */
  #workerOf(recorded: RecordedEvent): string {
    const { truth } = this.#parts;
    const name = nameIn(recorded.stream);
    const event = readEvent<ReadDiskEvent | ReadSnapshotEvent>(recorded);
    const before = this.#moves.get(name) ?? { host: truth.disks.hostOf(name), receiver: '', former: undefined };
    switch (event.type) {
      case 'VolumeMoving':
        this.#moves.set(name, { ...before, host: truth.disks.hostOf(name), receiver: event.host });
        return truth.disks.hostOf(name);
      case 'VolumeMoved':
        this.#moves.set(name, { host: event.host, receiver: '', former: before.host });
        return before.host;
      case 'VolumeMoveFailed':
        this.#moves.set(name, { ...before, receiver: '', former: before.receiver });
        return before.host;
      case 'FormerVolumeRemoved':
        this.#moves.set(name, { ...before, former: undefined });
        return before.former ?? truth.disks.hostOf(name);
      case 'DiskDeleted':
      case 'SnapshotDeleted':
        this.#moves.delete(name);
    }
    return truth.disks.hostOf(name);
  }
}

/** The host that gets something new by an event: where it is made, or the receiver of a move. */
const beginsOn = (recorded: RecordedEvent, host: string): string | undefined => {
  const event = readEvent<ReadDiskEvent | ReadSnapshotEvent>(recorded);
  if (event.type === 'VolumeMoving') return event.host;
  return event.type === 'DiskCreating' || event.type === 'SnapshotCreating' ? host : undefined;
};

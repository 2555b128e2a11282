import type { Findings } from '@interlock/lab/judge/findings';
import type { DiskTruth } from '@interlock/lab/judge/model/disks';
import { nameOf } from '../cloud/parts.ts';
import type { Committed, SimulatedCloud } from '../cloud/simulated-cloud.ts';

const hostStream = 'diskhost-';

/** What a control process commits if the host of the disk does not respond. */
const committedByControl: ReadonlySet<string> = new Set(['DiskClosed', 'DiskDetached', 'AccessEnded', 'AttachGivenUp']);

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
 * closes and detaches while it does not respond; nothing begins on
 * a host that an operator closed; and no disk or snapshot names a deleted one.
 */
export class HostJudge {
  readonly #parts: {
    readonly world: Pick<SimulatedCloud, 'diskHosts'>;
    readonly truth: { readonly disks: Pick<DiskTruth, 'disks' | 'hostOf'> };
    readonly log: Findings;
  };
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
    for (const { stream, type } of events) {
      if (stream.startsWith(hostStream)) this.#onHost(stream.slice(hostStream.length), type);
      else if (stream.startsWith('disk-') || stream.startsWith('snapshot-')) this.#onVolume(stream, type, by);
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

  #onVolume(stream: string, type: string, by: Committed['by']): void {
    const { truth, world, log } = this.#parts;
    const name = stream.slice(stream.indexOf('-') + 1);
    const host = truth.disks.hostOf(name);
    const process = world.diskHosts.find((one) => one.name === host);
    const isControl = by !== undefined && nameOf(by) === 'disk' && committedByControl.has(type);
    if (by !== undefined && !isControl && (process === undefined || nameOf(by) !== nameOf(process.replica)))
      log.violate('G5', `only ${host}, the host of ${name}, works on it`, `${nameOf(by)} committed ${type}`);
    if (type !== 'DiskCreating' && type !== 'SnapshotCreating') return;
    const status = this.#status.get(host) ?? 'open';
    if (status !== 'open') log.violate('G5', `nothing begins on ${host}, which is ${status}`, `${type} of ${name}`);
  }
}

import { type AccessReason, isOutage } from '@interlock/access';
import type { RecordedEvent } from '@interlock/event-store';
import type { KeyLoss, ReadVmEvent } from '@interlock/lab/judge/events/compute';
import { readEvent } from '@interlock/lab/judge/events/recorded';
import { type Findings, seconds } from '@interlock/lab/judge/findings';
import { nameIn } from '@interlock/lab/judge/model/disks';
import type { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { Status } from 'nice-grpc-common';
import { nameOf } from '../cloud/parts.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Responded } from '../truth/responses.ts';

/** The outage of a disk host that blocks a machine. */
interface Outage extends Pick<KeyLoss, 'set' | 'keyVersion'> {
  /** Unique name. */
  readonly host: string;
  /** When the machine named it. */
  readonly sinceMs: number;
}

interface Parts {
  readonly world: Pick<SimulatedCloud, 'diskHosts' | 'settings'> & { readonly clock: { monotonicMs(): number } };
  readonly disturbances: Pick<Disturbances, 'hostStartedMs'>;
  readonly log: Findings;
}

/** Statuses that a caller gets without a response. */
const withoutResponse: ReadonlySet<Status> = new Set([Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED]);

/**
 * G3: the outage of a disk host is over for a machine when the vault responds to that host, not when it responds to another one. A
 * new process of the host has no outage; a set that publishes access restored ends every loss of its key.
 */
export class OutageJudge {
  readonly #parts: Parts;
  /** By machine and disk. */
  readonly #outages = new Map<string, Map<string, Outage>>();
  /** When the vault responded last, by host. */
  readonly #respondedMs = new Map<string, number>();

  /** When a set published that access to a key version is restored: that ends every loss of it, also at hosts. */
  readonly #restoredMs = new Map<string, number>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Notes a response of the vault to a disk host. */
  onResponse({ service, caller, refusal }: Pick<Responded, 'service' | 'caller' | 'refusal'>): void {
    if (service !== 'key-vault' || caller === undefined) return;
    if (refusal !== undefined && withoutResponse.has(refusal)) return;
    const { diskHosts, clock } = this.#parts.world;
    const host = diskHosts.find(({ replica }) => nameOf(replica) === nameOf(caller));
    if (host) this.#respondedMs.set(host.name, clock.monotonicMs());
  }

  /** Judges an event of a machine, and notes those of sets. */
  onEvent(recorded: RecordedEvent): void {
    const { stream, type, cause } = recorded;
    if (stream.startsWith('set-') && type === 'KeyAccessRestored') {
      const { keyVersion } = recorded.data as { readonly keyVersion: string };
      this.#restoredMs.set(`${nameIn(stream)} ${keyVersion}`, this.#parts.world.clock.monotonicMs());
    }
    // No outage of the host that it left blocks it any more.
    if (type === 'VolumeMoved') for (const ofMachine of this.#outages.values()) ofMachine.delete(nameIn(stream));
    if (!stream.startsWith('vm-')) return;
    const vm = nameIn(stream);
    const event = readEvent<ReadVmEvent>(recorded);
    if (event.type === 'VmStopping') {
      for (const loss of [event.reason, ...(event.blocked ?? [])]) if (loss) this.#note(vm, loss);
    } else if (event.type === 'VmStartFailed') for (const loss of event.blocked ?? []) this.#note(vm, loss);
    else if (event.type === 'KeyAccessReturned') {
      const isPublished = cause.causes.some(({ id }) => id.startsWith('set-'));
      this.#onReturned(vm, event, isPublished);
    } else if (event.type === 'VmStarting' || event.type === 'VmDeleted') this.#outages.delete(vm);
  }

  #note(vm: string, { reason, disk, set, keyVersion, host }: KeyLoss): void {
    if (!isOutage(reason as AccessReason) || host === undefined) return;
    const ofMachine = this.#outages.get(vm) ?? new Map<string, Outage>();
    const sinceMs = this.#parts.world.clock.monotonicMs();
    this.#outages.set(vm, ofMachine.set(disk, { set, keyVersion, host: nameInFull(host), sinceMs }));
  }

  #onReturned(vm: string, returned: Extract<ReadVmEvent, { type: 'KeyAccessReturned' }>, isPublished: boolean): void {
    for (const [disk, outage] of this.#outages.get(vm) ?? []) {
      const { set, keyVersion, host } = outage;
      if (set !== returned.set || keyVersion !== returned.keyVersion) continue;
      if (returned.host !== undefined && nameInFull(returned.host) !== host) continue;
      this.#outages.get(vm)?.delete(disk);
      if (!isPublished && this.#isGoingOn(outage)) {
        const lastMs = this.#respondedMs.get(host) ?? 0;
        const actual = `${returned.host ?? 'no host'} returned; the vault responded to ${host} at ${seconds(lastMs)}`;
        this.#parts.log.violate('G3', `the outage of ${host} blocks ${vm} until the vault responds to ${host}`, actual);
      }
    }
  }

  /** Whether the process of the host that has the outage still has it: no response since the machine named it, nor for the grace. */
  #isGoingOn({ host, sinceMs, set, keyVersion }: Outage): boolean {
    const { world, disturbances } = this.#parts;
    if ((this.#restoredMs.get(`${set} ${keyVersion}`) ?? 0) >= sinceMs) return false;
    if (disturbances.hostStartedMs(host) >= sinceMs) return false;
    const respondedMs = this.#respondedMs.get(host) ?? 0;
    // Without an open disk nothing calls the vault again after the response that ended the outage.
    if (respondedMs >= sinceMs) return false;
    return world.clock.monotonicMs() - respondedMs > world.settings.leases.unreachableGraceMs;
  }
}

/** The unique name in `diskHosts/{disk_host}`. */
const nameInFull = (host: string): string => host.slice(host.indexOf('/') + 1);

import type { FaultTarget, SightingRecord } from '@interlock/lab';
import { Status } from 'nice-grpc-common';
import { type AuditRow, entriesOf } from '../../../services/key-vault/src/audit/entry.ts';
import { partOf } from '../../simulation/cloud/parts.ts';
import type { SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { refusedIdentities } from '../cloud/sightings.ts';

/** The status of a call whose service a fault made unreachable or unable to work. */
const failures: ReadonlySet<Status> = new Set([
  Status.UNAVAILABLE,
  Status.DEADLINE_EXCEEDED,
  Status.RESOURCE_EXHAUSTED,
]);

/** Uses of a key that a lost key refuses. */
const uses: ReadonlySet<string> = new Set(['KeyUnwrap', 'KeyCheckAccess', 'KeyWrap', 'KeyRewrap']);

/** Time between two sightings of the same server, in milliseconds. */
const blockedEveryMs = 1_000;

/** Evidence outside of the machines that a fault took effect. */
export class Sightings {
  readonly #seen: SightingRecord[] = [];
  readonly #world: SimulatedCloud;
  /** Of the run, in milliseconds since the epoch. */
  #startMs = 0;

  constructor(world: SimulatedCloud) {
    this.#world = world;
    world.onResponse(({ service, caller, path, refusal }) => {
      if (refusal === undefined || !failures.has(refusal)) return;
      const seen = `${path.slice(path.lastIndexOf('/') + 1)}: ${Status[refusal]}`;
      // Of the service disk, disk hosts call only other hosts.
      const from = caller?.service === 'disk' && service === 'disk' ? partOf(caller) : service;
      for (const subject of new Set([service, from]))
        this.#seen.push({ see: 'calls-fail', subject, atMs: world.clock.now(), seen });
    });
    world.onBlocked((service, server) => this.#onBlocked(service, server === 'bus' ? 'nats' : 'postgres'));
  }

  /** Notes that the process of a part ended. */
  onGone(part: FaultTarget): void {
    this.#seen.push({ see: 'process-gone', subject: part, atMs: this.#world.clock.now(), seen: 'the process ended' });
  }

  /** Notes that a call from outside failed. */
  onFailedCall(part: FaultTarget, seen: string): void {
    this.#seen.push({ see: 'calls-fail', subject: part, atMs: this.#world.clock.now(), seen });
  }

  /** A service uses a server all the time, so one sighting a second is enough. */
  #onBlocked(service: string, subject: 'nats' | 'postgres'): void {
    const atMs = this.#world.clock.now();
    const seen = `${service} does not reach ${subject}`;
    const before = this.#seen.findLast((one) => one.seen === seen);
    if (before === undefined || atMs - before.atMs >= blockedEveryMs)
      this.#seen.push({ see: 'calls-fail', subject, atMs, seen });
  }

  /** Ignores everything up to now. */
  begin(): void {
    this.#startMs = this.#world.clock.now();
    this.#seen.length = 0;
  }

  /** Everything since the start, by time. */
  async all(): Promise<readonly SightingRecord[]> {
    const rows = await this.#world.storeOf('key-vault').listRows({ table: 'audit_v1', limit: 1_000_000 });
    const refused = rows
      .flatMap(({ row }) => entriesOf(row as unknown as AuditRow))
      .filter(({ operation, result, time }) => time >= this.#startMs && result === 'refused' && uses.has(operation))
      .map(({ key, time, caller, onBehalfOf, reason }) => ({
        see: 'unwrap-refused' as const,
        subject: key,
        atMs: time,
        seen: `${onBehalfOf ?? caller}: ${reason}`,
      }));
    const ofSets = await this.#world.storeOf('disk-encryption-set').feed(0, 10_000_000);
    return [...this.#seen, ...refused, ...refusedIdentities(ofSets, this.#startMs)].sort((a, b) => a.atMs - b.atMs);
  }
}

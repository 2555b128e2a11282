import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Lease } from '@interlock/contracts/interlock/disk/v1/lease.ts';
import { Rejection } from '@interlock/event-store';
import { type VirtualClock, virtualClock } from '@interlock/runtime';
import { Metadata } from 'nice-grpc';
import { closeDisk, openDisk } from '../../testing/test-one-disk.ts';
import { accessTokenKey } from '../data/access-token.ts';
import { type DiskHost, setName, startDiskHost } from '../test-disk-host.ts';
import type { LeaseTerms } from './lease.ts';

const group = 'subscriptions/s/resourceGroups/g';
const machine = `${group}/virtualMachines/vm`;

/** Turns of the event loop that a call through both pipelines takes, with a margin. */
const settleTurns = 12;

/** How a read or write ended: `ok`, or the reason. */
export type Outcome = string;

/** An open disk of a machine, in virtual time. */
export interface OpenDisk {
  readonly name: string;
  /** One read of a sector. @returns how it ended */
  read(options?: { readonly deadlineMs?: number }): Promise<Outcome>;
  write(options?: { readonly bytes?: number }): Promise<Outcome>;
  flush(): Promise<Outcome>;
  /** Reads without waiting for the end. */
  begin(): { readonly outcome: () => Outcome | undefined };
  close(): Promise<void>;
}

/** A disk host in virtual time, with a scripted vault. */
export interface LeaseHost {
  readonly host: DiskHost;
  readonly clock: VirtualClock;
  readonly terms: LeaseTerms;
  /** Makes a disk and opens it for a machine of its own. */
  open(id: string, sku?: DiskSku): Promise<OpenDisk>;
  /** The lease of the set's key version, as the API shows it. */
  lease(set?: string): Promise<Lease | undefined>;
  /** Lets virtual time pass until the work is done. */
  run<Result>(work: Promise<Result>): Promise<Result>;
  until(condition: () => boolean | Promise<boolean>): Promise<void>;
  pass(durationMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Ten seconds of lease, three of pause, twenty of grace. */
export const startLeaseHost = async (
  request: Partial<LeaseTerms> = {},
  surroundings: Pick<NonNullable<Parameters<typeof startDiskHost>[0]>, 'beforeOpen' | 'beforeWrite' | 'onCommit'> = {},
): Promise<LeaseHost> => {
  const terms = { ttlMs: 10_000, ioPauseTimeoutMs: 3_000, unreachableGraceMs: 20_000, ...request };
  const clock = virtualClock();
  const host = await startDiskHost({ clock, leases: terms, ...surroundings });

  /** Work that needs no time is done before time passes. A response takes several turns of the event loop. */
  const until = (condition: () => boolean | Promise<boolean>): Promise<void> =>
    clock.until(async () => {
      for (let turn = 0; turn < settleTurns; turn += 1) await nextTurn();
      return condition();
    });
  const run = async <Result>(work: Promise<Result>): Promise<Result> => {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => undefined);
    await until(() => isDone);
    return done;
  };
  const outcomeOf = (work: Promise<unknown>): Promise<Outcome> =>
    work.then(
      () => 'ok',
      (error: unknown) => (error instanceof Rejection ? error.reason : String(error)),
    );

  return {
    host,
    clock,
    terms,
    run,
    until,
    pass: (durationMs) => run(clock.sleep(durationMs)),
    async open(id, sku = 'PREMIUM_SSD') {
      const name = `${group}/disks/${id}`;
      const virtualMachine = `${machine}-${id}`;
      const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
      await run(host.disks.createDisk({ parent: group, diskId: id, location: 'l', sku, sizeGib: 1, encryption }));
      await run(host.disks.attachDisk({ name, virtualMachine, requestId: id }));
      const { accessToken } = await run(openDisk(host.disks, { name, virtualMachine }));
      const metadata = new Metadata({ [accessTokenKey]: accessToken });
      const data = () => host.clientWithoutRetries(DiskDataServiceDefinition);
      const reading = async (deadlineMs: number): Promise<void> => {
        const answers = data().read({ name, offsetBytes: 0, lengthBytes: 4_096 }, { metadata, deadlineMs });
        for await (const { data: piece } of answers) assert.equal(piece.length, 4_096);
      };
      async function* pieces(bytes: number) {
        yield { header: { name, offsetBytes: 0 }, data: Buffer.alloc(bytes, 7) };
      }
      return {
        name,
        read: ({ deadlineMs = 30_000 } = {}) => run(outcomeOf(reading(deadlineMs))),
        write: ({ bytes = 4_096 } = {}) => run(outcomeOf(data().write(pieces(bytes), { metadata }))),
        flush: () => run(outcomeOf(data().flush({ name }, { metadata }))),
        begin() {
          let outcome: Outcome | undefined;
          void outcomeOf(reading(30_000)).then((ended) => {
            outcome = ended;
          });
          return { outcome: () => outcome };
        },
        async close() {
          await run(closeDisk(host.disks, { name, virtualMachine }));
        },
      };
    },
    async lease(set = setName) {
      const { leases } = await run(host.disks.listLeases({ diskEncryptionSet: set }));
      return leases[0];
    },
    stop: () => run(host.stop()),
  };
};

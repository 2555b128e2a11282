import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { GuestOperation, GuestOperation_Kind } from '@interlock/contracts/interlock/compute/v1/guest_journal.ts';
import type { IoRecord } from '@interlock/lab';
import { type GuestFolder, type History, openHistory, type Recorded } from '@interlock/lab/judge/journal/history';
import type { Io } from '@interlock/lab/judge/journal/journal';
import { guestFiles } from '../../../services/compute/src/guest/plan.ts';
import type { Clients } from '../../cloud/clients.ts';

/** The records of an estate's guests about their own reads and writes. */
export interface GuestJournals {
  /**
   * All operations up to now, by completion.
   * @param deadlineMs longest time of one call; by default that of the client
   * @throws Rejection, RpcFailure if compute does not respond
   */
  read(deadlineMs?: number): Promise<History>;
  /** The operations read so far. */
  known(): History;
  /** The last lines on the serial console of a machine in QEMU; empty if its host is another computer. */
  console(machine: string): readonly string[];
}

/** How many lines of a console are kept. */
const consoleLines = 20;

/** How often journals at VM hosts are looked for, in milliseconds: less than a machine needs to move. */
const lookEveryMs = 250;

/** Most operations of a call, and how many machines are read at the same time. */
const pageSize = 1_000;
const parallelMax = 8;

/** Journals in folders of this machine: they can be read while compute and VM hosts are down. */
export const localJournals =
  (folders: readonly GuestFolder[]) =>
  (machines: readonly string[]): GuestJournals => {
    const known = openHistory(folders, machines);
    // Compute removes the journal of a machine at the VM host that it left.
    if (folders.some(({ vmHost }) => vmHost !== undefined)) setInterval(known, lookEveryMs).unref();
    return {
      read: async () => known(),
      known,
      console(machine) {
        const paths = folders.map(({ path }) => join(path, ...machine.split('/'), guestFiles.console));
        const lines = paths
          .filter(existsSync)
          .flatMap((path) => stripVTControlCharacters(readFileSync(path, 'utf8')).split(/[\r\n]+/));
        return lines.filter((line) => line.trim() !== '').slice(-consoleLines);
      },
    };
  };

/** Journals through the API of compute. */
export const remoteJournals =
  ({ compute }: Pick<Clients, 'compute'>) =>
  (machines: readonly string[]): GuestJournals => {
    const places = new Map<string, string>();
    let history: Recorded[] = [];
    const readNew = async (name: string, deadlineMs: number | undefined): Promise<readonly Recorded[]> => {
      const found: Recorded[] = [];
      for (;;) {
        const after = places.get(name) ?? '';
        const options = deadlineMs === undefined ? {} : { deadlineMs };
        const page = await compute.readGuestJournal({ name, after, pageSize }, options);
        if (page.hasGap) throw new Error(`operations of ${name} are lost: its journal was read too seldom`);
        found.push(...page.operations.flatMap((operation) => recordedOf(name, operation)));
        places.set(name, page.readTo);
        if (page.atEnd) return found;
      }
    };
    return {
      known: () => history,
      console: () => [],
      async read(deadlineMs) {
        const added: Recorded[] = [];
        const left = [...machines];
        const work = async (): Promise<void> => {
          for (let name = left.shift(); name !== undefined; name = left.shift())
            added.push(...(await readNew(name, deadlineMs)));
        };
        const ended = await Promise.allSettled(Array.from({ length: parallelMax }, work));
        history = [...history, ...added].sort((a, b) => a.completedMonotonicMs - b.completedMonotonicMs);
        for (const one of ended) if (one.status === 'rejected') throw one.reason;
        return history;
      },
    };
  };

const opOf: Partial<Record<GuestOperation_Kind, Io['op']>> = {
  READ: 'read',
  VERIFY: 'verify',
  WRITE: 'write',
  FLUSH: 'flush',
};

/** An operation in the oracle's form; none for an entry that is not I/O. */
const recordedOf = (machine: string, operation: GuestOperation): readonly Recorded[] => {
  const op = opOf[operation.kind];
  if (op === undefined) return [];
  return [
    {
      machine,
      op,
      disk: operation.disk,
      offset: operation.offsetBytes,
      length: operation.lengthBytes,
      seq: operation.sequence,
      invokedAt: operation.invokeTimeMs,
      completedAt: operation.completeTimeMs,
      invokedMonotonicMs: operation.invokeMonotonicMs,
      completedMonotonicMs: operation.completeMonotonicMs,
      ok: operation.ok,
      reason: operation.reason,
    },
  ];
};

/** An operation of a guest as experiments record it. */
export const ioRecordOf = (io: Recorded): IoRecord => ({
  machine: io.machine,
  disk: io.disk,
  ...(io.vmHost === undefined ? {} : { vmHost: io.vmHost }),
  op: io.op === 'verify' ? 'read' : io.op,
  seq: io.seq,
  invokedMs: io.invokedAt,
  completedMs: io.completedAt,
  invokedMonotonicMs: io.invokedMonotonicMs,
  completedMonotonicMs: io.completedMonotonicMs,
  ok: io.ok,
  reason: io.reason,
});

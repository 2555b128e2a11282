import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { ActionRecord, HistoryLog } from './history-log.ts';
import { type Bounds, boundsOf } from './invariants-bounds.ts';
import { type DiskIo, definiteReasons, ioJudge } from './invariants-io.ts';
import { machineJudge } from './invariants-machines.ts';
import { rotationJudge } from './invariants-rotation.ts';
import type { Truth } from './oracle.ts';
import type { Committed, SimulatedCloud } from './simulated-cloud.ts';
import type { Troubles } from './workload-troubles.ts';

/** Holds everything that is seen against the guarantees. The first violation ends a history. */
export interface Judge {
  readonly bounds: Bounds;
  /** Called with each commit, after the truth knows it. */
  onCommit(committed: Committed): void;
  onIo(io: DiskIo): void;
  onWrongContent(disk: string, wrong: string): void;
  /** Called with each call that was not answered with what was asked for. */
  onFailure(action: ActionRecord, error: unknown): void;
  /** Looks at what must be so at any moment. */
  check(): void;
  /** Looks at what must be so once nothing goes wrong any more and everything had its time. */
  checkSettled(): void;
}

/** Calls that use a key as compute, disk or a set do it: a refusal for the key is judged there. */
const keyUsers: ReadonlySet<string> = new Set([
  'vm.create',
  'vm.attach',
  'disk.create',
  'snapshot.create',
  'disk.export',
]);

export const openJudge = (parts: {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly truth: Truth;
  readonly troubles: Troubles;
  readonly leaseTtlMs: number;
}): Judge => {
  const { world, log } = parts;
  const bounds = boundsOf(world.settings, parts.leaseTtlMs);
  const io = ioJudge({ ...parts, bounds });
  const machines = machineJudge({ ...parts, bounds });
  const rotations = rotationJudge(parts);
  return {
    bounds,
    onIo: io.onIo,
    onCommit({ service, events }) {
      for (const event of events) {
        if (service === 'compute') machines.onEvent(event);
        else if (service === 'disk-encryption-set') rotations.onEvent(event);
      }
    },
    onWrongContent: (disk, wrong) => log.violate('G5', `${disk} reads back what was written, byte for byte`, wrong),
    onFailure({ name, text, invokedAtMs }, error) {
      const what = `${name} ${text}`;
      if (error instanceof RpcFailure && (error.code === 'INTERNAL' || error.code === 'UNKNOWN')) {
        log.violate('G10', `${what} is refused with a reason`, error.message);
      } else if (error instanceof Rejection) {
        if (error.reason === '') log.violate('G10', `${what} is refused with a reason`, error.message);
        if (keyUsers.has(name) && definiteReasons.has(error.reason)) io.afterKeyRefusal(what, error, invokedAtMs);
      }
    },
    check: () => machines.checkGuests(false),
    checkSettled() {
      machines.checkGuests(true);
      rotations.checkAll();
    },
  };
};

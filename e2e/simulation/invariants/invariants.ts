import type { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { Rejection } from '@interlock/event-store';
import type { ToFact } from '@interlock/messaging';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { toFact as diskFacts } from '../../../services/disk/src/published.ts';
import { toFact as setFacts } from '../../../services/disk-encryption-set/src/published.ts';
import { keyUrls } from '../../../services/key-vault/src/names.ts';
import { toFact as vaultFacts } from '../../../services/key-vault/src/published.ts';
import { type Committed, PARTITIONS, type SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { MadeCopy } from '../oracle/copies.ts';
import type { Truth } from '../oracle/oracle.ts';
import { type ActionRecord, type HistoryLog, openTrial, type Verdict } from '../runs/history-log.ts';
import type { Clients } from '../workload/estate.ts';
import type { Troubles } from '../workload/troubles.ts';
import { auditJudge } from './audit.ts';
import { type Bounds, boundsOf } from './bounds.ts';
import { cipherJudge } from './ciphers.ts';
import { copyJudge } from './copies.ts';
import { headerJudge } from './headers.ts';
import { type DiskIo, definiteReasons, ioJudge } from './io.ts';
import { type Foreseen, machineJudge } from './machines.ts';
import { previewJudge } from './previews.ts';
import { rotationJudge } from './rotation.ts';
import { secretsJudge } from './secrets.ts';
import { checkRows } from './store.ts';
import { viewJudge } from './views.ts';
import { openWitness } from './witness.ts';

/** Holds everything that is seen against the guarantees. The first violation ends a history. */
export interface Judge {
  readonly bounds: Bounds;
  /** Called with each commit, after the truth knows it, and with the copies it records. */
  onCommit(committed: Committed, copies: readonly MadeCopy[]): void;
  onIo(io: DiskIo): void;
  onWrongContent(disk: string, wrong: string): void;
  /** Machines that a loss of the version would stop now, as the truth has it; undefined where that is not certain now. */
  foreseen(keyVersion: string): Foreseen | undefined;
  /** Called with what a preview says. @param before what was foreseen when it was asked for */
  onPreview(keyVersion: string, impacts: readonly Impact[], before: Foreseen | undefined): void;
  /** Called with each call that was not answered with what was asked for. */
  onFailure(action: ActionRecord, error: unknown): void;
  /** Looks at what must be so at any moment. */
  check(): void;
  /** Looks at what must be so once nothing goes wrong any more and everything had its time. */
  checkSettled(): Promise<void>;
  /** Whether `checkSettled` would find nothing amiss by now. */
  isSettled(): Promise<boolean>;
  /** Looks at the whole history once more, when it is over. */
  checkEnd(): Promise<void>;
  /** Something of the verdict itself that can be disturbed, at random moments. */
  disturb(): Promise<void>;
  /** Nothing of it goes wrong from here on. */
  heal(): void;
}

/** Whose facts a history may have a witness of. */
const sources: readonly { readonly source: Workload; readonly toFact: ToFact }[] = [
  { source: 'key-vault', toFact: vaultFacts(keyUrls('vault.simulation')) },
  { source: 'disk-encryption-set', toFact: setFacts },
  { source: 'disk', toFact: diskFacts },
];

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
  readonly clients: Clients;
}): Judge => {
  const { world, log } = parts;
  const bounds = boundsOf(world.settings);
  const { storage } = world;
  const io = ioJudge({ ...parts, storage, bounds });
  const machines = machineJudge({ ...parts, bounds });
  const previews = previewJudge({ log, machines });
  const rotations = rotationJudge(parts);
  const views = viewJudge(parts);
  const ciphers = cipherJudge({ ...parts, bounds });
  const audit = auditJudge(parts);
  const secrets = secretsJudge(parts);
  const copies = copyJudge(parts);
  const headers = headerJudge(parts);
  const source = world.random.fork('witness').pick(sources);
  const checkSettled = async (verdict: Verdict): Promise<void> => {
    machines.checkGuests(true, verdict);
    rotations.checkAll(verdict);
    copies.checkAll(verdict);
    if (!verdict.violation) await views.checkAll(verdict);
  };
  const witness = openWitness({ world, log, ...source, partitionCount: PARTITIONS });
  return {
    bounds,
    onIo: io.onIo,
    onCommit({ service, commit, events }, made) {
      for (const copy of made) copies.onMade(copy);
      if (service === 'disk-encryption-set') rotations.onRows(commit.rows ?? []);
      for (const event of events) {
        machines.onCause(service, event);
        if (service === 'compute') machines.onEvent(event);
        else if (service === 'disk-encryption-set') rotations.onEvent(event);
        else if (event.type === 'KeyPurged') rotations.onPurge();
      }
    },
    foreseen: machines.foreseen,
    onPreview: previews.onPreview,
    onWrongContent: (disk, wrong) => log.violate('G5', `${disk} reads back what was written, byte for byte`, wrong),
    onFailure({ name, text, invokedAtMs }, error) {
      const what = `${name} ${text}`;
      if (error instanceof RpcFailure && (error.code === 'INTERNAL' || error.code === 'UNKNOWN')) {
        // Storage that fails is nothing that a caller could do something about: what it said is in the log of the service.
        if (error.code === 'INTERNAL' && storage.happenedSince(invokedAtMs, 'failed')) return;
        log.violate('G10', `${what} is refused with a reason`, error.message);
      } else if (error instanceof Rejection) {
        if (error.reason === '') log.violate('G10', `${what} is refused with a reason`, error.message);
        if (error.reason === 'STORAGE_FULL' && !storage.happenedSince(invokedAtMs, 'full'))
          log.violate('G10', `${what} is told that storage is full only where it was`, error.message);
        if (keyUsers.has(name) && definiteReasons.has(error.reason)) io.afterKeyRefusal(what, error, invokedAtMs);
      }
    },
    check() {
      machines.checkGuests(false);
      ciphers.check();
    },
    checkSettled: () => checkSettled(log),
    async isSettled() {
      const trial = openTrial(world.clock.monotonicMs);
      try {
        await checkSettled(trial);
      } catch (error) {
        // Whoever does not answer yet has not settled.
        if (error instanceof RpcFailure || error instanceof Rejection) return false;
        throw error;
      }
      return trial.violation === undefined;
    },
    disturb: witness.restart,
    heal: witness.heal,
    async checkEnd() {
      await witness.checkAll();
      await audit.checkAll();
      await checkRows(world, log);
      await secrets.checkAll();
      copies.checkEnd();
      headers.checkEnd();
    },
  };
};

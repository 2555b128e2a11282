import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import { traceIdOf } from '@interlock/runtime';
import type { VmEvent } from '../../../services/compute/src/vm/events.ts';
import { type KeyLoss, lossReasons } from '../../../services/compute/src/vm/machine.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { DiskTruth } from '../oracle/disks.ts';
import type { LossTruth } from '../oracle/losses.ts';
import type { KnownMachine, MachineTruth } from '../oracle/machines.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { Verdict } from '../runs/history-log.ts';
import { vaultOf } from '../workload/estate.ts';
import type { Troubles } from '../workload/troubles.ts';
import type { Bounds } from './bounds.ts';
import { seconds } from './io.ts';

/** What a loss would stop, as the truth has it at one moment. */
export interface Foreseen {
  /** Names of machines. */
  readonly stops: ReadonlySet<string>;
  /** The moment: how many events of machines came before it. */
  readonly moves: number;
}

/** Parts a machine's stop needs; without the vault's word nobody knows of a loss. The rest may be down or cut off (G2). */
const stoppers = ['compute', 'disk', 'key-vault', 'identity', 'store', 'calls', 'volumes'] as const;

/** G2, G3, G4 and G10 of machines: who must stop, who must not, who must not start, and what is said about it. */
export const machineJudge = (parts: {
  readonly world: Pick<SimulatedCloud, 'settings'> & {
    readonly guests: { readonly guests: ReadonlyMap<string, readonly { readonly disk: string }[]> };
  };
  readonly log: Verdict;
  readonly truth: Pick<Truth, 'nowMs' | 'standing' | 'boundMs'> & {
    readonly machines: Pick<MachineTruth, 'machines'>;
    readonly disks: Pick<DiskTruth, 'disks' | 'keyVersionOf'>;
    readonly losses: Pick<LossTruth, 'losses'>;
  };
  readonly troubles: Pick<Troubles, 'lastMs' | 'lastAnyMs' | 'startedMs'>;
  readonly bounds: Bounds;
}) => {
  const { world, log, truth, troubles, bounds } = parts;

  /** Traces of everything that can take access away: commits of key-vault and identity, and a set's loss of its identity. */
  const causes = new Set<string>();
  /** Sets that were given another identity: one that never had access to a key lost none, and there is no cause to name. */
  const renewed = new Set<string>();
  /** Vaults made again under the name of a purged one: nobody was ever granted anything in them, so it was taken from nobody. */
  const remade = new Set<string>();

  /** What was told by its number has the trace of the commit that took access away. */
  const judgeTrace = (machine: KnownMachine, { reason, set, keyVersion, traceId, accessEpoch }: KeyLoss): void => {
    if (accessEpoch === 0 || causes.has(traceId)) return;
    if (reason === 'ACCESS_DENIED' && (renewed.has(set) || remade.has(vaultOf(keyVersion)))) return;
    log.violate('G10', `the stop of ${machine.name} for ${reason} names the trace of its cause`, traceId || 'none');
  };

  /** A stop needs a loss the machine had not lived through already when it opened its disks (G3, losses are numbered). */
  const judgeStop = (machine: KnownMachine, reason: KeyLoss): void => {
    const what = `${machine.name} is not stopped for ${reason.reason} of ${reason.keyVersion}`;
    const disk = machine.disks.get(reason.disk);
    if (!lossReasons.includes(reason.reason) || reason.set === '' || reason.keyVersion === '' || reason.since <= 0) {
      log.violate('G10', 'a stop names reason, set, key version and time', JSON.stringify(reason));
    }
    if (!disk) {
      log.violate('G10', 'a stop names a disk of the machine', JSON.stringify(reason));
      return;
    }
    if (disk.sku === 'ULTRA' && !isHostGone(machine)) log.violate('G3', `${what}: its disk is ultra`, reason.disk);
    if (reason.reason === 'KEY_VAULT_UNREACHABLE' || reason.reason === 'THROTTLED') {
      const troubledMs = troubles.lastMs(['key-vault', 'identity', 'disk', 'calls', 'store']);
      if (troubledMs === undefined || troubledMs < truth.nowMs() - bounds.excuseMs) {
        log.violate('G3', what, `nothing was wrong since ${seconds(troubledMs ?? 0)}`);
      }
      return;
    }
    judgeTrace(machine, reason);
    const losses = truth.losses.losses(reason.set, reason.keyVersion, 'running');
    // An open may be refused, or pass just before the loss, up to the time its request may take.
    const fromMs = disk.askedMs;
    const isReal = losses.some(({ untilMs }) => untilMs === undefined || untilMs >= fromMs);
    if (!isReal) {
      const seen = losses.map((loss) => `${seconds(loss.fromMs)} to ${seconds(loss.untilMs ?? truth.nowMs())}`);
      log.violate(
        'G3',
        what,
        `it was asked to run at ${seconds(fromMs)}; the key was lost ${seen.join(', ') || 'never'}`,
      );
    }
    if (reason.accessEpoch > 0 && reason.accessEpoch <= disk.accessEpoch) {
      log.violate(
        'G3',
        `${machine.name} is not stopped by a loss older than its last unwrap`,
        `loss ${reason.accessEpoch}, unwrapped at ${disk.accessEpoch}`,
      );
    }
  };

  /** A disk host that lost its memory has no data key of an ultra disk any more: its machine stops too. */
  const isHostGone = (machine: KnownMachine): boolean =>
    [...machine.disks.values()].some(({ askedMs }) => troubles.startedMs('disk') > askedMs);

  /** Whatever runs now opened its disks anew: no key of them was lost all that while (CMK-106, VM-33). */
  const judgeStart = (machine: KnownMachine, only?: string): void => {
    for (const { disk, phase } of machine.disks.values()) {
      if (phase !== 'attached' || (only !== undefined && disk !== only)) continue;
      const known = truth.disks.disks.get(disk);
      if (!known) continue;
      // What identity takes away reaches a vault that has not heard of it only once its last answer is too old.
      const staleMs = { 'key-vault': 0, identity: world.settings.authzTtlMs } as const;
      const lost = truth
        .standing(known, 'opening')
        .find(({ sinceMs, owner }) => sinceMs + staleMs[owner] < machine.askedMs);
      if (lost && known.movedAtMs < machine.askedMs) {
        log.violate(
          'G4',
          `${machine.name} does not start while the key of ${disk} is lost`,
          `${lost.reason} since ${seconds(lost.sinceMs)}, asked at ${seconds(machine.askedMs)}, up now`,
        );
      }
    }
  };

  /** Disks of each guest that runs, and of each machine that is on its way there with its disks open. */
  const goingToRun = (): ReadonlyMap<string, readonly string[]> => {
    const found = new Map<string, readonly string[]>();
    for (const { name, power, disks } of truth.machines.machines.values()) {
      if (power !== 'starting') continue;
      const isOpen = (disk: string): boolean => truth.disks.disks.get(disk)?.open?.by === 'machine';
      found.set(name, [...disks.keys()].filter(isOpen));
    }
    for (const [vm, disks] of world.guests.guests)
      found.set(
        vm,
        disks.map(({ disk }) => disk),
      );
    return found;
  };

  /** A machine for each event of compute, in order. */
  const moves: string[] = [];

  return {
    /** Machines with a non-ultra disk under the version that run or are on their way there (CMK-100 to CMK-103). */
    foreseen(keyVersion: string): Foreseen | undefined {
      const troubledMs = troubles.lastAnyMs();
      if (troubledMs !== undefined && truth.nowMs() - troubledMs < bounds.settleMs / 10) return undefined;
      const found = new Set<string>();
      for (const machine of truth.machines.machines.values()) {
        if (['stopping', 'deallocating'].includes(machine.power)) return undefined;
        if (!['running', 'starting', 'creating'].includes(machine.power)) continue;
        for (const name of machine.disks.keys()) {
          const disk = truth.disks.disks.get(name);
          if (!disk || disk.sku === 'ultra' || disk.set === '') continue;
          if (truth.disks.keyVersionOf(disk) === keyVersion) found.add(machine.name);
        }
        if (machine.power === 'creating') return undefined;
      }
      return { stops: found, moves: moves.length };
    },

    /** Machines that something was stored of since: what was foreseen of them may have been otherwise in between. */
    movedSince: ({ moves: before }: Foreseen): ReadonlySet<string> => new Set(moves.slice(before)),

    onCause(service: Workload, { stream, type, cause }: RecordedEvent): void {
      if (type === 'IdentityReplaced') renewed.add(stream.slice('set-'.length));
      // Those of the estate were made before the history began.
      if (type === 'VaultCreated') remade.add(`vaults/${stream.slice('vault-'.length)}`);
      if (service === 'key-vault' || service === 'identity' || type === 'IdentityRemoved') {
        causes.add(traceIdOf(cause.traceparent) ?? '');
        causes.delete('');
      }
    },

    /** Called with each event of compute after the truth knows it; `before` is what the machine was. */
    onEvent({ stream, type, data }: RecordedEvent): void {
      if (!stream.startsWith('vm-')) return;
      const vm = stream.slice('vm-'.length);
      moves.push(vm);
      const machine = truth.machines.machines.get(vm);
      if (!machine) return;
      const event = { type, ...data } as unknown as VmEvent;
      if (event.type === 'VmStopping' && event.reason) judgeStop(machine, event.reason);
      else if (event.type === 'VmStarted') judgeStart(machine);
      else if (event.type === 'DiskAttachedToVm' && machine.power === 'running') judgeStart(machine, event.disk);
    },

    /**
     * Looks at the guests that really run. @param isSettled nothing goes wrong and everything had its time: then each
     * machine under a lost key is down, without a date by which it has to be
     */
    checkGuests(isSettled: boolean, verdict: Verdict = log): void {
      const nowMs = truth.nowMs();
      const troubledMs = troubles.lastMs(stoppers) ?? 0;
      const anyMs = troubles.lastAnyMs() ?? 0;
      for (const [vm, names] of goingToRun()) {
        for (const name of names) {
          const disk = truth.disks.disks.get(name);
          if (!disk || disk.sku === 'ultra' || disk.attachedTo !== vm) continue;
          const boundMs = truth.boundMs(disk);
          if (boundMs === undefined) continue;
          const openedMs = disk.open?.atMs ?? 0;
          const dueMs = Math.max(boundMs, troubledMs, openedMs) + bounds.stopMs;
          // While events flow nobody waits for the end of a lease.
          const lostMs = Math.min(...truth.standing(disk, 'running').map(({ sinceMs }) => sinceMs));
          const soonMs = Math.max(lostMs, openedMs, disk.movedAtMs) + bounds.promptMs;
          const isPrompt = anyMs < lostMs - bounds.calmMs;
          if (!isSettled && nowMs <= dueMs && !(isPrompt && nowMs > soonMs)) continue;
          const why = truth
            .standing(disk, 'running')
            .map(({ reason, sinceMs }) => `${reason} since ${seconds(sinceMs)}`);
          verdict.violate(
            'G2',
            `the guest of ${vm} is off or not begun: ${name} is under a lost key (${why.join(', ')})`,
            'it runs, or is coming up',
          );
          return;
        }
      }
    },
  };
};

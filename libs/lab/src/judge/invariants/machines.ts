import { accessReasons } from '@interlock/access';
import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import { traceIdOf } from '@interlock/runtime';
import type { KeyLoss, ReadVmEvent } from '../events/compute.ts';
import { readEvent } from '../events/recorded.ts';
import { type Findings, seconds } from '../findings.ts';
import type { DiskTruth } from '../model/disks.ts';
import { type Disturbances, disturbedHosts, type VmHostDisturbed } from '../model/disturbances.ts';
import type { LossTruth } from '../model/losses.ts';
import type { KnownMachine, MachineTruth } from '../model/machines.ts';
import type { Truth } from '../model/truth.ts';
import type { Bounds } from './bounds.ts';
import { reasonsOf } from './io.ts';
import { type ClaimedLoss, ReasonJudge } from './reasons.ts';

/** Parts that every stop needs: only the vault can report a loss. Other parts may be down or cut off (G2). */
const stoppingParts = ['compute', 'key-vault', 'identity', 'store', 'calls', 'volumes'] as const;

export interface MachineJudgeParts {
  /** Disks of each guest that really runs, by machine. */
  readonly guests: () => Iterable<readonly [string, readonly { readonly disk: string }[]]>;
  /** The VM hosts; absent if compute runs the guests. */
  readonly vmHosts?: readonly VmHostDisturbed[];
  readonly log: Findings;
  readonly truth: Pick<Truth, 'nowMs' | 'blockers' | 'boundMs'> & {
    readonly machines: Pick<MachineTruth, 'machines'>;
    readonly disks: Pick<DiskTruth, 'disks' | 'hostOf'>;
    readonly losses: Pick<LossTruth, 'losses'>;
  };
  readonly disturbances: Pick<Disturbances, 'lastMs' | 'lastOfHostMs' | 'hostStartedMs'>;
  readonly bounds: Bounds;
}

/** G2, G3, G4 and G10 for machines: which must stop, which must not, which must not start, and the reason that they show. */
export class MachineJudge {
  readonly #parts: MachineJudgeParts;
  readonly #reasons: ReasonJudge;
  /** Traces of everything that can remove access: commits of key-vault and identity, and a set's loss of its identity. */
  readonly #causes = new Set<string>();
  /** Sets that got another identity, which never had access to a key: there is no cause to name for its missing grant. */
  readonly #withNewIdentity = new Set<string>();
  /** Vaults recreated under the name of a purged one: no grant was ever made in them. */
  readonly #recreatedVaults = new Set<string>();

  constructor(parts: MachineJudgeParts) {
    this.#parts = parts;
    this.#reasons = new ReasonJudge(parts);
  }

  /** Applies every event, in order, after the truth has applied it. */
  onEvent(service: Workload, recorded: RecordedEvent): void {
    const { stream, type, cause } = recorded;
    if (type === 'IdentityReplaced') this.#withNewIdentity.add(stream.slice('set-'.length));
    // The vaults of the estate were created before the run started.
    if (type === 'VaultCreated') this.#recreatedVaults.add(`vaults/${stream.slice('vault-'.length)}`);
    if (service === 'key-vault' || service === 'identity' || type === 'IdentityRemoved') {
      const traceId = traceIdOf(cause.traceparent);
      if (traceId) this.#causes.add(traceId);
    }
    if (stream.startsWith('vm-')) this.#onMachineEvent(recorded);
    this.#reasons.onEvent(recorded);
  }

  /** As `ReasonJudge.wrongIn`. */
  wrongIn(claimed: ClaimedLoss): ReturnType<ReasonJudge['wrongIn']> {
    return this.#reasons.wrongIn(claimed);
  }

  /**
   * Checks the guests that really run. @param isSettled there is no disturbance and everything had enough time: then each
   * machine under a lost key must be off, whenever its stop was due
   */
  checkGuests(isSettled: boolean, log: Findings = this.#parts.log): void {
    const { truth } = this.#parts;
    for (const [vm, names] of this.#goingToRun()) {
      for (const name of names) {
        const disk = truth.disks.disks.get(name);
        if (!disk || disk.sku === 'ultra' || disk.attachedTo !== vm) continue;
        const boundMs = truth.boundMs(disk);
        if (boundMs === undefined || (!isSettled && !this.#isDue(vm, disk, boundMs))) continue;
        const why = reasonsOf(truth.blockers(disk, 'running'));
        const expected = `the guest of ${vm} is off or not started: ${name} is under a lost key (${why})`;
        log.violate('G2', expected, 'it runs, or is starting');
        return;
      }
    }
  }

  /** Whether a machine with the disk must be off by now. */
  #isDue(vm: string, disk: NonNullable<ReturnType<DiskTruth['disks']['get']>>, boundMs: number): boolean {
    const { truth, disturbances, bounds, vmHosts = [] } = this.#parts;
    const nowMs = truth.nowMs();
    const hosts = this.#hostsOf(vm, disk.host);
    const openedMs = disk.open?.atMs ?? 0;
    const fromMs = Math.max(boundMs, disturbances.lastMs([...stoppingParts, 'disk-control']) ?? 0, openedMs);
    // A host that does not respond delays a stop by the time of one lease at most.
    const awayMs = Math.min(disturbances.lastMs(disturbedHosts(hosts)) ?? 0, fromMs + bounds.hostAwayMs);
    if (nowMs > Math.max(fromMs, awayMs) + bounds.stopMs) return true;
    // While events arrive the stop does not wait for the end of the lease.
    const lostMs = Math.min(...truth.blockers(disk, 'running').map(({ sinceMs }) => sinceMs));
    const promptMs = Math.max(lostMs, openedMs, disk.movedAtMs) + bounds.promptMs;
    const near = [...hosts, ...this.#hostsOfStart(vm)];
    const ofOthers = disturbances.lastMs(['disk-control', ...vmHosts]);
    const disturbedMs = [ofOthers, ...near.map((host) => disturbances.lastOfHostMs(host))];
    const isCalm = disturbedMs.every((atMs) => atMs === undefined || atMs < lostMs - bounds.calmMs);
    return isCalm && nowMs > promptMs;
  }

  /** The hosts of the disks of a machine. */
  #hostsOf(vm: string, host: string): ReadonlySet<string> {
    const { machines, disks } = this.#parts.truth;
    const names = [...(machines.machines.get(vm)?.disks.keys() ?? [])];
    return new Set([host, ...names.map((name) => disks.hostOf(name))]);
  }

  /**
   * The hosts that a starting machine waits for, until its guest runs. Disks of one set that are opened at the same time share a call,
   * so it waits for disks of other machines too.
   */
  #hostsOfStart(vm: string): readonly string[] {
    const { machines, disks } = this.#parts.truth;
    const machine = machines.machines.get(vm);
    if (machine?.power !== 'starting') return [];
    const sets = new Set([...machine.disks.keys()].map((name) => disks.disks.get(name)?.set));
    return [...disks.disks.values()].flatMap(({ set, host }) => (sets.has(set) ? [host] : []));
  }

  /** Disks of each guest that runs, and of each starting machine that has its disks open. */
  #goingToRun(): ReadonlyMap<string, readonly string[]> {
    const { truth, guests } = this.#parts;
    const found = new Map<string, readonly string[]>();
    for (const { name, power, disks } of truth.machines.machines.values()) {
      if (power !== 'starting') continue;
      const isOpen = (disk: string): boolean => truth.disks.disks.get(disk)?.open?.by === 'machine';
      found.set(name, [...disks.keys()].filter(isOpen));
    }
    for (const [vm, disks] of guests()) {
      found.set(
        vm,
        disks.map(({ disk }) => disk),
      );
    }
    return found;
  }

  #onMachineEvent(recorded: RecordedEvent): void {
    const machine = this.#parts.truth.machines.machines.get(recorded.stream.slice('vm-'.length));
    if (!machine) return;
    const event = readEvent<ReadVmEvent>(recorded);
    if (event.type === 'VmStopping' && event.reason) this.#judgeStop(machine, event.reason);
    else if (event.type === 'VmStarted') this.#judgeStart(machine);
    else if (event.type === 'DiskAttachedToVm' && machine.power === 'running') this.#judgeStart(machine, event.disk);
  }

  /** A stop needs a loss that the machine had not already survived when it opened its disks (G3, losses are numbered). */
  #judgeStop(machine: KnownMachine, loss: KeyLoss): void {
    const { log, truth, disturbances, bounds } = this.#parts;
    const { reason, keyVersion, set, since } = loss;
    const expected = `${machine.name} is not stopped for ${reason} of ${keyVersion}`;
    if (!accessReasons.includes(reason) || set === '' || keyVersion === '' || since <= 0) {
      log.violate('G10', 'a stop names reason, set, key version and time', JSON.stringify(loss));
    }
    const disk = machine.disks.get(loss.disk);
    if (!disk) {
      log.violate('G10', 'a stop names a disk of the machine', JSON.stringify(loss));
      return;
    }
    if (disk.sku === 'ULTRA' && !this.#isHostGone(machine)) {
      log.violate('G3', `${expected}: its disk is ultra`, loss.disk);
    }
    if (reason === 'KEY_VAULT_UNREACHABLE' || reason === 'THROTTLED') {
      const host = truth.disks.hostOf(loss.disk);
      const disturbedMs = disturbances.lastMs(['key-vault', 'identity', ...disturbedHosts([host]), 'calls', 'store']);
      if (disturbedMs === undefined || disturbedMs < truth.nowMs() - bounds.excuseMs) {
        log.violate('G3', expected, `no disturbance since ${seconds(disturbedMs ?? 0)}`);
      }
      return;
    }
    this.#judgeTrace(machine, loss);
    this.#judgeLoss(expected, disk.requestedMs, loss);
    if (loss.accessEpoch > 0 && loss.accessEpoch <= disk.accessEpoch) {
      const actual = `loss ${loss.accessEpoch}, unwrapped at ${disk.accessEpoch}`;
      log.violate('G3', `${machine.name} is not stopped by a loss older than its last unwrap`, actual);
    }
  }

  /** @param fromMs when the disk's open was requested: it may pass just before the loss, or be refused */
  #judgeLoss(expected: string, fromMs: number, { set, keyVersion }: KeyLoss): void {
    const { log, truth } = this.#parts;
    const losses = truth.losses.losses(set, keyVersion, 'running');
    if (losses.some(({ untilMs }) => untilMs === undefined || untilMs >= fromMs)) return;
    const seen = losses.map((loss) => `${seconds(loss.fromMs)} to ${seconds(loss.untilMs ?? truth.nowMs())}`);
    const when = seen.join(', ') || 'never';
    log.violate('G3', expected, `it was started at ${seconds(fromMs)}; the key was lost ${when}`);
  }

  /** A loss with a number has the trace of the commit that removed access. */
  #judgeTrace(machine: KnownMachine, { reason, set, keyVersion, traceId, accessEpoch }: KeyLoss): void {
    if (accessEpoch === 0 || this.#causes.has(traceId)) return;
    // A run without tracing has no traces to name.
    if (this.#causes.size === 0 && traceId === '') return;
    const vault = keyVersion.split('/').slice(0, 2).join('/');
    if (reason === 'ACCESS_DENIED' && (this.#withNewIdentity.has(set) || this.#recreatedVaults.has(vault))) return;
    const expected = `the stop of ${machine.name} for ${reason} names the trace of its cause`;
    this.#parts.log.violate('G10', expected, traceId || 'none');
  }

  /** A disk host that lost its memory has no data key of an ultra disk any more: its machine stops too. */
  #isHostGone(machine: KnownMachine): boolean {
    const { disturbances, truth } = this.#parts;
    return [...machine.disks.values()].some(
      ({ disk, requestedMs }) => disturbances.hostStartedMs(truth.disks.hostOf(disk)) > requestedMs,
    );
  }

  /** A machine that runs now opened its disks again, so none of their keys was lost in all that time (CMK-106, VM-33). */
  #judgeStart(machine: KnownMachine, only?: string): void {
    const { log, truth, bounds } = this.#parts;
    // A decision of identity takes effect only when the vault's cached copy of the previous one is too old.
    const staleMs = { 'key-vault': 0, identity: bounds.authzTtlMs } as const;
    for (const { disk, phase } of machine.disks.values()) {
      if (phase !== 'attached' || (only !== undefined && disk !== only)) continue;
      const known = truth.disks.disks.get(disk);
      if (!known) continue;
      const lost = truth
        .blockers(known, 'opening')
        .find(({ sinceMs, owner }) => sinceMs + staleMs[owner] < machine.requestedMs);
      if (!lost || known.movedAtMs >= machine.requestedMs) continue;
      log.violate(
        'G4',
        `${machine.name} does not start while the key of ${disk} is lost`,
        `${lost.reason} since ${seconds(lost.sinceMs)}, requested at ${seconds(machine.requestedMs)}, now running`,
      );
    }
  }
}

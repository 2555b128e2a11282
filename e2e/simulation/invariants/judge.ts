import type { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { Rejection } from '@interlock/event-store';
import { type Findings, openFindings } from '@interlock/lab/judge/findings';
import { type Bounds, boundsOf } from '@interlock/lab/judge/invariants/bounds';
import { type Forecast, StopForecast } from '@interlock/lab/judge/invariants/forecast';
import { IoJudge } from '@interlock/lab/judge/invariants/io';
import { MachineJudge } from '@interlock/lab/judge/invariants/machines';
import { previewJudge } from '@interlock/lab/judge/invariants/previews';
import { isDefinite } from '@interlock/lab/judge/model/access';
import type { MadeCopy } from '@interlock/lab/judge/model/copies';
import type { Disturbances } from '@interlock/lab/judge/model/disturbances';
import type { ToFact } from '@interlock/messaging';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { toFact as diskFacts } from '../../../services/disk/src/published.ts';
import { toFact as setFacts } from '../../../services/disk-encryption-set/src/published.ts';
import { keyUrls } from '../../../services/key-vault/src/names.ts';
import { toFact as vaultFacts } from '../../../services/key-vault/src/published.ts';
import { type Committed, PARTITIONS, type SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { ActionRecord, HistoryLog } from '../runs/history-log.ts';
import type { SimulatedTruth } from '../truth/truth.ts';
import type { Clients } from '../workload/estate.ts';
import { refusalOf } from '../workload/outcomes.ts';
import { AuditJudge } from './audit.ts';
import { checkCauses } from './causes.ts';
import { CipherJudge } from './ciphers.ts';
import { CopyJudge } from './copies.ts';
import { checkHeaders } from './headers.ts';
import { HostJudge } from './hosts.ts';
import { LostWritesJudge } from './lost-writes.ts';
import { OutageJudge } from './outages.ts';
import { RotationJudge } from './rotation.ts';
import { checkSecrets } from './secrets.ts';
import { checkRows } from './store.ts';
import { checkViews } from './views.ts';
import { disturbedVmHost, type GuestIo, guestsWithAccess, VmHostJudge, vmHostStopMs } from './vm-hosts.ts';
import { Witness } from './witness.ts';

/** Services whose facts a witness may consume. */
const sources: readonly { readonly source: Workload; readonly toFact: ToFact }[] = [
  { source: 'key-vault', toFact: vaultFacts(keyUrls('vault.simulation')) },
  { source: 'disk-encryption-set', toFact: setFacts },
  { source: 'disk', toFact: diskFacts },
];

/** Actions that use a key as compute, disk or a set does: their refusals because of a key are judged. */
const keyUsers: ReadonlySet<string> = new Set([
  'vm.create',
  'vm.attach',
  'disk.create',
  'snapshot.create',
  'disk.export',
]);

interface JudgeParts {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly truth: SimulatedTruth;
  readonly disturbances: Disturbances;
  readonly clients: Clients;
}

/** Compares everything that happens in a history with the guarantees. The first violation ends the history. */
export class Judge {
  readonly bounds: Bounds;
  /** Judges a preview. @param before the forecast at the time of the request */
  readonly onPreview: (keyVersion: string, impacts: readonly Impact[], before: Forecast | undefined) => void;
  readonly #parts: JudgeParts;
  readonly #io: IoJudge;
  readonly #lostWrites: LostWritesJudge;
  readonly #hosts: HostJudge;
  readonly #ciphers: CipherJudge;
  readonly #outages: OutageJudge;
  readonly #machines: MachineJudge;
  readonly #vmHosts: VmHostJudge;
  readonly #forecast: StopForecast;
  readonly #rotations: RotationJudge;
  readonly #copies: CopyJudge;
  readonly #audit: AuditJudge;
  readonly #witness: Witness;

  constructor(parts: JudgeParts) {
    const { world, log } = parts;
    const hasVmHosts = world.vmHosts.length > 0;
    const usual = boundsOf(world.settings);
    const bounds = hasVmHosts ? { ...usual, stopMs: usual.stopMs + vmHostStopMs } : usual;
    this.#parts = parts;
    this.bounds = bounds;
    this.#io = new IoJudge({ ...parts, storage: world.storage, bounds });
    this.#lostWrites = new LostWritesJudge(parts);
    this.#hosts = new HostJudge(parts);
    this.#ciphers = new CipherJudge({ ...parts, bounds });
    this.#outages = new OutageJudge(parts);
    world.onResponse((responded) => this.#outages.onResponse(responded));
    const guests = () => (hasVmHosts ? guestsWithAccess(parts) : world.guests.guests);
    this.#machines = new MachineJudge({ ...parts, guests, vmHosts: world.vmHosts.map(disturbedVmHost), bounds });
    this.#vmHosts = new VmHostJudge(parts);
    this.#forecast = new StopForecast({ ...parts, bounds });
    this.onPreview = previewJudge({ log, forecast: this.#forecast });
    this.#rotations = new RotationJudge(parts);
    this.#audit = new AuditJudge(world);
    this.#copies = new CopyJudge({ ...parts, diskHosts: world.diskHosts });
    const source = world.random.fork('witness').pick(sources);
    this.#witness = new Witness({ world, ...source, partitionCount: PARTITIONS });
  }

  /** Judges each commit after the truth has applied it, with the copies that it records. */
  onCommit(committed: Committed, made: readonly MadeCopy[]): void {
    const { service, commit, events } = committed;
    if (service === 'disk') {
      this.#hosts.onCommit(committed);
      this.#ciphers.onCommit(committed);
    }
    for (const copy of made) this.#copies.onMade(copy);
    if (service === 'disk-encryption-set') this.#rotations.onRows(commit.rows ?? []);
    for (const event of events) {
      this.#machines.onEvent(service, event);
      this.#outages.onEvent(event);
      this.#ciphers.onEvent(event);
      if (service === 'compute') {
        this.#vmHosts.onEvent(event);
        this.#forecast.noteMove(event.stream);
      } else if (service === 'disk-encryption-set') this.#rotations.onEvent(event);
      else if (event.type === 'KeyPurged') this.#rotations.onPurge();
    }
  }

  onIo(io: GuestIo): void {
    this.#io.onIo(io);
    this.#vmHosts.onIo(io);
    this.#lostWrites.onIo(io);
  }

  /** As `LostWritesJudge.onMachineLost`. */
  onMachineLost(host: string): void {
    this.#lostWrites.onMachineLost(host);
  }

  /** As `LostWritesJudge.volumes`. */
  volumesOfLostMachines(host: string): readonly string[] {
    return this.#lostWrites.volumes(host);
  }

  onWrongContent(disk: string, wrong: string): void {
    this.#parts.log.violate('G5', `${disk} reads back what was written, byte for byte`, wrong);
  }

  /** Machines that a loss of the version would stop now; undefined while that is uncertain. */
  forecast(keyVersion: string): Forecast | undefined {
    return this.#forecast.of(keyVersion);
  }

  /** Judges each failed call. */
  onFailure({ name, text, invokedAtMs }: ActionRecord, error: unknown): void {
    const { log, world } = this.#parts;
    const { storage } = world;
    const what = `${name} ${text}`;
    if (error instanceof RpcFailure && (error.code === 'INTERNAL' || error.code === 'UNKNOWN')) {
      // A caller cannot correct failing storage: its error is in the log of the service.
      if (error.code === 'INTERNAL' && storage.happenedSince(invokedAtMs, 'failed')) return;
      log.violate('G10', `${what} is refused with a reason`, error.message);
    }
    const refusal = refusalOf(error);
    if (!refusal) return;
    const { reason, message } = refusal;
    if (reason === '') log.violate('G10', `${what} is refused with a reason`, message);
    if (reason === 'STORAGE_FULL' && !storage.happenedSince(invokedAtMs, 'full'))
      log.violate('G10', `${what} is refused for full storage only if it was full`, message);
    if (keyUsers.has(name) && isDefinite(reason)) this.#io.onKeyRefusal(what, refusal, invokedAtMs);
  }

  /** Checks what must hold at any moment. */
  check(): void {
    this.#machines.checkGuests(false);
    this.#vmHosts.check();
    this.#ciphers.check();
  }

  /** Checks what must hold once there is no disturbance and everything had enough time. */
  async checkSettled(log: Findings = this.#parts.log): Promise<void> {
    this.#machines.checkGuests(true, log);
    this.#vmHosts.checkSettled(log);
    this.#rotations.checkAll(log);
    this.#copies.checkAll(log);
    if (!log.violation) await checkViews(this.#parts, log);
  }

  /** Whether `checkSettled` would find no violation now. */
  async isSettled(): Promise<boolean> {
    const findings = openFindings(this.#parts.world.clock.monotonicMs);
    try {
      await this.checkSettled(findings);
    } catch (error) {
      // A service that does not respond yet is not ready for the check.
      if (error instanceof RpcFailure || error instanceof Rejection) return false;
      throw error;
    }
    return findings.violation === undefined;
  }

  /** Whether the consumer of the judge has received every fact: after an outage of the bus it connects again like any other. */
  async hasEveryFact(): Promise<boolean> {
    const findings = openFindings(this.#parts.world.clock.monotonicMs);
    await this.#witness.checkAll(findings);
    return findings.violation === undefined;
  }

  /** Checks the whole history again at its end. */
  async checkEnd(): Promise<void> {
    const { world, log } = this.#parts;
    await this.#witness.checkAll(log);
    await this.#audit.checkAll(log);
    await checkRows(world, log);
    await checkCauses(world, log);
    await checkSecrets(this.#parts, log);
    this.#copies.checkEnd();
    checkHeaders(this.#parts);
  }

  /** Restarts a consumer of the judge itself, at random moments. */
  disturb(): Promise<void> {
    return this.#witness.restart();
  }

  /** No fault of the judge itself from here on. */
  heal(): void {
    this.#witness.heal();
  }
}

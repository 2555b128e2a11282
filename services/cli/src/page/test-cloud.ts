import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';

export const group = 'subscriptions/local/resourceGroups/g';
const key = 'vaults/kv1/keys/k1';
const keyVersion = `${key}/versions/${'0'.repeat(31)}1`;
const set = `${group}/diskEncryptionSets/des1`;
const principal = 'principals/00000000-0000-4000-8000-000000000001';
export const traceId = 'c'.repeat(32);
const vmName = (n: number): string => `${group}/virtualMachines/vm${n}`;
const diskName = (n: number): string => `${group}/disks/d${n}`;

/** A cloud whose services are answers of this process: machines under one key, and one under a key of the platform. */
export class TestCloud implements Pick<Caller, 'call' | 'principal'> {
  readonly principal = principal;
  readonly #count: number;
  readonly #now: () => number;
  readonly #events: JsonObject[] = [];
  readonly #audit: JsonObject[] = [];
  readonly #startMs: number;
  #lostMs: number | undefined;
  #returnedMs: number | undefined;
  /** Power state of the machines under the key. */
  #power: 'RUNNING' | 'STOPPED' = 'RUNNING';
  #isGone = false;
  #keyEvents = 0;
  #refused: ReadonlySet<string> = new Set();
  #forbidden: ReadonlySet<string> = new Set();
  #extra = '';
  /** Calls by method. */
  readonly calls = new Map<string, number>();
  /** Called while an answer to a method is on its way. */
  afterAnswer: (method: string) => void = () => undefined;

  /** @param count machines under the key, named vm1 … */
  constructor(count: number, now: () => number) {
    this.#count = count;
    this.#now = now;
    this.#startMs = now() - 300_000;
    for (let n = 0; n <= count; n++) {
      this.#event(n, 'VmCreated', { disks: [], opened: [] }, this.#startMs - 1_000);
      this.#event(n, 'VmStarted', {}, this.#startMs);
    }
  }

  /** The key is disabled: sets lose access, and machines are stopped. @param stopMs how long that takes */
  disable(stopMs = 800): void {
    const lostMs = this.#now() - stopMs;
    this.#lostMs = lostMs;
    this.#returnedMs = undefined;
    this.#entry('KeyUpdate', lostMs, { change: 'disable every version', keyVersion: key });
    this.#entry('KeyCheckAccess', lostMs + 100, { result: 'REFUSED', reason: 'KEY_DISABLED', occurrenceCount: 3 });
    const reason = { reason: 'KEY_DISABLED', disk: diskName(1), set, keyVersion, since: lostMs, traceId };
    for (let n = 1; n <= this.#count; n++) {
      this.#event(n, 'VmStopping', { reason }, lostMs + stopMs / 2);
      this.#event(n, 'VmStopped', { reason }, lostMs + stopMs);
    }
    this.#power = 'STOPPED';
  }

  /** The key is enabled again. */
  restore(): void {
    this.#returnedMs = this.#now();
    this.#entry('KeyUpdate', this.#now(), { change: 'enable what was disabled with the key', keyVersion: key });
  }

  /** The user starts the machines. */
  start(): void {
    for (let n = 1; n <= this.#count; n++) {
      this.#event(n, 'VmStarting', {}, this.#now());
      this.#event(n, 'VmStarted', {}, this.#now() + 1);
    }
    this.#power = 'RUNNING';
  }

  /** No service responds, or they do again. */
  end(isGone: boolean): void {
    this.#isGone = isGone;
  }

  /** The caller may not call these methods. */
  refuse(...methods: readonly string[]): void {
    this.#refused = new Set(methods);
  }

  /** The caller has no permission for these methods. */
  forbid(...methods: readonly string[]): void {
    this.#forbidden = new Set(methods);
  }

  /** A text in the names of keys and reasons that tries to leave its place. */
  hostile(text: string): void {
    this.#extra = text;
  }

  readonly call = async (service: Workload, { path }: { readonly path: string }, request: JsonObject) => {
    const method = path.replace(/^.*\//, '');
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    await Promise.resolve();
    if (this.#isGone) throw new RpcFailure('UNAVAILABLE', method, service, 'connect ECONNREFUSED');
    if (this.#forbidden.has(method)) throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', method);
    if (this.#refused.has(method)) throw new RpcFailure('UNAVAILABLE', method, service, `no right to call ${method}`);
    const answer = this.#answer(service, method, request);
    this.afterAnswer(method);
    return answer;
  };

  #answer(service: Workload, method: string, request: JsonObject): JsonObject {
    const isLost = this.#lostMs !== undefined && this.#returnedMs === undefined;
    switch (method) {
      case 'ListVirtualMachines':
        return this.#page('virtualMachines', request, (n) => this.#machine(n));
      case 'ListDisks':
        return this.#page('disks', request, (n) => ({
          ...{ name: diskName(n), sku: 'PREMIUM_SSD', diskHost: 'diskHosts/h1', diskHostState: 'HOST_SERVING' },
          ...(n === 0 ? {} : { keyVersion, encryption: { diskEncryptionSet: set } }),
          availability: isLost && n > 0 ? 'UNAVAILABLE' : 'AVAILABLE',
        }));
      case 'ListDiskHosts':
        return {
          diskHosts: [
            { name: 'diskHosts/h1', state: 'OPEN', liveness: 'SERVING' },
            { name: 'diskHosts/h2', state: 'OPEN', liveness: 'UNREACHABLE' },
          ],
        };
      case 'ListDiskEncryptionSets':
        return { diskEncryptionSets: [this.#set(isLost)] };
      case 'ListLeases': {
        const held = { state: 'HELD', ageMs: '12000', expiresInMs: '47900', openCount: this.#count };
        const lost = { state: 'LOST', reason: 'KEY_DISABLED', openCount: 0 };
        return {
          leases: [{ diskHost: 'diskHosts/h1', diskEncryptionSet: set, keyVersion, ...(isLost ? lost : held) }],
        };
      }
      case 'PreviewImpact':
        return this.#page('impacts', request, (n) =>
          n === 0
            ? { kind: 'SET_LOSES_KEY', resource: set, diskEncryptionSet: set, keyVersions: [keyVersion] }
            : { kind: 'VIRTUAL_MACHINE_STOPS', resource: vmName(n), diskEncryptionSet: set },
        );
      case 'ListDiskHostResources':
        return this.#page('resources', request, (n) => ({ name: diskName(n), virtualMachine: vmName(n) }));
      case 'GetDiskEncryptionSet':
        return { identity: { principal } };
      case 'ReadEvents': {
        const after = Number(request.afterPosition ?? 0);
        // Of key-vault the page reads only how many events there are.
        if (service === 'key-vault') return { events: [], headPosition: String(this.#keyEvents) };
        const events = this.#events.slice(after, after + Number(request.pageSize));
        return { events, headPosition: String(this.#events.length) };
      }
      case 'ListAuditEntries': {
        const from = String(request.startTime);
        this.#entry('VaultAuditList', this.#now());
        return { auditEntries: this.#audit.filter(({ time }) => String(time) >= from) };
      }
      case 'ReadGuestJournal':
        return { operations: request.after === '1' ? [] : [...this.#journal()], readTo: '1', atEnd: true };
      case 'GetPrincipal':
        return { displayName: 'Olga' };
      default:
        return {};
    }
  }

  /** One page of things, one for each machine; vm0 is under a key of the platform. */
  #page(field: string, request: JsonObject, of: (n: number) => JsonObject): JsonObject {
    const from = Number(request.pageToken || 0);
    const to = Math.min(this.#count + 1, from + Number(request.pageSize));
    const list = Array.from({ length: to - from }, (_, n) => of(from + n));
    return { [field]: list, nextPageToken: to > this.#count ? '' : String(to) };
  }

  #set(isLost: boolean): JsonObject {
    const sinceMs = (isLost ? this.#lostMs : undefined) ?? this.#now() - 3_600_000;
    const since = new Date(isLost ? sinceMs : (this.#returnedMs ?? 0)).toISOString();
    const access = { keyVersion, state: isLost ? 'LOST' : 'AVAILABLE', since };
    const reason = isLost ? `KEY_DISABLED${this.#extra}` : '';
    return { name: set, activeKey: { keyVersion }, keyAccess: [{ ...access, reason }] };
  }

  #machine(n: number): JsonObject {
    const isHit = n > 0 && this.#power === 'STOPPED';
    const since = new Date(this.#lostMs ?? 0).toISOString();
    const loss = { reason: 'KEY_DISABLED', disk: diskName(n), diskEncryptionSet: set, keyVersion, since, traceId };
    return {
      name: vmName(n),
      powerState: isHit ? 'STOPPED' : 'RUNNING',
      osDisk: { disk: diskName(n), sku: 'PREMIUM_SSD' },
      dataDisks: [],
      startTime: new Date(this.#startMs).toISOString(),
      ...(isHit ? { stopReason: loss, stopTime: since, keyReturned: this.#returnedMs !== undefined } : {}),
      guestIo: { readCount: '40', writeCount: '30', failureCount: '0', contentMismatchCount: '0' },
    };
  }

  #journal(): readonly JsonObject[] {
    const lostMs = this.#lostMs ?? this.#now();
    // A minute with five operations a second, which take longer and longer; the last ones fail.
    const before = Array.from({ length: 300 }, (_, n) => n * 200 - 60_000);
    return [...before, 150, 300, 350, 390].map((ms, n) => ({
      ...{ disk: 'd1', kind: 'WRITE', sequence: String(n), ok: ms < 200 },
      ...{ invokeTimeMs: String(lostMs + ms - 1 - (n % 60) / 10), completeTimeMs: String(lostMs + ms) },
    }));
  }

  #event(n: number, type: string, data: JsonObject, timeMs: number): void {
    this.#events.push({
      position: String(this.#events.length + 1),
      stream: `vm-${vmName(n)}`,
      eventTime: new Date(timeMs).toISOString(),
      ...{ type, data, schema: 1, version: '1', eventId: `e${this.#events.length}`, meta: {} },
    });
  }

  #entry(operation: string, timeMs: number, more: JsonObject = {}): void {
    if (operation === 'KeyUpdate') this.#keyEvents += 1;
    this.#audit.push({
      name: `vaults/kv1/auditEntries/${String(this.#audit.length).padStart(6, '0')}`,
      ...{ time: new Date(timeMs).toISOString(), operation, change: '', result: 'SUCCESS', reason: '', keyVersion },
      ...{ caller: principal, onBehalfOf: '', traceId, ...more },
    });
  }
}

/** A name as the page shows it: `kv1/k1` of a key, the last part of any other. */
export const short = (name: string): string =>
  name.startsWith('vaults/')
    ? name
        .split('/')
        .filter((_, n) => n % 2 === 1)
        .join('/')
    : name.slice(name.lastIndexOf('/') + 1);

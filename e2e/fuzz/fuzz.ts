import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { type SeededRandom, seededRandom } from '@interlock/runtime';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { residentMib } from '../cloud/resident.ts';
import { makeWorld } from '../cloud/world.ts';
import { type Callers, openCallers } from './callers.ts';
import { allMethods, type FuzzedMethod, type Outcome, Sender, shown } from './calls.ts';
import type { MemorySample } from './memory.ts';
import { aboutNothing, malformed } from './messages.ts';
import { type Aim, KnownValues } from './names.ts';
import { type ValueRecord, valuesOf } from './records.ts';
import { encoded, messagesOf, openTemplates } from './templates.ts';

/** Calls in flight. */
const IN_FLIGHT = 12;
/** How often the administrator creates a vault, a set, a disk and a machine again, in milliseconds: the fuzzer deletes what it finds. */
const WORLD_EVERY_MS = 20_000;
const MEMORY_EVERY_MS = 5_000;

/** The chance of an odd value in a message: half of the messages have none, so that they pass the first checks; few have many. */
const ODDNESS = [0, 0, 0, 0.03, 0.1, 0.5];
/** Of the few values that are changed in a request that succeeded before. */
const CHANGED_ODDNESS = [0, 0.3, 0.7];
/** Share of calls for methods that have not succeeded yet. The others call every method in turn. */
const FOR_MISSING = 0.3;
/** How often a request is a changed copy of one that succeeded, if there is one. */
const TEMPLATES = 0.5;

/** Methods called less often than others. */
const DESTRUCTIVE = /^(Delete|Purge|Disable|Detach|Remove|RotateSigningKey|PowerOff|Deallocate|EnablePurgeProtection)/;
/** Methods after which other requests find fewer resources to use. */
const HARMFUL =
  /^(Delete|Disable|Detach|Remove|PowerOff|Deallocate|Close|SetKeyOperations|SetKeyVersionDates|SetPermissionModel|SetNetworkRules|SetAccessPolicy|ReportAccessLost|EnablePurgeProtection)/;
const ABOUT_DELETED = /^(Purge|Recover|GetDeleted)/;

const aimOf = (method: string): Aim =>
  ABOUT_DELETED.test(method) ? 'deleted' : HARMFUL.test(method) ? 'older' : 'newer';

/** Methods that no call of the fuzzer can succeed with, and why. */
const CANNOT_SUCCEED: Readonly<Record<string, string>> = {
  'interlock.key_vault.v1.KeyVaultService/ConfirmKeyStates':
    'key-vault is on hold only after its store was restored to an earlier moment',
  'interlock.messaging.v1.MessagingService/ReplayParkedFact':
    'a fact is parked only if its consumer fails, and all facts here come from services of the same version',
};

/** INTERNAL or UNKNOWN in response to a well-formed message. */
export interface InternalAnswer {
  readonly path: string;
  readonly service: string;
  readonly count: number;
  /** Of the first call. */
  readonly details: string;
  readonly request: string;
  /** `--seed` and the number of the call. It makes the same message if the known names are the same. */
  readonly call: number;
}

/** The findings of a run. */
export interface Findings {
  readonly calls: number;
  readonly wellFormed: number;
  readonly codes: Readonly<Record<string, number>>;
  /** Methods without a successful call: the fuzzer did not reach their depth. */
  readonly neverOk: readonly string[];
  readonly internals: readonly InternalAnswer[];
  /** Failures to recreate the world. */
  readonly worldFailures: number;
  readonly memory: readonly MemorySample[];
}

/** Parts of a run. */
export interface FuzzParts {
  readonly cloud: LocalCloud;
  readonly data: DataFolder;
  readonly seconds: number;
  readonly seed: number;
  /** Only RPCs with this text in their path. */
  readonly only: string | undefined;
  readonly print: (line: string) => void;
}

/** Calls every RPC with generated messages for `seconds`. */
export const fuzz = async (parts: FuzzParts): Promise<Findings> => {
  const { cloud, data } = parts;
  const outside = openOutside(cloud);
  const callers = await openCallers(outside, data);
  const known = new KnownValues();
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  known.addText('pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const sender = new Sender(cloud.addresses, readFileSync(cloud.authorityFile), known, callers.protectedIds);
  const fuzzer = new Fuzzer(parts, { outside, callers, known, sender });
  try {
    return await fuzzer.run();
  } finally {
    sender.close();
    outside.close();
  }
};

class Fuzzer {
  readonly #parts: FuzzParts;
  readonly #outside: Outside;
  readonly #callers: Callers;
  readonly #known: KnownValues;
  readonly #sender: Sender;
  readonly #methods: readonly FuzzedMethod[];
  readonly #startMs = performance.now();
  readonly #codes: Record<string, number> = {};
  readonly #ok = new Set<string>();
  readonly #templates = openTemplates();
  readonly #refusals = refusalCounts();
  readonly #internals = new Map<string, InternalAnswer>();
  readonly #memory: MemorySample[] = [];
  #next = 0;
  #calls = 0;
  #wellFormedCalls = 0;
  #worldFailures = 0;

  constructor(
    parts: FuzzParts,
    opened: {
      readonly outside: Outside;
      readonly callers: Callers;
      readonly known: KnownValues;
      readonly sender: Sender;
    },
  ) {
    this.#parts = parts;
    ({ outside: this.#outside, callers: this.#callers, known: this.#known, sender: this.#sender } = opened);
    const { only } = parts;
    this.#methods = allMethods(serviceNames).filter(({ path }) => only === undefined || path.includes(only));
    if (this.#methods.length === 0) throw new Error(`no RPC has "${only}" in its path`);
  }

  async run(): Promise<Findings> {
    const world = this.#every(WORLD_EVERY_MS, () => this.#createWorld());
    const memory = this.#every(MEMORY_EVERY_MS, () => this.#sampleMemory());
    await Promise.all([memory, ...Array.from({ length: IN_FLIGHT }, () => this.#callUntilOver())]);
    // A world that is still being created at the end is not needed.
    await Promise.race([world, sleep(2_000)]);
    const neverOk = [...new Set(this.#methods.map(({ path }) => path))].filter((path) => !this.#ok.has(path));
    for (const path of neverOk) {
      const why = CANNOT_SUCCEED[path];
      const refusals = this.#refusals.most(path).join('\n');
      this.#parts.print(`never OK: ${path}${why === undefined ? `\n${refusals}` : `, as expected: ${why}`}`);
    }
    return {
      calls: this.#calls,
      wellFormed: this.#wellFormedCalls,
      codes: this.#codes,
      neverOk,
      internals: [...this.#internals.values()],
      worldFailures: this.#worldFailures,
      memory: this.#memory,
    };
  }

  #isOver(): boolean {
    return performance.now() - this.#startMs >= this.#parts.seconds * 1_000;
  }

  async #every(everyMs: number, act: () => Promise<void> | void): Promise<void> {
    for (;;) {
      const nextMs = performance.now() + everyMs;
      await act();
      while (performance.now() < nextMs && !this.#isOver()) await sleep(100);
      if (this.#isOver()) return;
    }
  }

  async #callUntilOver(): Promise<void> {
    while (!this.#isOver()) {
      try {
        await this.#call(this.#next++);
      } catch (error) {
        // No token while identity restarts, for example. The response of a service is never thrown.
        this.#codes['not sent'] = (this.#codes['not sent'] ?? 0) + 1;
        this.#parts.print(`a call was not sent: ${error instanceof Error ? error.message : String(error)}`);
        await sleep(200);
      }
    }
  }

  #targetOf(call: number, random: SeededRandom): FuzzedMethod {
    const isMissing = ({ path }: FuzzedMethod): boolean => !this.#ok.has(path) && CANNOT_SUCCEED[path] === undefined;
    const missing = random.chance(FOR_MISSING) ? this.#methods.filter(isMissing) : [];
    return missing.length > 0 ? random.pick(missing) : (this.#methods[call % this.#methods.length] as FuzzedMethod);
  }

  async #call(call: number): Promise<void> {
    const known = this.#known;
    const random = seededRandom(this.#parts.seed).fork(`call ${call}`);
    const target = this.#targetOf(call, random);
    const { method, path, service } = target;
    // Other requests cannot use a deleted resource.
    if (DESTRUCTIVE.test(method.name) && this.#ok.has(path) && random.chance(0.4)) return;
    this.#calls += 1;
    const template = random.chance(TEMPLATES) ? this.#templates.pick(path, random) : undefined;
    const oddness = random.pick(template === undefined ? ODDNESS : CHANGED_ODDNESS);
    const about = aboutNothing(method.input);
    const requests = messagesOf(method, template, { random, known, path, aim: aimOf(method.name), oddness, about });
    const [request] = requests;
    if (request === undefined) throw new Error(`${path} has no request`);
    const isWellFormed = !random.chance(0.12);
    const wellFormed = encoded(method, requests);
    const bytes = isWellFormed ? wellFormed : wellFormed.map((one) => malformed(one, random));
    if (isWellFormed) this.#wellFormedCalls += 1;
    const tokens = this.#callers.pick(path, random);
    const values = valuesOf(request);
    const outcome = await this.#sender.send(target, bytes, {
      request: HARMFUL.test(method.name) ? undefined : request,
      token: await tokens?.token(`interlock:${service}`),
      diskAccess: random.chance(0.9) ? accessTokenFor(values, known, random) : undefined,
    });
    this.#codes[outcome.code] = (this.#codes[outcome.code] ?? 0) + 1;
    if (outcome.code === 'OK') {
      this.#ok.add(path);
      this.#callers.succeeded(path, tokens);
      if (!isWellFormed) return;
      this.#templates.succeeded(path, wellFormed);
      follow(method.name, values, known);
    } else {
      this.#learnFromRefusal(target, outcome, values);
      if (isWellFormed && (outcome.code === 'INTERNAL' || outcome.code === 'UNKNOWN'))
        this.#noteInternal(target, outcome, requests, call);
    }
  }

  #learnFromRefusal({ method, path }: FuzzedMethod, { code, details }: Outcome, values: ValueRecord): void {
    this.#known.learnPattern(path, details);
    if (!ABOUT_DELETED.test(method.name) && code === 'NOT_FOUND') this.#known.notFound(details);
    // It is protected, or no longer deleted.
    if (method.name.startsWith('Purge') && code === 'FAILED_PRECONDITION') follow(method.name, values, this.#known);
    this.#callers.refused(path, details);
    this.#refusals.count(path, `${code} ${details.slice(0, 160)}`);
  }

  #noteInternal(
    { path, service }: FuzzedMethod,
    { code, details }: Outcome,
    requests: ReturnType<typeof messagesOf>,
    call: number,
  ): void {
    const before = this.#internals.get(path);
    if (before !== undefined) {
      this.#internals.set(path, { ...before, count: before.count + 1 });
      return;
    }
    const request = requests
      .map(({ message }) => shown(message))
      .join(' ')
      .slice(0, 4_000);
    this.#internals.set(path, { path, service, count: 1, details, request, call });
    this.#parts.print(`${code} from ${path} (call ${call}): ${details}\n  ${request}`);
  }

  async #createWorld(): Promise<void> {
    try {
      const world = await makeWorld(this.#outside.administrator, [['PREMIUM_SSD', 'STANDARD_SSD']]);
      const { group, vault, keyVersion, set, identity, machines } = world;
      for (const name of [group, vault, keyVersion, set, identity, ...machines]) this.#known.addText('name', name);
      this.#known.spare([group, vault]);
    } catch (error) {
      this.#worldFailures += 1;
      const message = error instanceof Error ? error.message : String(error);
      this.#parts.print(`the world could not be created again: ${message}`);
    }
  }

  #sampleMemory(): void {
    const sizes = serviceNames.flatMap((service) => {
      const mib = residentMib(this.#parts.cloud.pid(service));
      return mib === undefined ? [] : [[service, mib] as const];
    });
    const atS = Math.round((performance.now() - this.#startMs) / 1_000);
    this.#memory.push({ atS, residentMib: Object.fromEntries(sizes) });
  }
}

/** The access token of the disk that the request names, if one is known; otherwise any. */
const accessTokenFor = (values: ValueRecord, known: KnownValues, random: SeededRandom): string | undefined => {
  const disk = values.find(({ field }) => field === 'name')?.value;
  const record = typeof disk === 'string' ? known.recordWith(disk, new Set(['access_token'])) : undefined;
  const own = record?.find(({ field }) => field === 'access_token')?.value;
  const token = typeof own === 'string' && random.chance(0.9) ? own : known.exact('access_token', random);
  // Metadata may not contain other characters.
  return token !== undefined && /^[\x20-\x7e]*$/.test(token) ? token : undefined;
};

/** Notes which resource a request that succeeded deleted, purged or recovered. */
const follow = (method: string, values: ValueRecord, known: KnownValues): void => {
  const name = values.find(({ field }) => field === 'name')?.value;
  if (typeof name !== 'string') return;
  if (method.startsWith('Delete')) known.deleted(name);
  if (/^(Purge|Recover)/.test(method)) known.notDeleted(name);
};

/** Counts why calls of each method were refused: a method that never succeeds needs better messages. */
const refusalCounts = () => {
  const counts = new Map<string, Map<string, number>>();
  return {
    count(path: string, why: string): void {
      const own = counts.get(path) ?? new Map<string, number>();
      counts.set(path, own);
      // Many texts repeat odd values.
      if (own.size < 200 || own.has(why)) own.set(why, (own.get(why) ?? 0) + 1);
    },
    /** The most frequent texts, one a line. */
    most: (path: string): readonly string[] =>
      [...(counts.get(path) ?? [])]
        .sort(([, one], [, other]) => other - one)
        .slice(0, 4)
        .map(([why, count]) => `  ${count} × ${why}`),
  };
};

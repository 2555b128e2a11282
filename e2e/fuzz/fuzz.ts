import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { toBinary } from '@bufbuild/protobuf';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { seededRandom } from '@interlock/runtime';
import { openOutside } from '../cloud/clients.ts';
import { residentMib } from '../cloud/resident.ts';
import { makeWorld } from '../cloud/world.ts';
import { openCallers } from './callers.ts';
import { allMethods, type FuzzedMethod, openSender, shown } from './calls.ts';
import type { MemorySample } from './memory.ts';
import { malformed, wellFormed } from './messages.ts';
import { knownValues } from './names.ts';

/** Calls under way at once. */
const IN_FLIGHT = 12;
/** How often the administrator makes a vault, a set, a disk and a machine again, in milliseconds: the fuzzer deletes what it finds. */
const WORLD_EVERY_MS = 30_000;
/** Between two looks at the memory of the services, in milliseconds. */
const MEMORY_EVERY_MS = 5_000;

/** Of the values of a message: half of the messages are plain, so that they get deep; few are odd all over. */
const ODDNESS = [0, 0, 0, 0.03, 0.1, 0.5];

/** Methods called less often than others. */
const DESTRUCTIVE = /^(Delete|Purge|Disable|Detach|Remove|RotateSigningKey)/;

/** A well-formed message that a service answered with INTERNAL or UNKNOWN. */
export interface InternalAnswer {
  readonly path: string;
  readonly service: string;
  readonly count: number;
  /** Of the first call. */
  readonly details: string;
  readonly request: string;
  /** `--seed` and the number of the call, which makes the same message where the known names are the same. */
  readonly call: number;
}

/** What a run found. */
export interface Findings {
  readonly calls: number;
  readonly wellFormed: number;
  readonly codes: Readonly<Record<string, number>>;
  /** Methods no call of which was answered with OK: the fuzzer did not reach their depth. */
  readonly neverOk: readonly string[];
  readonly internals: readonly InternalAnswer[];
  /** Times the world could not be made again. */
  readonly worldFailures: number;
  readonly memory: readonly MemorySample[];
}

/** Calls every RPC with made-up messages for that long. */
export const fuzz = async (parts: {
  readonly cloud: LocalCloud;
  readonly data: DataFolder;
  readonly seconds: number;
  readonly seed: number;
  readonly only: string | undefined;
  readonly say: (line: string) => void;
}): Promise<Findings> => {
  const { cloud, data, seconds, seed, only, say } = parts;
  const outside = openOutside(cloud);
  const callers = await openCallers(outside, data);
  const known = knownValues();
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  known.addText('pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const sender = openSender(cloud.addresses, readFileSync(cloud.authorityFile), known, callers.protectedIds);
  const methods = allMethods(serviceNames).filter(({ path }) => only === undefined || path.includes(only));
  if (methods.length === 0) throw new Error(`no RPC has "${only}" in its path`);
  const startMs = performance.now();
  const isOver = () => performance.now() - startMs >= seconds * 1_000;

  const codes: Record<string, number> = {};
  const ok = new Set<string>();
  const refusals = refusalCounts();
  const internals = new Map<string, InternalAnswer>();
  const memory: MemorySample[] = [];
  let next = 0;
  let calls = 0;
  let wellFormedCalls = 0;
  let worldFailures = 0;

  const one = async (): Promise<void> => {
    const call = next;
    next += 1;
    const random = seededRandom(seed).fork(`call ${call}`);
    const target = methods[call % methods.length] as FuzzedMethod;
    const { method, path, service } = target;
    // What is gone cannot be used any more.
    if (DESTRUCTIVE.test(method.name) && random.chance(0.85)) return;
    calls += 1;
    const source = { random, known, method: method.name, oddness: random.pick(ODDNESS) };
    const count = method.methodKind === 'client_streaming' ? 1 + random.int(4) : 1;
    const requests = Array.from({ length: count }, () => wellFormed(method.input, source));
    const isWellFormed = !random.chance(0.12);
    const bytes = requests.map((request) => {
      const encoded = toBinary(method.input, request);
      return isWellFormed ? encoded : malformed(encoded, random);
    });
    if (isWellFormed) wellFormedCalls += 1;
    const tokens = callers.pick(path, random);
    const token = await tokens?.token(`interlock:${service}`);
    const diskAccess = random.chance(0.9) ? known.exact('access_token', random) : undefined;
    const { code, details } = await sender.send(target, bytes, { token, diskAccess });
    codes[code] = (codes[code] ?? 0) + 1;
    if (code === 'OK') {
      ok.add(path);
      callers.succeeded(path, tokens);
    } else {
      known.learnPattern(method.name, details);
      callers.refused(path, details);
      refusals.count(path, `${code} ${details.slice(0, 160)}`);
    }
    if ((code !== 'INTERNAL' && code !== 'UNKNOWN') || !isWellFormed) return;
    const before = internals.get(path);
    if (before !== undefined) internals.set(path, { ...before, count: before.count + 1 });
    else {
      const request = requests.map(shown).join(' ').slice(0, 4_000);
      internals.set(path, { path, service, count: 1, details, request, call });
      say(`${code} from ${path} (call ${call}): ${details}\n  ${request}`);
    }
  };
  const caller = async (): Promise<void> => {
    while (!isOver()) {
      try {
        await one();
      } catch (error) {
        // A token that cannot be had while identity is restarted, for one. What a service answers is never thrown.
        codes['not sent'] = (codes['not sent'] ?? 0) + 1;
        say(`a call was not sent: ${error instanceof Error ? error.message : String(error)}`);
        await sleep(200);
      }
    }
  };
  const remakeWorld = async (): Promise<void> => {
    try {
      const world = await makeWorld(outside.administrator, [['PREMIUM_SSD']]);
      for (const name of [world.group, world.vault, world.keyVersion, world.set, world.identity, ...world.machines]) {
        known.addText('name', name);
      }
    } catch (error) {
      worldFailures += 1;
      say(`the world could not be made again: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const every = async (everyMs: number, act: () => Promise<void> | void): Promise<void> => {
    for (;;) {
      const nextMs = performance.now() + everyMs;
      await act();
      while (performance.now() < nextMs && !isOver()) await sleep(100);
      if (isOver()) return;
    }
  };
  const sample = (): void => {
    const resident = serviceNames.map((service) => [service, residentMib(cloud.pid(service))] as const);
    const there = resident.filter((entry): entry is [(typeof serviceNames)[number], number] => entry[1] !== undefined);
    memory.push({ atS: Math.round((performance.now() - startMs) / 1_000), residentMib: Object.fromEntries(there) });
  };
  const world = every(WORLD_EVERY_MS, remakeWorld);
  await Promise.all([every(MEMORY_EVERY_MS, sample), ...Array.from({ length: IN_FLIGHT }, caller)]);
  // One that is being made when the time is over is not waited for: it is of no use any more.
  await Promise.race([world, sleep(2_000)]);
  sender.close();
  outside.close();
  const neverOk = [...new Set(methods.map(({ path }) => path))].filter((path) => !ok.has(path));
  for (const path of neverOk) say(`never OK: ${path}\n${refusals.most(path).join('\n')}`);
  return {
    calls,
    wellFormed: wellFormedCalls,
    codes,
    neverOk,
    internals: [...internals.values()],
    worldFailures,
    memory,
  };
};

/** Counts why calls of each method were refused: a method that never succeeds needs better messages. */
const refusalCounts = () => {
  const counts = new Map<string, Map<string, number>>();
  return {
    count(path: string, why: string): void {
      const own = counts.get(path) ?? new Map<string, number>();
      counts.set(path, own);
      // Texts that repeat odd values are many.
      if (own.size < 200 || own.has(why)) own.set(why, (own.get(why) ?? 0) + 1);
    },
    /** The most frequent ones, a line each. */
    most: (path: string): readonly string[] =>
      [...(counts.get(path) ?? [])]
        .sort(([, one], [, other]) => other - one)
        .slice(0, 4)
        .map(([why, count]) => `  ${count} × ${why}`),
  };
};

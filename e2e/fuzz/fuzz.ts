import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { type SeededRandom, seededRandom } from '@interlock/runtime';
import { openOutside } from '../cloud/clients.ts';
import { residentMib } from '../cloud/resident.ts';
import { makeWorld } from '../cloud/world.ts';
import { openCallers } from './callers.ts';
import { allMethods, type FuzzedMethod, openSender, shown } from './calls.ts';
import type { MemorySample } from './memory.ts';
import { aboutNothing, malformed } from './messages.ts';
import { type Aim, type KnownValues, knownValues } from './names.ts';
import { type ValueRecord, valuesOf } from './records.ts';
import { encoded, messagesOf, openTemplates } from './templates.ts';

/** Calls under way at once. */
const IN_FLIGHT = 12;
/** How often the administrator makes a vault, a set, a disk and a machine again, in milliseconds: the fuzzer deletes what it finds. */
const WORLD_EVERY_MS = 20_000;
/** Between two looks at the memory of the services, in milliseconds. */
const MEMORY_EVERY_MS = 5_000;

/** Of the values of a message: half of the messages are plain, so that they get deep; few are odd all over. */
const ODDNESS = [0, 0, 0, 0.03, 0.1, 0.5];
/** Of the few values that are changed in a request that succeeded before. */
const CHANGED_ODDNESS = [0, 0.3, 0.7];
/** Calls of methods that have not succeeded yet, beside those of every method in turn. */
const FOR_MISSING = 0.3;
/** How often a request is a changed one that succeeded before, where there is one. */
const TEMPLATES = 0.5;

/** Methods called less often than others. */
const DESTRUCTIVE = /^(Delete|Purge|Disable|Detach|Remove|RotateSigningKey|PowerOff|Deallocate|EnablePurgeProtection)/;
/** Methods after which other requests find less that they can use. */
const HARMFUL =
  /^(Delete|Disable|Detach|Remove|PowerOff|Deallocate|Close|SetKeyOperations|SetKeyVersionDates|SetPermissionModel|SetAccessPolicy|ReportAccessLost|EnablePurgeProtection)/;
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
  const templates = openTemplates();
  const refusals = refusalCounts();
  const internals = new Map<string, InternalAnswer>();
  const memory: MemorySample[] = [];
  let next = 0;
  let calls = 0;
  let wellFormedCalls = 0;
  let worldFailures = 0;

  const isMissing = (one: FuzzedMethod): boolean => !ok.has(one.path) && CANNOT_SUCCEED[one.path] === undefined;
  const one = async (): Promise<void> => {
    const call = next;
    next += 1;
    const random = seededRandom(seed).fork(`call ${call}`);
    const missing = random.chance(FOR_MISSING) ? methods.filter(isMissing) : [];
    const target = missing.length > 0 ? random.pick(missing) : (methods[call % methods.length] as FuzzedMethod);
    const { method, path, service } = target;
    // What is gone cannot be used any more.
    if (DESTRUCTIVE.test(method.name) && ok.has(path) && random.chance(0.4)) return;
    calls += 1;
    const template = random.chance(TEMPLATES) ? templates.pick(path, random) : undefined;
    const oddness = random.pick(template === undefined ? ODDNESS : CHANGED_ODDNESS);
    const about = aboutNothing(method.input);
    const requests = messagesOf(method, template, { random, known, path, aim: aimOf(method.name), oddness, about });
    const [request] = requests;
    if (request === undefined) throw new Error(`${path} has no request`);
    const isWellFormed = !random.chance(0.12);
    const wellFormed = encoded(method, requests);
    const bytes = isWellFormed ? wellFormed : wellFormed.map((one) => malformed(one, random));
    if (isWellFormed) wellFormedCalls += 1;
    const tokens = callers.pick(path, random);
    const token = await tokens?.token(`interlock:${service}`);
    const values = valuesOf(request);
    const diskAccess = random.chance(0.9) ? accessTokenFor(values, known, random) : undefined;
    const { code, details } = await sender.send(target, bytes, {
      request: HARMFUL.test(method.name) ? undefined : request,
      token,
      diskAccess,
    });
    codes[code] = (codes[code] ?? 0) + 1;
    if (code === 'OK') {
      ok.add(path);
      callers.succeeded(path, tokens);
      if (isWellFormed) {
        templates.succeeded(path, wellFormed);
        follow(method.name, values, known);
      }
    } else {
      known.learnPattern(path, details);
      if (!ABOUT_DELETED.test(method.name) && code === 'NOT_FOUND') known.notFound(details);
      // It is protected, or not deleted any more.
      if (method.name.startsWith('Purge') && code === 'FAILED_PRECONDITION') follow(method.name, values, known);
      callers.refused(path, details);
      refusals.count(path, `${code} ${details.slice(0, 160)}`);
    }
    if ((code !== 'INTERNAL' && code !== 'UNKNOWN') || !isWellFormed) return;
    const before = internals.get(path);
    if (before !== undefined) internals.set(path, { ...before, count: before.count + 1 });
    else {
      const request = requests
        .map(({ message }) => shown(message))
        .join(' ')
        .slice(0, 4_000);
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
      const world = await makeWorld(outside.administrator, [['PREMIUM_SSD', 'STANDARD_SSD']]);
      for (const name of [world.group, world.vault, world.keyVersion, world.set, world.identity, ...world.machines]) {
        known.addText('name', name);
      }
      known.spare([world.group, world.vault]);
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
  for (const path of neverOk) {
    const why = CANNOT_SUCCEED[path];
    say(`never OK: ${path}${why === undefined ? `\n${refusals.most(path).join('\n')}` : `, as expected: ${why}`}`);
  }
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

/** The access token of the disk that the request names, if one is known; otherwise any. */
const accessTokenFor = (values: ValueRecord, known: KnownValues, random: SeededRandom): string | undefined => {
  const disk = values.find(({ field }) => field === 'name')?.value;
  const record = typeof disk === 'string' ? known.recordWith(disk, new Set(['access_token'])) : undefined;
  const own = record?.find(({ field }) => field === 'access_token')?.value;
  const token = typeof own === 'string' && random.chance(0.9) ? own : known.exact('access_token', random);
  // Metadata carries no other characters.
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

import { type JsonObject, ScalarType } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import { plainText, withShortNames } from '../failure.ts';
import { pasteable } from '../output/pasteable.ts';
import { render, stateLine } from '../output/render.ts';
import type { NewFile } from '../output/terminal.ts';
import { UsageError, WorkContinues } from '../problems.ts';
import { resolved } from '../request/draft.ts';
import { limiterOf } from '../request/limiter.ts';
import { resolverOf } from '../request/lookups.ts';
import { fullName, shortName } from '../request/names.ts';
import { nextPageIn, PAGE_SIZE_MAX, readList, withAllPages } from '../request/pages.ts';
import { draftOf, type Typed } from '../request/request.ts';
import { type Method, methodOf } from '../request/schema.ts';
import { interruptible, reportingInterrupts } from '../session/endings.ts';
import { type Credentials, services } from '../session/environment.ts';
import type { Session } from '../session/session.ts';
import type { AccessTaken } from '../verbs/access-taken.ts';
import type { Verb } from '../verbs/verb.ts';
import { confirmAccessTaken } from './confirm.ts';
import { refuseMissing } from './required.ts';
import { callEach, callTogether, runMany } from './run-many.ts';
import { callAndWait, isUndecided, type ServedVerb, waitUntilSettled } from './waiting.ts';

/** What was typed for a verb. */
export interface VerbFlags extends Typed {
  /** For verbs of every service; undefined calls all of them. */
  readonly service: Workload | undefined;
  readonly wait: boolean;
  /** File for `fromFile` of the verb. */
  readonly file: string | undefined;
  /** Whether access to keys may be taken away even if machines stop. */
  readonly confirm: boolean;
  /** File for the field of the response that the verb names. */
  readonly output: string | undefined;
  /** Switches of the verb that were given. */
  readonly switches: ReadonlySet<string>;
  readonly keyOwner: Credentials | 'caller' | undefined;
}

/** How many resources are called or read at once. */
const PARALLEL_MAX = 16;

/** How long a watch lasts without `--timeout`, in milliseconds: a day. */
const WATCH_MS = 86_400_000;

/** Calls the RPC of a verb and shows the response. @throws UsageError, Rejection, RpcFailure, NotSettled */
export async function runVerb(verb: Verb, flags: VerbFlags, session: Session): Promise<void> {
  const all = verb.many?.all;
  if (all !== undefined && flags.switches.has(all.switch)) return runAll(verb, all, flags, session);
  if (flags.more.length > 0) return runEach(servedBy(verb, flags), flags.words, flags, session);
  const spoken = new Map<string, string>();
  const typed = await requestOf(verb, flags, session, spoken);
  const method = methodFor(verb, typed);
  const [named = typed] = await confirmed(verb, method, [typed], flags, session);
  const request = await completeRequest(verb, flags, named, session);
  if (method.isStream) return watch(servedBy(verb, flags).service, method, request, session);
  if (verb.service === 'any' && flags.service === undefined) return callEveryService(method, request, session);

  const served = servedBy(verb, flags);
  const startedMs = session.clock.monotonicMs();
  // Created before the call: a secret is issued once, and must not be lost because the file cannot be written.
  const file = flags.output === undefined ? undefined : session.terminal.newFile(flags.output);
  const call = () => callOnce(served, method, request, flags, session);
  const isSilent = !method.hasEffect || served.worksOn !== undefined;
  const interrupted = `${served.service} may have received the request and carry it out`;
  const response = await (isSilent ? call() : reportingInterrupts(interrupted, session.terminal, call)).catch(
    (error: unknown) => {
      file?.discard();
      throw error;
    },
  );
  const shown =
    file !== undefined
      ? withoutOutput(served, method, response, file, session)
      : flags.wait
        ? await waitUntilSettled(served, response, session, { startedMs })
        : response;
  if (flags.file !== undefined) await verb.fromFile?.run(flags.file, String(shown.name), session);
  await show(served, method, request, shown, spoken, session);
}

/** Calls the RPC. After Ctrl-C or without a response the error says that the work continues, if it does. */
function callOnce(
  verb: ServedVerb,
  method: Method,
  request: JsonObject,
  flags: VerbFlags,
  session: Session,
): Promise<JsonObject> {
  const call = () =>
    flags.wait && verb.settles !== undefined
      ? callAndWait(verb, method, request, session)
      : callWithPages(verb.service, method, request, session);
  if (verb.worksOn === undefined) return call();
  const look = `${verb.noun} show ${shortName(verb.worksOn(request), session.settings.namesWithoutFlags)}`;
  return interruptible(look, session.terminal, call).catch((error: unknown) => {
    throw isUndecided(error) ? new WorkContinues(plainText(error.message), look, error) : error;
  });
}

/** Shows a response, and for people what helps with it. */
async function show(
  verb: ServedVerb,
  method: Method,
  request: JsonObject,
  response: JsonObject,
  spoken: Map<string, string>,
  session: Session,
): Promise<void> {
  const { terminal, output, trace, settings, caller, program } = session;
  if (output.isDocument) return output.write(response);
  const short = (name: string): string => shortName(name, { ...settings.namesWithoutFlags, spoken });
  if (response.deleted === true) terminal.out(`${short(String(response.name))} is deleted`);
  else {
    for (const [principal, as] of (await verb.principals?.(caller, response, short)) ?? [])
      if (!spoken.has(principal)) spoken.set(principal, as);
    terminal.out(render(method.response, response, { ...settings.names, spoken }, output.width));
    const note = verb.note?.(response, request, short);
    if (note !== undefined) terminal.out(pasteable(withShortNames(note, settings.namesWithoutFlags), program));
  }
  if (method.hasEffect && trace !== undefined) terminal.err(`trace: ${trace}`);
}

/** Runs a verb on several resources of one kind. */
async function runEach(
  verb: ServedVerb,
  first: readonly (string | undefined)[],
  flags: VerbFlags,
  session: Session,
): Promise<void> {
  if (flags.body !== undefined) throw new UsageError('--body is the request for one resource: name one, or omit it');
  if (verb.many !== undefined && flags.flags.length > 0)
    throw new UsageError('the flags of this command are for one resource: name one, or omit them');
  const words = [...first, ...flags.more].filter((word) => word !== undefined);
  const { names } = session.settings;
  const limited = limiterOf(PARALLEL_MAX);
  const startedMs = session.clock.monotonicMs();
  const wait = (resource: JsonObject): Promise<JsonObject> =>
    waitUntilSettled(verb, resource, session, {
      startedMs,
      prefix: `${shortName(String(resource.name), names)}: `,
      limited,
    });
  const call =
    verb.many === undefined
      ? await callsForEach(verb, words, flags, session)
      : () => callTogether(verb, words, session);
  const run = () => runMany(verb, call, flags.wait ? wait : undefined, session);
  return flags.wait ? interruptible(`${verb.noun} list`, session.terminal, run) : run();
}

/** One call per resource. Every request is built before the first is sent. @throws UsageError */
async function callsForEach(verb: ServedVerb, words: readonly string[], flags: VerbFlags, session: Session) {
  const typed: JsonObject[] = [];
  for (const word of words)
    typed.push(await requestOf(verb, { ...flags, words: [word], more: [] }, session, new Map()));
  const requests = await confirmed(verb, methodOf(verb.contract, verb.method), typed, flags, session);
  const calls = words.map((word, n): [string, () => Promise<JsonObject>] => [
    word,
    async () => {
      const request = await completeRequest(verb, flags, requests[n] ?? {}, session);
      return callOnce({ ...verb, worksOn: undefined }, methodFor(verb, request), request, flags, session);
    },
  ]);
  return () => callEach(calls, limiterOf(PARALLEL_MAX), session);
}

/**
 * The requests of one command, with the confirmed names that services require.
 * @throws UsageError if they take access away and are not confirmed
 */
async function confirmed(
  { takesAccess }: Verb,
  { request: message, canonical }: Method,
  requests: readonly JsonObject[],
  { confirm, switches }: VerbFlags,
  session: Session,
): Promise<readonly JsonObject[]> {
  if (takesAccess === undefined) return requests;
  const context = { caller: session.caller, switches, now: session.clock.now() };
  const takings = async () => {
    const all: AccessTaken[] = [];
    for (const request of requests) all.push(...(await takesAccess(canonical(request), context)));
    return all;
  };
  const isConfirmed = await confirmAccessTaken(takings, confirm, session);
  const isNamed = isConfirmed && message.fields.some(({ name }) => name === 'confirm_name');
  return isNamed ? requests.map((request) => ({ ...request, confirmName: String(request.name) })) : requests;
}

/** Runs a verb on every resource of a list that the verb selects. */
async function runAll(
  verb: Verb,
  { switch: name, list, selects }: NonNullable<NonNullable<Verb['many']>['all']>,
  flags: VerbFlags,
  session: Session,
): Promise<void> {
  if ([...flags.words, ...flags.more].some((word) => word !== undefined))
    throw new UsageError(`--${name} selects the resources: omit their names`);
  const { names } = session.settings;
  const parent =
    names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, '--group');
  if (parent === undefined) throw new UsageError(`--${name} needs --group or --subscription`);
  const served = servedBy(verb, flags);
  const found = await readList(session.caller, served.service, methodOf(verb.contract, list), { parent });
  const words = found.filter(selects).map((resource) => String(resource.name));
  if (words.length > 0) return runEach(served, words, flags, session);
  if (session.output.isDocument) session.output.write({ done: [], refused: [] });
  else session.terminal.err(`--${name}: nothing to do in ${shortName(parent, names)}`);
}

/** Calls every service. Shows each response, also when another service fails; then that error ends the command. */
async function callEveryService(method: Method, request: JsonObject, session: Session): Promise<void> {
  const { terminal, output, settings } = session;
  const responses = await Promise.allSettled(
    services.map((service) => callWithPages(service, method, request, session)),
  );
  const found = services.flatMap((service, index): [Workload, JsonObject][] => {
    const response = responses[index];
    return response?.status === 'fulfilled' ? [[service, response.value]] : [];
  });
  if (output.isDocument) output.write(Object.fromEntries(found));
  else
    for (const [service, response] of found)
      terminal.out(`${service}\n${render(method.response, response, settings.names, output.width)}\n`);
  const failure = responses.find((response) => response.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}

/** The RPC for a key, or for one version of it. */
function methodFor({ contract, method, versionMethod }: Verb, { name }: JsonObject): Method {
  const isVersion = typeof name === 'string' && name.includes('/versions/');
  return methodOf(contract, isVersion ? (versionMethod ?? method) : method);
}

/** A whole request (`--body`) is sent as it is. */
const completeRequest = async (
  { before, wide }: Verb,
  { body, switches }: VerbFlags,
  typed: JsonObject,
  { caller, output }: Session,
): Promise<JsonObject> => {
  if (body !== undefined) return typed;
  const request = output.width === Number.POSITIVE_INFINITY ? { ...wide, ...typed } : typed;
  return before === undefined ? request : before(request, switches, caller);
};

/** @param spoken receives the principals that were typed by other names */
async function requestOf(
  verb: Verb,
  flags: VerbFlags,
  session: Session,
  spoken: Map<string, string>,
): Promise<JsonObject> {
  const { caller, clock, random, terminal, settings } = session;
  const method = methodOf(verb.contract, verb.method);
  const context = { ...settings, kinds: verb.kinds ?? {}, now: clock.now(), random, readFile: terminal.readFile };
  const draft = draftOf(verb, method.request, flags, context);
  refuseMissing(verb, method.request, draft, flags.switches);
  if (flags.keyOwner !== undefined) {
    if (draft.keyOwnerToken !== undefined || draft.key_owner_token !== undefined)
      throw new UsageError('give one of --key-owner-token-file, --key-owner and --as-key-owner');
    const owner = flags.keyOwner === 'caller' ? caller : caller.as(flags.keyOwner);
    draft.keyOwnerToken = await owner.token('key-vault');
  }
  const short = (name: string): string => shortName(name, settings.namesWithoutFlags);
  const resolver = resolverOf(caller, short, (principal, by) =>
    spoken.set(principal, by === 'me' ? by : `set:${short(by)}`),
  );
  const request = await resolved(draft, resolver);
  methodFor(verb, request).requestOf(request);
  return request;
}

/** Calls an RPC. Reads every page of a list, unless a page was requested. */
async function callWithPages(
  service: Workload,
  method: Method,
  request: JsonObject,
  { caller, terminal, output }: Session,
): Promise<JsonObject> {
  const response = await caller.call(service, method, request);
  if (!['pageSize', 'page_size', 'pageToken', 'page_token'].some((field) => field in request))
    return withAllPages(caller, service, method, request, response);
  const next = nextPageIn(response);
  if (next !== '' && !output.isDocument) {
    const isCut = Number(request.pageSize ?? request.page_size ?? 0) > PAGE_SIZE_MAX;
    terminal.err(`there are more${isCut ? ` (a page has at most ${PAGE_SIZE_MAX})` : ''}: --page-token ${next}`);
  }
  return response;
}

/** The response without the field that goes into the file. */
function withoutOutput(
  { output: name = '' }: Verb,
  { response: message }: Method,
  response: JsonObject,
  file: NewFile,
  { terminal }: Session,
): JsonObject {
  const { [name]: kept, ...rest } = response;
  const isText = message.fields.find(({ jsonName }) => jsonName === name)?.scalar === ScalarType.STRING;
  file.write(Buffer.from(String(kept), isText ? 'utf8' : 'base64'));
  terminal.err(`${name} is in ${file.path}`);
  return rest;
}

/** Shows each change until the watch ends. People see a state once, programs see every change. */
async function watch(service: Workload, method: Method, request: JsonObject, session: Session): Promise<void> {
  const { caller, clock, terminal, output, timeoutMs = WATCH_MS } = session;
  let shown: string | undefined;
  try {
    for await (const change of caller.stream(service, method, request, { deadlineMs: timeoutMs })) {
      const state = stateLine(change);
      if (output.isDocument) output.writeNext(change);
      else if (state !== shown) terminal.out(`${new Date(clock.now()).toISOString()}  ${state}`);
      shown = state;
    }
  } catch (error) {
    // The watch has lasted as long as requested.
    if (!isUndecided(error)) throw error;
  }
}

function servedBy(verb: Verb, { service }: VerbFlags): ServedVerb {
  if (verb.service !== 'any') return { ...verb, service: verb.service };
  if (service !== undefined) return { ...verb, service };
  throw new UsageError(`name the service: ${services.join(', ')}`);
}

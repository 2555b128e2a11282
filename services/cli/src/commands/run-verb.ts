import { type JsonObject, ScalarType } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, RpcFailure, type Workload } from '@interlock/rpc';
import { askingBeside } from '../hints/asking-beside.ts';
import { GoesOn } from '../hints/failure.ts';
import { pasteable } from '../output/pasteable.ts';
import { listOf, render, stateLine } from '../output/render.ts';
import type { Caller } from '../request/calls.ts';
import { resolved } from '../request/draft.ts';
import { resolverOf } from '../request/lookups.ts';
import { fullName, shortName } from '../request/names.ts';
import { draftOf, type Typed } from '../request/request.ts';
import { isObject, type Method, methodOf } from '../request/schema.ts';
import { type Turns, turnsOf } from '../request/turns.ts';
import { UsageError } from '../request/usage-error.ts';
import { interruptible } from '../session/interruptible.ts';
import type { NewFile, Session } from '../session/session.ts';
import { type Credentials, services } from '../session/settings.ts';
import type { Seen } from '../verbs/before.ts';
import { missingRoot } from '../verbs/doubts.ts';
import type { Verb } from '../verbs/verb.ts';
import { refuseMissing } from './required.ts';
import { askEach, askTogether, runMany } from './run-many.ts';
import { settle } from './settle.ts';

/** What was typed for a verb, beside the request. */
export interface VerbFlags extends Typed {
  /** For verbs every service has; absent for all of them. */
  readonly service: Workload | undefined;
  readonly wait: boolean;
  /** File for the field of the answer that the verb names. */
  readonly output: string | undefined;
  /** Switches of the verb that were given. */
  readonly switches: ReadonlySet<string>;
  readonly keyOwner: Credentials | 'caller' | undefined;
}

/** How long `--wait` waits unless told. */
const WAIT_MS = 120_000;

/** Of many that are waited for, so many are looked at at once: a fleet that starts has other work to do. */
const LOOKS_MAX = 16;

/** A watch lasts until somebody ends it; a day is longer than anybody looks. */
const WATCH_MS = 86_400_000;

/** Calls the RPC of a verb and shows the answer. @throws UsageError, Rejection, RpcFailure, NotSettled */
export async function runVerb(verb: Verb, flags: VerbFlags, session: Session): Promise<void> {
  const all = verb.many?.all;
  if (all !== undefined && flags.switches.has(all.switch)) return runAll(verb, all, flags, session);
  if (flags.more.length > 0) return runEach(verb, flags.words, flags, session);
  const spoken = new Map<string, string>();
  const names = { ...session.settings.names, spoken };
  // What is said beside the answer is for pasting, mostly without the flags of this command.
  const pasted = { ...session.settings.namesWithoutFlags, spoken };
  const short = (name: string): string => shortName(name, pasted);
  const seen = await lookedAt(verb, flags, await requestOf(verb, flags, session, spoken), short, session);
  const { request, note: change } = seen;
  const method = methodFor(verb, request);
  const { terminal, output, trace } = session;
  // Also to a program that reads the list: it may take an empty one for an answer.
  if (seen.doubt !== undefined) terminal.err(output.isDocument ? JSON.stringify({ doubt: seen.doubt }) : seen.doubt);
  if (method.isStream) return watch(servedBy(verb, flags), method, request, session);

  if (verb.service === 'any' && flags.service === undefined) {
    return askEveryService(method, request, session);
  }
  const beganMs = session.clock.monotonicMs();
  // Made before the call: what is told once, and cannot be kept, is not asked for.
  const file = flags.output === undefined ? undefined : terminal.newFile(flags.output);
  const answering = () => answered(verb, flags, method, request, session);
  const look = verb.goesOn === undefined ? undefined : `${verb.noun} show ${short(verb.goesOn(request))}`;
  const answer = await (look === undefined ? answering() : interruptible(look, terminal, answering)).catch(
    (error: unknown) => {
      file?.discard();
      throw isUndecided(error) && look !== undefined ? new GoesOn(error, look) : error;
    },
  );
  const shown =
    file === undefined
      ? await finished(verb, flags, answer, session, { beganMs })
      : withoutOutput(verb, method, answer, file, session);
  if (output.isDocument) output.write(shown);
  else if (shown.deleted === true) terminal.out(`${short(String(shown.name))} is gone`);
  else {
    const caller = askingBeside(session.caller);
    for (const [principal, as] of (await verb.knows?.(caller, shown, short)) ?? [])
      if (!spoken.has(principal)) spoken.set(principal, as);
    terminal.out(render(method.response, shown, names, output.width));
    const note = await verb.note?.(shown, request, short, caller);
    for (const line of [change, note]) if (line !== undefined) terminal.out(pasteable(line, session.program));
    const nothing = await nothingIn(verb, method, request, shown, caller);
    if (nothing !== undefined) terminal.err(nothing);
    const doubt = await verb.doubt?.(caller, request, shown);
    if (doubt !== undefined) terminal.err(doubt);
  }
  if (!output.isDocument && method.hasEffect && trace !== undefined) terminal.err(`trace: ${trace}`);
}

/** Several of one kind, named one after the other. */
async function runEach(
  verb: Verb,
  first: readonly (string | undefined)[],
  flags: VerbFlags,
  session: Session,
): Promise<void> {
  const { service } = verb;
  if (service === 'any') throw new Error(`${verb.verb} is asked of one service`);
  if (flags.body !== undefined) throw new UsageError('--body is a request about one alone: name one, or leave it out');
  if (verb.many !== undefined && flags.flags.length > 0) {
    throw new UsageError('what is said beside the name is about one alone: name one, or leave it out');
  }
  const words = [...first, ...flags.more].filter((word) => word !== undefined);
  const { names } = session.settings;
  // Their states are told as they come, one beside the other.
  const about = ({ name }: JsonObject): string => `${shortName(String(name), names)}: `;
  const turns = turnsOf(LOOKS_MAX);
  const awaiting = flags.wait
    ? (resource: JsonObject) => finished(verb, flags, resource, session, { about: about(resource), turns })
    : undefined;
  const ask =
    verb.many === undefined
      ? await oneByOne(verb, words, flags, session)
      : () => askTogether({ ...verb, service }, words, session);
  const run = () => runMany(verb, ask, awaiting, session);
  return flags.wait ? interruptible(`${verb.noun} list`, session.terminal, run) : run();
}

/** Calls for each of several what is called for one. Every request is made before the first is sent. @throws UsageError */
async function oneByOne(verb: Verb, words: readonly string[], flags: VerbFlags, session: Session) {
  const { names } = session.settings;
  const calls: [string, () => Promise<JsonObject>][] = [];
  for (const word of words) {
    const alone = { ...flags, words: [word], more: [] };
    const request = await requestOf(verb, alone, session, new Map());
    calls.push([
      word,
      async () => {
        const seen = await lookedAt(verb, alone, request, (name) => shortName(name, names), session);
        return answered(verb, alone, methodFor(verb, seen.request), seen.request, session);
      },
    ]);
  }
  return () => askEach(calls, turnsOf(LOOKS_MAX), session);
}

/** All that a list shows and the verb means. */
async function runAll(
  verb: Verb,
  { switch: name, list, isMeant }: NonNullable<NonNullable<Verb['many']>['all']>,
  flags: VerbFlags,
  session: Session,
): Promise<void> {
  if ([...flags.words, ...flags.more].some((word) => word !== undefined)) {
    throw new UsageError(`--${name} is said in place of names: leave them out`);
  }
  const { names } = session.settings;
  const parent =
    names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, '--group');
  if (parent === undefined) throw new UsageError(`--${name} needs --group or --subscription`);
  const method = methodOf(verb.contract, list);
  const answer = await answerOf(servedBy(verb, flags), method, { parent }, session);
  const found = elements(answer[listOf(method.response)?.jsonName ?? ''])
    .filter(isObject)
    .filter(isMeant);
  if (found.length > 0) {
    const words = found.map((resource) => String(resource.name));
    return runEach(verb, words, flags, session);
  }
  if (session.output.isDocument) session.output.write({ done: [], refused: [] });
  else session.terminal.err(`--${name}: there is none in ${shortName(parent, names)}`);
}

/** What answers is shown also where another service does not; that one's error ends the command. */
async function askEveryService(method: Method, request: JsonObject, session: Session): Promise<void> {
  const { terminal, output, settings } = session;
  const answers = await Promise.allSettled(services.map((service) => answerOf(service, method, request, session)));
  const found = services.flatMap((service, index): [Workload, JsonObject][] => {
    const answer = answers[index];
    return answer?.status === 'fulfilled' ? [[service, answer.value]] : [];
  });
  if (output.isDocument) output.write(Object.fromEntries(found));
  else {
    for (const [service, answer] of found) {
      terminal.out(`${service}\n${render(method.response, answer, settings.names, output.width)}\n`);
    }
  }
  const failure = answers.find((answer) => answer.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}

/**
 * What an empty list may mean: lists of a subscription that is not there are empty, and groups are names in names, so one mistyped
 * is as empty as any.
 */
async function nothingIn(
  verb: Verb,
  { response }: Method,
  { parent }: JsonObject,
  answer: JsonObject,
  caller: Caller,
): Promise<string | undefined> {
  const isOfPlace = verb.defaults?.parent === 'group-or-subscription';
  if (!isOfPlace || elements(answer[listOf(response)?.jsonName ?? '']).length > 0) return undefined;
  const missing = await missingRoot(caller, String(parent));
  if (missing !== undefined) return `there is no ${missing}; those there are: interlock subscription list`;
  const [, subscription, , group] = String(parent).split('/');
  if (group === undefined) return undefined;
  return `none in resource group ${group}: a group is a name only, which nobody makes; of all groups: --parent subscriptions/${subscription}`;
}

/** The RPC that is meant: by a version that is named another one, for some verbs. */
function methodFor({ contract, method, versionMethod }: Verb, { name }: JsonObject): Method {
  const isVersion = typeof name === 'string' && name.includes('/versions/');
  return methodOf(contract, isVersion ? (versionMethod ?? method) : method);
}

/** The request after what its verb looks at before; one that was given whole is meant as it is. */
async function lookedAt(
  verb: Verb,
  flags: VerbFlags,
  request: JsonObject,
  short: (name: string) => string,
  { caller }: Session,
): Promise<Seen> {
  if (verb.before === undefined || flags.body !== undefined) return { request };
  return verb.before({ caller, request, switches: flags.switches, short });
}

/** @param spoken gets the principals that were typed by other names, by those */
async function requestOf(
  verb: Verb,
  flags: VerbFlags,
  session: Session,
  spoken: Map<string, string>,
): Promise<JsonObject> {
  const { caller, clock, random, terminal, settings } = session;
  const method = methodOf(verb.contract, verb.method);
  const draft = draftOf(verb, method.request, flags, {
    ...settings,
    kinds: verb.kinds ?? {},
    now: clock.now(),
    random,
    readFile: terminal.readFile,
  });
  refuseMissing(verb, method.request, draft, flags.switches);
  if (flags.keyOwner !== undefined) {
    if (draft.keyOwnerToken !== undefined || draft.key_owner_token !== undefined) {
      throw new UsageError('give the word of the key owner once: a token, --key-owner or --as-key-owner');
    }
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

/**
 * What the verb is answered. Whoever waits for the work waits as long for a call that is answered with its end; where the
 * service gives up such a call before, the work is looked at until it is over, and then the same is asked again.
 */
async function answered(
  verb: Verb,
  flags: VerbFlags,
  method: Method,
  request: JsonObject,
  session: Session,
): Promise<JsonObject> {
  const service = servedBy(verb, flags);
  const { caller, clock, terminal, timeoutMs = WAIT_MS } = session;
  const { settles, goesOn } = verb;
  if (!flags.wait || settles === undefined) return answerOf(service, method, request, session);
  const beganMs = clock.monotonicMs();
  for (let leftMs = timeoutMs; ; leftMs = beganMs + timeoutMs - clock.monotonicMs()) {
    try {
      return await caller.call(service, method, request, { deadlineMs: Math.max(1, leftMs) });
    } catch (error) {
      if (!isUndecided(error) || goesOn === undefined || clock.monotonicMs() - beganMs >= timeoutMs) throw error;
    }
    const name = goesOn(request);
    const get = () => caller.call(service, methodOf(verb.contract, settles.get), { name }, lookIn(session, beganMs));
    const say = (state: string): void => terminal.err(`… ${state}`);
    const waiting = { get, clock, timeoutMs, beganMs, isRunWanted: false, isDeletion: false, say };
    await settle({ name, provisioningState: 'UPDATING' }, waiting).catch((error: unknown) => {
      // It failed, and is undone: asked again, the service says why.
      if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
    });
  }
}

/** Whether the call was given up without an answer, so that what it asked for may be done all the same. */
const isUndecided = (error: unknown): error is RpcFailure =>
  error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED';

/** Lists are read to their end unless a page was asked for. */
async function answerOf(service: Workload, method: Method, request: JsonObject, session: Session): Promise<JsonObject> {
  const { caller, terminal, output } = session;
  const answer = await caller.call(service, method, request);
  const list = listOf(method.response);
  let next = nextPageIn(answer);
  if (list === undefined || next === '') return answer;
  if (['pageSize', 'page_size', 'pageToken', 'page_token'].some((field) => field in request)) {
    const isMore = Number(request.pageSize ?? request.page_size ?? 0) > PAGE_SIZE_MAX;
    const most = isMore ? `, for a page has at most ${PAGE_SIZE_MAX}` : '';
    if (!output.isDocument) terminal.err(`there are more${most}: --page-token ${next}`);
    return answer;
  }
  const all = [...elements(answer[list.jsonName])];
  let page = answer;
  while (next !== '') {
    page = await caller.call(service, method, { ...request, pageToken: next, pageSize: PAGE_SIZE_MAX });
    all.push(...elements(page[list.jsonName]));
    next = nextPageIn(page);
  }
  return { ...page, [list.jsonName]: all };
}

/** Where the next page of a list begins; empty for the last one. */
const nextPageIn = ({ nextPageToken }: JsonObject): string => (typeof nextPageToken === 'string' ? nextPageToken : '');

/** A larger page is answered with this many. */
const PAGE_SIZE_MAX = 1_000;
const elements = (value: unknown) => (Array.isArray(value) ? value : []);

/**
 * The answer as it is shown: waited for, where that is wanted.
 * @param waiting.about stands before each state on the way
 * @param waiting.beganMs when the waiting began, by the monotonic clock; now when absent
 * @param waiting.turns in which each look is taken, of many that are waited for; at once when absent
 */
async function finished(
  verb: Verb,
  flags: VerbFlags,
  answer: JsonObject,
  session: Session,
  {
    about = '',
    beganMs,
    turns = (look) => look(),
  }: { readonly about?: string; readonly beganMs?: number; readonly turns?: Turns } = {},
): Promise<JsonObject> {
  const { caller, clock, terminal, timeoutMs = WAIT_MS } = session;
  const { name } = answer;
  const sinceMs = beganMs ?? clock.monotonicMs();
  if (flags.wait && verb.settles !== undefined && verb.service !== 'any' && typeof name === 'string') {
    const { get, until } = verb.settles;
    const { service } = verb;
    const getMethod = methodOf(verb.contract, get);
    const look = `${verb.noun} show ${shortName(name, session.settings.namesWithoutFlags)}`;
    const wait = () =>
      settle(answer, {
        get: () => turns(() => caller.call(service, getMethod, { name }, lookIn(session, sinceMs))),
        clock,
        timeoutMs,
        beganMs: sinceMs,
        isRunWanted: until === 'running',
        isDeletion: verb.verb === 'delete',
        say: (state) => terminal.err(`… ${about}${state}`),
      });
    // Of many that are waited for, one line says it for all.
    return about === '' ? interruptible(look, terminal, wait) : wait();
  }
  return answer;
}

/** How long the last look may take all the same, in milliseconds. */
const LOOK_MS = 1_000;

/** How long one look may take of the time somebody waits: what is left of that, where they said how long it is. */
const lookIn = ({ clock, timeoutMs }: Session, beganMs: number): CallOptions =>
  timeoutMs === undefined ? {} : { deadlineMs: Math.max(LOOK_MS, beganMs + timeoutMs - clock.monotonicMs()) };

/** The answer without what goes into the file. */
function withoutOutput(
  { output: name = '' }: Verb,
  { response }: Method,
  answer: JsonObject,
  output: NewFile,
  { terminal }: Session,
): JsonObject {
  const { [name]: kept, ...rest } = answer;
  const isText = response.fields.find(({ jsonName }) => jsonName === name)?.scalar === ScalarType.STRING;
  output.write(Buffer.from(String(kept), isText ? 'utf8' : 'base64'));
  terminal.err(`${name} is in ${output.path}`);
  return rest;
}

async function watch(service: Workload, method: Method, request: JsonObject, session: Session): Promise<void> {
  const { caller, clock, terminal, output, timeoutMs = WATCH_MS } = session;
  let told: string | undefined;
  try {
    for await (const change of caller.stream(service, method, request, { deadlineMs: timeoutMs })) {
      const state = stateLine(change);
      if (output.isDocument) output.writeNext(change);
      // Much of what changes is not in the line: to people it would be the same once more.
      else if (state !== told) terminal.out(`${new Date(clock.now()).toISOString()}  ${state}`);
      told = state;
    }
  } catch (error) {
    // It was to last that long.
    if (!(error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED')) throw error;
  }
}

function servedBy(verb: Verb, { service }: VerbFlags): Workload {
  if (verb.service !== 'any') return verb.service;
  if (service !== undefined) return service;
  throw new UsageError(`say which service: ${services.join(', ')}`);
}

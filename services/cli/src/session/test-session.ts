import type { JsonObject } from '@bufbuild/protobuf';
import type { CallOptions, Channel, Workload } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { programOf } from '../commands/program.ts';
import { type Output, outputOf } from '../output/output.ts';
import { typedLine } from '../output/pasteable.ts';
import type { Terminal } from '../output/terminal.ts';
import { OutputProblem } from '../problems.ts';
import type { Caller } from '../request/calls.ts';
import { timeoutMs as timeoutIn } from '../request/field-values.ts';
import type { Method } from '../request/schema.ts';
import type { Environment, GlobalFlags } from './environment.ts';
import type { Session } from './session.ts';

/** A call that the command made. */
export interface SentCall {
  readonly service: Workload;
  readonly method: string;
  readonly request: JsonObject;
  readonly principal: string;
}

/** Responses by method; a list is used one after the other, an error is thrown. */
export type Answers = Readonly<Record<string, JsonObject | Error | readonly (JsonObject | Error)[]>>;

export const ADMINISTRATOR = 'principals/00000000-0000-4000-8000-000000000001';

/** Time that passes only by sleeping. */
export function sleepingClock(): Clock {
  let nowMs = Date.UTC(2026, 0, 1);
  return {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    bootMs: () => nowMs,
    sleep: async (durationMs) => {
      nowMs += durationMs;
    },
    alarm: () => ({ cancel: () => {} }),
  };
}

/** What a test replaces of the surroundings of a command line. */
interface TestProgramOptions {
  readonly files?: Readonly<Record<string, string>>;
  readonly channel?: Channel;
  readonly clock?: Clock;
  /** Replaced parts of the terminal. */
  readonly terminal?: Partial<Terminal>;
  /** Environment of commands that call no service. */
  readonly env?: Environment;
  /** Trace of its commands. */
  readonly trace?: string;
  /** Gets the session of a probe, in place of the probe. */
  readonly onProbe?: (session: Session) => void;
}

/** A command line without services. */
export function testProgram(answers: Answers = {}, options: TestProgramOptions = {}) {
  const { callerAs, ...made } = scriptedCalls(answers);
  const { terminal, ...shown } = recordedTerminal(options);
  const local = async () => undefined;
  let typed = '';
  const sessionOf = (flags: GlobalFlags, output: Output): Session => ({
    ...fixedParts(options, flags),
    ...{ terminal, output, typed },
    caller: callerAs(ADMINISTRATOR),
  });
  const program = programOf({
    withSession: async (_name, flags, work) => work(sessionOf(flags, await outputOf(flags, terminal))),
    probe: async (_name, flags) => options.onProbe?.(sessionOf(flags, await outputOf(flags, terminal))),
    offline: async (flags, work) => {
      await work({ env: options.env ?? {}, terminal, output: await outputOf(flags, terminal) });
    },
    inClone: async (script, args) => void shown.lines.push([script, ...args].join(' ')),
    up: local,
    down: local,
    rehearse: local,
    status: local,
    trace: local,
    print: (text) => shown.lines.push(text),
    printUsage: (text) => shown.asides.push(text),
  });
  return {
    program,
    ...made,
    ...shown,
    run: (...args: readonly string[]) => {
      typed = typedLine(args);
      return program.parseAsync(args, { from: 'user' });
    },
  };
}

/** Services that respond as the test says, and a record of their calls. */
const scriptedCalls = (answers: Answers) => {
  const sent: SentCall[] = [];
  /** Deadline of each call. */
  const deadlines: (number | undefined)[] = [];
  const calls = { now: 0, most: 0 };
  const left = new Map(
    Object.entries(answers).map(([path, answer]) => [path, Array.isArray(answer) ? [...answer] : [answer]]),
  );
  const answerOf = (service: Workload, { path, requestOf }: Method, request: JsonObject, principal: string) => {
    requestOf(request);
    sent.push({ service, method: path.replace(/^.*\//, ''), request, principal });
    const queue = left.get(path.replace(/^.*\//, '')) ?? [];
    const answer = queue.length > 1 ? queue.shift() : queue[0];
    if (answer instanceof Error) throw answer;
    return answer ?? {};
  };
  const callerAs = (principal: string): Caller => ({
    principal,
    call: async (service, method, request, { deadlineMs }: CallOptions = {}) => {
      deadlines.push(deadlineMs);
      calls.now += 1;
      calls.most = Math.max(calls.most, calls.now);
      try {
        const answer = answerOf(service, method, request, principal);
        // A response is never synchronous.
        await Promise.resolve();
        return answer;
      } finally {
        calls.now -= 1;
      }
    },
    stream: async function* (service, method, request) {
      const queue = left.get(method.path.replace(/^.*\//, '')) ?? [];
      for (let more = Math.max(1, queue.length); more > 0; more--) yield answerOf(service, method, request, principal);
    },
    token: async (service) => `token of ${principal} for ${service}`,
    as: (credentials) => callerAs(`principals/${credentials.principal}`),
  });
  /** How many calls were in progress at once, at most. */
  return { callerAs, sent, deadlines, mostAtOnce: () => calls.most };
};

/** A terminal that keeps what it prints, and files in memory. */
const recordedTerminal = (options: Pick<TestProgramOptions, 'files' | 'terminal'>) => {
  const lines: string[] = [];
  const asides: string[] = [];
  const written = new Map<string, Uint8Array>();
  const bytes: Uint8Array[] = [];
  const terminal: Terminal = {
    out: (text) => lines.push(text),
    err: (text) => asides.push(text),
    screen: (text) => lines.push(text),
    outBytes: async (piece) => {
      bytes.push(piece);
    },
    in: async function* (path = '-') {
      yield Buffer.from(options.files?.[path] ?? '');
    },
    readFile: (path) => Buffer.from(options.files?.[path] ?? `content of ${path}`),
    writeFile: async (path, pieces) => {
      written.set(path, Buffer.concat(await Array.fromAsync(pieces)));
    },
    newFile: (path) => {
      if (written.has(path)) throw new OutputProblem(`${path} is there already`, 'name another one');
      written.set(path, Buffer.alloc(0));
      return { path, write: (content) => written.set(path, content), discard: () => written.delete(path) };
    },
    ...options.terminal,
  };
  return { terminal, lines, asides, written, bytes };
};

/** What every command of a test finds the same. */
const fixedParts = (
  options: TestProgramOptions,
  flags: GlobalFlags,
): Omit<Session, 'caller' | 'terminal' | 'output' | 'typed'> => ({
  settings: {
    names: { subscription: flags.subscription ?? 'subscriptions/local', group: flags.group ?? 'g' },
    namesWithoutFlags: { subscription: 'subscriptions/local', group: 'g' },
    tenant: 'tenants/local',
  },
  clock: options.clock ?? sleepingClock(),
  random: {
    uuid: () => '00000000-0000-4000-8000-0000000000ff',
    fraction: () => 0,
    bytes: (n) => Buffer.alloc(n),
  },
  tracer: trace.getTracer('test'),
  trace: options.trace,
  program: 'interlock',
  timeoutMs: flags.timeout === undefined ? undefined : timeoutIn(flags.timeout),
  dataChannel: () => {
    if (options.channel === undefined) throw new Error('this test has no data path');
    return options.channel;
  },
});

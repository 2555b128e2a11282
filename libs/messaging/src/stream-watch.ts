import type { Clock, Logger } from '@interlock/runtime';
import { JetStreamApiError, type StreamInfo } from '@nats-io/jetstream';

/** State of a service's stream on the bus. */
export interface StreamState {
  /** Copies that are up to date and on a reachable server; 0 while the stream does not exist. */
  readonly copies: number;
  /** Copies that the stream should have. */
  readonly copiesWanted: number;
  /** Why the stream cannot be used, and what to do; empty if it can. */
  readonly problem: string;
  /** Whether the stream was found with the expected configuration at least once since this process started. */
  readonly isVerified: boolean;
}

/** The configuration that a service expects of its stream. */
export interface StreamExpectation {
  readonly name: string;
  readonly subject: string;
  readonly copies: number;
}

/** Error code of JetStream for a stream that does not exist. */
export const STREAM_NOT_FOUND = 10059;
/** Time between two checks; the shorter one until the stream is verified, because readiness waits for it. */
const [CHECK_MS, FIRST_CHECK_MS] = [10_000, 1_000];
/** How an operator creates streams, for messages. */
const REMEDY = 'an operator creates and corrects streams: run the Job nats-streams, or restart the launcher';

/** Error text for a stream that does not exist. */
export const missingStream = (name: string): string => `NATS has no stream ${name}; ${REMEDY}`;

/**
 * Describes the problems of a stream; empty without any. A service may not change its stream, it only reports. Sources, a mirror and
 * republishing would let messages of one service appear as those of another.
 */
export const streamProblem = ({ config }: Pick<StreamInfo, 'config'>, expected: StreamExpectation): string => {
  const wrong = [
    ...(config.subjects?.length === 1 && config.subjects[0] === expected.subject
      ? []
      : [`accepts the subjects ${config.subjects?.join(', ') || '(none)'} instead of ${expected.subject}`]),
    ...(config.sources?.length ? ['has sources'] : []),
    ...(config.mirror ? ['is a mirror'] : []),
    ...(config.republish ? ['is republished'] : []),
    ...(config.subject_transform ? ['renames subjects'] : []),
    ...(config.num_replicas >= expected.copies
      ? []
      : [`is configured for ${config.num_replicas} copies instead of ${expected.copies}`]),
  ];
  return wrong.length === 0 ? '' : `NATS stream ${expected.name} ${wrong.join(', ')}; ${REMEDY}`;
};

/** Copies of a stream that would survive its leader: those that are current and not offline, and the leader itself. */
export const copiesOf = ({ cluster, config }: Pick<StreamInfo, 'cluster' | 'config'>): number => {
  // A server outside of a cluster does not report one.
  if (cluster === undefined || config.num_replicas === 1) return 1;
  return (
    (cluster.leader ? 1 : 0) + (cluster.replicas ?? []).filter((one) => one.current && one.offline !== true).length
  );
};

/**
 * Checks the stream of this service every 10 s, and every second until it was as expected once. Logs each change.
 * @param read reads the stream's information; other failures than a missing stream keep the last state, because the connection is
 *   reported separately
 */
export const watchStream = (
  read: () => Promise<StreamInfo>,
  expected: StreamExpectation,
  parts: { readonly clock: Clock; readonly log?: Logger | undefined; readonly signal: AbortSignal },
): { state(): StreamState; readonly done: Promise<void> } => {
  const { clock, log, signal } = parts;
  let state: StreamState = { copies: 0, copiesWanted: expected.copies, problem: '', isVerified: false };

  const note = (copies: number, problem: string): void => {
    const before = state;
    state = { ...before, copies, problem, isVerified: before.isVerified || problem === '' };
    const facts = { stream: expected.name, copies, copiesWanted: expected.copies };
    if (problem !== '' && problem !== before.problem)
      log?.error('stream is not as it should be', { ...facts, problem });
    else if (problem === '' && copies < expected.copies && copies !== before.copies)
      log?.warn('stream has fewer copies than it should', facts);
    else if (problem === '' && copies >= expected.copies && (before.problem !== '' || before.copies < expected.copies))
      log?.info('stream has its copies', facts);
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        const info = await read();
        note(copiesOf(info), streamProblem(info, expected));
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND)
          note(0, missingStream(expected.name));
      }
      await clock.sleep(state.isVerified ? CHECK_MS : FIRST_CHECK_MS, signal);
    }
  };
  return { state: () => state, done: run() };
};

import type { Clock, Logger } from '@interlock/runtime';
import { JetStreamApiError, type StreamInfo } from '@nats-io/jetstream';

/** How the stream of a service is on the bus. */
export interface StreamState {
  /** Copies that are up to date and on a server that is reached; 0 while the stream does not exist. */
  readonly copies: number;
  /** Copies there should be. */
  readonly copiesWanted: number;
  /** Why the stream cannot be used as it is, and what to do; empty where it can. */
  readonly problem: string;
  /** Whether the stream was found with the expected configuration at least once since this process started. */
  readonly isVerified: boolean;
}

/** What a service expects its stream to be. */
export interface StreamExpectation {
  readonly name: string;
  readonly subject: string;
  readonly copies: number;
}

/** JetStream's answer about a stream that does not exist. */
export const STREAM_NOT_FOUND = 10059;
/** Time between two looks; until the stream is verified the shorter one, because readiness waits for it. */
const [LOOK_MS, FIRST_LOOK_MS] = [10_000, 1_000];
/** How an operator creates streams, for messages. */
const REMEDY = 'an operator creates and corrects streams: run the Job nats-streams, or restart the launcher';

/** Error text for a stream that does not exist. */
export const missingStream = (name: string): string => `NATS has no stream ${name}; ${REMEDY}`;

/**
 * What is wrong with a stream, in words; empty when nothing is. A service may not change its stream: it can only say what it sees.
 * Sources, a mirror and republishing would let messages of one service pass for those of another.
 */
export const streamProblem = ({ config }: Pick<StreamInfo, 'config'>, expected: StreamExpectation): string => {
  const wrong = [
    ...(config.subjects?.length === 1 && config.subjects[0] === expected.subject
      ? []
      : [`takes subjects ${config.subjects?.join(', ') || 'of no kind'} instead of ${expected.subject}`]),
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
  // A server that is in no cluster says nothing of one.
  if (cluster === undefined || config.num_replicas === 1) return 1;
  return (
    (cluster.leader ? 1 : 0) + (cluster.replicas ?? []).filter((one) => one.current && one.offline !== true).length
  );
};

/**
 * Looks at the stream of this service every 10 s, and every second until it was as expected once. Logs each change.
 * @param look asks the server; its failure other than "no such stream" leaves the last state: the connection has its own reports
 */
export const watchStream = (
  look: () => Promise<StreamInfo>,
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
        const info = await look();
        note(copiesOf(info), streamProblem(info, expected));
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND)
          note(0, missingStream(expected.name));
      }
      await clock.sleep(state.isVerified ? LOOK_MS : FIRST_LOOK_MS, signal);
    }
  };
  return { state: () => state, done: run() };
};

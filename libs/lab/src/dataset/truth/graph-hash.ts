import { createHash } from 'node:crypto';
import type { TruthEvent } from '../format/truth.ts';

/** Rounds after which an event knows its surroundings: more than the longest chain from a loss to a machine that runs again. */
const ROUNDS = 24;

const hashOf = (parts: readonly string[]): string =>
  createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 32);

/**
 * A hash of the causal graph of the timeline, without names, ids and times (Weisfeiler and Leman, 1968): each event begins with its
 * service and type, and takes in those of its causes and effects, round after round. Runs whose graphs differ only in ids and times
 * have the same hash.
 */
export const graphHash = (events: readonly TruthEvent[]): string => {
  const run = events.filter(({ phase }) => phase === 'run');
  const known = new Set(run.map(({ id }) => id));
  const edges = run.flatMap(({ id, causes }) =>
    causes.flatMap((cause) => (known.has(cause.id) ? [{ from: cause.id, to: id, kind: cause.kind }] : [])),
  );
  const byEffect = Map.groupBy(edges, ({ to }) => to);
  const byCause = Map.groupBy(edges, ({ from }) => from);
  let labels = new Map(run.map(({ id, service, type }) => [id, `${service} ${type}`]));
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = labels;
    labels = new Map(
      run.map(({ id }) => [
        id,
        hashOf([
          before.get(id) ?? '',
          ...(byEffect.get(id) ?? []).map(({ from, kind }) => `< ${kind} ${before.get(from)}`).toSorted(),
          ...(byCause.get(id) ?? []).map(({ to, kind }) => `> ${kind} ${before.get(to)}`).toSorted(),
        ]),
      ]),
    );
  }
  return hashOf([...labels.values()].toSorted());
};

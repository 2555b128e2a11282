import type { Evidence } from '../measures/evidence.ts';
import { machineLossesOf } from '../measures/machine-loss.ts';
import { shortName } from '../short-name.ts';
import { type Evaluation, relativeText, vacuous } from './operators.ts';

/**
 * Compares the reason of every stop of a group by the platform, in each of its losses.
 * @returns vacuous if a machine was not stopped by the platform, so that it shows no reason
 */
export function compareReasons(group: string, expected: string, evidence: Evidence): Evaluation {
  const machineLosses = machineLossesOf(evidence, group);
  if (machineLosses.length === 0) return vacuous(`no loss concerned ${group}`);
  const stops = machineLosses.flatMap(({ machine, episode, keyStop }) =>
    keyStop === undefined ? [] : [{ name: shortName(machine.name), episode, ...keyStop }],
  );
  const wrong = stops.find(({ reason }) => reason !== expected);
  if (wrong !== undefined) {
    const seen = `${wrong.name} stopped for ${wrong.reason} ${relativeText(wrong.atMs - wrong.episode.startMs, 'the loss')}`;
    return { result: 'violated', seen, firstBreak: seen };
  }
  const without = evidence.machinesOf(group).find(({ name }) => !stops.some((stop) => stop.name === shortName(name)));
  if (without !== undefined) return vacuous(`the platform did not stop ${shortName(without.name)}`);
  return { result: 'held', seen: `${stops.length} stops for ${expected}` };
}

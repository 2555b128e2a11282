import { exitCodes, type Played, type Problem, type Trial } from '@interlock/lab';
import { readConfig, type Scope, systemRandom, telemetrySpec, visible } from '@interlock/runtime';
import { startTelemetry, telemetryOptions } from '@interlock/runtime/telemetry';
import { openPlayPool } from '../../../simulation/runs/play-pool.ts';
import { simulatedTarget } from '../target.ts';
import { playForever } from './forever.ts';
import { untilAborted } from './search-file.ts';
import { searchableOf } from './searched-file.ts';

/** The command `experiment run --forever`. */
export interface ForeverCommand {
  /** With its estate inside. */
  readonly text: string;
  readonly seed: number;
  /** Receives the files of violated rounds. */
  readonly folder: string;
  /** Flags as typed. `histories`: most rounds. */
  readonly wishes: {
    readonly target?: string | undefined;
    readonly histories?: string | undefined;
    readonly json?: boolean | undefined;
  };
}

/** Plays rounds until Ctrl-C, with metrics as the variables `OTEL_…` say. @returns the exit code, or what of the file or of a flag is wrong */
export const foreverCommand = async (
  { text, seed, folder, wishes }: ForeverCommand,
  scope: Scope,
): Promise<{ readonly exitCode: number } | { readonly problems: readonly Problem[] } | { readonly wrong: string }> => {
  const { target, histories = '999999999', json: isJson = false } = wishes;
  if (target !== 'simulated')
    return { wrong: `--forever needs --target simulated, not "${target ?? 'local'}": only there is time virtual.` };
  if (!/^[1-9]\d{0,8}$/.test(histories)) return { wrong: `--histories must be 1 to 999999999, not "${histories}".` };
  const searchable = searchableOf(text, simulatedTarget(seed));
  if ('problems' in searchable) return searchable;
  const options = telemetryOptions(readConfig(process.env, telemetrySpec));
  const telemetry = startTelemetry({ service: 'interlock-experiment', random: systemRandom, ...options });
  scope.defer('telemetry', () => telemetry.shutdown());
  const pool = openPlayPool<Trial, Played>(new URL('./trial-process.ts', import.meta.url), 2);
  scope.defer('processes', () => pool.close());
  const interrupt = new AbortController();
  const playing = playForever({
    ...{ searchable, seed, rounds: Number(histories), folder, isJson, meter: telemetry.meter },
    play: (trials) => untilAborted(pool.play(trials.map((task) => ({ seed: task.seed, task }))), interrupt.signal),
    isOver: () => interrupt.signal.aborted,
    say: (line) => console.log(isJson ? line : visible(line)),
  });
  // Ctrl-C: the summary is printed before the process ends.
  scope.defer('rounds', async () => {
    interrupt.abort();
    await playing;
  });
  const { violated = 0 } = await playing;
  return { exitCode: violated > 0 ? exitCodes.violated : exitCodes.held };
};

import type { ExpectationState } from '@interlock/lab/progress/expectation-state';
import type { StepState } from '@interlock/lab/progress/run-state';
import { duration, limit } from '@interlock/lab/report/html';
import { useEffect, useState } from 'preact/hooks';
import type { PageExperiment } from '../src/page/experiment.ts';
import { ago, Chip, type Kind } from './parts.tsx';

/** The state of an experiment is read at this interval, in milliseconds. */
const READ_MS = 1_000;
/** A run that ended is shown so long, in milliseconds. */
const ENDED_MS = 86_400_000;

/** An experiment as it was read at a time, in milliseconds since the epoch. */
interface Read {
  readonly experiment: PageExperiment;
  readonly nowMs: number;
}

/** The newest experiment; undefined before it was read. It stays while the server does not respond. */
function useExperiment(): Read | undefined {
  const [experiment, setExperiment] = useState<Read | undefined>(undefined);
  useEffect(() => {
    const ended = new AbortController();
    let timer = 0;
    const read = async (): Promise<void> => {
      const found = await fetch('experiment', { signal: ended.signal }).then(
        (response) => (response.ok ? response.json() : undefined),
        // The header says that the page is not connected.
        () => undefined,
      );
      if (ended.signal.aborted) return;
      if (found !== undefined) setExperiment({ experiment: found, nowMs: Date.now() });
      timer = window.setTimeout(read, READ_MS);
    };
    void read();
    return () => {
      ended.abort();
      window.clearTimeout(timer);
    };
  }, []);
  return experiment;
}

/** An experiment that runs on this cloud, or that ended: its steps, and what is expected. */
export function Experiment() {
  const read = useExperiment();
  if (read === undefined) return null;
  const { experiment, nowMs } = read;
  const { run, problem } = experiment;
  const isOld = run?.endedMs !== undefined && nowMs - run.endedMs > ENDED_MS;
  if ((run === undefined && problem === '') || isOld) return null;
  return (
    <section id="experiment" aria-labelledby="experiment-title">
      <h2 id="experiment-title">Experiment</h2>
      {run === undefined ? (
        <p>The state of an experiment cannot be read: {problem}</p>
      ) : (
        <Run experiment={experiment} run={run} nowMs={nowMs} />
      )}
    </section>
  );
}

type Run = NonNullable<PageExperiment['run']>;

interface Shown extends Read {
  readonly run: Run;
}

function Run({ experiment, run, nowMs }: Shown) {
  const { title, target, id, sinceMs, problems, expectations, aborts } = run;
  return (
    <>
      <p>
        <b>{title}</b> <Phase experiment={experiment} run={run} nowMs={nowMs} />
      </p>
      <dl class="facts">
        <dt>Target</dt>
        <dd>{target}</dd>
        <dt>Run</dt>
        <dd>{id}</dd>
        <dt>Since</dt>
        <dd>
          {new Date(sinceMs).toISOString().slice(11, 19)} <span class="tag">{ago(nowMs - sinceMs)}</span>
        </dd>
      </dl>
      <End experiment={experiment} run={run} />
      <List title="Why this run may prove nothing" rows={problems} />
      <Steps run={run} />
      {expectations.length > 0 && <Expectations expectations={expectations} isOver={run.phase === 'ended'} />}
      {aborts.length > 0 && (
        <>
          <h3>What would end it early</h3>
          <ul class="machines">
            {aborts.map(({ text, isMet }) => (
              <li key={text}>
                <code>{text}</code> <Chip kind={isMet ? 'fail' : 'plain'}>{isMet ? 'met' : 'not met'}</Chip>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

/** What it does now, or how it ended. */
function Phase({ experiment: { isAlive }, run: { phase, verdict, startedMs }, nowMs }: Shown) {
  if (verdict !== undefined) return <Chip kind={verdict.outcome === 'held' ? 'pass' : 'fail'}>{verdict.outcome}</Chip>;
  if (!isAlive) return <Chip kind="fail">its runner has ended without a verdict</Chip>;
  const at = startedMs === undefined || phase !== 'timeline' ? '' : `, ${duration(Math.max(0, nowMs - startedMs))}`;
  return <Chip kind="open">{`${phase}${at}`}</Chip>;
}

function End({ experiment: { isAlive, report }, run: { phase, verdict, folder } }: Omit<Shown, 'nowMs'>) {
  if (verdict === undefined && (isAlive || phase === 'ended')) return null;
  if (verdict === undefined)
    return (
      <p>
        What it left is undone by <code>npx interlock experiment recover {folder}</code>
      </p>
    );
  return (
    <p>
      {verdict.because}{' '}
      {report === '' ? (
        'Its evidence was not kept: with --keep it is.'
      ) : (
        <>
          Report: <code>{report}</code>
        </>
      )}
    </p>
  );
}

const List = ({ title, rows }: { readonly title: string; readonly rows: readonly string[] }) =>
  rows.length === 0 ? null : (
    <>
      <h3>{title}</h3>
      <ul>
        {rows.map((row) => (
          <li key={row}>{row}</li>
        ))}
      </ul>
    </>
  );

function Steps({ run: { steps, stepsLeftOut } }: { readonly run: Run }) {
  const next = steps.find(({ state }) => state === 'planned');
  return (
    <>
      <h3>Steps</h3>
      <table class="figures-table stack">
        <thead>
          <tr>
            <th>Step</th>
            <th>Target</th>
            <th class="num">After the start</th>
            <th>State</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={`${step.name} ${step.atMs}`}>
              <td>{step.name}</td>
              <td data-label="target">{step.targets.join(', ')}</td>
              <td class="num" data-label="after the start">
                {step.atMs === 0 ? '0 s' : limit(Math.round(step.atMs))}
              </td>
              <td data-label="state">
                <StepChip step={step} isNext={step === next} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {stepsLeftOut > 0 && <p class="note">{stepsLeftOut} more steps are not shown.</p>}
    </>
  );
}

function StepChip({ step: { state, error }, isNext }: { readonly step: StepState; readonly isNext: boolean }) {
  if (state === 'failed') return <Chip kind="fail">{`failed: ${error}`}</Chip>;
  if (state === 'done') return <Chip kind="pass">done</Chip>;
  if (state === 'running') return <Chip kind="open">now</Chip>;
  return <Chip kind="plain">{isNext ? 'next' : 'later'}</Chip>;
}

const kinds: Readonly<Record<ExpectationState['state'], Kind>> = { open: 'plain', holds: 'pass', broken: 'fail' };

function Expectations({
  expectations,
  isOver,
}: {
  readonly expectations: readonly ExpectationState[];
  readonly isOver: boolean;
}) {
  const words = isOver
    ? { open: 'never tested', holds: 'held', broken: 'broken' }
    : { open: 'open', holds: 'holds so far', broken: 'broken' };
  return (
    <>
      <h3>What is expected</h3>
      <ul class="machines">
        {expectations.map(({ text, state, seen }) => (
          <li key={text}>
            <code>{text}</code> <Chip kind={kinds[state]}>{words[state]}</Chip> <span class="counts-text">{seen}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

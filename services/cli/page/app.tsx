import { figuresOf, headline } from '@interlock/lab/report/activity/activity-page';
import { shortName } from '@interlock/lab/short-name';
import { useEffect, useState } from 'preact/hooks';
import { Before } from './before.tsx';
import { type Cloud, cloudOf } from './cloud.ts';
import { Experiment } from './experiment.tsx';
import { type Feed, openFeed } from './feed.ts';
import { Audit, Timeline } from './happened.tsx';
import { Io } from './io.tsx';
import { Now } from './now.tsx';
import { ago, Chip } from './parts.tsx';
import { Why } from './why.tsx';

/** Times move at this interval, in milliseconds, and changes are drawn after the shorter one. */
const [tickMs, changeMs] = [1_000, 50];
/** After a draw the page rests this many times as long before the next tick, and before the next change. */
const [tickRest, changeRest] = [5, 1];

/** The live page. */
export function App() {
  const [cloud, setCloud] = useState<Cloud | undefined>(undefined);
  const [opened, setOpened] = useState<string | undefined>(undefined);
  useEffect(() => {
    let [timer, dueMs, endMs, tookMs] = [0, Number.POSITIVE_INFINITY, 0, 0];
    const soon = (ms: number, rest: number): void => {
      const nowMs = performance.now();
      const atMs = Math.max(nowMs + ms, endMs + tookMs * rest);
      if (atMs >= dueMs) return;
      dueMs = atMs;
      window.clearTimeout(timer);
      timer = window.setTimeout(draw, atMs - nowMs);
    };
    const feed: Feed = openFeed(() => soon(changeMs, changeRest));
    const draw = (): void => {
      const startMs = performance.now();
      dueMs = Number.POSITIVE_INFINITY;
      setCloud(cloudOf(feed, Date.now()));
      // After the content is drawn, which happens before the next timer.
      window.setTimeout(() => {
        endMs = performance.now();
        tookMs = endMs - startMs;
        soon(tickMs, tickRest);
      });
    };
  }, []);
  if (cloud?.row === undefined) return <p role="status">Reading the cloud …</p>;
  const isEmpty = cloud.row.state === 'reading';
  return (
    <>
      <Header cloud={cloud} />
      <Experiment />
      {isEmpty ? (
        <p role="status">Reading the cloud …</p>
      ) : (
        <>
          <Timeline cloud={cloud} openWhy={setOpened} />
          <Io cloud={cloud} />
          <Now cloud={cloud} openWhy={setOpened} />
          <Before cloud={cloud} openWhy={setOpened} />
          <Audit cloud={cloud} />
        </>
      )}
      <Unread unread={cloud.row.unread} />
      <footer>
        Read-only. Times are in UTC. It is served by interlock page on this computer and loads nothing from elsewhere.
      </footer>
      {opened !== undefined && <Why key={opened} cloud={cloud} name={opened} close={() => setOpened(undefined)} />}
    </>
  );
}

function Header({ cloud }: { readonly cloud: Cloud }) {
  const { activity, summaries, row } = cloud;
  const figures = figuresOf(activity, summaries);
  return (
    <header>
      <div class="bar">
        <span class="brand">Interlock</span>
        <Status cloud={cloud} />
      </div>
      <p class="subject">{titleOf(row?.title ?? '')}</p>
      <h1>{row?.state === 'reading' ? 'Reading the cloud' : headline(activity.group, summaries)}</h1>
      <nav aria-label="Parts of the page">
        <a href="#timeline">Timeline</a> {cloud.io.length > 0 && <a href="#io">Reads and writes</a>}{' '}
        <a href="#now">Now</a> <a href="#before">Before you act</a> <a href="#audit">Audit</a>
      </nav>
      <div class="figures">
        {row?.boundMs !== undefined && (
          <div class="figure">
            <b>{Math.round(row.boundMs / 1_000)} s</b>
            <span>
              bound: how long a lease lasts. After the loss of a key no read or write that starts later succeeds, even
              if no message arrives
            </span>
          </div>
        )}
        {figures.map(({ value, words }) => (
          <div class="figure" key={words}>
            <b>{value}</b>
            <span>{words}</span>
          </div>
        ))}
      </div>
    </header>
  );
}

/** `Resource group g`, `Subscription local` */
const titleOf = (title: string): string =>
  title.startsWith('subscriptions/') ? `Subscription ${shortName(title)}` : `Resource group ${title}`;

/** Whether the page is up to date, and since when it is not. */
function Status({ cloud: { row, connection, nowMs } }: { readonly cloud: Cloud }) {
  const clock = new Date(nowMs).toISOString().slice(11, 19);
  const text = (): readonly ['pass' | 'fail' | 'open', string] => {
    if (!connection.isOpen)
      return [
        'fail',
        `not connected since ${ago(Date.now() - connection.sinceMs)}; shows ${clock}`.replace(' ago', ''),
      ];
    if (row?.state === 'gone')
      return ['fail', `the cloud has ended or does not respond since ${clock}; shows what was known then`];
    const wrong = Object.entries(row?.problems ?? {}).filter(([, problem]) => problem !== '');
    if (wrong.length > 0) return ['open', wrong.map(([service, problem]) => `${service} ${problem}`).join('; ')];
    return ['pass', `live, ${clock}`];
  };
  const [kind, words] = text();
  return (
    <div role="status" aria-live="off">
      <Chip kind={kind}>{words}</Chip>
    </div>
  );
}

function Unread({ unread }: { readonly unread: readonly string[] }) {
  if (unread.length === 0) return null;
  return (
    <section class="nothing" aria-labelledby="unread-title">
      <h2 id="unread-title">What could not be read</h2>
      <ul>
        {unread.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </section>
  );
}

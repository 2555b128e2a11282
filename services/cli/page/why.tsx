import { duration } from '@interlock/lab/report/html';
import { waterfall } from '@interlock/lab/report/waterfall';
import { shortName } from '@interlock/lab/short-name';
import type { Span } from '@interlock/lab/spans/span-store';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Cloud, shortKey } from './cloud.ts';
import { Power } from './now.tsx';
import { Drawn, When } from './parts.tsx';

/** Why a machine is in its state: the access loss, what took the access away, and the trace. */
export function Why({
  cloud,
  name,
  close,
}: {
  readonly cloud: Cloud;
  readonly name: string;
  readonly close: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const machine = cloud.machines.find((one) => one.name === name);
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="why-title">
      <header class="bar">
        <h2 id="why-title">{shortName(name)}</h2>
        <button type="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      {machine === undefined ? (
        <p>This machine no longer exists.</p>
      ) : (
        <>
          <p>
            <Power machine={machine} /> <When iso={machine.since} nowMs={cloud.nowMs} />
          </p>
          <Reason cloud={cloud} name={name} />
        </>
      )}
    </dialog>
  );
}

function Reason({ cloud, name }: { readonly cloud: Cloud; readonly name: string }) {
  const machine = cloud.machines.find((one) => one.name === name);
  const summary = cloud.summaries.find((one) => one.machine.name === name);
  const stop = summary?.machine.power.findLast(({ state, reason }) => state.startsWith('stop') && reason !== '');
  const loss = machine?.loss;
  const traceId = loss?.traceId || stop?.traceId || '';
  const keyName = loss === undefined ? undefined : shortKey(loss.keyVersion);
  const cause = cloud.activity.changes.findLast(
    ({ step }) => step.traceId === traceId || (keyName !== undefined && step.targets.includes(keyName) && !step.undoes),
  );
  return (
    <>
      {loss === undefined && stop === undefined && (
        <p>No access loss has stopped it in the time that the page shows.</p>
      )}
      <dl class="facts">
        {loss !== undefined && (
          <>
            <Fact name="Reason">{loss.reason}</Fact>
            <Fact name="Key">{keyName}</Fact>
            <Fact name="Set">{shortName(loss.set)}</Fact>
            <Fact name="Disk">{shortName(loss.disk)}</Fact>
            <Fact name="Lost since">
              <When iso={loss.since} nowMs={cloud.nowMs} />
            </Fact>
          </>
        )}
        {cause !== undefined && (
          <Fact name="Cause">
            {cause.recorded}, by {cause.by}
          </Fact>
        )}
        {summary?.lastGoodAfterMs !== undefined && (
          <Fact name="Last good I/O">{duration(summary.lastGoodAfterMs)} after the loss</Fact>
        )}
        {summary?.offAfterMs !== undefined && <Fact name="Stopped">{duration(summary.offAfterMs)} after the loss</Fact>}
        {traceId !== '' && (
          <Fact name="Trace">
            <code>{traceId}</code>
          </Fact>
        )}
      </dl>
      {traceId !== '' && <Trace traceId={traceId} />}
    </>
  );
}

const Fact = ({ name, children }: { readonly name: string; readonly children: ComponentChildren }) => (
  <>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </>
);

/** The waterfall of a trace, if the local cloud kept its spans. */
function Trace({ traceId }: { readonly traceId: string }) {
  const [spans, setSpans] = useState<readonly Span[] | 'reading' | 'failed'>('reading');
  useEffect(() => {
    const ended = new AbortController();
    setSpans('reading');
    fetch(`traces/${traceId}`, { signal: ended.signal })
      .then((response) => (response.ok ? response.json() : 'failed'))
      .then(setSpans, () => ended.signal.aborted || setSpans('failed'));
    return () => ended.abort();
  }, [traceId]);
  if (spans === 'reading') return <p>Reading the trace …</p>;
  if (spans === 'failed') return <p>The trace could not be read.</p>;
  if (spans.length === 0) return <p>No spans of this trace are kept here.</p>;
  return <Drawn part={waterfall({ traceId, spans })} />;
}

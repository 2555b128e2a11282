import type { Html } from '@interlock/lab/report/html';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

/** Rows that a list shows at first, and that a button adds. */
const ROWS_STEP = 25;

/** A part of a page that the report draws: it escapes every text from outside itself. */
export const Drawn = ({ part }: { readonly part: Html }) => <div dangerouslySetInnerHTML={{ __html: part.html }} />;

/** A state, in words and a colour. */
export const Chip = ({ kind, children }: { readonly kind: Kind; readonly children: ComponentChildren }) => (
  <span class={`tick ${kind}`}>{children}</span>
);

/** Good, bad, in between, or neither. */
export type Kind = 'pass' | 'fail' | 'open' | 'plain';

/** A time of day, with how long ago it was. @param iso empty: not known */
export const When = ({ iso, nowMs }: { readonly iso: string; readonly nowMs: number }) =>
  iso === '' ? null : (
    <time dateTime={iso} title={iso}>
      {iso.slice(11, 19)} <span class="tag">{ago(nowMs - Date.parse(iso))}</span>
    </time>
  );

/** `3 min ago` */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 129_600 ? `${Math.round(seconds / 3_600)} h ago` : `${Math.round(seconds / 86_400)} days ago`;
}

/** The first rows of a list, and a button for more: a list of 10,000 is never drawn at once. */
export function Some<Row>({
  rows,
  what,
  children,
}: {
  readonly rows: readonly Row[];
  /** `machines` */
  readonly what: string;
  readonly children: (rows: readonly Row[]) => ComponentChildren;
}) {
  const [most, setMost] = useState(ROWS_STEP);
  const rest = rows.length - most;
  return (
    <>
      {children(rows.slice(0, most))}
      {rest > 0 && (
        <button type="button" class="more" onClick={() => setMost(most + ROWS_STEP)}>
          {Math.min(rest, ROWS_STEP)} more of {rest.toLocaleString('en')} {what}
        </button>
      )}
    </>
  );
}

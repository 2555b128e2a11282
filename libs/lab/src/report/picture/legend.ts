import { type Html, html } from '../html.ts';
import type { PictureContent } from './picture.ts';

const hatched = (colour: string): string => `repeating-linear-gradient(45deg, ${colour} 0 2px, transparent 2px 6px)`;

/** The meaning of the colours that a picture uses. */
export function laneLegend({ lanes, faults, pauses }: PictureContent): Html {
  const kinds = new Set(lanes.flatMap(({ stretches }) => stretches.map(({ kind }) => kind)));
  const hasOperation = (wanted: boolean) => lanes.some(({ operations }) => operations.some(({ ok }) => ok === wanted));
  const entries: readonly (readonly [boolean, string, string])[] = [
    [hasOperation(true), 'var(--work)', 'reads and writes that succeeded'],
    [hasOperation(false), 'var(--stop)', 'reads and writes that were refused'],
    [
      kinds.has('on'),
      'color-mix(in srgb, var(--work) 38%, transparent)',
      'runs; its reads and writes are not known here',
    ],
    [kinds.has('off'), hatched('var(--stop)'), 'stopped by the platform'],
    [kinds.has('partly'), 'color-mix(in srgb, var(--stop) 28%, transparent)', 'some machines of the row are off'],
    [kinds.has('free'), hatched('var(--work)'), 'off; access is restored, and it does not run yet'],
    [kinds.has('away'), hatched('var(--faint)'), 'stopped or restarted by its user'],
    [faults.length > 0, 'var(--fault)', 'a part of the cloud is disturbed'],
    [pauses.length > 0, 'color-mix(in srgb, var(--identity) 30%, transparent)', 'every machine waits at once'],
  ];
  return html`<div class="legend">${entries.flatMap(([isShown, colour, words]) =>
    isShown ? [html`<span><i style="background: ${colour}"></i>${words}</span>`] : [],
  )}</div>`;
}

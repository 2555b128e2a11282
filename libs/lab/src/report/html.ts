import { visible } from '@interlock/runtime/visible-text';

/** A piece of a page in which every text from outside is escaped. */
export interface Html {
  readonly html: string;
}

type Part = Html | string | number | readonly Part[];

/** Template tag: escapes texts and numbers, inserts pieces of a page unchanged, and joins lists. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html => ({
  html: strings.map((text, at) => text + (at < parts.length ? written(parts[at] ?? '') : '')).join(''),
});

function written(part: Part): string {
  if (typeof part === 'string' || typeof part === 'number') return escaped(String(part));
  return 'html' in part ? part.html : part.map(written).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A page obeys marks of direction as a terminal does. */
const escaped = (text: string): string => visible(text).replace(/[&<>"']/g, (sign) => entities[sign] ?? sign);

/** A coordinate with one decimal, which is enough for pictures and keeps pages small. */
export const px = (value: number): string => String(Math.round(value * 10) / 10);

/** `0.4 ms`, `38 ms`, `1.24 s`, `3 min 5 s`; with a minus sign if negative. */
export const duration = (ms: number): string => {
  if (ms < 0) return `−${duration(-ms)}`;
  const seconds = Math.round(ms / 1_000);
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
};

/** A limit as users write it, without trailing zeros: `200 ms`, `3 s`, `1.5 s`, `2 min`. */
export const limit = (ms: number): string => {
  if (ms >= 60_000 && ms % 60_000 === 0) return `${ms / 60_000} min`;
  return ms >= 1_000 ? `${Number((ms / 1_000).toFixed(3))} s` : `${ms} ms`;
};

import assert from 'node:assert/strict';

/** An element of an XML document. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  text: string;
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** Reads XML without comments, sections and doctypes. @throws AssertionError if it is not well-formed */
export function parseXml(xml: string): XmlElement {
  const allowed = /^[\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]*$/u;
  assert.match(xml, allowed, 'characters that XML does not allow');
  const body = xml.replace(/^<\?xml version="1.0" encoding="UTF-8"\?>\s*/, '');
  const root: XmlElement = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  let end = 0;
  for (const match of body.matchAll(/<(\/?)([a-z-]+)((?:\s+[a-z]+="[^"<]*")*)\s*(\/?)>|[^<]+/gy)) {
    end = match.index + match[0].length;
    const [text, closing, name, attributes = '', selfClosing] = match;
    const current = open.at(-1) ?? assert.fail('content after the root');
    if (name === undefined) current.text += decode(text);
    else if (closing === '/') assert.equal(open.pop()?.name, name, 'an element that is not open is closed');
    else {
      const pairs = [...attributes.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, key = '', value = '']) => [
        key,
        decode(value),
      ]);
      const element: XmlElement = { name, attributes: Object.fromEntries(pairs), children: [], text: '' };
      current.children.push(element);
      if (selfClosing !== '/') open.push(element);
    }
  }
  assert.equal(end, body.length, `not well-formed: ${body.slice(end, end + 80)}`);
  assert.equal(open.length, 1, 'an element is not closed');
  return root.children[0] ?? assert.fail('no root');
}

const decode = (text: string): string => {
  assert.doesNotMatch(text, /&(?!(?:amp|lt|gt|quot|apos|#\d+);)/, 'an ampersand is not escaped');
  return text.replace(/&(?:#(\d+)|(\w+));/g, (_, code?: string, name?: string) =>
    code === undefined ? (entities[name ?? ''] ?? '') : String.fromCodePoint(Number(code)),
  );
};

/**
 * Searches bytes for secrets in every form in which they could have been written: raw, backwards (as numbers are in
 * memory), and as hexadecimal, base64, base64url, decimal lists of bytes and decimal numbers.
 */

/** A secret by the name it is reported under. At least 16 bytes. */
export interface Secret {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One find. */
export interface Find {
  readonly name: string;
  /** How it was written: `raw`, `backwards`, `hex`, … */
  readonly form: string;
  /** In bytes from the start of the scanned content. */
  readonly at: number;
}

/** Finds any number of secrets in one pass. */
export interface Scanner {
  /** Distinct finds of each (name, form), with the first place of each. */
  scan(content: Uint8Array): readonly Find[];
  /** In bytes: overlap of the parts of a scan. */
  readonly overlap: number;
}

/**
 * Bytes of a piece. A secret is searched in pieces, since one that is overwritten in part is still a leak. The shortest
 * comparison has 12 random bytes, which occur by chance once in 2^96.
 */
const pieceBytes = 15;
/** The bytes that are looked up first. */
const windowBytes = 4;
/**
 * Only every eighth position is looked up: whichever position a spelling begins at, one of its first eight windows is at such a one.
 * A spelling is longer than the last of these windows reaches.
 */
const strideBytes = 8;
/** Of the table of windows: so large that one lookup in fifty finds the window of no spelling. */
const tableBits = 22;

interface Spelling {
  readonly name: string;
  readonly form: string;
  readonly bytes: Buffer;
}

/** A spelling, and how far into it a window is. */
interface Anchor {
  readonly spelling: Spelling;
  readonly offset: number;
}

/** @throws Error for a secret that is too short to be distinguished from chance */
export const createScanner = (secrets: readonly Secret[]): Scanner => {
  const spellings = secrets.flatMap(spellingsOf);
  const anchors = new Map<number, Anchor[]>();
  const isAnchor = new Uint8Array(1 << (tableBits - 3));
  for (const spelling of spellings) {
    for (let offset = 0; offset < strideBytes; offset += 1) {
      const window = spelling.bytes.readInt32LE(offset);
      const slot = slotOf(window);
      isAnchor[slot >>> 3] = (isAnchor[slot >>> 3] ?? 0) | (1 << (slot & 7));
      const known = anchors.get(window);
      if (known === undefined) anchors.set(window, [{ spelling, offset }]);
      else known.push({ spelling, offset });
    }
  }
  return {
    overlap: Math.max(0, ...spellings.map(({ bytes }) => bytes.length)),
    scan(content) {
      const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
      const finds = new Map<string, Find>();
      for (let at = 0; at + windowBytes <= bytes.length; at += strideBytes) {
        const window =
          (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
        const slot = slotOf(window);
        if (((isAnchor[slot >>> 3] ?? 0) & (1 << (slot & 7))) === 0) continue;
        for (const { spelling, offset } of anchors.get(window) ?? []) {
          const from = at - offset;
          const to = from + spelling.bytes.length;
          if (from < 0 || to > bytes.length || spelling.bytes.compare(bytes, from, to) !== 0) continue;
          const { name, form } = spelling;
          const key = `${name}\0${form}`;
          if (!finds.has(key)) finds.set(key, { name, form, at: from });
        }
      }
      return [...finds.values()];
    },
  };
};

const slotOf = (window: number): number => Math.imul(window, 0x9e3779b1) >>> (32 - tableBits);

const spellingsOf = ({ name, bytes }: Secret): readonly Spelling[] => {
  const whole = Buffer.from(bytes);
  if (whole.length < pieceBytes + 1)
    throw new Error(`${name} has ${whole.length} bytes: too few to be told from chance`);
  const number: Spelling = { name, form: 'decimal number', bytes: decimal(whole) };
  const ofPieces = piecesOf(whole).flatMap((piece) =>
    Object.entries(formsOf(piece)).flatMap(([form, texts]) =>
      texts.map((text): Spelling => ({ name, form, bytes: Buffer.from(text) })),
    ),
  );
  return [...ofPieces, number];
};

/**
 * Two pieces at the start, so far apart that one line end (of PEM, of MIME) can be in one of them only; then one in the middle
 * and one at the end.
 */
const piecesOf = (whole: Buffer): readonly Buffer[] => {
  const last = whole.length - pieceBytes;
  const starts = new Set([0, Math.min(24, last), Math.floor(last / 2), last]);
  return [...starts].map((start) => whole.subarray(start, start + pieceBytes));
};

const formsOf = (piece: Buffer): Readonly<Record<string, readonly (Buffer | string)[]>> => ({
  raw: [piece],
  backwards: [Buffer.from(piece).reverse()],
  hex: [piece.toString('hex'), piece.toString('hex').toUpperCase()],
  'hex with colons': [':', ' '].flatMap((between) => {
    const text = [...piece].map((byte) => byte.toString(16).padStart(2, '0')).join(between);
    return [text, text.toUpperCase()];
  }),
  base64: withinBase64(piece, 'base64'),
  base64url: withinBase64(piece, 'base64url'),
  'list of bytes': [[...piece].join(','), [...piece].join(', '), [...piece].join(',\n')],
});

/** The part of the piece's base64 that is the same at every offset within a group of three bytes. */
const withinBase64 = (piece: Buffer, encoding: 'base64' | 'base64url'): readonly string[] =>
  [0, 1, 2].map((skipped) => {
    const length = Math.floor((piece.length - skipped) / 3) * 3;
    return piece.subarray(skipped, skipped + length).toString(encoding);
  });

/** The digits of the secret as one number. Its first 40 are enough. */
const decimal = (whole: Buffer): Buffer =>
  Buffer.from(
    BigInt(`0x${whole.toString('hex')}`)
      .toString()
      .slice(0, 40),
  );

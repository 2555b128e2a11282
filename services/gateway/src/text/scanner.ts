import type { RestError } from '../errors/rest-error.ts';

/** A token of a text: a quoted text without its quotes, a word of letters, digits and `_`, or a mark. */
export interface Token {
  readonly kind: 'text' | 'word' | 'mark' | 'end';
  readonly text: string;
  /** Where it begins and ends in the whole text. */
  readonly at: number;
  readonly end: number;
}

/** How a language differs from the others. */
export interface Lexicon {
  /** What the text is, for errors: `$filter`. */
  readonly what: string;
  /** Longest text, in characters. */
  readonly lengthMax: number;
  /** Marks of two characters; every other character is a mark by itself. */
  readonly pairs?: ReadonlySet<string>;
  /** Whether `"` quotes too, and not only `'`. */
  readonly hasDoubleQuotes?: boolean;
  /** Whether `//` starts a comment, up to the end of the line. */
  readonly hasComments?: boolean;
  /** Makes the refusal. */
  readonly invalid: (what: string) => RestError;
}

const isWord = (code: number): boolean =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95;

const isSpace = (code: number): boolean =>
  code === 32 || (code >= 9 && code <= 13) || code === 0xa0 || code === 0xfeff || code === 0x2028 || code === 0x2029;

/**
 * Reads the tokens of a text, each character once: for all languages that clients send, because an expression that backtracks lets a
 * short text compute for minutes. A quote within a quoted text is doubled.
 */
export class Scanner {
  readonly #source: string;
  readonly #lexicon: Lexicon;
  #at = 0;
  #next: Token;
  #steps = 0;

  /** @throws RestError for a text that is too long */
  constructor(source: string, lexicon: Lexicon) {
    this.#source = source;
    this.#lexicon = lexicon;
    if (source.length > lexicon.lengthMax) {
      throw lexicon.invalid(
        `${lexicon.what} has ${source.length} characters; at most ${lexicon.lengthMax} are allowed`,
      );
    }
    this.#next = this.#read();
  }

  /** The token that `take` returns next. */
  get next(): Token {
    return this.#next;
  }

  /** Whether all tokens are taken. */
  isAtEnd(): boolean {
    return this.#next.kind === 'end';
  }

  /** Characters that were looked at so far. */
  get steps(): number {
    return this.#steps;
  }

  /** @throws RestError for a quoted text without its end */
  take(): Token {
    const taken = this.#next;
    this.#next = this.#read();
    return taken;
  }

  /** Whether the next token is this mark, or one of them. */
  isMark(...marks: readonly string[]): boolean {
    return this.#next.kind === 'mark' && marks.includes(this.#next.text);
  }

  /** Whether the next token is this word, whatever its case. */
  isWord(...words: readonly string[]): boolean {
    return this.#next.kind === 'word' && words.includes(this.#next.text.toLowerCase());
  }

  /** Takes the mark if it is the next token. */
  hasMark(mark: string): boolean {
    if (!this.isMark(mark)) return false;
    this.take();
    return true;
  }

  /** Takes the word if it is the next token, whatever its case. */
  hasWord(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.take();
    return true;
  }

  /** @throws RestError if the next token is another mark */
  expectMark(mark: string): void {
    if (!this.hasMark(mark)) throw this.unexpected(`"${mark}"`);
  }

  /** Takes a token of a kind. @param wanted for the error @throws RestError if the next token is of another kind */
  expect(kind: Token['kind'], wanted: string): string {
    if (this.#next.kind !== kind) throw this.unexpected(wanted);
    return this.take().text;
  }

  /** The refusal of the next token. @param wanted what was expected in its place */
  unexpected(wanted: string): RestError {
    const { kind, text, at } = this.#next;
    const found = kind === 'end' ? 'its end' : `"${text.slice(0, 50)}"`;
    return this.#lexicon.invalid(
      `${this.#lexicon.what} has ${found} at character ${at + 1} where ${wanted} is expected`,
    );
  }

  #code(at: number): number {
    this.#steps += 1;
    return this.#source.charCodeAt(at);
  }

  #read(): Token {
    this.#skip();
    const at = this.#at;
    if (at >= this.#source.length) return { kind: 'end', text: '', at, end: at };
    const code = this.#code(at);
    if (code === 39 || (code === 34 && this.#lexicon.hasDoubleQuotes === true)) return this.#quoted(code);
    if (isWord(code)) {
      while (this.#at < this.#source.length && isWord(this.#code(this.#at))) this.#at += 1;
      return { kind: 'word', text: this.#source.slice(at, this.#at), at, end: this.#at };
    }
    this.#at += this.#lexicon.pairs?.has(this.#source.slice(at, at + 2)) === true ? 2 : 1;
    return { kind: 'mark', text: this.#source.slice(at, this.#at), at, end: this.#at };
  }

  #skip(): void {
    for (; this.#at < this.#source.length; this.#at += 1) {
      const code = this.#code(this.#at);
      if (isSpace(code)) continue;
      const isComment = this.#lexicon.hasComments === true && code === 47 && this.#code(this.#at + 1) === 47;
      if (!isComment) return;
      while (this.#at < this.#source.length && this.#code(this.#at) !== 10) this.#at += 1;
    }
  }

  #quoted(quote: number): Token {
    const from = this.#at;
    const parts: string[] = [];
    let start = from + 1;
    for (let at = start; at < this.#source.length; at += 1) {
      if (this.#code(at) !== quote) continue;
      parts.push(this.#source.slice(start, at));
      start = at + 1;
      if (this.#code(start) !== quote) {
        this.#at = start;
        return { kind: 'text', text: parts.join(String.fromCharCode(quote)), at: from, end: start };
      }
      at = start;
      start = at + 1;
    }
    throw this.#lexicon.invalid(`${this.#lexicon.what} has a quote at character ${from + 1} that does not end`);
  }
}

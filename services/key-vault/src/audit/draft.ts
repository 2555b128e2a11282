import type { RowChange } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyUrls } from '../names.ts';

/** One vault a request turned out to be about, and what of it. */
interface Subject {
  readonly vault: string;
  readonly madeAt: Instant;
  /** Key version or key; empty where the vault itself is all. */
  key: string;
  uri: string;
}

/** What a request turned out to be about, filled in as it is found out. */
export interface AuditSubjects {
  /**
   * Names the vault whose record gets the entry. Nothing is recorded for a vault that does not exist.
   * @param madeAt when that one was made: what is about it comes behind that, whatever the clock here says
   */
  inVault(vault: string, madeAt?: Instant): void;
  /** Names the key, or the exact version. */
  about(key: string, version?: string): void;
}

/** What is stored together with the entry of a success. `stored` is called afterwards. */
export interface StoredAlongside {
  readonly change: RowChange;
  stored(): void;
}

/** An entry that its handler fills in. */
export interface AuditDraft extends AuditSubjects {
  /** Takes over what was found out for several who asked the same. */
  concerns(found: FoundSubjects): void;
  /** What the caller says the use is for; at most 512 characters are kept. */
  forResource(resource: string): void;
  /** Says what is to be changed, where the operation does not; at most 512 characters are kept. */
  changing(what: string): void;
  /** Names the principal a service asks for. */
  onBehalfOf(principal: string): void;
  /** Something to store together with the entry of a success. */
  alongside(also: StoredAlongside | undefined): void;
}

const textLengthMax = 512;

/** What was found out so far: a vault once, in the order in which they were named. */
export class FoundSubjects implements AuditSubjects {
  readonly all: Subject[] = [];
  readonly #urls: KeyUrls;

  constructor(urls: KeyUrls) {
    this.#urls = urls;
  }

  inVault(vault: string, madeAt: Instant = 0): void {
    // Whoever looks again, at two vaults, names both again.
    if (this.all.some((subject) => subject.vault === vault)) return;
    this.all.push({ vault, madeAt, key: '', uri: this.#urls.vault(vault) });
  }

  about(key: string, version?: string): void {
    const subject = this.all.findLast(({ vault }) => key.startsWith(`vaults/${vault}/`));
    if (!subject) return;
    subject.key = version === undefined ? key : `${key}/versions/${version}`;
    subject.uri = version === undefined ? this.#urls.key(key) : this.#urls.version(key, version);
  }
}

/** The draft of one entry. A class, because one is made for every use of a key. */
export class EntryDraft implements AuditDraft {
  resource = '';
  change: string | undefined;
  principal: string | undefined;
  readonly others: StoredAlongside[] = [];
  #subjects: FoundSubjects | undefined;
  readonly #urls: KeyUrls;

  constructor(urls: KeyUrls) {
    this.#urls = urls;
  }

  get subjects(): FoundSubjects['all'] {
    return this.#subjects?.all ?? [];
  }
  inVault(vault: string, madeAt?: Instant): void {
    this.#found().inVault(vault, madeAt);
  }
  about(key: string, version?: string): void {
    this.#found().about(key, version);
  }
  concerns(found: FoundSubjects): void {
    this.#subjects = found;
  }
  forResource(resource: string): void {
    this.resource = resource.length > textLengthMax ? resource.slice(0, textLengthMax) : resource;
  }
  changing(what: string): void {
    this.change = what.slice(0, textLengthMax);
  }
  onBehalfOf(principal: string): void {
    this.principal = principal;
  }
  alongside(also: StoredAlongside | undefined): void {
    if (also) this.others.push(also);
  }

  #found(): FoundSubjects {
    this.#subjects ??= new FoundSubjects(this.#urls);
    return this.#subjects;
  }
}

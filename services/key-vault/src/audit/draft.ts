import type { RowChange } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyUrls } from '../names.ts';
import type { AuditEntry } from './entry.ts';

/** A vault that a request concerns, and the key or key version in it. */
interface Subject {
  readonly vault: string;
  readonly madeAt: Instant;
  /** Empty when the request concerns the vault itself. */
  key: string;
  uri: string;
}

/** What a request concerns, filled in while it is handled. */
export interface AuditSubjects {
  /**
   * Names the vault whose record gets the entry. It must exist.
   * @param madeAt when it was created: its entries sort behind that time, whatever the clock of this replica says
   */
  inVault(vault: string, madeAt?: Instant): void;
  /** Names the key or the exact version. */
  about(key: string, version?: string): void;
}

/** A row stored together with the entry of a success. `stored` is called afterwards. */
export interface StoredAlongside {
  readonly change: RowChange;
  stored(): void;
}

const textLengthMax = 512;

/** The subjects found so far, each vault once, in the order in which they were named. */
export class FoundSubjects implements AuditSubjects {
  readonly all: Subject[] = [];
  readonly #urls: KeyUrls;

  constructor(urls: KeyUrls) {
    this.#urls = urls;
  }

  inVault(vault: string, madeAt: Instant = 0): void {
    // A repeated attempt names its vaults again.
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

/** The draft of one entry, which the handler of the request fills in. */
export class AuditDraft implements AuditSubjects {
  readonly others: StoredAlongside[] = [];
  #resource = '';
  #change: string | undefined;
  #principal: string | undefined;
  #renewedAt: number | undefined;
  #subjects: FoundSubjects;

  constructor(urls: KeyUrls) {
    this.#subjects = new FoundSubjects(urls);
  }

  get subjects(): readonly Subject[] {
    return this.#subjects.all;
  }
  inVault(vault: string, madeAt?: Instant): void {
    this.#subjects.inVault(vault, madeAt);
  }
  about(key: string, version?: string): void {
    this.#subjects.about(key, version);
  }
  /** Sets the subjects that were found for several equal requests. */
  concerns(found: FoundSubjects): void {
    this.#subjects = found;
  }
  /** What the caller says the use is for; at most 512 characters are kept. */
  forResource(resource: string): void {
    this.#resource = resource.length > textLengthMax ? resource.slice(0, textLengthMax) : resource;
  }
  /** Describes the change, where the operation alone does not; at most 512 characters are kept. */
  changing(what: string): void {
    this.#change = what.slice(0, textLengthMax);
  }
  /** Names the principal on whose behalf a service calls. */
  onBehalfOf(principal: string): void {
    this.#principal = principal;
  }
  /** Marks the request as the renewal of a lease. @param accessEpoch at which the vault grants it */
  renewing(accessEpoch: number): void {
    this.#renewedAt = accessEpoch;
  }
  /** The access epoch of a renewal; undefined for every other request. */
  get renewedAt(): number | undefined {
    return this.#renewedAt;
  }
  /** Adds a row to store together with the entry of a success. */
  alongside(also: StoredAlongside | undefined): void {
    if (also) this.others.push(also);
  }

  /** The fields of an entry that the handler filled in. @param madeAt when the vault was created; 0: unknown */
  fields(madeAt: Instant): Pick<AuditEntry, 'resource' | 'onBehalfOf' | 'change' | 'vaultMadeAt'> {
    return {
      resource: this.#resource,
      ...(this.#principal === undefined ? {} : { onBehalfOf: this.#principal }),
      ...(this.#change === undefined ? {} : { change: this.#change }),
      ...(madeAt === 0 ? {} : { vaultMadeAt: madeAt }),
    };
  }
}

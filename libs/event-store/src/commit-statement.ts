/**
 * Kinds of records in a batch. `newCursors`: some cursors may not exist yet. `single`: no list has more than one record, so
 * none has to be split.
 */
export type Kind = 'put' | 'gone' | 'removed' | 'added' | 'cursors' | 'newCursors' | 'events' | 'single';

/** Parameters of a statement: lists of records as text, one per line, fields separated by `FIELD_END`. */
export interface CommitParameters {
  /** Rows to store: table, key, version, row as JSON. */
  readonly put: string;
  /** Rows to delete: table, key, version. */
  readonly gone: string;
  /** Index entries: table, index, value, key. */
  readonly removed: string;
  readonly added: string;
  /** Name, from, to. */
  readonly cursors: string;
  /** Stream, and its expected version. */
  readonly appends: string;
  /** In order of positions: stream, version, type, schema, cause as JSON (empty: `cause`), data as JSON. */
  readonly events: string;
  readonly eventCount: number;
  /** Cause of the events without their own, as JSON. */
  readonly cause: string;
  readonly timeMs: number;
}

/** JSON escapes both, and no name may contain one, so the server splits a list without looking for quotes. */
export const FIELD_END = '\u001f';
export const RECORD_END = '\n';

/** A statement and its parameters in order. It returns `base`, the position before the first event, and `work_ms`. */
export interface CommitStatement {
  readonly text: string;
  readonly parameters: readonly (keyof CommitParameters)[];
}

/**
 * Composes the statement that stores batches of these kinds of records: one statement, one transaction, one round trip.
 * It has a clause only for kinds that occur, because starting a clause costs the server as much as its work for a record.
 *
 * What needs no order comes first: rows, index entries, cursors, and the check of stream versions. The head's lock comes last
 * and is held only for the insert of the events and the flush. If another transaction appends to one of the streams between
 * check and lock, the primary key of `events` fails the statement with 23505, and a repeat finds out which stream it was.
 * Otherwise it fails with IL001 for streams or IL002 for cursors that moved (detail: JSON array of names).
 */
export const commitStatement = (kinds: ReadonlySet<Kind>): CommitStatement => {
  const composer = new Composer(kinds);
  composer.changeRows();
  composer.changeIndex();
  composer.moveCursors();
  const select = kinds.has('events') ? composer.appendEvents() : composer.selectWithoutEvents();
  return { text: composer.text(select), parameters: composer.parameters };
};

class Composer {
  readonly parameters: (keyof CommitParameters)[] = [];
  readonly #kinds: ReadonlySet<Kind>;
  readonly #clauses: string[] = [];
  /** What must be done, without a refusal, before the head is locked. */
  readonly #conditions: string[] = [];

  constructor(kinds: ReadonlySet<Kind>) {
    this.#kinds = kinds;
  }

  changeRows(): void {
    this.#change(
      'put',
      (rows) => `insert into rows (table_name, key, version, row)
        select ${field(1)}, ${field(2)}, ${field(3)}::bigint, ${field(4)}::json from ${rows}
        on conflict (table_name, key) do update set version = excluded.version, row = excluded.row
        where rows.version <= excluded.version`,
    );
    this.#change(
      'gone',
      (rows) => `delete from rows using (
          select ${field(1)} as table_name, ${field(2)} as key, ${field(3)}::bigint as version from ${rows}
        ) as r where rows.table_name = r.table_name and rows.key = r.key and rows.version <= r.version`,
    );
  }

  changeIndex(): void {
    this.#change(
      'removed',
      (entries) => `delete from row_index as i using (
          select ${field(1)} as table_name, ${field(2)} as index, ${field(3)} as value, ${field(4)} as key from ${entries}
        ) as x where i.table_name = x.table_name and i.index = x.index and i.value = x.value and i.key = x.key`,
    );
    this.#change(
      'added',
      (entries) => `insert into row_index (table_name, index, value, key)
        select ${field(1)}, ${field(2)}, ${field(3)}, ${field(4)} from ${entries}
        on conflict do nothing`,
    );
  }

  moveCursors(): void {
    if (!this.#kinds.has('cursors')) return;
    this.#clauses.push(
      `cursor as materialized (
        select ${field(1)} as name, ${field(2)}::bigint as "from", ${field(3)}::bigint as "to" from ${this.#lines('cursors')}
      )`,
      `cursors_moved as (
        update cursors set position = c."to" from cursor as c
        where cursors.name = c.name and cursors.position = c."from" returning cursors.name
      )`,
    );
    let moved = 'select name from cursors_moved';
    if (this.#kinds.has('newCursors')) {
      // A cursor at 0 has no row. The transaction that inserts it first has moved it.
      this.#clauses.push(`cursors_made as (
        insert into cursors (name, position)
        select name, "to" from cursor where "from" = 0 and name not in (select name from cursors_moved)
        on conflict do nothing returning name
      )`);
      moved += ' union all select name from cursors_made';
    }
    this.#conditions.push(refusedIfAny('IL002', 'name', `cursor where name not in (${moved})`));
  }

  /** @returns the select of the result */
  appendEvents(): string {
    this.#conditions.push(
      refusedIfAny(
        'IL001',
        'stream',
        `(select ${field(1)} as stream, ${field(2)}::integer as expected from ${this.#lines('appends')}) as a
        where expected <> coalesce(
          (select e.version from events as e where e.stream = a.stream order by e.version desc limit 1), 0)`,
      ),
    );
    const count = `${this.#parameter('eventCount')}::integer`;
    const cause = this.#parameter('cause');
    const meta = `coalesce(nullif(${field(5)}, ''), ${cause})`;
    this.#clauses.push(
      `head_moved as (
        update head set position = position + ${count} where singleton and ${this.#conditions.join(' and ')}
        returning position - ${count} as base
      )`,
      `appended as (
        insert into events (position, stream, version, type, schema, data, meta, time_ms)
        select base + n, ${field(1)}, ${field(2)}::integer, ${field(3)}, ${field(4)}::smallint, ${field(6)}::json, (${meta})::json,
          ${this.#parameter('timeMs')}::bigint
        from head_moved, ${this.#lines('events')}
        returning position
      )`,
    );
    // The result depends on the insert, so that `work_ms` includes it; the insert of one event takes no time worth measuring.
    return this.#kinds.has('single')
      ? `select base, ${WORK_MS} from head_moved`
      : `select min(position) - 1 as base, ${WORK_MS} from appended`;
  }

  selectWithoutEvents(): string {
    const where = this.#conditions.length === 0 ? '' : ` where ${this.#conditions.join(' and ')}`;
    return `select 0::bigint as base, ${WORK_MS}${where}`;
  }

  /** In one line, because the driver caches by the text; the comment identifies it among the statements of a server. */
  text(select: string): string {
    const clauses = this.#clauses.length === 0 ? '' : `with ${this.#clauses.join(', ')} `;
    return `/* commit */ ${clauses}${select}`.replaceAll(/\s+/g, ' ');
  }

  #change(kind: 'put' | 'gone' | 'removed' | 'added', change: (records: string) => string): void {
    if (!this.#kinds.has(kind)) return;
    this.#clauses.push(`${kind} as (${change(this.#lines(kind))} returning 1)`);
    this.#conditions.push(`(select count(*) from ${kind}) >= 0`);
  }

  #parameter(name: keyof CommitParameters): string {
    return `$${this.parameters.push(name)}`;
  }

  /** The records of a list as rows: `l` the record, `n` its number. */
  #lines(name: keyof CommitParameters): string {
    return this.#kinds.has('single')
      ? `(select ${this.#parameter(name)}::text as l, 1::bigint as n) as lines`
      : `string_to_table(${this.#parameter(name)}, E'\\n') with ordinality as lines(l, n)`;
  }
}

const field = (n: number): string => `split_part(l, E'\\x1f', ${n})`;

/** Time from the start of the statement to the end of its work, in ms: with waits for locks, without the flush of the commit. */
const WORK_MS = 'extract(epoch from clock_timestamp() - statement_timestamp())::float8 * 1000 as work_ms';

/** True if there are none; otherwise the whole statement fails and names them. */
const refusedIfAny = (code: string, name: string, of: string): string =>
  `coalesce((select commit_refused('${code}', json_agg(${name})) from ${of}), true)`;

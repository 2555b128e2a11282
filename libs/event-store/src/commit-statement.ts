/**
 * Kinds of records a batch may hold. `newCursors`: some of the cursors are where a cursor is that nobody has moved yet.
 * `single`: no list has more than one record, and none has to be taken apart.
 */
export type Kind = 'put' | 'gone' | 'removed' | 'added' | 'cursors' | 'newCursors' | 'events' | 'single';

/** What a statement is given: lists of records as text, one a line, their fields apart by `FIELD_END`; null where the batch has none. */
export interface CommitParameters {
  /** Rows to be put: table, key, version, row as JSON. */
  readonly put: string;
  /** Rows that go: table, key, version. */
  readonly gone: string;
  /** Index entries: table, index, value, key. */
  readonly removed: string;
  readonly added: string;
  /** Name, from, to. */
  readonly cursors: string;
  /** Stream, and the version it must have. */
  readonly appends: string;
  /** In order of positions: stream, version, type, schema, id, cause as JSON (empty: `cause`), data as JSON. */
  readonly events: string;
  readonly eventCount: number;
  /** Cause of the events that name none, as JSON. */
  readonly cause: string;
  readonly timeMs: number;
}

/** JSON escapes both, and no name may hold one: so the server takes a list apart without looking for quotes. */
export const FIELD_END = '\u001f';
export const RECORD_END = '\n';

/** A statement, and which parameters it takes, in order. It answers `base`, the position before the first event, and `work_ms`. */
export interface CommitStatement {
  readonly text: string;
  readonly parameters: readonly (keyof CommitParameters)[];
}

/**
 * Composes the statement that stores batches of these kinds of records: one statement, one transaction, one round trip.
 * It has a clause only for what there is, because to start a clause costs the server as much as what it does for a record.
 *
 * What needs no order comes first: rows, index entries, cursors, and the look at the versions of the streams. The head's
 * lock comes last and is held for nothing but the insert of the events and the flush. Who appended to one of the streams
 * between the look and the lock meets the primary key of `events`: the statement fails with 23505, and a repeat finds out
 * which stream that was. Else it fails with IL001 for streams or IL002 for cursors that moved (detail: JSON array of names).
 */
export const commitStatement = (kinds: ReadonlySet<Kind>): CommitStatement => {
  const parameters: (keyof CommitParameters)[] = [];
  const $ = (name: keyof CommitParameters): string => `$${parameters.push(name)}`;
  /** The records of a list: `l` the record, `n` its number. */
  const lines = (name: keyof CommitParameters): string =>
    kinds.has('single')
      ? `(select ${$(name)}::text as l, 1::bigint as n) as lines`
      : `string_to_table(${$(name)}, E'\\n') with ordinality as lines(l, n)`;
  const clauses: string[] = [];
  /** What has to be done, and not be refused, before the head is locked. */
  const conditions: string[] = [];

  const change = (kind: Kind, text: string): void => {
    clauses.push(`${kind} as (${text} returning 1)`);
    conditions.push(`(select count(*) from ${kind}) >= 0`);
  };
  if (kinds.has('put')) {
    change(
      'put',
      `insert into rows (table_name, key, version, row)
      select ${field(1)}, ${field(2)}, ${field(3)}::bigint, ${field(4)}::json from ${lines('put')}
      on conflict (table_name, key) do update set version = excluded.version, row = excluded.row
      where rows.version <= excluded.version`,
    );
  }
  if (kinds.has('gone')) {
    change(
      'gone',
      `delete from rows using (
        select ${field(1)} as table_name, ${field(2)} as key, ${field(3)}::bigint as version from ${lines('gone')}
      ) as r where rows.table_name = r.table_name and rows.key = r.key and rows.version <= r.version`,
    );
  }
  if (kinds.has('removed')) {
    change(
      'removed',
      `delete from row_index as i using (
        select ${field(1)} as table_name, ${field(2)} as index, ${field(3)} as value, ${field(4)} as key
        from ${lines('removed')}
      ) as x where i.table_name = x.table_name and i.index = x.index and i.value = x.value and i.key = x.key`,
    );
  }
  if (kinds.has('added')) {
    change(
      'added',
      `insert into row_index (table_name, index, value, key)
      select ${field(1)}, ${field(2)}, ${field(3)}, ${field(4)} from ${lines('added')}
      on conflict do nothing`,
    );
  }
  if (kinds.has('cursors')) {
    clauses.push(
      `cursor as materialized (
        select ${field(1)} as name, ${field(2)}::bigint as "from", ${field(3)}::bigint as "to" from ${lines('cursors')}
      )`,
      `cursors_moved as (
        update cursors set position = c."to" from cursor as c
        where cursors.name = c.name and cursors.position = c."from" returning cursors.name
      )`,
    );
    let moved = 'select name from cursors_moved';
    if (kinds.has('newCursors')) {
      // A cursor that nobody moved has no row; whoever makes it first has moved it.
      clauses.push(`cursors_made as (
        insert into cursors (name, position)
        select name, "to" from cursor where "from" = 0 and name not in (select name from cursors_moved)
        on conflict do nothing returning name
      )`);
      moved += ' union all select name from cursors_made';
    }
    conditions.push(unlessSome('IL002', 'name', `cursor where name not in (${moved})`));
  }
  if (!kinds.has('events'))
    return { text: compose(clauses, `select 0::bigint as base, ${work}`, conditions), parameters };

  conditions.push(
    unlessSome(
      'IL001',
      'stream',
      `(select ${field(1)} as stream, ${field(2)}::integer as expected from ${lines('appends')}) as a
      where expected <> coalesce(
        (select e.version from events as e where e.stream = a.stream order by e.version desc limit 1), 0)`,
    ),
  );
  const count = `${$('eventCount')}::integer`;
  const cause = $('cause');
  const meta = `'{"id":"' || ${field(5)} || '",' || substr(coalesce(nullif(${field(6)}, ''), ${cause}), 2)`;
  clauses.push(
    `head_moved as (
      update head set position = position + ${count} where singleton and ${conditions.join(' and ')}
      returning position - ${count} as base
    )`,
    `appended as (
      insert into events (position, stream, version, type, schema, data, meta, time_ms)
      select base + n, ${field(1)}, ${field(2)}::integer, ${field(3)}, ${field(4)}::smallint, ${field(7)}::json, (${meta})::json,
        ${$('timeMs')}::bigint
      from head_moved, ${lines('events')}
      returning position
    )`,
  );
  // The answer waits for the insert, so that its work is measured; with one event there is nothing to measure.
  const answer = kinds.has('single')
    ? `base, ${work} from head_moved`
    : `min(position) - 1 as base, ${work} from appended`;
  return { text: compose(clauses, `select ${answer}`), parameters };
};

const field = (n: number): string => `split_part(l, E'\\x1f', ${n})`;

/** From the statement's start until its work was done, in ms: waiting for locks included, the flush of the commit not. */
const work = 'extract(epoch from clock_timestamp() - statement_timestamp())::float8 * 1000 as work_ms';

/** True; or the whole statement fails, naming what there is. */
const unlessSome = (code: string, name: string, of: string): string =>
  `coalesce((select commit_refused('${code}', json_agg(${name})) from ${of}), true)`;

/** With a comment by which a person finds it among the statements of a server; in one line, because the driver looks it up by its text. */
const compose = (clauses: readonly string[], select: string, conditions: readonly string[] = []): string =>
  [
    '/* commit */',
    ...(clauses.length === 0 ? [] : [`with ${clauses.join(', ')}`]),
    select,
    ...(conditions.length === 0 ? [] : [`where ${conditions.join(' and ')}`]),
  ]
    .join(' ')
    .replaceAll(/\s+/g, ' ');

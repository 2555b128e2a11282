/**
 * How the replicas of a service divide its work: who is there, and who has which share. One row, changed by one replica
 * at a time; everything here is pure.
 *
 *   free ──taken by a replica that has less than its part──▶ owned ──given up by one that has more, or leaves──▶ free
 *    ▲                                                         │
 *    └──────────── its owner has said nothing for a ttl ───────┘
 *
 * A share is named `<kind>/<rest>`. Each kind is divided apart, so that no replica gets all the shares of one kind only.
 */
export interface Division {
  readonly members: Readonly<Record<string, Member>>;
  /** Name of the member that has a share, by share. */
  readonly owners: Readonly<Record<string, string>>;
  /**
   * Members that fell silent without leaving, and whose place nobody has taken since: when that was found, in milliseconds
   * since the epoch, by name. For people to see; nothing is decided by it.
   */
  readonly gone: Readonly<Record<string, number>>;
  /**
   * Id of the folder that the service's host works in; absent for services without one. The first process with a folder
   * records its own. Only processes with this folder take part.
   */
  readonly folder?: string;
}

/** A replica as the others know it. */
export interface Member {
  /** Of this process: another one of the same name is its successor, and the first has ended. */
  readonly run: string;
  /** Rises with each sign of life of the process. */
  readonly beat: number;
  /** For how long a sign of life is worth, in milliseconds. */
  readonly ttlMs: number;
  /** The kinds of shares it takes part in. */
  readonly kinds: readonly string[];
  /** When it gave it, in milliseconds since the epoch by its own clock. For people only. */
  readonly at: number;
  /** The name of its process while that stands by, where it has one. For people only. */
  readonly standbyName?: string;
  /** True for a process that is not ready because it has another folder than the host's. It has no shares. */
  readonly hasOtherFolder?: boolean;
}

export const noDivision: Division = { members: {}, owners: {}, gone: {} };

/** One replica's next word. */
export interface Word {
  /** Name of the replica. */
  readonly me: string;
  readonly run: string;
  readonly beat: number;
  readonly ttlMs: number;
  /** All shares there are, as this replica knows them. */
  readonly shares: readonly string[];
  /** Members that have said nothing for longer than they may. */
  readonly silent: ReadonlySet<string>;
  /** Those of them that were not silent already when this replica began: their end is news. */
  readonly ended?: ReadonlySet<string>;
  /** Whether this process stood by until now: whoever worked under its name and has not left has ended, and is gone. */
  readonly stoodBy?: boolean;
  /** The name of the process while it stands by, where it is the same each time it is started. */
  readonly standbyName?: string | undefined;
  /** Now, in milliseconds since the epoch. */
  readonly now: number;
  /** Own shares on which nothing is done any more. */
  readonly givenUp: ReadonlySet<string>;
  /** Id of the folder of this process, if it has one. It is the one of the division, or the division has none. */
  readonly folder?: string | undefined;
  /** Whether this process only says that it has another folder than the host's. */
  readonly hasOtherFolder?: boolean;
}

/** Whether a process with that folder may not take part: another folder is recorded as the host's. */
export const isOtherFolder = ({ folder: recorded }: Division, folder: string | undefined): boolean =>
  folder !== undefined && recorded !== undefined && recorded !== folder;

/**
 * Records a folder as the host's, if none is recorded or if the recorded one is lost.
 * @param lost id of a folder that is gone for good, by the word of an operator
 */
export const withFolder = (division: Division, folder: string, lost: string | undefined): Division =>
  division.folder === undefined || division.folder === lost ? { ...division, folder } : division;

const folderIn = (folder: string | undefined): Pick<Division, 'folder'> => (folder === undefined ? {} : { folder });

export const kindOf = (share: string): string => share.slice(0, share.indexOf('/'));

const kindsIn = (shares: readonly string[]): readonly string[] => [...new Set(shares.map(kindOf))].sort();

const without = <Value>(
  record: Readonly<Record<string, Value>>,
  isOut: (key: string, value: Value) => boolean,
): Record<string, Value> => {
  const left: Record<string, Value> = {};
  for (const [key, value] of Object.entries(record)) if (!isOut(key, value)) left[key] = value;
  return left;
};

/** How many shares of a kind a member is to have: all have as many, and the first by name one more where it does not come out even. */
const partOf = (me: string, members: Division['members'], kind: string, count: number): number => {
  const taking = Object.keys(members)
    .filter((name) => members[name]?.kinds.includes(kind))
    .sort();
  const place = taking.indexOf(me);
  return place < 0 ? 0 : Math.floor(count / taking.length) + (place < count % taking.length ? 1 : 0);
};

/** The shares of a member. */
export const sharesOf = ({ owners }: Division, me: string): readonly string[] =>
  Object.keys(owners)
    .filter((share) => owners[share] === me)
    .sort();

/** The division after a replica said that it lives: silent members are out, and it has taken what it lacks of its part. */
export const wordOf = (division: Division, word: Word): Division => {
  const { me, run, beat, ttlMs, shares, silent, givenUp, standbyName, hasOtherFolder = false } = word;
  const kinds = kindsIn(shares);
  const names = {
    ...(standbyName === undefined ? {} : { standbyName }),
    ...(hasOtherFolder ? { hasOtherFolder } : {}),
  };
  const members = {
    ...without(division.members, (name) => silent.has(name)),
    [me]: { run, beat, ttlMs, kinds, at: word.now, ...names },
  };
  const owners = without(
    division.owners,
    (share, owner) => !(owner in members) || (owner === me && givenUp.has(share)),
  );
  // Nearly always nothing is free, and this is asked with every word.
  const isAnyFree = shares.some((share) => owners[share] === undefined);
  for (const kind of isAnyFree ? kinds : []) {
    const all = shares.filter((share) => kindOf(share) === kind).sort();
    const mine = all.filter((share) => owners[share] === me).length;
    const free = all.filter((share) => owners[share] === undefined);
    for (const share of free.slice(0, Math.max(0, partOf(me, members, kind, all.length) - mine))) owners[share] = me;
  }
  return { members, owners, gone: goneAfter(division, word), ...folderIn(division.folder ?? word.folder) };
};

/** For how long somebody who is gone is shown: until then somebody has looked, or nobody misses it. */
const goneMsMax = 86_400_000;

/** Who is gone after that word. Whoever comes anew takes the place of the one that is gone longest. */
const goneAfter = ({ members, gone }: Division, word: Word): Record<string, number> => {
  const { me, run, ended = new Set(), stoodBy = false, standbyName, now } = word;
  const isNew = !stoodBy && !(me in members) && !(me in gone);
  const [longest] = isNew ? Object.keys(gone).sort((a, b) => (gone[a] ?? 0) - (gone[b] ?? 0)) : [me];
  const isBack = (name: string): boolean => name === longest || name === standbyName;
  const left = without(gone, (name, at) => isBack(name) || now - at > goneMsMax);
  const replaced = stoodBy && members[me]?.run !== run ? replacedBy(members, word) : undefined;
  const names = replaced === undefined ? [...ended] : [...ended, replaced];
  return { ...left, ...Object.fromEntries(names.map((name) => [name, now])) };
};

/**
 * As whom the process is missed whose place a standby takes; undefined where it is back: as this very process, or standing by
 * already. Otherwise it is when it stands by again.
 */
const replacedBy = (members: Division['members'], { me, silent, standbyName: own }: Word): string | undefined => {
  const before = members[me];
  if (before === undefined) return undefined;
  const { run, standbyName: name = `${me}-${run.slice(0, 8)}` } = before;
  const isBack = name === own || (name in members && !silent.has(name));
  return isBack ? undefined : name;
};

/**
 * Shares of a member beyond its part: to be given up once what is done on them has ended. What does not come out even stays
 * with whoever has it, as long as nobody has two less.
 */
export const surplusOf = (division: Division, me: string, shares: readonly string[]): readonly string[] =>
  kindsIn(shares).flatMap((kind) => {
    const taking = Object.keys(division.members).filter((name) => division.members[name]?.kinds.includes(kind));
    const { length: count } = shares.filter((share) => kindOf(share) === kind);
    const of = (name: string) => sharesOf(division, name).filter((share) => kindOf(share) === kind);
    // Whoever is alone may have everything: nearly always, and this is asked with every word.
    if (taking.length === 1 && taking[0] === me) return of(me).slice(count);
    const least = Math.min(...taking.map((name) => of(name).length));
    const isEven = least >= Math.floor(count / taking.length);
    return of(me).slice(isEven ? Math.ceil(count / taking.length) : partOf(me, division.members, kind, count));
  });

/** The division after a replica has left: what it had is free. */
export const leftBy = ({ members, owners, gone, folder }: Division, me: string): Division => ({
  members: without(members, (name) => name === me),
  owners: without(owners, (_, owner) => owner === me),
  gone,
  ...folderIn(folder),
});

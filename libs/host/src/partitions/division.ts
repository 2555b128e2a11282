/**
 * How the replicas of a service divide its work: which replicas exist, and which one owns each work partition. One row, changed by
 * one replica at a time; everything here is pure.
 *
 *   free ──taken by a replica that has less than its quota──▶ owned ──released by one that has more, or leaves──▶ free
 *    ▲                                                          │
 *    └──────────── its owner sent no heartbeat for a ttl ───────┘
 *
 * A partition is named `<kind>/<rest>`. Each kind is divided separately, so that no replica gets all partitions of one kind.
 */
export interface Division {
  readonly members: Readonly<Record<string, Member>>;
  /** Name of the owner, by partition. */
  readonly owners: Readonly<Record<string, string>>;
  /**
   * Members that became silent without leaving and were not replaced: when that was noticed, in milliseconds since the epoch, by
   * name. For operators; no decision depends on it.
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
  /** Id of its process. Another process of the same name is its successor. */
  readonly run: string;
  /** Rises with each heartbeat of the process. */
  readonly beat: number;
  /** How long a heartbeat is valid, in milliseconds. */
  readonly ttlMs: number;
  /** The kinds of partitions that it takes part in. */
  readonly kinds: readonly string[];
  /** Time of the heartbeat, in milliseconds since the epoch by its own clock. For operators. */
  readonly at: number;
  /** True for a process that is not ready because it has another folder than the host's. It owns no partitions. */
  readonly hasOtherFolder?: boolean;
}

/** The division before the first heartbeat. */
export const emptyDivision: Division = { members: {}, owners: {}, gone: {} };

/** A heartbeat of one replica. */
export interface Heartbeat {
  /** Name of the replica. */
  readonly me: string;
  readonly run: string;
  readonly beat: number;
  readonly ttlMs: number;
  /** All partitions that this replica knows. */
  readonly partitions: readonly string[];
  /** Members whose last heartbeat is no longer valid. */
  readonly silent: ReadonlySet<string>;
  /** Those of them that were not silent already when this replica started. */
  readonly ended?: ReadonlySet<string>;
  /** In milliseconds since the epoch. */
  readonly now: number;
  /** Own partitions whose work has ended. */
  readonly released: ReadonlySet<string>;
  /** Id of the folder of this process, if it has one. The division has the same one, or none. */
  readonly folder?: string | undefined;
  /** Whether this process only reports that it has another folder than the host's. */
  readonly hasOtherFolder?: boolean;
}

/** Whether a process with that folder may not take part: another folder is recorded as the host's. */
export const isOtherFolder = ({ folder: recorded }: Division, folder: string | undefined): boolean =>
  folder !== undefined && recorded !== undefined && recorded !== folder;

/**
 * Records a folder as the host's, if none is recorded or if the recorded one is lost.
 * @param lost id of a folder that is lost for good, as an operator says
 */
export const withFolder = (division: Division, folder: string, lost: string | undefined): Division =>
  division.folder === undefined || division.folder === lost ? { ...division, folder } : division;

const folderIn = (folder: string | undefined): Pick<Division, 'folder'> => (folder === undefined ? {} : { folder });

const kindOf = (partition: string): string => partition.slice(0, partition.indexOf('/'));

const kindsIn = (partitions: readonly string[]): readonly string[] => [...new Set(partitions.map(kindOf))].sort();

const without = <Value>(
  record: Readonly<Record<string, Value>>,
  isRemoved: (key: string, value: Value) => boolean,
): Record<string, Value> => Object.fromEntries(Object.entries(record).filter(([key, value]) => !isRemoved(key, value)));

/** How many partitions of a kind a member should own: all equally many, and the first ones by name one more if there is a remainder. */
const quotaOf = (me: string, members: Division['members'], kind: string, count: number): number => {
  const taking = membersOf(members, kind).sort();
  const place = taking.indexOf(me);
  return place < 0 ? 0 : Math.floor(count / taking.length) + (place < count % taking.length ? 1 : 0);
};

const membersOf = (members: Division['members'], kind: string): string[] =>
  Object.keys(members).filter((name) => members[name]?.kinds.includes(kind));

/** The partitions of a member. */
export const partitionsOf = ({ owners }: Division, me: string): readonly string[] =>
  Object.keys(owners)
    .filter((partition) => owners[partition] === me)
    .sort();

/** The division after a heartbeat: silent members are removed, and the replica takes free partitions up to its quota. */
export const withHeartbeat = (division: Division, heartbeat: Heartbeat): Division => {
  const { me, run, beat, ttlMs, partitions, silent, released, hasOtherFolder = false, now } = heartbeat;
  const members = {
    ...without(division.members, (name) => silent.has(name)),
    [me]: { run, beat, ttlMs, kinds: kindsIn(partitions), at: now, ...(hasOtherFolder ? { hasOtherFolder } : {}) },
  };
  const owners = without(
    division.owners,
    (partition, owner) => !(owner in members) || (owner === me && released.has(partition)),
  );
  takeFree(owners, me, members, partitions);
  return { members, owners, gone: goneAfter(division, heartbeat), ...folderIn(division.folder ?? heartbeat.folder) };
};

const takeFree = (
  owners: Record<string, string>,
  me: string,
  members: Division['members'],
  partitions: readonly string[],
): void => {
  // The usual case of every heartbeat.
  if (partitions.every((partition) => owners[partition] !== undefined)) return;
  for (const kind of kindsIn(partitions)) {
    const all = partitions.filter((partition) => kindOf(partition) === kind).sort();
    const mine = all.filter((partition) => owners[partition] === me).length;
    const free = all.filter((partition) => owners[partition] === undefined);
    const wanted = Math.max(0, quotaOf(me, members, kind, all.length) - mine);
    for (const partition of free.slice(0, wanted)) owners[partition] = me;
  }
};

/** How long a gone member is shown. */
const GONE_MAX_MS = 86_400_000;

/** The gone members after a heartbeat. A new member takes the place of the one that is gone longest. */
const goneAfter = ({ members, gone }: Division, heartbeat: Heartbeat): Record<string, number> => {
  const { me, ended = new Set(), now } = heartbeat;
  const isNew = !(me in members) && !(me in gone);
  const [longest] = isNew ? Object.keys(gone).sort((a, b) => (gone[a] ?? 0) - (gone[b] ?? 0)) : [me];
  const left = without(gone, (name, at) => name === longest || now - at > GONE_MAX_MS);
  return { ...left, ...Object.fromEntries([...ended].map((name) => [name, now])) };
};

/**
 * Partitions of a member above its quota, to be released once their work has ended. A remainder stays with its owner, as long as no
 * member has two less.
 */
export const surplusOf = (division: Division, me: string, partitions: readonly string[]): readonly string[] =>
  kindsIn(partitions).flatMap((kind) => {
    const taking = membersOf(division.members, kind);
    const { length: count } = partitions.filter((partition) => kindOf(partition) === kind);
    const ownedBy = (name: string) => partitionsOf(division, name).filter((partition) => kindOf(partition) === kind);
    // The usual case of every heartbeat: a single member may own everything.
    if (taking.length === 1 && taking[0] === me) return ownedBy(me).slice(count);
    const least = Math.min(...taking.map((name) => ownedBy(name).length));
    const isEven = least >= Math.floor(count / taking.length);
    return ownedBy(me).slice(isEven ? Math.ceil(count / taking.length) : quotaOf(me, division.members, kind, count));
  });

/** The division after a replica has left: its partitions are free. */
export const withoutMember = ({ members, owners, gone, folder }: Division, me: string): Division => ({
  members: without(members, (name) => name === me),
  owners: without(owners, (_, owner) => owner === me),
  gone,
  ...folderIn(folder),
});

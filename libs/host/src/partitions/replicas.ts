import { type Division, partitionsOf } from './division.ts';

/** A process of a service, as the others know it. */
export interface Replica {
  /** Unique among the processes of the service. */
  readonly name: string;
  /**
   * `gone`: it became silent without leaving, and was not replaced.
   * `other folder`: it is not ready, because it has another folder than the service's host.
   */
  readonly state: 'working' | 'gone' | 'other folder';
  /** How many work partitions it owns. */
  readonly partitionCount: number;
  /** When it was found gone, in milliseconds since the epoch. */
  readonly goneAt: number | undefined;
}

/** The processes in a division, in order of names. */
export const listReplicas = (division: Division): readonly Replica[] => {
  const present = Object.entries(division.members).map(([name, { hasOtherFolder = false }]): Replica => {
    const partitionCount = partitionsOf(division, name).length;
    return { name, state: hasOtherFolder ? 'other folder' : 'working', partitionCount, goneAt: undefined };
  });
  const gone = Object.entries(division.gone).map(
    ([name, goneAt]): Replica => ({ name, state: 'gone', partitionCount: 0, goneAt }),
  );
  return [...present, ...gone].sort((a, b) => (a.name < b.name ? -1 : 1));
};

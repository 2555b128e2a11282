import { Rejection } from '@interlock/event-store';
import type { LeaseUser } from './lease-user.ts';

/** Most witnesses that are kept. */
const max = 16;

/**
 * The last users of a lease that left: while an outage counts as lost and the lease has no user, the wrapped DEK of one of them serves to
 * check whether it is over.
 */
export class Witnesses {
  #users: readonly LeaseUser[] = [];

  /** The one that left last; undefined without any. */
  get newest(): LeaseUser | undefined {
    return this.#users.at(-1);
  }

  add(user: LeaseUser): void {
    this.remove(user);
    this.#users = [...this.#users, user].slice(-max);
  }

  /** Also removes an earlier open of the same disk. */
  remove({ name }: Pick<LeaseUser, 'name'>): void {
    this.#users = this.#users.filter((user) => user.name !== name);
  }
}

/** Whether the disk that was to check is deleted, has moved to another host, or its header is damaged. */
export const cannotCheck = (error: unknown): boolean =>
  error instanceof Rejection &&
  (error.code === 'NOT_FOUND' || error.code === 'DATA_LOSS' || error.reason === 'DISK_NOT_HERE');

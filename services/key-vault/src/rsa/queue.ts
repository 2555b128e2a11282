/** Jobs that wait, in lines. Whoever stands in a short line is served soon, however long another is. */
export interface FairQueue<Job> {
  readonly length: number;
  /** @param line for whom the job is done: a key version */
  push(line: string, job: Job): void;
  /** Takes up to `count` jobs: one of each line in turn, and from each in the order of coming. */
  take(count: number): Job[];
  /** Takes a whole line out. */
  remove(line: string): Job[];
}

/** A job, and the one behind it. What was taken is held by nobody here, however long a line never ends. */
interface Place<Job> {
  readonly job: Job;
  next: Place<Job> | undefined;
}

/** An empty queue. */
export const fairQueue = <Job>(): FairQueue<Job> => {
  /** In the order of their turns. */
  const lines = new Map<string, { first: Place<Job>; last: Place<Job> }>();
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(name, job) {
      const place = { job, next: undefined };
      const line = lines.get(name);
      if (line) {
        line.last.next = place;
        line.last = place;
      } else lines.set(name, { first: place, last: place });
      length += 1;
    },
    take(count) {
      const taken: Job[] = [];
      // A line that is put back comes after the last one, so the loop goes round.
      for (const [name, line] of lines) {
        if (taken.length === count) break;
        const { job, next } = line.first;
        line.first.next = undefined;
        taken.push(job);
        lines.delete(name);
        if (next === undefined) continue;
        line.first = next;
        lines.set(name, line);
      }
      length -= taken.length;
      return taken;
    },
    remove(name) {
      const removed: Job[] = [];
      for (let place = lines.get(name)?.first; place; place = place.next) removed.push(place.job);
      lines.delete(name);
      length -= removed.length;
      return removed;
    },
  };
};

/** Jobs that wait, by tenant and line. Tenants take turns, and the lines of a tenant take turns within its own. */
export interface TenantQueue<Job> {
  readonly length: number;
  /** Jobs of one tenant that wait. */
  lengthOf(tenant: string): number;
  /** @param tenant who owns the key @param line see `FairQueue` */
  push(tenant: string, line: string, job: Job): void;
  /** Takes the next job of the tenant whose turn it is. */
  takeOne(): Job | undefined;
  /** Takes a whole line out, whichever tenant it is of. */
  remove(line: string): Job[];
}

/** An empty queue. */
export const tenantQueue = <Job>(): TenantQueue<Job> => {
  /** In the order of their turns. */
  const tenants = new Map<string, FairQueue<Job>>();
  let length = 0;
  return {
    get length() {
      return length;
    },
    lengthOf: (tenant) => tenants.get(tenant)?.length ?? 0,
    push(tenant, line, job) {
      const queue = tenants.get(tenant) ?? fairQueue<Job>();
      tenants.set(tenant, queue);
      queue.push(line, job);
      length += 1;
    },
    takeOne() {
      for (const [tenant, queue] of tenants) {
        const [job] = queue.take(1);
        tenants.delete(tenant);
        if (queue.length > 0) tenants.set(tenant, queue);
        length -= 1;
        return job;
      }
      return undefined;
    },
    remove(line) {
      const removed: Job[] = [];
      for (const [tenant, queue] of tenants) {
        removed.push(...queue.remove(line));
        if (queue.length === 0) tenants.delete(tenant);
      }
      length -= removed.length;
      return removed;
    },
  };
};

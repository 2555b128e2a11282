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

/** An empty queue. */
export const fairQueue = <Job>(): FairQueue<Job> => {
  /** In the order of their turns. `next` is the first job that is still there. */
  const lines = new Map<string, { readonly jobs: Job[]; next: number }>();
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(line, job) {
      const known = lines.get(line);
      if (known) known.jobs.push(job);
      else lines.set(line, { jobs: [job], next: 0 });
      length += 1;
    },
    take(count) {
      const taken: Job[] = [];
      // A line that is put back comes after the last one, so the loop goes round.
      for (const [name, line] of lines) {
        if (taken.length === count) break;
        taken.push(...line.jobs.slice(line.next, line.next + 1));
        line.next += 1;
        lines.delete(name);
        if (line.next < line.jobs.length) lines.set(name, line);
      }
      length -= taken.length;
      return taken;
    },
    remove(line) {
      const { jobs, next } = lines.get(line) ?? { jobs: [], next: 0 };
      lines.delete(line);
      length -= jobs.length - next;
      return jobs.slice(next);
    },
  };
};

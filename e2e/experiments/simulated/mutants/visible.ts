/** A planted bug of the simulation, and the experiment that finds it; or why no experiment can. */
export type Visibility = { readonly mutant: string } & (
  | { /** In `files`, without its suffix. */ readonly file: string }
  | { readonly why: string }
);

/** Every planted bug of `e2e/simulation/mutants`, by name. */
export const visibility: readonly Visibility[] = [
  { mutant: 'the lease is not looked at before a piece of I/O', file: 'lease' },
  { mutant: 'a lease is extended while the vault does not answer', file: 'lease' },
  { mutant: 'a disabled version can be used all the same', file: 'loss' },
  { mutant: 'machines that are starting are forgotten when a key is lost', file: 'starting' },
  { mutant: 'events are published before they are committed', file: 'lease' },
  { mutant: 'the feed is ordered by a sequence alone, so what commits late is skipped', file: 'loss' },
  { mutant: 'a fact counts as applied before its effect is stored', file: 'loss' },
  { mutant: 'a fact that comes again takes effect again', file: 'loss' },
  { mutant: 'a rate limit is taken for a refusal', file: 'throttle' },
  { mutant: 'machines are stopped for their ultra disks', file: 'loss' },
  { mutant: 'the DEK stays in memory when the lease is over', file: 'lease' },
  { mutant: 'the record of an unwrap holds what was unwrapped', file: 'loss' },
  { mutant: 'a rewrap wraps with the old version', file: 'rotation' },
  { mutant: 'the previous keys of an unfinished rotation are lost with the next one', file: 'rotation' },
  { mutant: 'the preview leaves out machines with disks of other keys', file: 'loss' },
  { mutant: 'an unwrapped secret is cached, and the vault is not asked again', file: 'loss' },
  { mutant: 'a header is not synced before it counts', file: 'storage' },
  { mutant: 'a flush flushes nothing', file: 'storage' },
  { mutant: 'a rotation that has to wait is called finished', file: 'waiting' },
  { mutant: 'snapshots are forgotten in a rotation', file: 'rotation' },
  { mutant: 'refusals are not put on record', file: 'loss' },
  {
    mutant: 'a copy is recorded on the word of its beginning',
    why: 'disks of an experiment are small: a copy is over before anything can happen to it',
  },
  { mutant: 'a write that storage has no room for is acknowledged', file: 'storage' },
  { mutant: 'a flush that failed is made good by the next one', file: 'storage' },
  {
    mutant: 'a header behind the store is believed',
    why: 'no action of an experiment returns headers of an earlier time to the storage',
  },
  {
    mutant: 'the DEK is not held against the store',
    why: 'no action of an experiment writes a DEK to the storage beside the disk host',
  },
  { mutant: 'closing disks does not name the stop it follows', file: 'loss' },
];

/** A planted bug of the simulation, and the experiment that finds it; or why no experiment can. */
export type Visibility = { readonly mutant: string } & (
  | { /** In `files`, without its suffix. */ readonly file: string }
  | { readonly why: string }
);

/** The experiments that search for planted bugs have no VM hosts. */
const withoutVmHosts = 'no experiment of the search has VM hosts: compute runs the guests itself';

/** Every planted bug of `e2e/simulation/mutants`, by name. */
export const visibility: readonly Visibility[] = [
  { mutant: 'the lease is not checked before an I/O', file: 'lease' },
  { mutant: 'a lease is extended while the vault is unreachable', file: 'lease' },
  { mutant: 'a disabled version can still be used', file: 'loss' },
  { mutant: 'a lost key does not stop machines that are starting', file: 'starting' },
  { mutant: 'events are published before they are committed', file: 'lease' },
  { mutant: 'the feed is ordered by a sequence only, so late commits are skipped', file: 'loss' },
  { mutant: 'a fact counts as applied before its effect is stored', file: 'loss' },
  { mutant: 'a redelivered fact takes effect again', file: 'loss' },
  { mutant: 'a throttled call is taken for an access loss', file: 'throttle' },
  { mutant: 'machines stop because of their ultra disks', file: 'loss' },
  { mutant: 'the DEK stays in memory after the lease has expired', file: 'lease' },
  { mutant: 'the audit entry of an unwrap contains the unwrapped key', file: 'loss' },
  { mutant: 'a rewrap wraps with the old version', file: 'rotation' },
  { mutant: 'the next rotation loses the previous keys of an unfinished one', file: 'rotation' },
  { mutant: 'the preview leaves out machines with disks of other keys', file: 'loss' },
  { mutant: 'an unwrapped DEK is cached, and the vault is not called again', file: 'loss' },
  { mutant: 'a header is used before it is synced', file: 'storage' },
  { mutant: 'a flush flushes nothing', file: 'storage' },
  { mutant: 'a waiting rotation is recorded as finished', file: 'waiting' },
  { mutant: 'a rotation leaves snapshots out', file: 'rotation' },
  { mutant: 'refusals are not in the audit log', file: 'loss' },
  {
    mutant: 'a copy is recorded without another check of its key',
    why: 'disks of an experiment are small: a copy ends before anything can happen to it',
  },
  { mutant: 'a write without room in storage is acknowledged', file: 'storage' },
  { mutant: 'a flush succeeds after a failed flush', file: 'storage' },
  {
    mutant: 'a flush succeeds after the machine of the disk host was lost',
    why: 'no action of an experiment crashes the machine of a part, only its process',
  },
  {
    mutant: 'a header behind the store is accepted',
    why: 'no action of an experiment puts earlier headers back on storage',
  },
  {
    mutant: 'the DEK is not compared with the store',
    why: 'no action of an experiment writes a DEK to storage without the disk host',
  },
  { mutant: 'closing disks does not name the stop as its cause', file: 'loss' },
  { mutant: 'every stop names a deleted key', file: 'loss' },
  { mutant: 'a lost key stops no machine that runs', file: 'user-stops' },
  {
    mutant: 'a disk is placed on a host that an operator closed',
    why: 'no action of an experiment closes a disk host to new disks',
  },
  { mutant: 'a sender keeps the access to a disk that has moved', why: 'no action of an experiment moves a disk' },
  { mutant: 'a disk is handed over before the last pieces are sent', why: 'no action of an experiment moves a disk' },
  { mutant: 'a move leaves a piece out', why: 'no action of an experiment moves a disk' },
  { mutant: 'a rotation lists what is on reachable hosts only', file: 'host-away' },
  {
    mutant: 'a recall after a gap skips the sets that have no loss any more',
    why: 'a disk host that missed that access is restored serves the next start of the machines all the same',
  },
  {
    mutant: 'a host works on the disk of another host',
    why: 'no action of an experiment calls a disk host that has not the disk',
  },
  {
    mutant: 'a batch is answered in the order of its hosts',
    why: 'the disks of a set are on one host there, so no batch of opens or rewraps concerns two',
  },
  {
    mutant: "the end of one disk host's outage ends those of all",
    why: 'the disks of a set are on one host there, so a key has the outage of one host only',
  },
  { mutant: 'a close without an answer counts as a fence', why: withoutVmHosts },
  { mutant: 'a VM host starts an outdated placement', why: withoutVmHosts },
  { mutant: 'a lost VM host that returns keeps its guests', why: withoutVmHosts },
  { mutant: 'the survey ends the guests of machines that run', why: withoutVmHosts },
  { mutant: 'the survey ends no guest of a machine that is off', why: withoutVmHosts },
];

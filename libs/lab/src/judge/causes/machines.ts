import { type Implied, isOf, type Seen, type Timeline } from './history.ts';
import { causesOfVmHost, stopOfHost, vmHostStream } from './vm-hosts.ts';

const beside = [
  'DisksClosed',
  'DiskKeyChanged',
  'KeyAccessReturned',
  'OutageExplained',
  'NextStartBlocked',
  'ContentMismatchFound',
];
const isWork = ({ type }: Seen): boolean => !beside.includes(type);
/** Events that only a user's request starts, unless a process continues with the next one. */
const requests = ['VmCreationStarted', 'VmDeallocating', 'VmDeleting', 'DiskAttaching', 'DiskDetaching', 'VmKeptOff'];

/** The causes that the data of an event of compute imply: of a machine, or of a VM host. */
export const causesOfCompute = (line: Timeline, event: Seen): readonly Implied[] =>
  (event.stream.startsWith(vmHostStream) ? causesOfVmHost : causesOfMachine)(line, event);

const causesOfMachine = (line: Timeline, event: Seen): readonly Implied[] => {
  const { type, data } = event;
  if (requests.includes(type)) return [];
  switch (type) {
    case 'VmStopping':
      return stopping(line, event);
    case 'VmStarting':
      return starting(line, event);
    case 'DisksClosed':
      return [step(line, event, isOf('VmStopped', 'VmStartFailed', 'DisksOpened')), ...answers(line, event)];
    case 'KeyAccessReturned':
    case 'OutageExplained':
    case 'NextStartBlocked':
      return [ofKey(line, event)];
    case 'DiskKeyChanged': {
      const ofDisk = line.ofStream(`disk-${data.disk}`).filter(({ version }) => version === data.diskVersion);
      const moved = ofDisk.filter(isOf('DekRewrapped', 'DiskEncryptionChanged'));
      const work = line.newestBefore(event, isWork);
      return [{ kinds: ['message', 'step'], anyOf: [...moved, ...work] }, ...answers(line, event)];
    }
    default:
      return [step(line, event, isWork), ...opens(line, event), ...answers(line, event)];
  }
};

const step = (line: Timeline, event: Seen, isWanted: (before: Seen) => boolean): Implied => ({
  kinds: ['step'],
  anyOf: line.newestBefore(event, isWanted),
});

const vmOf = ({ stream }: Seen): string => stream.slice('vm-'.length);

/** The opens that the event names by disk and number. */
const opens = (line: Timeline, { data: { opened = [] } }: Seen): readonly Implied[] =>
  opened.map((one: { readonly disk: string; readonly attachEpoch: number }) => ({
    kinds: ['answer'],
    anyOf: line
      .ofStream(`disk-${one.disk}`)
      .filter(({ type, data }) => type === 'DiskOpened' && data.attachEpoch === one.attachEpoch),
  }));

const ofDisks = ['DiskOpened', 'DiskClosed', 'DiskDetached', 'AttachGivenUp', 'DiskAttached'];

/** What the disk service may have responded about disks of the machine. */
const answers = (line: Timeline, event: Seen): readonly Implied[] => {
  const vm = vmOf(event);
  // The response to a repeated detach names the newest one, which may be of another machine that had the disk in between.
  const isOfAnyHolder = isOf('DiskCreated', 'DiskDeleted', 'DiskCreating', 'DiskDeleting', 'DiskDetached');
  const isOwn = (stream: string): boolean =>
    line.ofStream(event.stream).some((one) => disksIn(one).includes(stream.slice('disk-'.length)));
  const anyOf = (one: Seen): boolean =>
    (ofDisks.includes(one.type) && one.data.virtualMachine === vm) || (isOfAnyHolder(one) && isOwn(one.stream));
  return [{ kinds: ['answer'], anyOf, isOptional: true }];
};

const disksIn = ({ data }: Seen): readonly string[] => [
  ...(data.disks ?? []).flatMap((one: { readonly disk?: string }) => one.disk ?? []),
  ...(data.disk?.disk === undefined ? [] : [data.disk.disk]),
];

const stopping = (line: Timeline, event: Seen): readonly Implied[] => {
  const { work, reason } = event.data;
  if (work.kind === 'guestEnded') return [stopOfHost(line, event) ?? step(line, event, isWork)];
  if (reason === undefined) return [];
  return [ofLoss(line, event, reason)];
};

interface Loss {
  readonly set: string;
  readonly keyVersion: string;
  readonly since: number;
  readonly reason: string;
}

/** The loss as the set published it, or the event of the vault that removed access. */
const ofLoss = (line: Timeline, event: Seen, { set, keyVersion, since, reason }: Loss): Implied => {
  const opened = line.newestBefore(event, isOf('DisksOpened', 'VmCreated'));
  if (reason === 'KEY_VAULT_UNREACHABLE') return { kinds: ['timer', 'call'], anyOf: opened };
  const published = line.ofStream(`set-${set}`).filter(isOf('KeyAccessLost', 'KeyAccessBarred'));
  const [key = ''] = keyVersion.split('/versions/');
  const vault = key.split('/')[1] ?? '';
  const ofVault = [...line.ofStream(`key-${key}`), ...line.ofStream(`vault-${vault}`)];
  return {
    kinds: ['message', 'call', 'answer', 'timer'],
    anyOf: [
      ...published.filter(({ data }) => data.keyVersion === keyVersion),
      // An expiry counts from the date of the key, however late the vault recorded it.
      ...ofVault.filter(({ data }) => data.at === since || data.expiresAt === since),
      // A host reports the newest refusal: the identity of the set may have lost its grants after the loss that compute knows.
      ...ofVault.filter(({ type, data }) => type === 'GrantsChanged' && data.removed),
      ...opened,
    ],
  };
};

/** A key's return or loss at a machine: a fact of the set or of a disk, a report, or the sweep. */
const ofKey = (line: Timeline, event: Seen): Implied => {
  const { data } = event;
  const { set, keyVersion } = data.loss ?? data.blocked?.[0] ?? data;
  const ofMachine = [
    ...line.newestBefore(event, isOf('VmStopping', 'NextStartBlocked', 'VmStartFailed')),
    ...line.newestBefore(event, isOf('DisksOpened', 'VmCreated')),
  ];
  const [key = ''] = String(keyVersion).split('/versions/');
  const anyOf = (one: Seen): boolean =>
    (one.stream === `set-${set}` && one.data.keyVersion === keyVersion) ||
    ofMachine.includes(one) ||
    isOf('DekRewrapped', 'DiskEncryptionChanged')(one) ||
    [`key-${key}`, `vault-${key.split('/')[1]}`].includes(one.stream);
  return { kinds: ['message', 'call', 'timer'], anyOf };
};

const starting = (line: Timeline, event: Seen): readonly Implied[] => {
  const { kind } = event.data.work;
  if (kind === 'restart') return [step(line, event, isWork), ...answers(line, event)];
  // A user's request, or access restored by a user's change, which starts a machine in that user's name.
  const isReturn = isOf('KeyAccessRestored', 'DekRewrapped', 'DiskEncryptionChanged');
  const returned = line.ofCorrelation(event.data.work.correlationId).filter(isReturn);
  const work = [
    ...line.newestBefore(event, isWork),
    ...line.newestBefore(event, isOf('VmStopping', 'NextStartBlocked')),
  ];
  const isOptional = event.data.work.caller.startsWith('principals/') ? ({ isOptional: true } as const) : {};
  const anyOf = [...returned, ...work];
  return [{ kinds: ['message', 'step', 'timer', 'call'], anyOf, ...isOptional }, ...answers(line, event)];
};

import { type Implied, isOf, type Seen, type Timeline } from './history.ts';

/** Events of a machine that lead to calls of the disk service. */
const ofMachine = (line: Timeline, { data, cause }: Seen, vm: string): readonly Seen[] =>
  line
    .ofStream(`vm-${vm}`)
    .filter((one) => !isOf('DisksClosed', 'ContentMismatchFound')(one))
    .filter(
      (one) =>
        data.requestId === undefined ||
        workOf(one) === undefined ||
        workOf(one) === data.requestId ||
        one.cause.correlationId === cause.correlationId,
    );

const workOf = ({ data }: Seen): string | undefined => data.work?.id;

/** The causes that the data of a disk's or snapshot's event imply. */
export const causesOfDisk = (line: Timeline, event: Seen): readonly Implied[] => [
  ...causesByType(line, event),
  // The vault may record what it found while it handled the call.
  {
    kinds: ['answer'],
    anyOf: isOf('IdentityAnswerChanged', 'KeyVersionExpired', 'KeyVersionBegan'),
    isOptional: true,
  },
];

const causesByType = (line: Timeline, event: Seen): readonly Implied[] => {
  const { type, data } = event;
  const step = (...types: readonly string[]): readonly Implied[] => [
    { kinds: ['step'], anyOf: line.newestBefore(event, isOf(...types)) },
  ];
  switch (type) {
    case 'DiskCreated':
    case 'DiskCreateFailing':
      return step('DiskCreating');
    case 'DiskCreateFailed':
      return step('DiskCreating', 'DiskCreateFailing');
    case 'SnapshotCreated':
    case 'SnapshotCreateFailing':
      return step('SnapshotCreating');
    case 'SnapshotCreateFailed':
      return step('SnapshotCreating', 'SnapshotCreateFailing');
    case 'DiskDeleted':
      return step('DiskDeleting');
    case 'SnapshotDeleted':
      return step('SnapshotDeleting');
    case 'DiskEncryptionChanged':
    case 'EncryptionChangeFailed':
      return step('EncryptionChanging');
    case 'FormerVolumeRemoved':
      return step('DiskEncryptionChanged', 'EncryptionChangeFailed', 'VolumeMoved', 'VolumeMoveFailed');
    case 'VolumeMoving':
      return [...leftByMove(line, event), ...(line.isRequested(event) ? [] : draining(line, event))];
    case 'VolumeMoved':
      return step('VolumeMoving');
    case 'VolumeMoveFailed':
      // An access ended the move: its event is of the same commit and has the same causes.
      return data.reason === 'DISK_OPEN'
        ? [{ kinds: ['call', 'step'], anyOf: () => true, isOptional: true }]
        : step('VolumeMoving');
    case 'DekRewrapped':
    case 'SnapshotDekRewrapped':
      return [
        {
          kinds: ['call', 'step'],
          anyOf: [
            ...changesOf(line, data.set, data.generation),
            // The same call may have recorded the header of an interrupted move first.
            ...line.newestBefore(event, isOf('DekRewrapped', 'SnapshotDekRewrapped', 'DiskGrown')),
          ],
        },
      ];
    case 'DiskHostRegistered':
      // The start of a process.
      return [];
    case 'DiskHostDrained':
      return step('DiskHostDraining');
    case 'AccessEnded':
      return line.isRequested(event)
        ? []
        : [{ kinds: ['timer'], anyOf: line.newestBefore(event, isOf('AccessBegun')) }];
    case 'DiskAttached':
    case 'DiskOpened':
    case 'DiskClosed':
    case 'DiskDetached':
    case 'AttachGivenUp':
      return [{ kinds: ['call'], anyOf: ofMachine(line, event, data.virtualMachine) }];
    case 'EncryptionChanging':
    case 'DiskGrown':
      // The header of an interrupted move may have been recorded first, by the same call.
      return [{ kinds: ['step'], anyOf: line.newestBefore(event, () => true), isOptional: true }];
    default: {
      // The call may have undone an interrupted attempt first.
      const undone = line.newestBefore(event, isOf('DiskCreateFailed', 'SnapshotCreateFailed'));
      const isOptional = line.isRequested(event) ? ({ isOptional: true } as const) : {};
      return [
        ...leftByMove(line, event),
        { kinds: ['call', 'step'], anyOf: (one) => undone.includes(one) || isOfOwner(line, event, one), ...isOptional },
      ];
    }
  }
};

const isLeft = isOf('VolumeMoveFailed', 'FormerVolumeRemoved');

/** The same work, or another host that it called, may first have removed what an earlier move left: a disk is not moved or deleted before. */
const leftByMove = (line: Timeline, event: Seen): readonly Implied[] => [
  { kinds: ['step', 'answer'], anyOf: line.newestBefore(event, isLeft), isOptional: true },
];

/** A host is drained. After a removal by the same work, the move continues that. */
const draining = (line: Timeline, event: Seen): readonly Implied[] => {
  const left = line.newestBefore(event, isLeft);
  return [{ kinds: ['step'], anyOf: (one) => one.type === 'DiskHostDraining' || left.includes(one) }];
};

/** The change of a set that started a generation. */
export const changesOf = (line: Timeline, set: string, generation: number): readonly Seen[] =>
  line
    .ofStream(`set-${set}`)
    .filter((one) => isOf('KeyAssigned', 'IdentityReplaced')(one) && one.data.generation === generation);

/** Whether an event is one of a machine that creates or deletes the disk. */
const isOfOwner = (line: Timeline, { stream }: Seen, one: Seen): boolean => {
  const disk = stream.slice(stream.indexOf('-') + 1);
  const isWithDisk = (other: Seen): boolean =>
    isOf('VmCreationStarted', 'DiskAttaching')(other) && JSON.stringify(other.data).includes(`"${disk}"`);
  return one.service === 'compute' && one.type !== 'DisksClosed' && line.ofStream(one.stream).some(isWithDisk);
};

import type {
  DiscardFormerVolumeRequest,
  PrepareArrivalRequest,
  ReceiveVolumeRequest,
  ResumeAccessRequest,
  SealVolumeRequest,
} from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { Rejection } from '@interlock/event-store';
import type { Call } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { isLayered } from '../disk/encryption.ts';
import type { StoredPiece } from '../host/disk-host.ts';
import { headerDigest } from '../host/header/disk-header-format.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { removeFormer } from './former-volume.ts';
import { type Moved, movedKind } from './moved-kinds.ts';

/** Most volumes that arrive at one time: each holds some messages in memory, and writes beside the guests. */
const arrivalsMax = 4;

/** Most bytes of one message. */
const messageDataMax = 2 * 1024 * 1024;

/**
 * The receiver of a move, for the host that has the volume. It writes only a volume id that a stored move to this host names, which
 * nothing else uses, and takes size and header from the store. So a late or wrong call changes no disk.
 */
export const arrivalsApi = (control: Control) => {
  const { turns, host, stored } = control;
  let arrivals = 0;
  return {
    async receiveVolume(requests: AsyncIterable<ReceiveVolumeRequest>) {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      const { name = '', volumeId = '' } = first.value ?? {};
      if (arrivals >= arrivalsMax) throw tooMany();
      arrivals += 1;
      try {
        // In the turn, as its removal is: so no part is made after the removal.
        await turns(name, async () => {
          const { sizeGib, encryption } = await expected(control, name, volumeId);
          await host.expect(volumeId, { sizeBytes: sizeGib * bytesPerGib, isLayered: isLayered(encryption) });
        });
        return { sha256: await host.receive(volumeId, piecesOf({ [Symbol.asyncIterator]: () => messages })) };
      } finally {
        arrivals -= 1;
      }
    },
    sealVolume: ({ name, volumeId }: SealVolumeRequest) =>
      turns(name, async () => {
        const { volume } = await expected(control, name, volumeId);
        const header = await stored.get(volume.volumeId);
        if (!header || headerDigest(header) !== volume.headerDigest) throw changed(name);
        await host.seal(volumeId, header);
        return { hostEpoch: host.epoch };
      }),
    // Not in the turn: it waits for the vault.
    async prepareArrival({ name, volumeId }: PrepareArrivalRequest, { cause }: Call) {
      const found = await expected(control, name, volumeId);
      const header = await stored.get(found.volume.volumeId);
      if (!header) throw changed(name);
      await host.checkDek({ ...found, name }, header, cause);
      return {};
    },
    async resumeAccess({ name }: ResumeAccessRequest, { cause }: Call) {
      await host.resumeAccess(name, cause);
      return {};
    },
    discardFormerVolume: ({ name }: DiscardFormerVolumeRequest, { cause }: Call) =>
      turns(name, async () => {
        await removeFormer(control, name, cause);
        return {};
      }),
  };
};

/** @throws Rejection FAILED_PRECONDITION VOLUME_NOT_EXPECTED */
const expected = async (control: Control, name: string, volumeId: string): Promise<Moved> => {
  const found = await movedKind(control, name).load(name);
  const moving = found?.moving;
  if (found && moving?.host === control.hostName && moving.volumeId === volumeId) return found;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'VOLUME_NOT_EXPECTED',
    `no move of "${name}" to disk host ${control.hostName} names this volume: it has ended, or was never announced`,
    { resource: name, volume: volumeId },
  );
};

async function* piecesOf(messages: AsyncIterable<ReceiveVolumeRequest>): AsyncGenerator<StoredPiece> {
  for await (const { part, offsetBytes, data } of messages) {
    if (data.length > messageDataMax) throw tooLong(data.length);
    if (part !== 'DATA' && part !== 'LAYER') throw partMissing(part);
    yield { part: part === 'DATA' ? 'data' : 'layer', offset: offsetBytes, data };
  }
}

const changed = (name: string): Rejection =>
  new Rejection('ABORTED', 'DISK_CHANGED', `the header of ${name} has changed meanwhile: seal it again`, {
    resource: name,
  });

const tooMany = (): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_ARRIVALS',
    `${arrivalsMax} volumes arrive at this disk host already: try again when one has arrived`,
    { limit: String(arrivalsMax) },
  );

const tooLong = (length: number): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'DATA_TOO_LONG',
    `data must have at most ${messageDataMax} bytes a message (got ${length})`,
    { field: 'data', value: String(length) },
  );

const partMissing = (part: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'FIELD_MISSING', `part must be DATA or LAYER (got ${part})`, { field: 'part' });

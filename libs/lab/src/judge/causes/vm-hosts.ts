import { type Implied, isOf, type Seen, type Timeline } from './history.ts';

/** Streams of VM hosts in compute: `vmhost-<short name>`. */
export const vmHostStream = 'vmhost-';

/** The causes that the data of a VM host's event imply. A renewal registers it, which no event causes. */
export const causesOfVmHost = (line: Timeline, event: Seen): readonly Implied[] => {
  switch (event.type) {
    case 'VmHostDrained':
      return [{ kinds: ['step'], anyOf: line.newestBefore(event, isOf('VmHostDraining')) }];
    case 'VmHostLost':
      // An operator says so, or it has not renewed for too long.
      if (event.data.by !== '') return [];
      return [{ kinds: ['timer'], anyOf: line.newestBefore(event, isOf('VmHostRegistered')) }];
    default:
      return [];
  }
};

/** What stops a machine because of its host, as the machine records it; undefined if its guest ended by itself. */
export const stopOfHost = (line: Timeline, event: Seen): Implied | undefined => {
  const type = event.data.end === 'HOST_LOST' ? 'VmHostLost' : 'VmHostDraining';
  if (event.data.end !== 'HOST_LOST' && event.data.end !== 'HOST_DRAINED') return undefined;
  const [placed] = line.newestBefore(event, isOf('VmPlaced'));
  const host = String(placed?.data.host).replace('vmHosts/', '');
  return { kinds: ['step'], anyOf: line.ofStream(`${vmHostStream}${host}`).filter(isOf(type)) };
};

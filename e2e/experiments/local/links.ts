import { connect, createServer, type Server, type Socket } from 'node:net';
import { diskHostNamed, type Experiment } from '@interlock/lab';
import { type ControlledPart, cloudParts } from '@interlock/local/control/cloud-control.ts';
import type { Route } from '@interlock/local/control/routes.ts';
import { diskHostName, isDiskHostName, type ProcessTarget, serviceNames } from '@interlock/local/services.ts';

/** A connection from a service or disk host to another part, through a proxy of this process. */
interface Link {
  readonly from: ProcessTarget;
  readonly to: ControlledPart;
  readonly server: Server;
  readonly port: number;
  readonly sockets: Set<Socket>;
  /** host:port of the part; known once the cloud starts. */
  target: string;
  delayMs: number;
  isCut: boolean;
}

/** Connections between parts of a cloud that can be slowed and cut. */
export interface Links {
  /** For the launcher. */
  readonly route: Route;
  /** Delays every byte to and from a part. @param delayMs 0 ends it */
  slow(part: ControlledPart, delayMs: number): void;
  /** Stops all traffic between two parts. Connections stay open. */
  cut(parts: readonly ControlledPart[]): void;
  heal(parts: readonly ControlledPart[]): void;
  /** Whether bytes wait between two parts that are cut. */
  hasStalled(parts: readonly ControlledPart[]): boolean;
  close(): void;
}

type Pair = readonly [ProcessTarget, ControlledPart];

/**
 * The pairs that a timeline slows or cuts: only these need a proxy. Which disk host has the disks of a group is known only when they
 * are made, so such a target stands for all.
 */
const pairsOf = ({ timeline, estate }: Pick<Experiment, 'timeline' | 'estate'>): readonly Pair[] => {
  const count = estate.kind === 'planned' ? (estate.diskHosts ?? 0) : 0;
  const hosts = Array.from({ length: count }, (_, host) => diskHostName(host));
  const faults = timeline.map(({ action, targets }) => ({
    action,
    targets: targets.flatMap((target) => ('group' in (diskHostNamed(target) ?? {}) ? hosts : [target])),
  }));
  const isUsed = ([from, to]: Pair): boolean =>
    faults.some(
      ({ action, targets }) =>
        (action === 'slow' && targets.includes(to)) ||
        (action === 'cut' && targets.includes(from) && targets.includes(to)),
    );
  return [...serviceNames, ...hosts]
    .flatMap((from) => [...cloudParts, ...hosts].map((to): Pair => [from, to]))
    .filter(([from, to]) => from !== to && canCall(from, to))
    .filter(isUsed);
};

/** Whether processes connect: disk hosts are called by control processes of disk and by guests, and do not call disk. */
const canCall = (from: ProcessTarget, to: ControlledPart): boolean => {
  if (isDiskHostName(to)) return from === 'disk' || from === 'compute';
  return !(isDiskHostName(from) && to === 'disk');
};

/** Opens a proxy for each connection that the experiment slows or cuts; undefined if it does neither. */
export const openLinks = async (experiment: Pick<Experiment, 'timeline' | 'estate'>): Promise<Links | undefined> => {
  const pairs = pairsOf(experiment);
  if (pairs.length === 0) return undefined;
  const links = await Promise.all(pairs.map(([from, to]) => openLink(from, to)));
  const between = (parts: readonly ControlledPart[]) =>
    links.filter(({ from, to }) => parts.includes(from) && parts.includes(to));
  const setCut = (parts: readonly ControlledPart[], isCut: boolean): void => {
    for (const link of between(parts)) {
      link.isCut = isCut;
      for (const socket of link.sockets)
        if (isCut) socket.pause();
        else socket.resume();
    }
  };
  return {
    route: (from, to, address) => {
      const link = links.find((one) => one.from === from && one.to === to);
      if (link === undefined) return address;
      link.target = address;
      return `${address.slice(0, address.lastIndexOf(':'))}:${link.port}`;
    },
    slow: (part, delayMs) => {
      for (const link of links) if (link.to === part) link.delayMs = delayMs;
    },
    cut: (parts) => setCut(parts, true),
    heal: (parts) => setCut(parts, false),
    hasStalled: (parts) =>
      between(parts).some(({ sockets }) => [...sockets].some(({ readableLength }) => readableLength > 0)),
    close: () => {
      for (const { server, sockets } of links) {
        server.close();
        for (const socket of sockets) socket.destroy();
      }
    },
  };
};

const openLink = async (from: ProcessTarget, to: ControlledPart): Promise<Link> => {
  const server = createServer((near) => connectThrough(link, near));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error(`the proxy from ${from} to ${to} has no port`);
  const link: Link = { from, to, server, port: address.port, sockets: new Set(), target: '', delayMs: 0, isCut: false };
  return link;
};

const connectThrough = (link: Link, near: Socket): void => {
  const at = link.target.lastIndexOf(':');
  const far = connect(Number(link.target.slice(at + 1)), link.target.slice(0, at));
  forward(link, near, far);
  forward(link, far, near);
};

/** Forwards bytes in their order, with the delay of the link. */
const forward = (link: Link, from: Socket, to: Socket): void => {
  link.sockets.add(from);
  const waiting: (() => void)[] = [];
  let dueMs = 0;
  const later = (work: () => void): void => {
    if (link.delayMs === 0 && waiting.length === 0) {
      work();
      return;
    }
    dueMs = Math.max(dueMs, performance.now() + link.delayMs);
    waiting.push(work);
    // Timers of different lengths may fire in another order: each forwards the piece that has waited longest.
    setTimeout(() => waiting.shift()?.(), Math.ceil(dueMs - performance.now())).unref();
  };
  from.on('data', (bytes) => {
    later(() => {
      // A slow reader pauses the sender, unless the link is cut: a cut resumes it.
      if (!to.write(bytes) && !link.isCut) {
        from.pause();
        to.once('drain', () => !link.isCut && from.resume());
      }
    });
  });
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    link.sockets.delete(from);
    later(() => to.destroy());
  });
  if (link.isCut) from.pause();
};

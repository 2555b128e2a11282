import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Experiment, hostNamed, isVmHostTarget } from '@interlock/lab';
import { type ControlledPart, cloudParts } from '@interlock/local/control/cloud-control.ts';
import type { Route } from '@interlock/local/control/routes.ts';
import {
  hostNamesOf,
  isDiskHostName,
  isHostName,
  isVmHostName,
  type ProcessTarget,
  serviceNames,
} from '@interlock/local/services.ts';
import { hostOfClient } from './socket-owner.ts';

/** The connections from a service or host to another part, through a proxy of this process. */
interface Link {
  readonly from: ProcessTarget;
  readonly to: ControlledPart;
  readonly server: Server;
  readonly port: number;
  /** Each with the host at whose end it is, if hosts share the proxy and one of them is cut off. */
  readonly sockets: Map<Socket, ProcessTarget>;
  /** host:port of the part; known once the cloud starts. */
  target: string;
  delayMs: number;
  /** The ends that are cut off: `from`, or hosts that share the proxy. */
  readonly cut: Set<ProcessTarget>;
  /** Hosts that share the proxy and are cut off at some time: VM hosts, whose guests call a disk host, and disk hosts that call another. */
  readonly sharers: ReadonlySet<ProcessTarget>;
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
 * The pairs that a timeline slows or cuts: only these need a proxy. Which host has the disks or guests of a group is known only when
 * they are made, so such a target stands for all of its kind.
 */
const pairsOf = ({ timeline, estate }: Pick<Experiment, 'timeline' | 'estate'>): readonly Pair[] => {
  const { diskHosts = 0, vmHosts = 0 } = estate.kind === 'planned' ? estate : {};
  const hosts = hostNamesOf({ diskHosts, vmHosts });
  const faults = timeline.map(({ action, targets }) => ({
    action,
    targets: targets.flatMap((target) =>
      'group' in (hostNamed(target) ?? {})
        ? hosts.filter((host) => isVmHostName(host) === isVmHostTarget(target))
        : [target],
    ),
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

/**
 * Whether processes connect. A disk host is called by control processes of disk, by guests and by disk hosts that move disks there; it
 * does not call control. A VM host is called by compute. It calls compute, and identity for its tokens.
 */
const canCall = (from: ProcessTarget, to: ControlledPart): boolean => {
  if (isVmHostName(to)) return from === 'compute';
  if (isDiskHostName(to)) return from === 'disk' || from === 'compute' || isHostName(from);
  if (isVmHostName(from)) return to === 'compute' || to === 'identity';
  return !(isDiskHostName(from) && to === 'disk');
};

/** The proxy through which hosts call a disk host: that of guests, or that of control processes. */
const sharedBy = ([from, to]: Pair): Pair => {
  if (!isHostName(from) || !isDiskHostName(to)) return [from, to];
  return [isVmHostName(from) ? 'compute' : 'disk', to];
};

/** Opens a proxy for each connection that the experiment slows or cuts; undefined if it does neither. */
export const openLinks = async (experiment: Pick<Experiment, 'timeline' | 'estate'>): Promise<Links | undefined> => {
  const pairs = pairsOf(experiment);
  if (pairs.length === 0) return undefined;
  const proxies = Map.groupBy(pairs, (pair) => sharedBy(pair).join(' '));
  const links = await Promise.all(
    [...proxies.values()].map(([pair, ...others]) => {
      const [from, to] = sharedBy(pair as Pair);
      const callers = [pair as Pair, ...others].map(([caller]) => caller);
      return openLink(from, to, new Set(callers.filter((caller) => caller !== from)));
    }),
  );
  const setCut = (parts: readonly ControlledPart[], isCut: boolean): void => {
    for (const { link, end } of between(links, parts)) {
      if (isCut) link.cut.add(end);
      else link.cut.delete(end);
      for (const [socket, owner] of link.sockets)
        if (isCutOff(link, owner)) socket.pause();
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
      between(links, parts).some(({ link, end }) =>
        [...link.sockets].some(
          ([{ readableLength }, owner]) => readableLength > 0 && (end === owner || end === link.from),
        ),
      ),
    close: () => {
      for (const { server, sockets } of links) {
        server.close();
        for (const socket of sockets.keys()) socket.destroy();
      }
    },
  };
};

/** The links between two parts, each with the end that is cut off there. */
const between = (links: readonly Link[], parts: readonly ControlledPart[]) =>
  links
    .filter(({ to }) => parts.includes(to))
    .flatMap((link) =>
      [link.from, ...link.sharers]
        .filter((end) => end !== link.to && parts.includes(end))
        .map((end) => ({ link, end })),
    );

const isCutOff = ({ cut, from }: Link, owner: ProcessTarget): boolean => cut.has(from) || cut.has(owner);

const openLink = async (from: ProcessTarget, to: ControlledPart, sharers: Link['sharers']): Promise<Link> => {
  const server = createServer((near) => connectThrough(link, near));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error(`the proxy from ${from} to ${to} has no port`);
  const link: Link = {
    ...{ from, to, sharers, server, port: address.port },
    ...{ sockets: new Map(), target: '', delayMs: 0, cut: new Set<ProcessTarget>() },
  };
  return link;
};

const connectThrough = (link: Link, near: Socket): void => {
  const at = link.target.lastIndexOf(':');
  const host = link.sharers.size === 0 ? undefined : hostOfClient(near.remotePort ?? 0);
  const owner = host !== undefined && link.sharers.has(host) ? host : link.from;
  const far = connect(Number(link.target.slice(at + 1)), link.target.slice(0, at));
  forward(link, owner, [near, far]);
  forward(link, owner, [far, near]);
};

/** Forwards bytes in their order, with the delay of the link. */
const forward = (link: Link, owner: ProcessTarget, [from, to]: readonly [Socket, Socket]): void => {
  link.sockets.set(from, owner);
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
      if (!to.write(bytes) && !isCutOff(link, owner)) {
        from.pause();
        to.once('drain', () => !isCutOff(link, owner) && from.resume());
      }
    });
  });
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    link.sockets.delete(from);
    later(() => to.destroy());
  });
  if (isCutOff(link, owner)) from.pause();
};

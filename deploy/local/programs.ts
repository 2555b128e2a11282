import type { SystemProgram } from './system-program.ts';

/** NATS, if NATS_URL names no server. */
export const natsServer: SystemProgram = {
  name: 'nats-server',
  packages: { 'apt-get': 'nats-server', dnf: 'nats-server', apk: 'nats-server', brew: 'nats-server' },
  byHand:
    'Get nats-server 2.10 or newer (https://github.com/nats-io/nats-server/releases, one file), put it on the PATH, or set NATS_URL to a server with JetStream.',
};

/** Renders the overlays of deploy/kubernetes for their tests. */
export const kubectl: SystemProgram = {
  name: 'kubectl',
  packages: { 'apt-get': 'kubernetes-client', dnf: 'kubernetes-client', apk: 'kubectl', brew: 'kubernetes-cli' },
  byHand: 'Get kubectl 1.30 or newer (https://kubernetes.io/docs/tasks/tools, one file) and put it on the PATH.',
};

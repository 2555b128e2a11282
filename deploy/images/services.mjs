/**
 * All images, and what each runs. `description` is a sentence for its label. `main` is a file of the workspace; `packages` are the workspace packages it
 * needs, with their own dependencies; `folders` are folders of the repository that go into the image in addition to the libraries;
 * `target` is the stage of the Containerfile, unless it is the last; `hasOptional` says whether optional dependencies are installed (Postgres).
 */
export const images = {
  identity: serviceImage('identity', 'Principals, roles and tokens of Interlock.'),
  'key-vault': serviceImage('key-vault', 'Vaults, keys and every use of a key of Interlock.'),
  'disk-encryption-set': serviceImage(
    'disk-encryption-set',
    'Disk encryption sets of Interlock: their key and its rotation.',
  ),
  disk: serviceImage('disk', 'Encrypted disks and snapshots of Interlock.'),
  compute: serviceImage('compute', 'Virtual machines of Interlock and their guests.'),
  gateway: serviceImage('gateway', "The public cloud's REST dialects over the services of Interlock."),
  // The programs that run in a cluster in addition to the services: setup, rehearsals, probes.
  tools: {
    description: 'Setup, rehearsal and command line of Interlock.',
    main: 'e2e/kubernetes/tools.ts',
    packages: ['@interlock/e2e', '@interlock/cli'],
    // The help of the command line comes from the .proto files.
    folders: [
      ...['proto', 'deploy/local', 'deploy/kubernetes', 'e2e', 'services/cli'],
      ...['services/compute/src/guest', 'services/compute/src/guests'],
    ],
  },
  // The whole cloud for tests of other projects: every service with the launcher, Postgres and NATS.
  'all-in-one': {
    description: 'A whole cloud of Interlock with its gateway, for tests.',
    main: 'deploy/local/up.ts',
    packages: [
      '@interlock/local',
      '@interlock/cli',
      ...['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute', 'gateway'].map(
        (name) => `@interlock/${name}`,
      ),
    ],
    folders: ['proto', 'deploy/local', 'deploy/guest-image', 'services'],
    target: 'all-in-one',
    hasOptional: true,
  },
};

function serviceImage(name, description) {
  return {
    description,
    main: `services/${name}/src/main.ts`,
    packages: [`@interlock/${name}`],
    folders: [`services/${name}`],
  };
}

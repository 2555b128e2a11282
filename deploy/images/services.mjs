/**
 * The images there are, and what each runs. `description` is a sentence for its label. `main` is a file of the workspace; `packages` are the workspace packages it
 * needs, their own dependencies included; `folders` what of the tree goes into the image beside the libraries;
 * `target` the stage of the recipe, where it is not the last; `hasOptional` whether optional dependencies are installed (Postgres).
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
  // What is run in a cluster beside the services: setting up, rehearsing, probing.
  tools: {
    description: 'Setup, rehearsal and command line of Interlock.',
    main: 'e2e/kubernetes/tools.ts',
    packages: ['@interlock/e2e', '@interlock/cli'],
    // The command line's help is what the .proto files say.
    folders: ['proto', 'deploy/local', 'deploy/kubernetes', 'e2e', 'services/cli', 'services/compute/src/guest'],
  },
  // The whole cloud for tests of others: every service with the launcher, Postgres and NATS.
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

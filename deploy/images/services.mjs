/**
 * The images there are, and what each runs. `main` is a file of the workspace; `packages` are the workspace packages it
 * needs, their own dependencies included; `folders` what of the tree goes into the image beside the libraries.
 */
export const images = {
  identity: serviceImage('identity'),
  'key-vault': serviceImage('key-vault'),
  'disk-encryption-set': serviceImage('disk-encryption-set'),
  disk: serviceImage('disk'),
  compute: serviceImage('compute'),
  // What is run in a cluster beside the services: setting up, rehearsing, probing.
  tools: {
    main: 'deploy/kubernetes/jobs/main.ts',
    packages: ['@interlock/e2e', '@interlock/cli'],
    // The command line's help is what the .proto files say.
    folders: ['proto', 'deploy/local', 'deploy/kubernetes', 'e2e', 'services/cli', 'services/compute/src/guest'],
  },
};

function serviceImage(name) {
  return { main: `services/${name}/src/main.ts`, packages: [`@interlock/${name}`], folders: [`services/${name}`] };
}

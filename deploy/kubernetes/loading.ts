import { LauncherError } from '@interlock/local/data-folder.ts';

/** A command and its arguments. */
type Command = readonly [string, ...string[]];

/**
 * How to load an image of this machine into the nodes of a laptop cluster, by the tool that made the cluster.
 * @param context name of the kubectl context; kind, k3d and minikube name theirs after themselves
 * @param builder the program that has the image
 * @throws LauncherError for a context of another kind: its images come from a registry
 */
export const loadingOf = (
  context: string,
  builder: 'buildah' | 'podman' | 'docker',
): ((image: string) => readonly Command[]) => {
  const [, tool, cluster = ''] = /^(kind|k3d)-(.+)$/.exec(context) ?? /^(minikube)()$/.exec(context) ?? [];
  // buildah and podman share a store. An image of docker can be saved by docker only.
  const archive = (image: string) => `/tmp/interlock-${image.replace(/[^a-z0-9]+/g, '-')}.tar`;
  const saved = (image: string): readonly Command[] => [
    ['rm', '-f', archive(image)],
    builder === 'docker'
      ? ['docker', 'save', '--output', archive(image), image]
      : ['podman', 'save', '--format', 'docker-archive', '--output', archive(image), image],
  ];
  const loaders: Readonly<Record<string, (image: string) => Command>> = {
    kind: (image) => ['kind', 'load', 'image-archive', archive(image), '--name', cluster],
    k3d: (image) => ['k3d', 'image', 'import', archive(image), '--cluster', cluster],
    minikube: (image) => ['minikube', 'image', 'load', archive(image)],
  };
  const load = tool === undefined ? undefined : loaders[tool];
  if (load === undefined) {
    throw new LauncherError(
      `Context "${context}" is of no laptop cluster this knows (kind-…, k3d-…, minikube). For another cluster push the images to a registry, ` +
        'name them in an overlay of your own (kustomize edit set image), and kubectl apply -k it.',
    );
  }
  return (image) => [...saved(image), load(image), ['rm', '-f', archive(image)]];
};

import { invalidTemplate } from './expressions.ts';

/** What the order needs of a resource. */
export interface Dependent {
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** Resources by what a reference may call them: id, `<type>/<name>`, or name; in lower case. */
const namedIn = <Resource extends Dependent>(resources: readonly Resource[]): ReadonlyMap<string, Resource> => {
  const named = new Map<string, Resource>();
  for (const resource of resources) {
    const { id, type, name } = resource;
    for (const one of [id, `${type}/${name}`, name]) named.set(one.toLowerCase(), resource);
  }
  return named;
};

/**
 * Resources with each one after those that it depends on, otherwise in the order of the template.
 * @throws RestError 400 InvalidTemplate for a resource twice, an unknown dependency, and a cycle
 */
export const inOrder = <Resource extends Dependent>(resources: readonly Resource[]): readonly Resource[] => {
  const ordered: Resource[] = [];
  const ids = new Set(resources.map(({ id }) => id.toLowerCase()));
  if (ids.size < resources.length) throw invalidTemplate('a resource is defined twice.');
  const named = namedIn(resources);
  const dependents = new Map<Resource, Resource[]>(resources.map((resource) => [resource, []]));
  const missing = new Map<Resource, number>();
  for (const resource of resources) {
    const needed = new Set(resource.dependsOn.map((one) => referred(named, resource, one)));
    missing.set(resource, needed.size);
    for (const one of needed) dependents.get(one)?.push(resource);
  }
  let ready = resources.filter((resource) => missing.get(resource) === 0);
  while (ready.length > 0) {
    ordered.push(...ready);
    const next = new Set<Resource>();
    for (const dependent of ready.flatMap((resource) => dependents.get(resource) ?? [])) {
      const left = (missing.get(dependent) ?? 0) - 1;
      missing.set(dependent, left);
      if (left === 0) next.add(dependent);
    }
    ready = resources.filter((resource) => next.has(resource));
  }
  if (ordered.length === resources.length) return ordered;
  const left = resources.filter((resource) => missing.get(resource) !== 0).map(({ name }) => name);
  throw invalidTemplate(`the resources ${left.join(', ').slice(0, 300)} depend on each other in a circle.`);
};

const referred = <Resource extends Dependent>(
  named: ReadonlyMap<string, Resource>,
  { name }: Resource,
  reference: string,
): Resource => {
  const found = named.get(reference.toLowerCase());
  if (found !== undefined) return found;
  throw invalidTemplate(
    `the resource '${name}' depends on '${reference.slice(0, 200)}', which the template does not define.`,
  );
};

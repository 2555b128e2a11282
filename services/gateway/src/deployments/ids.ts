type Fail = (what: string) => Error;

/** A resource type: `Microsoft.Compute/disks`, with the types below it. */
const resourceType = /^[\w.]+\.\w+\/[\w/]+$/;

/** The path of a resource below a group: `/providers/Microsoft.Compute/disks/d1`. @throws Error unless each type has a name */
export const providerPath = (type: string, names: readonly string[], fail: Fail): string => {
  const [namespace = '', ...kinds] = type.split('/');
  if (kinds.length !== names.length) {
    throw fail(`the type ${type.slice(0, 100)} needs ${kinds.length} names (got ${names.length})`);
  }
  return `/providers/${namespace}${kinds.map((kind, at) => `/${kind}/${names[at]}`).join('')}`;
};

/** `resourceId([subscription,] [group,] type, name, …)`. @throws Error for other arguments */
export const resourceIdOf = (
  given: readonly string[],
  place: { readonly subscription: string; readonly group: string },
  fail: Fail,
): string => {
  const at = given.findIndex((one) => resourceType.test(one));
  const type = given[at];
  if (type === undefined || at > 2) throw fail('resourceId needs a type such as Microsoft.Compute/disks');
  const before = given.slice(0, at);
  const group = before.at(-1) ?? place.group;
  const subscription = before.length === 2 ? (before[0] ?? '') : place.subscription;
  return `/subscriptions/${subscription}/resourceGroups/${group}${providerPath(type, given.slice(at + 1), fail)}`;
};

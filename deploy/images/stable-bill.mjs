/**
 * A bill of materials of `pnpm sbom` in one form for one lockfile: without time and serial number, sorted, and without the
 * dependencies of the workspace's own packages. pnpm 12.21 assigns those to a different package in each run.
 * @param {import('./stable-bill.d.mts').Bill} bill
 */
export function stableBill({ serialNumber: _random, metadata, components, dependencies, ...bill }) {
  const { timestamp: _now, ...stable } = metadata;
  return {
    ...bill,
    metadata: stable,
    components: sorted(components, (component) => component['bom-ref']),
    dependencies: sorted(dependencies, ({ ref }) => ref)
      .filter(({ ref }) => !/^pkg:npm\/(%40interlock\/|interlock@)/.test(ref))
      .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: [...dependsOn].sort() })),
  };
}

/** By an id, in the order of its characters on every machine. */
function sorted(items, idOf) {
  return [...items].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
}

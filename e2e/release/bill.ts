import { runProgram } from '../../deploy/images/builder.ts';
import { type Bill, type Component, stableBill } from '../../deploy/images/stable-bill.mjs';
import { packageManager } from '../../services/cli/app.ts';

/**
 * The bill of materials of a release, CycloneDX 1.7, as `pnpm sbom` writes it from the lockfile. It has no time and no serial number,
 * so that one commit has one bill.
 * @param bundled `name version` of packages that are bundled into a file of the release, also if only the build needs them installed
 * @throws LauncherError with the output of pnpm if that fails
 */
export const billOfMaterials = async (bundled: ReadonlySet<string>): Promise<string> => {
  const args = ['-y', packageManager, 'sbom', '--sbom-format', 'cyclonedx', '--lockfile-only'];
  return `${JSON.stringify(shippedOf(stableBill(JSON.parse(await runProgram('npx', args, process.env))), bundled), undefined, 1)}\n`;
};

/** What of a bill is in the release: without development dependencies, except those that are bundled. */
export const shippedOf = (bill: Bill, bundled: ReadonlySet<string>): Bill => {
  const components = bill.components
    .filter((component) => component.scope !== 'excluded' || bundled.has(nameOf(component)))
    .map(({ scope, properties, ...component }) =>
      properties === undefined || scope === 'excluded' ? component : { ...component, properties },
    );
  const kept = new Set(components.map((component) => component['bom-ref']));
  const dependencies = bill.dependencies
    .filter(({ ref }) => kept.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((one) => kept.has(one)) }));
  return { ...bill, components, dependencies };
};

const nameOf = ({ group, name, version }: Component): string =>
  `${group === undefined ? name : `${group}/${name}`} ${version}`;

/** `name version` of each package in the text of a THIRD-PARTY.txt (services/cli/pack.ts). */
export const bundledIn = (licences: string): ReadonlySet<string> =>
  new Set([...licences.matchAll(/^(@?[\w./-]+ \d+\.\d+\.\d+\S*) \([^)\n]+\)$/gm)].map(([, name = '']) => name));

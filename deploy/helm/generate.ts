import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { runProgram } from '../images/builder.ts';
import { runCommand } from '../local/command.ts';
import { repository } from '../local/data-folder.ts';
import { chartComponents, chartFiles } from './chart.ts';

const rendered = (folder: string): Promise<string> =>
  runProgram('kubectl', ['kustomize', join(repository, 'deploy', folder)], process.env);

/** `node deploy/helm/generate.ts`: writes the chart's templates and values from the base. Needs kubectl. */
runCommand(async () => {
  const base = await rendered('kubernetes/base');
  const components = await Promise.all(
    chartComponents.map(async (component) => ({ ...component, text: await rendered(`helm/${component.name}`) })),
  );
  const template = readFileSync(join(import.meta.dirname, 'values-template.yaml'), 'utf8');
  // Prometheus and Grafana have placeholders of their own, so these are files that templates read, and no templates.
  const files = new Map([
    ...chartFiles(base, components, template),
    ...['overlays/production/alerts.yaml', 'dashboards/interlock.json'].map(
      (file) => [`files/${basename(file)}`, readFileSync(join(repository, 'deploy/kubernetes', file), 'utf8')] as const,
    ),
  ]);
  for (const [path, text] of files) {
    const file = join(import.meta.dirname, 'interlock', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    console.log(`deploy/helm/interlock/${path}`);
  }
  return { exitCode: 0 };
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../images/builder.ts';
import { runCommand } from '../local/command.ts';
import { repository } from '../local/data-folder.ts';
import { chartFiles } from './chart.ts';

/** `node deploy/helm/generate.ts`: writes the chart's templates and values from the base. Needs kubectl. */
runCommand(async () => {
  const base = await runProgram('kubectl', ['kustomize', join(repository, 'deploy/kubernetes/base')], process.env);
  const template = readFileSync(join(import.meta.dirname, 'values-template.yaml'), 'utf8');
  for (const [path, text] of chartFiles(base, template)) {
    writeFileSync(join(import.meta.dirname, 'interlock', path), text);
    console.log(`deploy/helm/interlock/${path}`);
  }
  return { exitCode: 0 };
});

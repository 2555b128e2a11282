import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { withSteps } from '@interlock/lab/file/step-schema';
import { defaultFacts, filesPage, shippedFiles, withFiles } from '../experiments/kubernetes/files-page.ts';
import { hasKubectl } from '../kubernetes/render.ts';
import { actionsPage, causesPage, causesText, withActions } from './causes-page.ts';
import { completed, errorPage, isWordless, reasonRows } from './error-page.ts';
import { gatewayPage, gatewayText } from './gateway-page.ts';
import { reasonsInApi, reasonsInCode } from './reasons.ts';
import { rulePage, rulesOn, withProofs } from './rule-page.ts';
import { ruleProofs } from './rule-proofs.ts';
import { pageOf, pages, withTables } from './service-page.ts';
import { settingsPage, withSettings } from './settings-page.ts';
import { sizePage, withSizes } from './size-page.ts';
import { pathOf, textOf } from './sources.ts';

/** `npm run rules`: updates the parts of the pages that come from tests and code. */
writeFileSync(pathOf(settingsPage), withSettings(textOf(settingsPage)));

writeFileSync(pathOf(gatewayPage), gatewayText());

for (const name of pages) writeFileSync(pathOf(pageOf(name)), withTables(textOf(pageOf(name)), name));

writeFileSync(pathOf(sizePage), withSizes(textOf(sizePage)));

writeFileSync(pathOf(causesPage), causesText());
writeFileSync(pathOf(actionsPage), withActions(textOf(actionsPage)));

const schemaFile = 'libs/lab/experiment.schema.json';
writeFileSync(pathOf(schemaFile), JSON.stringify(withSteps(JSON.parse(textOf(schemaFile)))));
execFileSync('npx', ['biome', 'format', '--write', pathOf(schemaFile)], { stdio: 'inherit' });

const proofs = ruleProofs();
const rules = withProofs(textOf(rulePage), proofs);
writeFileSync(pathOf(rulePage), rules);
const known = new Set(rulesOn(rules));
for (const [rule, files] of proofs) {
  if (!known.has(rule)) console.log(`${rulePage} lacks ${rule}, named in ${files.join(', ')}: write its row.`);
}

const errors = completed(textOf(errorPage), reasonsInCode(), reasonsInApi());
writeFileSync(pathOf(errorPage), errors);
for (const [reason, row] of reasonRows(errors)) {
  if (isWordless(row)) console.log(`${errorPage} has no words for ${reason} yet.`);
}

if (hasKubectl()) writeFileSync(pathOf(filesPage), withFiles(textOf(filesPage), shippedFiles(await defaultFacts())));
else console.log(`${filesPage} is as it was: its table needs kubectl, which renders the overlay.`);

import { writeFileSync } from 'node:fs';
import { pathOf } from '../docs/sources.ts';
import { pageOf, truthTablePage } from './page.ts';

writeFileSync(pathOf(truthTablePage), pageOf());

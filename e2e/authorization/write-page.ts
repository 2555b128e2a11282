import { writeFileSync } from 'node:fs';
import { pathOf } from '../docs/sources.ts';
import { authorizationPage, pageOf } from './page.ts';
import { table } from './table.ts';

writeFileSync(pathOf(authorizationPage), pageOf(table));

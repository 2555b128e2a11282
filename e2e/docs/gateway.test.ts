import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatewayPage, gatewayText } from './gateway-page.ts';
import { textOf } from './sources.ts';

test("docs/not-emulated.md has the routes of the gateway's table (npm run rules writes it)", () => {
  assert.equal(textOf(gatewayPage), gatewayText());
});

export { type Endpoints, type InterlockCloud, type StartOptions, start } from './start.ts';
export { trust } from './trust.ts';

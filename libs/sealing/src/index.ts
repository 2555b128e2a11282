export { type MasterKey, type MasterKeys, masterKey, obtainMasterKey, readMasterKey } from './master-key.ts';
export { nonceLength, seal, unseal } from './seal.ts';

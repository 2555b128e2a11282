import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { Client } from '@grpc/grpc-js';
// Not by their indexes: those load all of tracing, which takes twice as long as the rest of a guest.
import { channelCredentials } from '@interlock/rpc/credentials';
import { renewable } from '@interlock/runtime/renewed';
import { openCounters } from './counters.ts';
import { connectionOptions, diskIo } from './disk-io.ts';
import { createGuest } from './guest.ts';
import { openJournal, readJournal } from './journal.ts';
import { guestClock as clock, endWhenUnneeded } from './life.ts';
import { clientTls, guestFiles, readGuestFile } from './plan.ts';
import { storeWhenPossible } from './stored.ts';

const [, , folder] = process.argv;
if (!folder) throw new Error('a guest is started with its folder');
const planFile = join(folder, guestFiles.plan);
const journalFile = join(folder, guestFiles.journal);

const clients = new Map<string, Client>();
const first = readGuestFile(planFile);
const { parentPid, ioTimeoutMs, diskAddresses } = first;
const firstTls = clientTls(first);
const tls = firstTls === 'plaintext' ? undefined : renewable(firstTls);
const ownCredentials = channelCredentials(tls ?? 'plaintext');
const clientOf = (address: string): Client => {
  const found = clients.get(address) ?? new Client(address, ownCredentials, connectionOptions(ioTimeoutMs));
  clients.set(address, found);
  return found;
};

const history = readJournal(journalFile);
const counters = openCounters(join(folder, guestFiles.counters));
const guest = createGuest({
  journal: counters.over(openJournal(journalFile)),
  history,
  clock,
  openIo: (disk) =>
    diskIo(clientOf, disk, clock, {
      ...(ioTimeoutMs === undefined ? {} : { timeoutMs: ioTimeoutMs }),
      ...(diskAddresses === undefined ? {} : { diskAddresses }),
    }),
});

const apply = async (): Promise<void> => {
  const plan = readGuestFile(planFile);
  // Open connections continue; new ones show and trust these certificates.
  const planTls = clientTls(plan);
  if (planTls !== 'plaintext') tls?.renew(planTls);
  await guest.apply(plan);
  await storeWhenPossible(join(folder, guestFiles.applied), String(plan.generation), clock);
};

let isEnding = false;
const end = async (): Promise<void> => {
  if (isEnding) return;
  isEnding = true;
  await guest.shutDown();
  counters.save();
  process.exit(0);
};
process.on('SIGTERM', () => void end());
process.on('SIGHUP', () => void apply());
void endWhenUnneeded({ planFile, parentPid, look: () => counters.save(), end: () => void end() });

await apply();
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
// Saves the compile cache for the next guest now: at the end, a stop because of a key would wait for it.
flushCompileCache();

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DataFolder } from './data-folder.ts';
import { type NatsUser, natsUsers } from './nats-authorization.ts';
import { makeNkey, type Nkey, nkeyOf } from './nkey.ts';

/** A user of the local NATS server. */
export interface LocalNatsUser extends Nkey {
  /** File with the seed (0600), for `NATS_SEED_FILE`. */
  readonly seedFile: string;
}

/** The users of this data folder, created at the first call and unchanged afterwards. */
export const openNatsUsers = (data: DataFolder): Readonly<Record<NatsUser, LocalNatsUser>> => {
  const folder = data.folder('nats', 'users');
  const open = (user: NatsUser): LocalNatsUser => {
    const seedFile = join(folder, `${user}.seed`);
    if (!existsSync(seedFile)) {
      writeFileSync(`${seedFile}.draft`, makeNkey().seed, { mode: 0o600 });
      renameSync(`${seedFile}.draft`, seedFile);
    }
    return { ...nkeyOf(readFileSync(seedFile, 'utf8')), seedFile };
  };
  return Object.fromEntries(natsUsers.map((user) => [user, open(user)])) as Record<NatsUser, LocalNatsUser>;
};

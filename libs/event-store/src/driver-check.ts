import { EventEmitter } from 'node:events';
import postgres from 'postgres';

/** The driver of Postgres loses queries on a connection that ends: the installation has it without the patch. */
export class UnpatchedDriver extends Error {
  override readonly name = 'UnpatchedDriver';
  constructor(found: string, options?: ErrorOptions) {
    super(
      `the package "postgres" is installed without the patch of this project: ${found}. ` +
        'Install with pnpm from a clone (pnpm-workspace.yaml, patchedDependencies) or use the images. ' +
        'Why: docs/decisions/0020-the-database-driver-is-mended-by-a-patch.md',
      options,
    );
  }
}

/** What opens a pool: the default export of the package. */
export type Driver = typeof postgres;

/**
 * Refuses a driver that lacks the patch (libs/event-store/patches), which a package from npm cannot carry. The check looks at
 * what the driver does and not at its version: a later release that behaves is accepted.
 *
 * It plays the worst of the defects, on sockets in memory: a connection ends with an error, and a query is called before the
 * socket has closed. The driver must fail that query. Without the patch it keeps the query, and resolves
 * it with the answer of a later one.
 * @throws UnpatchedDriver
 */
export const checkDriver = async (driver: Driver = postgres): Promise<void> => {
  const broken = new FakeServer(1);
  const servers = [broken, new FakeServer(Number.POSITIVE_INFINITY)];
  const options = {
    max: 1,
    max_lifetime: 0,
    fetch_types: false,
    backoff: () => 0,
    connect_timeout: 5,
    onnotice: () => {},
  };
  // `socket` is an option of the driver that its types leave out.
  const sql = driver('postgres://probe@localhost/probe', {
    ...options,
    socket: () => servers.shift(),
  } as typeof options);
  let fate = 'kept';
  const callSecond = (): void => {
    sql.unsafe('second').then(
      () => (fate = 'resolved'),
      () => (fate = 'failed'),
    );
  };
  try {
    await sql.unsafe('the connection is open');
    await sql.unsafe('first').then(() => undefined, callSecond);
    await broken.closed;
    await sql.unsafe('third').catch((cause: unknown) => {
      throw new UnpatchedDriver('after a lost connection it does not connect again', { cause });
    });
    // What is still kept when a later query has its answer gets the answer of the next one.
    if (fate !== 'failed') throw new UnpatchedDriver(`a query on a lost connection is ${fate} and not failed`);
  } finally {
    await sql.end({ timeout: 0 });
  }
};

// Messages of a Postgres: AuthenticationOk, ReadyForQuery, CommandComplete.
const authenticated = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const done = Buffer.concat([Buffer.from([0x43, 0, 0, 0, 13]), Buffer.from('SELECT 0\0'), ready]);

/** As much of a socket and of a Postgres behind it as the check needs: it greets, gives some answers without rows, and breaks off. */
class FakeServer extends EventEmitter {
  readonly closed: Promise<void>;
  readyState = 'open';
  #answersLeft: number;
  #isGreeted = false;

  constructor(answers: number) {
    super();
    this.#answersLeft = answers;
    this.closed = new Promise((resolve) => this.once('close', () => setImmediate(resolve)));
  }

  write(): boolean {
    if (this.readyState !== 'open') return true;
    if (!this.#isGreeted) {
      this.#isGreeted = true;
      this.#send(Buffer.concat([authenticated, ready]));
    } else if (this.#answersLeft > 0) {
      this.#answersLeft -= 1;
      this.#send(done);
    } else this.#breakOff();
    return true;
  }

  #send(answer: Buffer): void {
    setImmediate(() => this.emit('data', answer));
  }

  /** An error now, the end after what is written meanwhile: two rounds of the event loop later. */
  #breakOff(): void {
    this.readyState = 'closed';
    this.emit('error', new Error('the connection is lost'));
    setImmediate(() => setImmediate(() => this.emit('close', true)));
  }

  end(): void {
    this.readyState = 'closed';
    setImmediate(() => this.emit('close', false));
  }

  destroy(): void {
    this.end();
  }
}

import { EventEmitter } from 'node:events';
import postgres from 'postgres';

/** The installed Postgres driver lacks the patch: it loses queries on a connection that ends. */
export class UnpatchedDriver extends Error {
  override readonly name = 'UnpatchedDriver';
  constructor(found: string, options?: ErrorOptions) {
    super(
      `the package "postgres" is installed without the patch of this project: ${found}. ` +
        'Install with pnpm from a clone (pnpm-workspace.yaml, patchedDependencies) or use the images. ' +
        'Why: docs/decisions/0020-a-patch-repairs-the-database-driver.md',
      options,
    );
  }
}

/** What opens a pool: the default export of the package. */
export type Driver = typeof postgres;

/**
 * Refuses a driver without the patch (libs/event-store/patches), which a package from npm cannot contain. It checks the
 * behaviour, not the version: a later release that behaves is accepted.
 *
 * It provokes the worst defect on in-memory sockets: a connection ends with an error, and a query is called before the socket
 * closes. The driver must fail that query. Without the patch it keeps the query, and resolves it with the result of a later one.
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
  let outcome = 'kept';
  const callSecond = (): void => {
    sql.unsafe('second').then(
      () => (outcome = 'resolved'),
      () => (outcome = 'failed'),
    );
  };
  try {
    await sql.unsafe('the connection is open');
    await sql.unsafe('first').then(() => undefined, callSecond);
    await broken.closed;
    await sql.unsafe('third').catch((cause: unknown) => {
      throw new UnpatchedDriver('after a lost connection it does not connect again', { cause });
    });
    if (outcome !== 'failed') throw new UnpatchedDriver(`a query on a lost connection is ${outcome} and not failed`);
  } finally {
    await sql.end({ timeout: 0 });
  }
};

// Messages of a Postgres: AuthenticationOk, ReadyForQuery, CommandComplete.
const authenticated = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const done = Buffer.concat([Buffer.from([0x43, 0, 0, 0, 13]), Buffer.from('SELECT 0\0'), ready]);

/** A socket with a minimal Postgres behind it: it accepts the client, answers some queries without rows, and breaks off. */
class FakeServer extends EventEmitter {
  readonly closed: Promise<void>;
  readyState = 'open';
  #answersLeft: number;
  #isAccepted = false;

  constructor(answers: number) {
    super();
    this.#answersLeft = answers;
    this.closed = new Promise((resolve) => this.once('close', () => setImmediate(resolve)));
  }

  write(): boolean {
    if (this.readyState !== 'open') return true;
    if (!this.#isAccepted) {
      this.#isAccepted = true;
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

  /** Fails now and closes two turns of the event loop later, so that queries can be written in between. */
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

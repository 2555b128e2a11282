import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import type { Clock } from '@interlock/runtime/clock';

/** An event of QEMU, for example `STOP` or `BLOCK_IO_ERROR`. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** QEMU refused a command. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
}

/** QEMU left a command without a response, or the connection ended. */
export class QmpSilence extends Error {
  override readonly name = 'QmpSilence';
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Message {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: QmpEvent['data'];
}

/** The QEMU Machine Protocol over a connected stream: commands with responses, and events. */
export class Qmp {
  readonly #stream: Duplex;
  readonly #clock: Pick<Clock, 'alarm'>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #greeted = Promise.withResolvers<void>();
  readonly #onEvent: (event: QmpEvent) => void;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  #last = 0;
  #isOver = false;

  /** @param onEvent called with each event, in order */
  constructor(stream: Duplex, clock: Pick<Clock, 'alarm'>, onEvent: (event: QmpEvent) => void) {
    this.#stream = stream;
    this.#clock = clock;
    this.#onEvent = onEvent;
    // A reset ends the connection like an end does.
    stream.on('error', () => undefined);
    const lines = createInterface({ input: stream }).on('error', () => undefined);
    lines.on('line', (line) => this.#receive(JSON.parse(line)));
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#end();
        resolve();
      };
      stream.once('end', end).once('close', end);
    });
  }

  /** Waits for the greeting and enables commands. @throws QmpSilence */
  async open(timeoutMs: number): Promise<void> {
    const late = this.#clock.alarm(timeoutMs, () => this.#greeted.reject(new QmpSilence('QEMU sent no QMP greeting')));
    try {
      await this.#greeted.promise;
    } finally {
      late.cancel();
    }
    await this.execute('qmp_capabilities', {}, timeoutMs);
  }

  /**
   * Executes a command.
   * @returns what QEMU returned
   * @throws QmpError if it refused; QmpSilence if it did not respond within `timeoutMs`, or the connection ended
   */
  async execute(command: string, args: object, timeoutMs: number): Promise<unknown> {
    if (this.#isOver) throw new QmpSilence(`${command}: the QMP connection has ended`);
    this.#last += 1;
    const id = this.#last;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    const late = this.#clock.alarm(timeoutMs, () =>
      reject(new QmpSilence(`QEMU did not respond to ${command} within ${timeoutMs} ms`)),
    );
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await promise;
    } catch (error) {
      // Without its arguments: a block device has a token in them.
      if (error instanceof QmpError) throw new QmpError(`QEMU refused ${command}: ${error.message}`);
      throw error;
    } finally {
      late.cancel();
      this.#waiting.delete(id);
    }
  }

  #receive(message: Message): void {
    if (message.QMP !== undefined) this.#greeted.resolve();
    else if (message.event !== undefined) this.#onEvent({ event: message.event, data: message.data ?? {} });
    else if (message.id !== undefined) {
      const waiting = this.#waiting.get(message.id);
      if (message.error === undefined) waiting?.resolve(message.return);
      else waiting?.reject(new QmpError(message.error.desc));
    }
  }

  #end(): void {
    this.#isOver = true;
    const ended = new QmpSilence('the QMP connection ended');
    this.#greeted.reject(ended);
    // If the greeting was received, or is no longer waited for, this rejection has no receiver.
    void Promise.allSettled([this.#greeted.promise]);
    for (const { reject } of this.#waiting.values()) reject(ended);
  }
}

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { limitConnecting } from './connecting.ts';

const program = `
  const server = require('node:net').createServer(() => {});
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));`;

test('G3: a connection that nobody answers is given up in time, and one that came about is not', {
  timeout: 20_000,
}, async (t) => {
  limitConnecting(500);
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const open = (): Socket => {
    const socket = connect({ host: '127.0.0.1', port: Number(line) });
    t.after(() => socket.destroy());
    return socket;
  };
  const first = open();
  await once(first, 'connect');
  // What stands still has connections made for it until there is no more room; of the next ones nothing is heard.
  child.kill('SIGSTOP');
  const later = Array.from({ length: 5 }, open);
  const outcomes = await Promise.all(
    later.map((socket) =>
      Promise.race([once(socket, 'connect').then(() => 'connected'), once(socket, 'close').then(() => 'closed')]).catch(
        String,
      ),
    ),
  );
  assert.ok(
    outcomes.some((outcome) => outcome.includes('no connection came about within 500 ms')),
    outcomes.join(),
  );
  assert.equal(first.destroyed, false);
});

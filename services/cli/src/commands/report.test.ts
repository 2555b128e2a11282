import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { UsageError } from '../problems.ts';
import { stateText } from '../report/gather.ts';
import { activityLog, answers, loss, lossMs, row } from '../report/test-group.ts';
import { sleepingClock, testProgram } from '../session/test-session.ts';

const clock = { ...sleepingClock(), now: () => lossMs + 60_000 };

/** What a reader sees of the page. */
const pageOf = (written: ReadonlyMap<string, Uint8Array>, file = 'report.html'): string =>
  Buffer.from(written.get(file) ?? []).toString('utf8');
const textOf = (page: string): string =>
  page
    .replace(/<style>[\s\S]*?<\/style>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');

test('report writes a page of what happened to machines and keys, without an experiment', async () => {
  const { run, written, lines, sent } = testProgram(answers, { clock });
  await run('report', '--since', '5m');
  const text = textOf(pageOf(written));
  assert.match(
    text,
    /The platform stopped 1 of 1 machines, the last was off 1\.20 s after access was lost; 1 of them does not run now\./,
  );
  assert.match(text, /t0: key disabled access given back/);
  assert.match(text, /key disabled KeyUpdate: disable every version 12:00:00 kv1\/k1 Olga \(00000000…\)/);
  assert.match(text, /vm1 des1 STOPPED KEY_DISABLED, KEY_DELETED 2 stops – 1\.20 s 6\.00 s 40 30 3 0/);
  assert.match(text, /KEY_DISABLED KeyCheckAccess kv1\/k1 Olga \(00000000…\) 2 12:00:00 12:00:05/);
  assert.match(text, /the rows show power states alone/);
  assert.deepEqual(lines, ['report.html: machines 1, changes of their keys 3, reads and writes 0']);
  const audit = sent.find(({ method }) => method === 'ListAuditEntries');
  assert.deepEqual([audit?.request.parent, audit?.request.startTime], ['vaults/kv1', '2026-01-01T11:56:00.000Z']);
});

test('report says that a stop was decided, not that the machine was off, if the cloud does not record the end', async () => {
  const entries = activityLog.filter(
    ({ operation, status }) => !/health/.test(String(operation)) || status !== 'SUCCEEDED',
  );
  const { run, written } = testProgram({ ...answers, ListActivityLog: { entries } }, { clock });
  await run('report', '--since', '5m');
  const text = textOf(pageOf(written));
  assert.match(text, /The platform stopped 1 of 1 machines, decided 500 ms after access was lost at the latest/);
  assert.match(text, /500 ms from the access loss until a stop was decided, at most/);
  assert.match(text, /2 stops – decided after 500 ms 6\.00 s/);
  assert.doesNotMatch(text, /until a machine was off|was off \d/);
});

test('report measures a stop from the loss that caused it, not from one that was undone before', async () => {
  const last = row(55_000, 'healthEvent', 'ACTIVE', { ...loss, cause: 'ACCESS_DENIED' });
  const entries = [
    ...activityLog.slice(0, 10),
    { ...last, operationId: 'role' },
    { ...row(56_000, 'healthEvent', 'SUCCEEDED', { cause: 'ACCESS_DENIED' }), operationId: 'role' },
  ];
  const changes = answers.ListAuditEntries.auditEntries.slice(0, 4);
  const { run, written } = testProgram(
    { ...answers, ListActivityLog: { entries }, ListAuditEntries: { auditEntries: changes } },
    { clock },
  );
  await run('report', '--since', '5m');
  const text = textOf(pageOf(written));
  assert.match(text, /the last was off 1\.20 s after access was lost \(1 stop has no known access loss\)/);
  assert.match(text, /KEY_DISABLED, ACCESS_DENIED 2 stops – 1\.20 s 6\.00 s/);
});

test('report reads the journals of guests from compute, page by page', async () => {
  const operation = (ms: number, ok: boolean) => ({
    ...{ disk: 'd1', kind: 'WRITE', sequence: '1', ok },
    ...{ invokeTimeMs: String(lossMs + ms - 1), completeTimeMs: String(lossMs + ms) },
  });
  const ReadGuestJournal = [
    { operations: [operation(-400_000, true), operation(-100, true)], readTo: '1:2', atEnd: false },
    {
      operations: [
        operation(300, true),
        operation(900, false),
        { ...operation(950, true), kind: 'FLUSH' },
        { kind: 'ADOPT' },
      ],
      readTo: '1:3',
      atEnd: true,
    },
  ];
  const { run, written, lines, sent } = testProgram({ ...answers, ReadGuestJournal }, { clock });
  await run('report', '--since', '5m', '--output', 'page.html');
  assert.match(lines[0] ?? '', /reads and writes 3$/);
  assert.match(
    textOf(pageOf(written, 'page.html')),
    /vm1 des1 STOPPED KEY_DISABLED, KEY_DELETED 2 stops 300 ms 1\.20 s/,
  );
  assert.doesNotMatch(pageOf(written, 'page.html'), /<script|\bsrc=|\bhref=/);
  assert.equal(sent.filter(({ method }) => method === 'ReadGuestJournal')[1]?.request.after, '1:2');
});

test('report lists what the caller may not read, and shows the rest', async () => {
  const refused = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no right to read kv1');
  const { run, written, asides } = testProgram(
    { ...answers, ListAuditEntries: refused, GetPrincipal: refused },
    { clock },
  );
  await run('report');
  assert.match(textOf(pageOf(written)), /What could not be read the audit log of kv1: no right to read kv1/);
  assert.deepEqual(asides, ['not read: the audit log of kv1: no right to read kv1']);
});

test('report -o json writes the same as data, and a bad duration is refused before any call', async () => {
  const { run, lines, sent, written } = testProgram(answers, { clock });
  await assert.rejects(run('report', '--since', '10'), UsageError);
  assert.deepEqual(sent, []);
  await run('report', '-o', 'json');
  const { machines, changes } = JSON.parse(lines.join('\n'));
  assert.deepEqual([machines.length, changes.length, written.size], [1, 3, 0]);
});

test('report shows the disk hosts if there are several, or if one does not serve', async () => {
  const shownFor = async (diskHosts: readonly JsonObject[] | Rejection) => {
    const hosts = diskHosts instanceof Rejection ? diskHosts : { diskHosts: [...diskHosts] };
    const { run, written } = testProgram({ ...answers, ListDiskHosts: hosts }, { clock });
    await run('report');
    return textOf(pageOf(written));
  };
  const host = (n: number, liveness: string) => ({ name: `diskHosts/disk-${n}`, state: 'OPEN', liveness });
  const shown = await shownFor([host(0, 'SERVING'), host(1, 'UNREACHABLE')]);
  assert.match(shown, /Disk host State Disks of the group disk-0 serving 0 disk-1 unreachable 0/);
  assert.doesNotMatch(await shownFor([host(0, 'SERVING')]), /Disk host State/);
  assert.match(await shownFor([host(0, 'UNREACHABLE')]), /disk-0 unreachable 0/);
  const refused = await shownFor(new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no'));
  assert.doesNotMatch(refused, /Disk host State|disk hosts:/);
});

test('report shows at which VM host a machine is, and that its host was lost or drained', () => {
  const machine = { powerState: 'RUNNING', vmHost: 'vmHosts/vm-host-1' };
  assert.equal(stateText(machine), 'RUNNING at vm-host-1');
  assert.equal(
    stateText({ ...machine, powerState: 'STOPPED', stopCause: 'HOST_LOST' }),
    'STOPPED at vm-host-1 (HOST_LOST)',
  );
  assert.equal(stateText({ powerState: 'STOPPED', stopCause: 'KEY_LOST' }), 'STOPPED');
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import { spansIn } from '../format/otlp.ts';
import { testRun } from '../test-run.ts';
import { exported } from './exports.ts';
import { viewed } from './link-view.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-parquet-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('DuckDB reads every exported Parquet table, and joins edges, events and spans', async () => {
  for (const [path, content] of exported(testRun(), 'parquet', 'links')) writeFileSync(join(folder, path), content);
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowsJS();
  const count = async (name: string) => (await rows(`select count(*) from '${folder}/${name}.parquet'`))[0]?.[0];
  const names = ['spans', 'links', 'logs', 'metrics', 'events', 'edges', 'faults', 'io'];
  assert.deepEqual(await Promise.all(names.map(count)), [5n, 1n, 1n, 0n, 5n, 3n, 1n, 1n]);
  const joined = await rows(`
    select e.type, s.name, s.start_unix_nano from '${folder}/edges.parquet' x
    join '${folder}/events.parquet' e on e.id = x."to"
    join '${folder}/spans.parquet' s on s.trace_id = e.trace_id and s.span_id = e.span_id
    order by s.start_unix_nano, e.type`);
  assert.deepEqual(joined, [
    ['KeyAccessLost', 'process', 1_700_000_000_020_000_000n],
    ['VmStopped', 'stop', 1_700_000_000_030_000_000n],
    ['VmStopping', 'stop', 1_700_000_000_030_000_000n],
  ]);
  connection.closeSync();
});

test('exports for OpenRCA, RCAEval and Jaeger have the files and columns of these formats', () => {
  const openRca = exported(testRun(), 'openrca', 'links');
  assert.deepEqual(
    [...openRca.keys()],
    [
      'telemetry/2023_11_14/trace/trace_span.csv',
      'telemetry/2023_11_14/log/log_service.csv',
      'telemetry/2023_11_14/metric/metric_service.csv',
      'record.csv',
      'query.csv',
    ],
  );
  assert.equal(
    openRca.get('record.csv'),
    'level,component,timestamp,datetime,reason\nservice,key-vault,1700000000,2023-11-14 22:13:20,disable\n',
  );
  assert.match(
    String(openRca.get('query.csv')),
    /^task_index,instruction,scoring_points\ntask_7,.*"The only root cause occurrence time is within 1 minutes \(i\.e\., <=1min\) of 2023-11-14 22:13:20\nThe only predicted root cause component is key-vault\nThe only predicted root cause reason is disable"\n$/,
  );
  assert.match(String(openRca.get('telemetry/2023_11_14/log/log_service.csv')), /"machine, ""stopped"""/);
  const rcaEval = exported(testRun(), 'rcaeval', 'links');
  assert.equal(rcaEval.get('key-vault_disable/1/inject_time.txt'), '1700000000\n');
  const { data } = JSON.parse(String(exported(testRun(), 'jaeger', 'links').get('jaeger.json')));
  assert.equal(data.length, 3);
  const [process] = data[1].spans;
  assert.deepEqual(
    process.references.map(({ refType }: { refType: string }) => refType),
    ['FOLLOWS_FROM'],
  );
  assert.equal(data[1].processes[process.processID].serviceName, 'disk-encryption-set');
});

test('view parents moves a linked trace into that of its publisher; view both also keeps the links', () => {
  const spansOf = (view: 'parents' | 'both' | 'links') => spansIn(viewed(testRun().traces, view));
  const seen = (view: 'parents' | 'both' | 'links') => {
    const process = spansOf(view).find(({ name }) => name === 'process');
    return [Number(process?.traceId), Number(process?.parentSpanId ?? 0), process?.links?.length ?? 0];
  };
  assert.deepEqual(
    [seen('links'), seen('parents'), seen('both')],
    [
      [2, 0, 1],
      [1, 2, 0],
      [1, 2, 1],
    ],
  );
  const stop = spansOf('parents').find(({ name }) => name === 'stop');
  assert.deepEqual([Number(stop?.traceId), Number(stop?.parentSpanId)], [1, 3]);
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ConfigProblem, readConfig, telemetrySpec } from './index.ts';
import { telemetryOptions } from './telemetry.ts';

type Env = Readonly<Record<string, string>>;

const read = (env: Env) => {
  const ignored: ConfigProblem[] = [];
  const config = readConfig(env, telemetrySpec, (problem) => ignored.push(problem));
  return { config, options: telemetryOptions(config), ignored: ignored.map(({ name }) => name) };
};

/** Values that this project does not support: some of the specification, some invented. */
const notUsed: Env = {
  OTEL_SDK_DISABLED: 'yes',
  OTEL_TRACES_SAMPLER: 'jaeger_remote',
  OTEL_TRACES_SAMPLER_ARG: 'endpoint=http://jaeger:14250',
  OTEL_TRACES_EXPORTER: 'zipkin',
  OTEL_METRICS_EXPORTER: 'statsd',
  OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/xml',
  OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'grpc',
  OTEL_LOGS_EXPORTER: 'file',
  OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'grpc',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'collector',
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'traces',
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'metrics',
  OTEL_EXPORTER_PROMETHEUS_PORT: 'http',
  OTEL_RESOURCE_ATTRIBUTES: 'team=disks,broken',
  OTEL_METRIC_EXPORT_INTERVAL: '1m',
  OTEL_EXPORTER_OTLP_TIMEOUT: '10s',
  OTEL_BSP_SCHEDULE_DELAY: '-1',
  OTEL_BSP_MAX_QUEUE_SIZE: '0',
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: 'many',
};

describe('variables of the OpenTelemetry specification', () => {
  test('an unusable value is replaced by the default, with a warning that names the variable', () => {
    const { config, ignored } = read(notUsed);
    assert.deepEqual(config, readConfig({}, telemetrySpec));
    assert.deepEqual(ignored.sort(), Object.keys(notUsed).sort());
  });

  test('an empty value counts as not set, without a warning', () => {
    const empty = Object.fromEntries(Object.keys(notUsed).map((name) => [name, '']));
    assert.deepEqual(read(empty).ignored, []);
    assert.deepEqual(read(empty).config, readConfig({}, telemetrySpec));
  });

  test('OTEL_SDK_DISABLED is true only for "true" in any letter case; other values but "false" cause a warning', () => {
    for (const [value, disabled, warnings] of [
      ['true', true, 0],
      ['True', true, 0],
      ['TRUE', true, 0],
      ['False', false, 0],
      ['1', false, 1],
      ['yes', false, 1],
    ] as const) {
      const { config, ignored } = read({ OTEL_SDK_DISABLED: value });
      assert.deepEqual([value, config.otelSdkDisabled, ignored.length], [value, disabled, warnings]);
    }
  });

  test('an unsampled parent stays unsampled by default', () => {
    const { options } = read({});
    assert.ok(String(options.sampler).startsWith('ParentBased{root=AlwaysOnSampler'), String(options.sampler));
  });

  test('every sampler of the specification is supported, with its argument', () => {
    for (const [name, arg, shown] of [
      ['always_on', '', 'AlwaysOnSampler'],
      ['always_off', '', 'AlwaysOffSampler'],
      ['traceidratio', '0.25', 'TraceIdRatioBased{0.25}'],
      ['traceidratio', '', 'TraceIdRatioBased{1}'],
      ['traceidratio', '1.5', 'TraceIdRatioBased{1}'],
      ['parentbased_always_on', '', 'ParentBased{root=AlwaysOnSampler'],
      ['parentbased_always_off', '', 'ParentBased{root=AlwaysOffSampler'],
      ['Parentbased_TraceIdRatio', '0', 'ParentBased{root=TraceIdRatioBased{0}'],
    ] as const) {
      const { options, ignored } = read({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: arg });
      assert.ok(String(options.sampler).startsWith(shown), `${name}(${arg}): ${options.sampler}`);
      assert.deepEqual(ignored, arg === '1.5' ? ['OTEL_TRACES_SAMPLER_ARG'] : []);
    }
  });

  test('of a list of exporters, known ones are used and unknown ones cause a warning; "none" means no exporter', () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
    const where = (metrics: string) => {
      const { options, ignored } = read({ ...endpoint, OTEL_METRICS_EXPORTER: metrics });
      const { metricsEndpoint, prometheus, metricsOnConsole } = options;
      return [metricsEndpoint !== undefined, prometheus?.port, metricsOnConsole, ignored.length];
    };
    assert.deepEqual(where('otlp'), [true, undefined, false, 0]);
    assert.deepEqual(where('prometheus'), [false, 9_464, false, 0]);
    assert.deepEqual(where('OTLP, prometheus,console'), [true, 9_464, true, 0]);
    assert.deepEqual(where('console,statsd'), [false, undefined, true, 1]);
    assert.deepEqual(where('statsd'), [true, undefined, false, 1]);
    assert.deepEqual(where('none'), [false, undefined, false, 0]);
    const { tracesEndpoint, tracesOnConsole } = read({ ...endpoint, OTEL_TRACES_EXPORTER: 'console' }).options;
    assert.deepEqual([tracesEndpoint, tracesOnConsole], [undefined, true]);
  });

  test('resource attributes are percent-encoded pairs; an unreadable pair discards all of them', () => {
    const attributesOf = (OTEL_RESOURCE_ATTRIBUTES: string) => read({ OTEL_RESOURCE_ATTRIBUTES });
    assert.deepEqual(
      attributesOf('team=disks%2C%20keys, deployment.environment.name = test,empty=').options.attributes,
      {
        team: 'disks, keys',
        'deployment.environment.name': 'test',
        empty: '',
      },
    );
    for (const broken of ['team', '=disks', 'team=disks,%', 'team=%zz']) {
      const { options, ignored } = attributesOf(broken);
      assert.deepEqual([options.attributes, ignored], [{}, ['OTEL_RESOURCE_ATTRIBUTES']]);
    }
  });
});

describe('telemetryOptions', () => {
  const optionsOf = (env: Env) => read(env).options;
  const general = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };

  test('traces go to the general endpoint with /v1/traces, or to their own endpoint unchanged', () => {
    assert.equal(optionsOf({}).tracesEndpoint, undefined);
    assert.equal(optionsOf(general).tracesEndpoint, 'http://collector:4318/v1/traces');
    const own = { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://traces/x' };
    assert.equal(optionsOf(own).tracesEndpoint, 'http://traces/x');
  });

  test('metrics go to the general endpoint with /v1/metrics or to their own, and can be turned off alone', () => {
    assert.equal(optionsOf({}).metricsEndpoint, undefined);
    assert.equal(optionsOf(general).metricsEndpoint, 'http://collector:4318/v1/metrics');
    const own = { ...general, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://metrics/x' };
    assert.equal(optionsOf(own).metricsEndpoint, 'http://metrics/x');
    const off = optionsOf({ ...own, OTEL_METRICS_EXPORTER: 'none' });
    assert.deepEqual([off.metricsEndpoint, off.tracesEndpoint], [undefined, 'http://collector:4318/v1/traces']);
  });

  test('a signal has its own protocol, otherwise the general one, in any letter case', () => {
    const { tracesProtocol, metricsProtocol, logsProtocol } = optionsOf({
      OTEL_EXPORTER_OTLP_PROTOCOL: 'HTTP/protobuf',
      OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json',
    });
    assert.deepEqual([tracesProtocol, metricsProtocol, logsProtocol], ['http/protobuf', 'http/protobuf', 'http/json']);
  });

  test('logs go to the general endpoint, to their own endpoint, or nowhere', () => {
    assert.equal(optionsOf(general).logsEndpoint, 'http://collector:4318/v1/logs');
    assert.equal(optionsOf({ OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: 'http://logs/x' }).logsEndpoint, 'http://logs/x');
    assert.equal(optionsOf({ ...general, OTEL_LOGS_EXPORTER: 'none' }).logsEndpoint, undefined);
  });

  test('the default sampler of telemetryOptions is parentbased_always_on', () => {
    assert.match(String(optionsOf({}).sampler), /^ParentBased\{root=AlwaysOnSampler/);
  });

  test('the batch size is at most the queue size, because the exporter would refuse a larger one', () => {
    assert.equal(optionsOf({ OTEL_BSP_MAX_QUEUE_SIZE: '10' }).batch?.batchSizeMax, 10);
  });
});

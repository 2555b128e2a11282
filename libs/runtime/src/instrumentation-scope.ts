import { type Tracer, trace } from '@opentelemetry/api';

/** Version of the semantic conventions of all telemetry. */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.45.0';

/** Version of the scopes of this repository: that of its packages. */
export const SCOPE_VERSION = '0.1.0';

/** A tracer of the global provider, for parts that receive none. @param scope `@interlock/<package>` */
export const scopeTracer = (scope: `@interlock/${string}`): Tracer =>
  trace.getTracerProvider().getTracer(scope, SCOPE_VERSION, { schemaUrl: SCHEMA_URL });

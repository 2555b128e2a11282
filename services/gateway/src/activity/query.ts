import { RestError } from '../errors/rest-error.ts';
import { filterLexicon, termsOf } from '../text/odata.ts';

/** Which events a request selects. */
export interface EventQuery {
  /** Unix times in milliseconds. */
  readonly from: number;
  readonly until: number;
  readonly group?: string | undefined;
  /** ARM id. */
  readonly resource?: string | undefined;
  readonly correlationId?: string | undefined;
  /** Whether the requested resource provider is that of machines. */
  readonly hasMachines: boolean;
}

/**
 * Reads the `$filter` of events: a time span, and at most one of group, resource, provider, correlation id.
 * @throws RestError 400
 */
export const eventQueryOf = (filter: string | undefined): EventQuery => {
  const query: { -readonly [Member in keyof EventQuery]: EventQuery[Member] } = {
    from: Number.NEGATIVE_INFINITY,
    until: Number.POSITIVE_INFINITY,
    hasMachines: true,
  };
  for (const { name, operator, given, shown } of termsOf(filter, filterLexicon(invalid))) {
    const [value = ''] = given;
    switch (`${name} ${operator}`) {
      case 'eventtimestamp ge':
      case 'eventtimestamp gt':
        query.from = timeOf(value);
        break;
      case 'eventtimestamp le':
      case 'eventtimestamp lt':
        query.until = timeOf(value);
        break;
      case 'resourcegroupname eq':
        query.group = value;
        break;
      case 'resourceuri eq':
      case 'resourceid eq':
        query.resource = value;
        break;
      case 'correlationid eq':
        query.correlationId = value.toLowerCase();
        break;
      case 'resourceprovider eq':
        query.hasMachines = value.toLowerCase() === 'microsoft.compute';
        break;
      case 'eventchannels eq':
      case 'levels eq':
        break;
      default:
        throw invalid(`the term "${shown}" is unknown`);
    }
  }
  return query;
};

const timeOf = (text: string): number => {
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw invalid(`"${text.slice(0, 50)}" is not a time`);
  return time;
};

const invalid = (what: string): RestError =>
  new RestError(
    400,
    'BadRequest',
    `The $filter of events is invalid: ${what}. Terms: eventTimestamp ge and le, resourceGroupName eq, resourceUri eq, resourceProvider eq, correlationId eq; joined by "and".`,
  );

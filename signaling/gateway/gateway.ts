import { Hono } from 'hono';
import type { Context } from 'hono';
import { Registry } from 'prom-client';
import { randomHex } from '../../src/client/api/answer-head.ts';
import type { ApiModels } from '../../src/client/api/api-models.ts';
import { modelList, modelObject } from '../../src/client/api/model-list.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { Log } from '../log.ts';
import { Admission } from './admission.ts';
import { anthropicModel, anthropicModels } from './anthropic-models.ts';
import { Callers } from './callers.ts';
import type { Caller } from './caller.ts';
import { addressOf, withoutIdleTimeout } from './client.ts';
import type { GatewayEnv } from './client.ts';
import { ANTHROPIC, OPENAI } from './dialect.ts';
import type { Dialect } from './dialect.ts';
import type { Endpoint } from './endpoint.ts';
import { ENDPOINTS } from './endpoints.ts';
import { Exchange } from './exchange.ts';
import { HttpProblem } from './http-problem.ts';
import type { KeyStore } from './key-file.ts';
import { DEFAULT_MAX_API_REQUESTS, DEFAULT_MAX_BODY_BYTES, MAX_BODIES_BYTES } from './limits.ts';
import { GatewayMetrics } from './metrics.ts';
import type { MeshFigures } from './metrics.ts';
import { serveMetrics } from './metrics-page.ts';
import { readJson } from './read-json.ts';
import { serveQuestion } from './serve-question.ts';
import type { Answer } from './serve-question.ts';

/** What an operator decides. */
export interface GatewayOptions {
  readonly models: ApiModels;
  /** How they are asked. */
  readonly answer: Answer;
  /** Null leaves the API open to everybody who can reach it. */
  readonly keys?: KeyStore | null;
  readonly maxBodyBytes?: number;
  /** Questions under way. */
  readonly maxRequests?: number;
  /** How long a question waits for a model that is not whole; it is refused at once by default. */
  readonly routeWaitMs?: number;
  /** Anybody may read `/metrics`, which only this machine and the operator may otherwise. */
  readonly isMetricsPublic?: boolean;
}

export interface GatewayDeps extends GatewayOptions {
  readonly mesh: () => MeshFigures;
  readonly log: Log;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Believe X-Forwarded-For. */
  readonly trustProxy: boolean;
  /** Whether this is the operator's key; takes as long for a wrong one. */
  readonly isOperator?: (key: string) => boolean;
  readonly registry?: Registry;
}

type ApiContext = Context<GatewayEnv>;

/** Answers one request, with an error where `run` throws. */
type ServeExchange = (
  endpoint: string,
  dialect: Dialect,
  run: (exchange: Exchange) => Response | Promise<Response>,
) => Promise<Response>;

/** The APIs that programs know, over this mesh, and figures of it. Makes no socket. */
export function createGateway(deps: GatewayDeps): Hono<GatewayEnv> {
  const { models, log, now, answer } = deps;
  const app = new Hono<GatewayEnv>();
  const admission = new Admission({
    maxRequests: deps.maxRequests ?? DEFAULT_MAX_API_REQUESTS,
    maxBodiesBytes: MAX_BODIES_BYTES,
  });
  const callers = new Callers({ keys: deps.keys ?? null, now });
  const metrics = new GatewayMetrics(deps.registry ?? new Registry(), {
    mesh: deps.mesh,
    active: () => admission.requests,
  });

  const exchange: ServeExchange = async (endpoint, dialect, run) => {
    const begun = new Exchange(`req_${randomHex(16)}`, endpoint, dialect, { metrics, log, now });
    try {
      return await run(begun);
    } catch (thrown) {
      return begun.fail(thrown);
    }
  };

  const callerOf = async ({ req, env }: ApiContext, { record }: Exchange): Promise<Caller> => {
    const caller = await callers.identify(req.raw.headers, addressOf(env, deps.trustProxy));
    if (caller === null) throw noKey();
    record.caller = caller.name;
    return caller;
  };

  const serve = (context: ApiContext, endpoint: Endpoint): Promise<Response> =>
    exchange(endpoint.name, endpoint.dialect, async (current) => {
      const { record } = current;
      const request = context.req.raw;
      const admitted = current.enter(await callerOf(context, current), admission);
      const resume = withoutIdleTimeout(context.env);
      try {
        const json = await readJson(request, {
          maxBytes: deps.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
          takeBytes: (sizeBytes) => admitted.takeBytes(sizeBytes),
        });
        if (endpoint.kind === 'plain') {
          const onModel = (id: string) => (record.model = id);
          const body = await endpoint.respond(json, models, { signal: request.signal, onModel });
          return done(current, body);
        }
        return await serveQuestion(endpoint.ask(json), {
          models,
          answer,
          dialect: endpoint.dialect,
          record,
          signal: request.signal,
          now,
          routeWaitMs: deps.routeWaitMs ?? 0,
          onGap: (model, seconds) => metrics.tokenGap(model, seconds),
          headers: () => current.headers(),
          onEnd: () => current.end(),
        });
      } finally {
        resume();
      }
    });

  const tellModels = (context: ApiContext, body: (isAnthropic: boolean) => object): Promise<Response> => {
    const isAnthropic = context.req.header('anthropic-version') !== undefined;
    return exchange('models', isAnthropic ? ANTHROPIC : OPENAI, async (current) => {
      await callerOf(context, current);
      return done(current, body(isAnthropic));
    });
  };

  for (const endpoint of ENDPOINTS) app.post(endpoint.path, (context) => serve(context, endpoint));
  app.get('/v1/models', (context) =>
    tellModels(context, (isAnthropic) => (isAnthropic ? anthropicModels : modelList)(models.list())),
  );
  app.get('/v1/models/:id', (context) =>
    tellModels(context, (isAnthropic) => {
      return (isAnthropic ? anthropicModel : modelObject)(cardOf(models, context.req.param('id')));
    }),
  );
  app.get('/metrics', (context) => serveMetrics(context, deps, metrics.registry));
  app.all('/v1/*', (context) => refuseRoute(context, exchange));
  return app;
}

/** Whole, and at once. */
function done(current: Exchange, body: object): Response {
  current.record.status = 200;
  current.end();
  return Response.json(body, { headers: current.headers() });
}

/** What is answered at other methods, or nowhere. */
function refuseRoute({ req: { path, method } }: ApiContext, exchange: ServeExchange): Promise<Response> {
  const isAnthropic = path.startsWith('/v1/messages');
  return exchange('unknown', isAnthropic ? ANTHROPIC : OPENAI, () => {
    const allowed = allowedAt(path);
    if (allowed !== null) {
      const words = `${path} takes ${allowed}, not ${method}.`;
      throw new HttpProblem(405, 'method_not_allowed', words, { allow: allowed });
    }
    const known = ENDPOINTS.map((endpoint) => endpoint.path).join(', ');
    throw new HttpProblem(404, 'not_found', `There is no ${path} here, only /v1/models, ${known}.`);
  });
}

function allowedAt(path: string): string | null {
  if (ENDPOINTS.some((endpoint) => endpoint.path === path)) return 'POST';
  return /^\/v1\/models(\/[^/]+)?$/.test(path) ? 'GET, HEAD' : null;
}

function cardOf(models: ApiModels, id: string): ModelCard {
  const card = models.list().find((offered) => offered.id === id);
  if (card !== undefined) return card;
  throw new SkeinError('model-missing', `There is no model ${JSON.stringify(id.slice(0, 100))} here.`);
}

function noKey(): HttpProblem {
  const words =
    'Send a key that is good here, as "Authorization: Bearer" or "x-api-key". Its operator makes one.';
  return new HttpProblem(401, 'invalid_api_key', words, { 'www-authenticate': 'Bearer' });
}

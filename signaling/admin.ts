import { Hono } from 'hono';
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import * as v from 'valibot';
import { ACTIVATIONS } from '../src/protocol/activations.ts';
import { CACHE_FORMATS } from '../src/protocol/cache-format.ts';
import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId } from '../src/protocol/ids.ts';
import { QUANTIZATIONS } from '../src/protocol/quantization.ts';
import { refusedField } from '../src/protocol/refused-field.ts';
import type { AdminModels, ModelListing } from './admin-models.ts';
import { isFromThisMachine } from './gateway/client.ts';
import type { GatewayEnv } from './gateway/client.ts';
import { HttpProblem } from './gateway/http-problem.ts';
import { readJson } from './gateway/read-json.ts';
import { cameOverTls } from './tls-origin.ts';

/** Who asks for a model to be added is told that it takes longer after this; the list says how it goes. */
const ADD_WAIT_MS = 15_000;
const MAX_BODY_BYTES = 16 * 1024;
/** For answers under way on a model that is removed. */
const DEFAULT_DRAIN_SECONDS = 300;
const MAX_DRAIN_SECONDS = 3_600;

const wishSchema = v.strictObject({
  location: v.pipe(v.string(), v.minLength(1), v.maxLength(2000)),
  quantize: v.optional(v.picklist(QUANTIZATIONS), 'none'),
  cache: v.optional(v.picklist(CACHE_FORMATS), 'f32'),
  activations: v.optional(v.picklist(ACTIVATIONS), 'f32'),
});

export interface AdminDeps {
  readonly models: AdminModels;
  readonly isOperator: (key: string) => boolean;
  readonly trustProxy: boolean;
}

/** What the operator of a server can do while it runs, at /admin: to see, add and remove models. */
export function createAdmin({ models, isOperator, trustProxy }: AdminDeps): Hono<GatewayEnv> {
  const admin = new Hono<GatewayEnv>();
  admin.use(async (context, next) => {
    context.header('cache-control', 'no-store');
    const { req, env } = context;
    if (!trustProxy && !cameOverTls(req.raw, false) && !isFromThisMachine(env, false)) {
      const words =
        'The operator key is not for plain HTTP from other machines. Use the HTTPS address, or ask on the machine itself.';
      return refuse(context, 403, new SkeinError('bad-argument', words));
    }
    const key = /^Bearer +(\S+)$/i.exec(req.header('authorization') ?? '')?.[1];
    if (key === undefined || !isOperator(key)) {
      context.header('www-authenticate', 'Bearer');
      const words =
        'This needs the operator key: Authorization: Bearer <key>. The server says at its start where it is.';
      return refuse(context, 401, new SkeinError('bad-argument', words));
    }
    return next();
  });

  admin.get('/models', (context) => context.json({ models: models.list() }));

  admin.post('/models', async (context) => {
    const body = v.safeParse(
      wishSchema,
      await readJson(context.req.raw, { maxBytes: MAX_BODY_BYTES, takeBytes: () => undefined }),
    );
    if (!body.success) {
      const { field, reason } = refusedField(body.issues);
      return refuse(context, 400, new SkeinError('bad-argument', `${field || 'The body'}: ${reason}`));
    }
    const { quantize: quantization, ...others } = body.output;
    const { attempt, done } = models.add({ quantization, ...others });
    const id = await Promise.race([done, later(ADD_WAIT_MS)]);
    const isAdded = (model: ModelListing) =>
      id === null ? 'attempt' in model && model.attempt === attempt : 'id' in model && model.id === id;
    return context.json({ model: models.list().find(isAdded) ?? null }, id === null ? 202 : 201);
  });

  admin.delete('/models/:id', (context) => {
    const within = context.req.query('within') ?? String(DEFAULT_DRAIN_SECONDS);
    if (!/^\d{1,5}$/.test(within) || Number(within) > MAX_DRAIN_SECONDS) {
      const words = `within: give whole seconds, ${MAX_DRAIN_SECONDS} at most.`;
      return refuse(context, 400, new SkeinError('bad-argument', words));
    }
    // Cast: an id that is none is nobody's.
    const id = context.req.param('id') as ModelId;
    models.drain(id, Number(within) * 1000);
    const draining = models.list().find((model) => 'id' in model && model.id === id);
    return context.json({ model: draining ?? { id, state: 'removed' } }, draining === undefined ? 200 : 202);
  });

  admin.onError((error, context) => {
    if (error instanceof HttpProblem) {
      const status = error.problem.status as ContentfulStatusCode;
      return refuse(context, status, new SkeinError('bad-argument', error.message));
    }
    if (error instanceof SkeinError) return refuse(context, statusOf(error), error);
    throw error;
  });
  return admin;
}

function refuse(context: Context, status: ContentfulStatusCode, error: SkeinError) {
  return context.json({ error: error.toShape() }, status);
}

function statusOf({ code, data }: SkeinError): ContentfulStatusCode {
  switch (code) {
    case 'bad-argument':
      return data['isTaken'] === true ? 409 : 400;
    case 'model-missing':
      return 404;
    case 'model-corrupt':
    case 'model-unsupported':
      return 422;
    case 'busy':
      return 429;
    case 'timeout':
    case 'server-lost':
      return 502;
    default:
      return 500;
  }
}

function later(ms: number): Promise<null> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(null), ms).unref();
  });
}

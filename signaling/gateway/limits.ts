/** What the gateway takes of programs that ask over HTTP, with units and reasons. */

/** Bytes of a question. A conversation that fills a long context is some hundred KiB. */
export const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;
/** Nesting of a question: schemas of tools are the deepest that anybody writes. */
export const MAX_BODY_DEPTH = 64;
/** Questions under way; as many as may wait for room on the mesh. */
export const DEFAULT_MAX_API_REQUESTS = 1024;
/** Bytes of questions under way together: a few hundred of the longest, or all of ordinary length. */
export const MAX_BODIES_BYTES = 256 * 1024 * 1024;
/** Who finds no room is told to come back after this long. */
export const FULL_RETRY_SECONDS = 2;

/** A stream that has nothing to say says so this often; proxies cut silent connections after half a minute and more. */
export const KEEP_ALIVE_MS = 10_000;
/** A stream begins after this long although there is no token yet. Until then what fails is answered with its status. */
export const STREAM_PATIENCE_MS = 5_000;
/** A question waits so long for the gateway's own connection to the server, which is in the same process. */
export const SERVER_PATIENCE_MS = 5_000;

/** Programs without a key, from one address that is not this machine. */
export const ANONYMOUS_LIMITS = { requestsPerMinute: 120, tokensPerMinute: 120_000, concurrent: 16 };
/** Addresses that are remembered; more than can have connections. */
export const MAX_ANONYMOUS_CALLERS = 8192;

/** Bytes of a file of keys, and keys in it. */
export const MAX_KEY_FILE_BYTES = 4 * 1024 * 1024;
export const MAX_API_KEYS = 10_000;
/** Characters of a key that is worth hashing. */
export const MAX_API_KEY_CHARACTERS = 512;
/** How often it is looked whether the file of keys is another. */
export const KEY_FILE_CHECK_MS = 1_000;
/** After a refusal because no route leads over a whole model. */
export const NO_ROUTE_RETRY_SECONDS = 5;

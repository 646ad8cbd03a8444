/** Every cap on what one client can make the server do, with its unit and its reason. */

/** Open signaling sockets in all; each costs a few KiB and a share of every mesh broadcast. */
export const MAX_SOCKETS = 1024;
/** Open signaling sockets from one address. Generous: a school or an office shares one. */
export const MAX_SOCKETS_PER_ADDRESS = 128;
/** Messages a socket may send at once. A new link takes about 20, and a tab may open several. */
export const MESSAGE_BURST = 400;
/** Messages a socket may send per second in the long run. */
export const MESSAGES_PER_SECOND = 50;
/** Refused messages after which a socket is closed: an honest client sends none. */
export const MAX_STRIKES = 8;
/** Bytes queued for a socket above which its reader counts as gone. */
export const MAX_SEND_QUEUE_BYTES = 4 * 1024 * 1024;
/** Characters of JSON in one relayed signal; half a message, so that the stamped relay is a message too. */
export const MAX_SIGNAL_CHARACTERS = 32 * 1024;
/** Requests of one peer that hold a route, or wait for one, at the same time. */
export const MAX_REQUESTS_PER_PEER = 256;
/** Requests that wait for room, of everybody together. Who comes after them would wait for minutes on any mesh. */
export const MAX_QUEUED_REQUESTS = 1024;
/** Requests that lost their route and wait for another, of everybody together; they may be more than have a place in line. */
export const MAX_RESUMING_REQUESTS = 1024;
/**
 * Waiting requests that are asked about again each time although nothing but the peers they exclude holds them up, and
 * the others pass them; the rest of them have their turn the next time.
 */
export const MAX_HELD_ASKED = 16;
/** Requests of one peer that wait for room: what a program sends at once, but not the whole queue. */
export const MAX_QUEUED_PER_PEER = 64;
/** A requester hears of a new place in the queue no more often than this; a queue of 1024 is as many messages per second. */
export const QUEUE_NOTICE_REST_MS = 1_000;
/** A requester hears of its place at least this often; well within ROUTE_REQUEST_TIMEOUT_MS, by which it would give up. */
export const QUEUE_NOTICE_REPEAT_MS = 5_000;
/** A route is taken back so long after its requester's time is up: its own word, that it ended, is on its way until then. */
export const ROUTE_GRACE_MS = 5_000;
/** How often it is looked who is over time. */
export const OVERTIME_CHECK_MS = 1_000;
/** Whom the queue has no room for is told to come back after this long. */
export const BUSY_RETRY_SECONDS = 5;
/**
 * Tokens that requests over a peer may announce, over the tokens of cache it has. Answers end long before their limit
 * more often than not, and where too many do not, stages take turns (they preempt and compute again). Twice keeps caches
 * full without making that the rule.
 */
export const CACHE_OVERCOMMIT = 2;

/**
 * A peer that is needed for other layers, because nobody serves them, gets this long to finish the answers it has; after
 * that they are routed anew.
 */
export const URGENT_DRAIN_LIMIT_MS = 30_000;
/** As long as that for one that moves for a better placement only: cutting answers off for it does not pay. */
export const DRAIN_LIMIT_MS = 10 * 60_000;
/** A move that waits this long for others to take over is given up. Longer than large slices take to load. */
export const MOVE_PATIENCE_MS = 15 * 60_000;
/**
 * A slice gets this long to load, and the time that its bytes take at a slow rate. Beside the download, config is read and
 * kernels are compiled and measured: two minutes on a software GPU that is not alone on its machine.
 */
export const LOADING_GRACE_MS = 5 * 60_000;
/**
 * Bytes of weights, as they are held, that the slowest welcome peer loads in a second. Where peers quantise what they load,
 * up to four times as many travel: 32 Mbit/s. Slower ones hold layers from others for longer than they are worth.
 */
export const LOADING_BYTES_PER_SECOND = 1_000_000;
/** How often it is asked whether moving peers pays. */
export const REBALANCE_INTERVAL_MS = 30_000;
/** A peer that was moved because it pays is not moved again for that reason within this time: loading has to pay first. */
export const MOVE_REST_MS = 10 * 60_000;
/** How often a peer that lends its device is asked to measure the way to others. */
export const PROBE_INTERVAL_MS = 60_000;
/** Characters of an error's message; what the peer's own words are cut to. */
export const MAX_ERROR_CHARACTERS = 1000;

/** A socket that does not answer a ping until the next one is gone; one that never said hello by then, too. */
export const PING_INTERVAL_MS = 15_000;
/** How often what waits for time is looked at: queues, peers that drain, measurements that age. */
export const TICK_INTERVAL_MS = 1_000;
/** Changes of the mesh within this time for each of its members go out as one message: a hundred wait a second. */
export const MESH_BROADCAST_DELAY_MS = 10;
/** Whatever their number. 1024 members are 400 KB to each of as many sockets. */
export const MAX_MESH_BROADCAST_DELAY_MS = 5_000;
/** Sockets that do not close within this time when the server stops are cut. */
export const CLOSE_GRACE_MS = 1_000;

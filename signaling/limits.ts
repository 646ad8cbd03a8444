/** Every cap on what one client can make the server do, with its unit and its reason. */

/** Open signaling sockets in all; each costs a few KiB and a share of every mesh broadcast. */
export const MAX_SOCKETS = 1024;
/** Open signaling sockets from one address. Generous: a school or an office shares one. */
export const MAX_SOCKETS_PER_ADDRESS = 128;
/** Addresses that are remembered, with what came from them of late; more than there are sockets. */
export const MAX_ADDRESSES = 4096;
/** Sockets that one address may open at once: after a restart a whole school comes back within seconds. */
export const ADDRESS_CONNECTION_BURST = 256;
export const ADDRESS_CONNECTIONS_PER_SECOND = 8;
/**
 * Messages a socket may send at once. A program with MAX_REQUESTS_PER_PEER requests over one hop says of each that it was
 * lost, and asks for another route; a new link takes about 20, and a tab may open several.
 */
export const MESSAGE_BURST = 1000;
/** Messages a socket may send per second in the long run. */
export const MESSAGES_PER_SECOND = 50;
/** Messages of all sockets of one address: 128 tabs that come back at once say about 30 each. */
export const ADDRESS_MESSAGE_BURST = 4096;
export const ADDRESS_MESSAGES_PER_SECOND = 1000;
/** A message counts as one more for each of so many bytes: an honest one is a session description of 2 KB at most times. */
export const BYTES_PER_MESSAGE_TOKEN = 8 * 1024;
/** Times a socket may join and leave at once, each of which makes the server place everybody anew. */
export const PLACEMENT_BURST = 32;
export const PLACEMENTS_PER_SECOND = 0.5;
export const ADDRESS_PLACEMENT_BURST = 512;
export const ADDRESS_PLACEMENTS_PER_SECOND = 8;
/** Suspicions of one socket at once: one for each of MAX_REQUESTS_PER_PEER requests that a hop failed, and some more. */
export const SUSPECT_BURST = 320;
export const SUSPECTS_PER_SECOND = 2;
/** Refused messages at once after which a socket is closed: an honest client sends none. */
export const MAX_STRIKES = 8;
/** One of them is forgotten after so long. */
export const STRIKE_MEMORY_SECONDS = 30;
/** Parts of one message; a browser sends it in one. */
export const MAX_MESSAGE_FRAGMENTS = 64;
/** Bytes queued for a socket above which its reader counts as gone: two of the largest messages. */
export const MAX_SEND_QUEUE_BYTES = 2 * 1024 * 1024;
/** Bytes queued for a socket above which it is sent no signals of others, and the next state of the mesh only. */
export const SLOW_READER_BYTES = 256 * 1024;
/** Characters of JSON in one relayed signal; half a message, so that the stamped relay is a message too. */
export const MAX_SIGNAL_CHARACTERS = 32 * 1024;
/** Requests of one peer that hold a route, or wait for one, at the same time. */
export const MAX_REQUESTS_PER_PEER = 256;
/** Requests that wait for room, of everybody together. Who comes after them would wait for minutes on any mesh. */
export const MAX_QUEUED_REQUESTS = 1024;
/** Requests that lost their route and wait for another, of everybody together; they may be more than have a place in line. */
export const MAX_RESUMING_REQUESTS = 1024;
/** Requests that go on after a restart, and wait to be counted until all their hops are back. */
export const MAX_RETURNING_REQUESTS = 4096;
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

/** After a restart nobody is moved until nobody came back for so long: clients come back within 4 s of each other. */
export const RESUME_SETTLE_MS = 3_000;
/** Peers that are remembered in the first minute; more than there are sockets. */
export const MAX_KNOWN_PEERS = 16_384;
/** Nor for longer than this, whoever still comes. */
export const MAX_RESUME_SETTLE_MS = 10_000;
/**
 * After a peer was lost nobody is moved until nobody was lost for so long: a client whose connection broke tries again within
 * half a second, and layers that nobody serves should not wait for one that crashed.
 */
export const LOSS_SETTLE_MS = 800;
/** Nor for longer than this, whoever is lost next. */
export const MAX_LOSS_SETTLE_MS = 3_000;
/** Those who come back later than this after the start find their place like everybody else. */
export const RESTART_WATCH_MS = 60_000;
/** What somebody who came back says it holds, and which routes it uses, is taken on its word for so long. */
export const RESUME_WORD_MS = 30_000;

/** Routes of a requester avoid a peer that it suspects for so long, where there are others. */
export const SUSPECT_AVOID_MS = 2 * 60_000;
/** Peers that one requester's routes avoid; as many as a route request may name. */
export const MAX_AVOIDED_PEERS = 64;
/** A suspected peer that gives no sign of life for this long counts as gone. */
export const ROLL_CALL_MS = 3_000;
/** A peer is asked for one no more often than this, however many suspect it. */
export const ROLL_CALL_REST_MS = 5_000;
/** Two accusers within this time make a peer a suspect for everybody. */
export const ACCUSATION_MS = 10 * 60_000;
/** A suspect gets no work for this long. */
export const SUSPECT_MS = 10 * 60_000;
/** Accusers of one peer that are remembered, the last ones. */
export const MAX_ACCUSERS = 8;
/** Accused peers, and suspects, that are remembered; accusing takes a route over each of them. */
export const MAX_ACCUSED = 4096;

/** TCP connections in all, and from one address: a tab that loads a model has six of them. */
export const MAX_CONNECTIONS = 4096;
export const MAX_CONNECTIONS_PER_ADDRESS = 1024;
/** The head of a request, and all of it, are to arrive within this time: a MiB over a slow way takes some seconds. */
export const REQUEST_HEAD_TIMEOUT_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 30_000;
/** How often it is looked whose time is over. */
export const REQUEST_CHECK_MS = 1_000;
/** A download that takes nothing for this long is given up. */
export const HTTP_IDLE_TIMEOUT_MS = 120_000;

/** A socket that says no hello within this time is nobody's. */
export const HELLO_TIMEOUT_MS = 5_000;
/** A socket that does not answer a ping until the next one is gone. */
export const PING_INTERVAL_MS = 15_000;
/** How often what waits for time is looked at: queues, peers that drain, measurements that age. */
export const TICK_INTERVAL_MS = 1_000;
/** Changes of the mesh within this time for each of its members go out as one message: a hundred wait a second. */
export const MESH_BROADCAST_DELAY_MS = 10;
/** Whatever their number. 1024 members are 400 KB to each of as many sockets. */
export const MAX_MESH_BROADCAST_DELAY_MS = 5_000;
/** Sockets that are to close and do not within this time are cut. */
export const CLOSE_GRACE_MS = 1_000;

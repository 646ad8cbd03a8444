/** Every cap on what the outside can make us do, with its unit and its reason. */

/** Largest data-channel message. 64 KiB is the size every browser takes (RFC 8831 leaves larger ones optional). */
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** Largest reassembled frame: 512 rows of 8192 f32 activations are 16 MiB. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024 + 64 * 1024;
/** A frame of which no part arrives for this long ends the link. */
export const FRAME_ASSEMBLY_TIMEOUT_MS = 10_000;
/** Above this many queued bytes a sender waits; Chrome closes a channel at 16 MiB. */
export const SEND_HIGH_WATER_BYTES = 1024 * 1024;
/** A waiting sender goes on below this many queued bytes. */
export const SEND_LOW_WATER_BYTES = 256 * 1024;
/**
 * A sender begins no frame while this much of what it sent is not handled at the other end: 40 MB/s over a way of 100 ms. What
 * waits at a receiver is at most this and a frame.
 */
export const LINK_WINDOW_BYTES = 4 * 1024 * 1024;
/** What waits at one peer, of all others together: a dozen that use up what each of them may have. */
export const MAX_WAITING_BYTES = 256 * 1024 * 1024;
/** What a waiting frame counts beside its bytes: its place in a queue is memory too. */
export const FRAME_OVERHEAD_BYTES = 1024;
/**
 * Messages of one link, at once and then each second. An honest stage sends some hundred frames a second, and large ones at the
 * rate of a very fast network: 4000 full messages are 250 MB.
 */
export const MAX_MESSAGE_BURST = 16_384;
export const MAX_MESSAGES_PER_SECOND = 4_000;
/** The two ends of a new link say hello this often until they hear each other: what comes before an end listens is lost. */
export const GREETING_INTERVAL_MS = 50;
/** An open link on which nothing was heard for this long is asked for a sign of life, */
export const LINK_PING_AFTER_MS = 1_000;
/** and after this long it is lost. */
export const LINK_SILENCE_MS = 3_000;
/**
 * Refused frames of one peer, at once and then one in this time: faults of a network or of a program happen now and then, and
 * more is no accident. A broken link weighs as much as several.
 */
export const MAX_STRIKES = 16;
export const STRIKE_REFILL_MS = 4_000;
export const BROKEN_LINK_STRIKES = 4;
/** Connections that one peer may have this one begin, at once and then one in this time: each costs sockets and memory, also for a moment. */
export const MAX_DIAL_BURST = 8;
export const DIAL_REFILL_MS = 2_000;
/** A peer that was cut off for what it sent gets no link for this long. */
export const BAN_MS = 120_000;
/** Peers whose conduct is remembered; those that did least are forgotten first. */
export const MAX_WATCHED_PEERS = 1024;

/** Sequences in one frame. */
export const MAX_FRAME_SEQUENCES = 256;
/** Token rows in one frame, over all its sequences. */
export const MAX_FRAME_ROWS = 4096;
/** Width of an activation row. The largest open models have 16,384. */
export const MAX_HIDDEN_SIZE = 32_768;
/**
 * Block hashes of one request: 131,072 tokens, the context of the largest open models. A longer prompt names its first
 * blocks only.
 */
export const MAX_BLOCK_HASHES = 8192;
/** Logit biases of one request. */
export const MAX_LOGIT_BIASES = 1024;
/** Most probable tokens reported with one token; what OpenAI's API has. */
export const MAX_TOP_LOG_PROBABILITIES = 20;
/** Distinct tokens of a prompt, and of an answer, that penalties count across routes: more than a long conversation has. */
export const MAX_HISTORY_TOKENS = 8192;
/** A structural tag as JSON text: hundreds of tools with their schemas. */
export const MAX_CONSTRAINT_CHARACTERS = 65_536;
/**
 * JSON inside an `open` or `failed` frame: block hashes take 35 bytes each, 280 KiB at most, the tokens that penalties count
 * 260 KiB, a structural tag six bytes a character where all are escaped, 384 KiB, the answer it has to be kept to after
 * 88 KiB, logit biases 32 KiB, the longest route 12 KiB.
 */
export const MAX_FRAME_JSON_BYTES = 1120 * 1024;
/** Hops of a route; more stages than this never pay. */
export const MAX_ROUTE_HOPS = 128;
/** Prompt and answer of one request, in tokens. */
export const MAX_SEQUENCE_TOKENS = 1024 * 1024;
/** Stop token ids of one request. */
export const MAX_STOP_TOKENS = 64;

/** One signaling message to the server; the largest honest one is an SDP offer of a few KiB. */
export const MAX_SIGNALING_BYTES = 64 * 1024;
/** Nested arrays and objects of a signaling message; the deepest of ours has seven, with a candidate in a signal. */
export const MAX_SIGNALING_DEPTH = 32;
/** One signaling message from the server; the largest is a mesh of 1024 members at about 400 bytes each. */
export const MAX_SERVER_SIGNALING_BYTES = 1024 * 1024;
/** The signaling socket is given up when the server does not answer `hello` in this time. */
export const SIGNALING_CONNECT_TIMEOUT_MS = 10_000;
/**
 * The same for an attempt to get a session back, for the first of them; each of the next has as much more. A network that
 * swallows everything must not cost the time of many attempts, and a server with many to welcome needs more than one.
 */
export const SIGNALING_RESUME_TIMEOUT_MS = 2_000;
/** A connection that held for this long was no passing one: after it, attempts to connect again come quickly at first. */
export const SESSION_STEADY_MS = 10_000;
/** From the wish for a link to an open data channel. */
export const DIAL_TIMEOUT_MS = 15_000;
/** A dial to which the other end has said nothing for this long is repeated once: signals get lost while a server restarts. */
export const DIAL_RETRY_MS = 5_000;
/** A request without any sign from its route for this long has lost it. Generous: a slow tab's first prefill step counts. */
export const STEP_TIMEOUT_MS = 60_000;
/** A request may ask for no more time than a day; its caches and links are somebody's. */
export const MAX_TIME_LIMIT_MS = 24 * 60 * 60 * 1000;
/** After a polite goodbye, answers under way get this long to finish. */
export const DRAIN_TIMEOUT_MS = 30_000;
/** A stage frees a sequence that nobody has fed for this long. */
export const SEQUENCE_IDLE_TIMEOUT_MS = 120_000;
/**
 * A stage frees a sequence that was never fed after this. Longer than a dial takes; a requester that waits for more than that asks
 * after it, and that counts.
 */
export const SEQUENCE_UNFED_TIMEOUT_MS = 20_000;
/**
 * What a stage has of a request that failed through no fault of its own waits for a new route this long: much longer than finding
 * one takes, and its cache blocks can be had by others meanwhile.
 */
export const SUSPENDED_SEQUENCE_MS = 30_000;
/** Requests that wait so at one stage; the one that has waited longest goes. Half of those it may have open. */
export const MAX_SUSPENDED_SEQUENCES = 128;
/** Activations that a stage sent, kept to be sent again: 65,536 rows of 2048 halves. */
export const MAX_JOURNAL_BYTES = 256 * 1024 * 1024;
/**
 * A step waits this long for a next hop to take what it is sent; after that only what goes over that hop waits. Some steps of a
 * quick stage, and less than the megabyte takes that a slow uplink may have queued.
 */
export const SLOW_HOP_PATIENCE_MS = 250;
/** A next hop that takes nothing at all for this long has failed what goes over it: before the requester takes its upstream for the one that hangs. */
export const STUCK_HOP_MS = 3_000;
/** Rows that came at a stage before their next hop could be reached, over all requests: four of the largest frames. */
export const MAX_HELD_BYTES = 4 * MAX_FRAME_BYTES;

/**
 * Tokens of key-value cache that every stage has at least, and that one request may take. Placement counts them
 * beside the weights: more, and small peers hold fewer layers.
 */
export const CACHE_RESERVE_TOKENS = 2048;
/**
 * Tokens of key-value cache a stage allocates at most, however much memory it is lent: more than its batches of 32
 * requests take, with room for prefixes that come again.
 */
export const MAX_STAGE_CACHE_TOKENS = 65_536;

/** Bytes of a safetensors header; the largest published checkpoints stay below 10 MiB. */
export const MAX_SAFETENSORS_HEADER_BYTES = 64 * 1024 * 1024;
/** Bytes before the tensors of a GGUF file; a vocabulary of 256,000 with its merges takes 12 MiB. */
export const MAX_GGUF_HEADER_BYTES = 64 * 1024 * 1024;
/** One text in a GGUF header; the longest are chat templates. */
export const MAX_GGUF_STRING_BYTES = 1024 * 1024;
/** Tensors, or metadata entries, of a GGUF file; a dense model of 128 layers has 1,500 tensors. */
export const MAX_GGUF_ENTRIES = 65_536;
/** Bytes of config.json, an index or a tokenizer file. */
export const MAX_MODEL_JSON_BYTES = 128 * 1024 * 1024;

/**
 * The least a device may lend. Far below the slowest honest one, a software GPU on a busy machine, which measures some
 * MFLOP/s: the bounds only keep claims of nothing out of the arithmetic.
 */
export const MIN_MEMORY_BYTES = 1024 * 1024;
export const MIN_MATVEC_BYTES_PER_SECOND = 1e4;
export const MIN_MATMUL_FLOPS_PER_SECOND = 1e5;
/** The least rate of a link: a measured one that is slower is not in use. */
export const MIN_LINK_BYTES_PER_SECOND = 1;
/** Slices a peer says it still has the weights of. */
export const MAX_CACHED_SLICES = 16;
/** Weights that a peer keeps on its disk, so that loading them again takes no download; browsers may allow less. */
export const MAX_CACHED_WEIGHT_BYTES = 16 * 1024 ** 3;
/** A token to resume a session with; ours are an HMAC in base64url. */
export const MAX_RESUME_TOKEN_CHARACTERS = 200;
/** Links in one report; the ones in use come first. */
export const MAX_REPORTED_LINKS = 64;
/** Peers the server asks one peer to measure the way to, at once. */
export const MAX_PROBED_PEERS = 8;
/** A link in use is measured no more often than this. */
export const PING_INTERVAL_MS = 3_000;
/** A ping that was not answered for this long is given up, and another may follow. */
export const PONG_TIMEOUT_MS = 10_000;
/** Pings answered at once, and the time in which one more may be: whoever asks more often gets no answer. */
export const MAX_PONG_BURST = 8;
export const PONG_REFILL_MS = 250;
/** A linked peer that the server no longer lists, and that does not say a word in this time, is gone: WebRTC itself takes half a minute to notice. */
export const SUSPICION_MS = 1_500;
/** A peer that the server wants measured is dialled and heard within this time, or left out of the report. */
export const PROBE_TIMEOUT_MS = 5_000;

/** A route is given, denied or queued for within this time. */
export const ROUTE_REQUEST_TIMEOUT_MS = 10_000;
/** A link whose queue gets no shorter for this long is closed: whoever reads there is gone or hostile. */
export const SEND_STALL_TIMEOUT_MS = 30_000;
/** Frames that wait for one link, dialling included. Two of the largest. */
export const MAX_LINK_QUEUE_BYTES = 2 * MAX_FRAME_BYTES;
/** Links that other peers asked for. Browsers allow about 500 peer connections in a tab; each costs sockets and memory. */
export const MAX_INCOMING_LINKS = 128;
/** Links that this peer asked for. */
export const MAX_OUTGOING_LINKS = 128;
/**
 * A link that carried nothing for this long makes room when another is wanted and there are too many. Long, because the
 * requester of a slow answer says nothing to the first hop between the prompt and the end.
 */
export const LINK_IDLE_MS = 600_000;
/** Descriptions and candidates of one dial; an honest one has a few for each network interface and ICE server. */
export const MAX_SIGNALS_PER_DIAL = 256;
/** A session description; a data channel alone needs less than 2 KiB. */
export const MAX_SDP_CHARACTERS = 32 * 1024;

// One round of the search for a threshold, or all where a row has one split: weighs the tokens of each sampled row by one digit of their
// keys.
//
//   searches    [sampled rows, rounds]: the search before each round, for the next
//   histograms  u32 [sampled rows, rounds, digits, 2]: weights in two words, low first; zero before
//
// Grid: x = splits, y = sampled rows. Barriers: 4 and 2 of the search, each round.

override rounds: u32; // from the one of the phase on

struct Phase {
  round: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<uniform> phase: Phase;
@group(0) @binding(3) var<storage, read> states: array<RowState>;
@group(0) @binding(4) var<storage, read_write> searches: array<Search>;
@group(0) @binding(5) var<storage, read_write> histograms: array<atomic<u32>>;

// Fixed-point one of probabilities relative to the largest. 2^18 tokens of it fit 49 bits.
const FIXED_POINT_ONE = 2147483648.0;

var<workgroup> weights_low: array<atomic<u32>, DIGITS>;
var<workgroup> weights_high: array<atomic<u32>, DIGITS>;

// For all invocations of the workgroup.
fn weigh(lane: u32, split: u32, row: u32, info: SampleInfo, round: u32) {
  let search = search_before(lane, row, info, round);
  if (split == 0u && lane == 0u) {
    searches[row * ALL_ROUNDS + round] = search;
  }
  for (var digit = lane; digit < DIGITS; digit += invocations) {
    atomicStore(&weights_low[digit], 0u);
    atomicStore(&weights_high[digit], 0u);
  }
  workgroupBarrier();

  let first = info.head_row * vocab;
  let highest = from_ordered_bits(states[row].choice_key);
  let found_bits = RADIX_BITS * (round % ROUNDS);
  let found_mask = ~(0xffffffffu >> found_bits);
  let shift = 32u - RADIX_BITS - found_bits;
  let end = min(vocab, (split + 1u) * split_tokens);
  for (var id = split * split_tokens + lane; id < end; id += invocations) {
    let key = logit_key(logits[first + id]);
    if (key >= search.floor_key && (key & found_mask) == search.digits) {
      var weight = 1u;
      if (round >= ROUNDS) {
        weight = u32(FIXED_POINT_ONE * exp((from_ordered_bits(key) - highest) / info.temperature));
      }
      let digit = (key >> shift) % DIGITS;
      let before = atomicAdd(&weights_low[digit], weight);
      if (before + weight < before) {
        atomicAdd(&weights_high[digit], 1u);
      }
    }
  }
  workgroupBarrier();

  let histogram = (row * ALL_ROUNDS + round) * DIGITS * 2u;
  for (var digit = lane; digit < DIGITS; digit += invocations) {
    let low = atomicLoad(&weights_low[digit]);
    var high = atomicLoad(&weights_high[digit]);
    if (low != 0u) {
      let before = atomicAdd(&histograms[histogram + 2u * digit], low);
      high += select(0u, 1u, before + low < before);
    }
    if (high != 0u) {
      atomicAdd(&histograms[histogram + 2u * digit + 1u], high);
    }
  }
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.y;
  let info = sample_info[row];
  for (var round = phase.round; round < phase.round + rounds; round += 1u) {
    let takes_part = (round < ROUNDS && uses_top_k(info)) || (round >= ROUNDS && uses_top_p(info));
    if (takes_part) {
      weigh(lane, workgroup.x, row, info, round);
      // Nobody else has a part of a row whose rounds are in one dispatch.
      storageBarrier();
      workgroupBarrier();
    }
  }
}

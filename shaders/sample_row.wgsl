// What the sampling kernels share; in front of each of them.
//
// A row of the logits is cut into splits, one workgroup each, so that one row of a large vocabulary keeps a whole GPU busy. Splits meet in
// the kernels that merge. Where there is one split, it merges itself.

override vocab: u32;
override invocations: u32;
override splits: u32;
override split_tokens: u32;

// Stands for infinity; no model has such logits, and differences and quotients of it stay finite.
const LIMIT = 1e30;
// Below this, and for NaN, sampling is greedy: it would be so anyway but for logits equal to four digits.
const MIN_TEMPERATURE = 1e-4;
const TWO_POW_32 = 4294967296.0;
const QUIET_NAN = 0x7fc00000u;
const NO_TOKEN = 0xffffffffu;

struct SampleInfo {
  head_row: u32,
  temperature: f32,
  top_k: u32, // 0: all
  top_p: f32, // 1: all
  min_p: f32, // 0: all
  seed: u32,
  position: u32,
  repetition_penalty: f32,
  first_adjustment: u32,
  adjustment_count: u32,
  top_count: u32, // log-probabilities to report
  mask: u32, // where its mask begins, counted from 1; 0: every token may be chosen
}

// A token whose logit is changed before the choice.
struct Adjustment {
  token_id: u32,
  addend: f32,
  flags: u32,
  original: u32, // bits of the unmodified logit, once it is changed
}

// What is known of a row. Keys are logits as integers of the same order.
struct RowState {
  highest_key: u32, // of the unmodified logits
  log_total: f32, // log of the sum of exp(logit - highest)
  has_nan: u32,
  choice_key: u32, // the highest of the logits that the choice is made from
}

// Maps floats to integers of the same order.
fn ordered_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn from_ordered_bits(ordered: u32) -> f32 {
  return bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, ordered >= 0x80000000u));
}

// The order-preserving key of the bits of a logit: within ±LIMIT, one zero, NaN lowest.
fn logit_key(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  if (magnitude == 0u) {
    return ordered_bits(0.0);
  }
  if (magnitude > 0x7f800000u) {
    return ordered_bits(-LIMIT);
  }
  if (magnitude > bitcast<u32>(LIMIT)) {
    return select(ordered_bits(LIMIT), ordered_bits(-LIMIT), bits >= 0x80000000u);
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn is_nan(bits: u32) -> bool {
  return (bits & 0x7fffffffu) > 0x7f800000u;
}

fn is_greedy(info: SampleInfo) -> bool {
  return !(info.temperature >= MIN_TEMPERATURE);
}

// Whether the choice is made from other logits than the model's.
fn is_changed(info: SampleInfo) -> bool {
  return info.adjustment_count > 0u || info.mask > 0u;
}

fn uses_top_k(info: SampleInfo) -> bool {
  return !is_greedy(info) && info.top_k > 0u && info.top_k < vocab;
}

fn uses_top_p(info: SampleInfo) -> bool {
  return !is_greedy(info) && info.top_p < 1.0;
}

// Logits of which nothing follows: a NaN among them, none finite and largest, or none left to choose from.
fn is_sound(state: RowState) -> bool {
  let highest = from_ordered_bits(state.highest_key);
  return state.has_nan == 0u && abs(highest) < LIMIT && from_ordered_bits(state.choice_key) > -LIMIT;
}

// The log-probability of a token by its unmodified key.
fn log_probability(state: RowState, key: u32) -> f32 {
  return from_ordered_bits(key) - from_ordered_bits(state.highest_key) - state.log_total;
}

fn result_of(state: RowState, id: u32, key: u32) -> vec2<u32> {
  return vec2<u32>(id, select(QUIET_NAN, bitcast<u32>(log_probability(state, key)), is_sound(state)));
}

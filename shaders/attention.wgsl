// What all attention kernels that compute scores share; put in front of each. The cache has a head of a token as `head_words`
// words, in one of three formats:
//
//   0  head_dim f32
//   1  head_dim halves, two per word
//   2  head_dim int8 codes, four per word, then the f32 that they count in, then a word of padding

const BLOCK_TOKENS = 16u;
const CACHE_F32 = 0u;
const CACHE_F16 = 1u;
const CACHE_INT8 = 2u;
// Below any score and far from overflow: exp(LOWEST - maximum) is 0.
const LOWEST = -1e30;

override heads: u32;
override kv_heads: u32;
override head_dim: u32;
override cache_format: u32;
override head_words: u32;
override scale: f32; // of the scores, usually 1 / sqrt(head_dim)
override soft_cap: f32; // a score s becomes soft_cap * tanh(s / soft_cap); 0: it stays
override window: u32; // a row sees this many of the latest keys; 0: all

struct Step {
  rows: u32,
  block_table_stride: u32,
}

fn unpack_codes(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn cap_score(score: vec4<f32>) -> vec4<f32> {
  if (soft_cap > 0.0) {
    // Past 15 tanh is 1, and some drivers overflow on the way there.
    return soft_cap * tanh(clamp(score / soft_cap, vec4<f32>(-15.0), vec4<f32>(15.0)));
  }
  return score;
}

// The first key that a row at a position sees.
fn first_visible(position: u32) -> u32 {
  return select(0u, max(position + 1u, window) - window, window > 0u);
}

// Which rows, by their positions, see a token.
fn sees(positions: vec4<u32>, token: u32) -> vec4<bool> {
  let is_past = vec4<u32>(token) <= positions;
  if (window == 0u) {
    return is_past;
  }
  return is_past & (vec4<u32>(token + window) > positions);
}

// What sums of weighted values are multiplied by in the end, when a logit without a value joins each softmax.
fn sink_factor(sum: vec4<f32>, highest: vec4<f32>, logits: vec4<f32>) -> vec4<f32> {
  let overall = max(highest, logits);
  let correction = exp(highest - overall);
  return correction / (sum * correction + exp(logits - overall));
}

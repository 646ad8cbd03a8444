// What attention_decode and attention_prefill share; put in front of either. Everything that a GPU reads from the cache goes
// through here: a head of a token is `head_words` words, read in pairs, in one of three formats:
//
//   0  head_dim f32
//   1  head_dim halves, two per word
//   2  head_dim int8 codes, four per word, then the f32 that they count in, then a word of padding

const BLOCK_TOKENS = 16u;
const CACHE_F32 = 0u;
const CACHE_F16 = 1u;
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

// Maps floats to integers of the same order.
fn ordered_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn from_ordered_bits(ordered: u32) -> f32 {
  return bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, ordered >= 0x80000000u));
}

fn unpack_codes(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

// Four elements of a head that begins at a pair of words.
fn key_column(first: u32, column: u32) -> vec4<f32> {
  if (cache_format == CACHE_F32) {
    let pair = first + 2u * column;
    return vec4<f32>(bitcast<vec2<f32>>(keys[pair]), bitcast<vec2<f32>>(keys[pair + 1u]));
  }
  if (cache_format == CACHE_F16) {
    let pair = keys[first + column];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
  }
  return unpack_codes(keys[first + column / 2u][column % 2u]) * bitcast<f32>(keys[first + head_dim / 8u].x);
}

fn value_column(first: u32, column: u32) -> vec4<f32> {
  if (cache_format == CACHE_F32) {
    let pair = first + 2u * column;
    return vec4<f32>(bitcast<vec2<f32>>(values[pair]), bitcast<vec2<f32>>(values[pair + 1u]));
  }
  if (cache_format == CACHE_F16) {
    let pair = values[first + column];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
  }
  return unpack_codes(values[first + column / 2u][column % 2u]) * bitcast<f32>(values[first + head_dim / 8u].x);
}

// Dot products as they go into the softmax.
fn finish_score(product: vec4<f32>) -> vec4<f32> {
  let score = product * scale;
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

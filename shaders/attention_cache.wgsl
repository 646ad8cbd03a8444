// How attention_decode and attention_prefill read the cache, in pairs of words, and keep a maximum; put in front of either, behind
// attention.wgsl.

// Maps floats to integers of the same order.
fn ordered_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn from_ordered_bits(ordered: u32) -> f32 {
  return bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, ordered >= 0x80000000u));
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

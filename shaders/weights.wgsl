// Weights of a linear map or an embedding table: row-major [out_features, in_features], in_features a multiple of 8.
// Placed in front of every kernel that reads weights, so that a storage format is known in one place.
//
// An octet is 8 consecutive weights of a row: one vec4<u32> of packed halves, or two of f32. Halves are unpacked with core WGSL, so
// bf16 and f16 keep their own size on GPUs without `shader-f16`.

override weight_format: u32; // 0 f32, 1 f16, 2 bf16

// Weights, as stored in the checkpoint.
@group(0) @binding(0) var<storage, read> weights: array<vec4<u32>>;

struct Octet {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

fn unpack_pair(word: u32) -> vec2<f32> {
  if (weight_format == 2u) {
    return bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
  }
  return unpack2x16float(word);
}

// The weights at elements [8 * index, 8 * index + 8) of the table.
fn load_octet(index: u32) -> Octet {
  if (weight_format == 0u) {
    return Octet(bitcast<vec4<f32>>(weights[2u * index]), bitcast<vec4<f32>>(weights[2u * index + 1u]));
  }
  let words = weights[index];
  return Octet(
    vec4<f32>(unpack_pair(words.x), unpack_pair(words.y)),
    vec4<f32>(unpack_pair(words.z), unpack_pair(words.w)),
  );
}

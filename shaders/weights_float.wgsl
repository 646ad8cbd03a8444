// Weights as floats: an octet is one vec4 of packed halves, or two of f32. Halves are unpacked where they are used, so bf16 and f16 keep
// their own size on every GPU (unpack, unpack_f16).

override weight_format: u32; // 0 f32, 1 f16, 2 bf16

// As stored in the checkpoint.
@group(0) @binding(0) var<storage, read> weights: array<vec4<u32>>;

const QUANTIZED = false;
const CODE_LO = vec4<f32>(1.0);
const CODE_HI = vec4<f32>(1.0);
const zero = 0.0;
const group_octets = 1u;

fn unpack_pair(word: u32) -> vec2<f32> {
  if (weight_format == 2u) {
    return bitcast<vec2<f32>>(vec2<u32>(word * 0x10000u, word & 0xffff0000u));
  }
  return unpack_halves(word);
}

fn load_codes(octet: u32) -> Octet {
  if (weight_format == 0u) {
    return Octet(bitcast<vec4<f32>>(weights[2u * octet]), bitcast<vec4<f32>>(weights[2u * octet + 1u]));
  }
  let words = weights[octet];
  return Octet(
    vec4<f32>(unpack_pair(words.x), unpack_pair(words.y)),
    vec4<f32>(unpack_pair(words.z), unpack_pair(words.w)),
  );
}

// Floats are their own values.
fn group_scale(group: u32) -> vec2<f32> {
  return vec2<f32>(1.0, 0.0);
}

fn load_octet(octet: u32) -> Octet {
  return load_codes(octet);
}

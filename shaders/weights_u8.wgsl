// Weights as 8-bit codes: an octet is two words, element j in byte j.

@group(0) @binding(0) var<storage, read> weights: array<vec2<u32>>;

// A byte stays where it lies in the word, which makes it 2^8, 2^16 or 2^24 times as large.
const CODE_LO = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const CODE_HI = CODE_LO;

fn bytes(word: u32) -> vec4<f32> {
  // The topmost byte would be negative as a signed number, which are cheaper to convert.
  let low = vec3<i32>(bitcast<i32>(word)) & vec3<i32>(0x000000ff, 0x0000ff00, 0x00ff0000);
  return vec4<f32>(vec3<f32>(low), f32(word & 0xff000000u));
}

fn load_codes(octet: u32) -> Octet {
  let words = weights[octet];
  return Octet(bytes(words.x), bytes(words.y));
}

// Of a code and what `load_signed_codes` gives of it, the difference.
const CODE_BIAS = 128.0;

// As signed bytes, for products of integers.
fn load_signed_codes(octet: u32) -> vec2<u32> {
  return weights[octet] ^ vec2<u32>(0x80808080u);
}

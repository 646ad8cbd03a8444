// Weights as 4-bit codes: an octet is a word, whose byte j holds element j in its low and element j + 4 in its high nibble.

@group(0) @binding(0) var<storage, read> weights: array<u32>;

// A nibble stays where it lies in the word, which makes it 2^8, 2^16 or 2^24 times, the high ones another 2^4 times, as large.
const CODE_LO = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const CODE_HI = vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 0x1p-28);

fn load_codes(octet: u32) -> Octet {
  let word = weights[octet];
  let bits = bitcast<i32>(word);
  return Octet(
    vec4<f32>(vec4<i32>(bits) & vec4<i32>(0x0000000f, 0x00000f00, 0x000f0000, 0x0f000000)),
    // The topmost nibble would be negative as a signed number, which are cheaper to convert.
    vec4<f32>(vec3<f32>(vec3<i32>(bits) & vec3<i32>(0x000000f0, 0x0000f000, 0x00f00000)), f32(word & 0xf0000000u)),
  );
}

// Of a code and what `load_signed_codes` gives of it, the difference.
const CODE_BIAS = 0.0;

// As signed bytes, for products of integers: elements 0 to 3, and 4 to 7.
fn load_signed_codes(octet: u32) -> vec2<u32> {
  let word = weights[octet];
  return vec2<u32>(word & 0x0f0f0f0fu, (word >> 4u) & 0x0f0f0f0fu);
}

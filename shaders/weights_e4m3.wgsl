// Weights as 8-bit floats (OCP E4M3): an octet is two words, element j in byte j. NaN codes (0x7f, 0xff) are not handled: loaders refuse them.

@group(0) @binding(0) var<storage, read> weights: array<vec2<u32>>;

// Their bits, moved to where a half has them, are those of a half 2^8 times as small.
const CODE_LO = vec4<f32>(256.0);
const CODE_HI = CODE_LO;

// The two codes in the low half of a word.
fn pair(word: u32) -> vec2<f32> {
  let magnitudes = ((word & 0x7fu) * 0x80u) | ((word & 0x7f00u) * 0x8000u);
  let signs = ((word & 0x80u) * 0x100u) | ((word & 0x8000u) * 0x10000u);
  return unpack_halves(magnitudes | signs);
}

fn load_codes(octet: u32) -> Octet {
  let words = weights[octet];
  return Octet(
    vec4<f32>(pair(words.x), pair(words.x >> 16u)),
    vec4<f32>(pair(words.y), pair(words.y >> 16u)),
  );
}

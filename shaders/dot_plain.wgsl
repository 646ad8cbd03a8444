// Products of int8 codes, four to a word, in core WGSL: as floats, which are exact for the integers below 2^24 that sums of them are.
// In place of dot_packed, whose integers are the same.

alias Count = f32;

// 4 codes of -127 to 127, the first in the lowest byte.
fn pack_codes(codes: vec4<i32>) -> u32 {
  let bytes = bitcast<vec4<u32>>(codes) & vec4<u32>(0xffu);
  return bytes.x | (bytes.y * 0x100u) | (bytes.z * 0x10000u) | (bytes.w * 0x1000000u);
}

// Masks and products, not shifts, as in weights.wgsl. Bytes are made unsigned first: v + 128.
fn signed_bytes(word: u32) -> vec4<f32> {
  let raised = vec4<u32>(word ^ 0x80808080u) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
  return vec4<f32>(raised) * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24) - 128.0;
}

// count + the products of the signed bytes of two words.
fn add_dot(count: Count, a: u32, b: u32) -> Count {
  return count + dot(signed_bytes(a), signed_bytes(b));
}

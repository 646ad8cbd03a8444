// Products of int8 codes, four to a word, with the language feature `packed_4x8_integer_dot_product`. dot_plain gives the same integers
// without it, so that which of them runs shows in no bit of a result.

// A sum of products: an integer below 2^24.
alias Count = i32;

// 4 codes of -127 to 127, the first in the lowest byte.
fn pack_codes(codes: vec4<i32>) -> u32 {
  return pack4xI8(codes);
}

// count + the products of the signed bytes of two words.
fn add_dot(count: Count, a: u32, b: u32) -> Count {
  return count + dot4I8Packed(a, b);
}

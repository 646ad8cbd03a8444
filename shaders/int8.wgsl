// Linear maps with the input rounded to int8: what their kernels share. Behind linear.wgsl and dot_packed or dot_plain; the weights are
// codes of 4 or 8 bits in groups of a multiple of 32.
//
// 32 consecutive values of a row share a scale, the largest magnitude / 127, and are rounded to codes of -127 to 127. Products of codes
// and their sums over a group are integers below 2^24 and hence exact, in any order and by any instruction; only then they are scaled.
// With a norm it is input · gain that is rounded, and the row's own factor stays where it is: at the end.

const GROUP_VALUES = 32u;
const GROUP_QUADS = 8u; // vec4s of values, words of codes
const GROUP_OCTETS = 4u;

// GROUP_QUADS and GROUP_OCTETS, for a row has no less than one group, as run-time values: some compilers unroll a constant loop whole,
// with everything around it, and then need half a minute for a kernel.
fn quads_of_group() -> u32 {
  return min(GROUP_QUADS, sizes.in_features / 4u);
}

fn octets_of_group() -> u32 {
  return min(GROUP_OCTETS, sizes.in_features / 8u);
}

// Groups smaller than this are zeros: their scale would be no normal number.
const LEAST_MAGNITUDE = 0x1p-100;

fn largest_of(values: vec4<f32>) -> f32 {
  let magnitudes = abs(values);
  return max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
}

fn input_scale(largest: f32) -> f32 {
  return select(0.0, largest * (1.0 / 127.0), largest >= LEAST_MAGNITUDE);
}

fn codes_per_unit(largest: f32) -> f32 {
  return select(0.0, 127.0 / largest, largest >= LEAST_MAGNITUDE);
}

// 4 codes, the first in the lowest byte.
fn quantise(values: vec4<f32>, per_unit: f32) -> u32 {
  return pack_codes(vec4<i32>(round(values * per_unit)));
}

fn sum_of_codes(word: u32) -> Count {
  return add_dot(Count(), word, 0x01010101u);
}

// Products of the codes of 4 weight rows with those of one row of the input, and the sum of the latter.
struct Counts {
  dots: vec4<Count>,
  sum: Count,
}

// An octet of 4 weight rows, less CODE_BIAS.
struct WeightCodes {
  w0: vec2<u32>,
  w1: vec2<u32>,
  w2: vec2<u32>,
  w3: vec2<u32>,
}

fn load_weight_codes(octets: vec4<u32>) -> WeightCodes {
  return WeightCodes(
    load_signed_codes(octets.x),
    load_signed_codes(octets.y),
    load_signed_codes(octets.z),
    load_signed_codes(octets.w),
  );
}

fn add_octet_dots(dots: vec4<Count>, w: WeightCodes, x: vec2<u32>) -> vec4<Count> {
  return vec4<Count>(
    add_dot(add_dot(dots.x, w.w0.x, x.x), w.w0.y, x.y),
    add_dot(add_dot(dots.y, w.w1.x, x.x), w.w1.y, x.y),
    add_dot(add_dot(dots.z, w.w2.x, x.x), w.w2.y, x.y),
    add_dot(add_dot(dots.w, w.w3.x, x.x), w.w3.y, x.y),
  );
}

// Of 4 weight rows.
struct WeightScales {
  scales: vec4<f32>,
  offsets: vec4<f32>,
}

fn load_weight_scales(octets: vec4<u32>) -> WeightScales {
  let g0 = group_scale(octets.x / group_octets);
  let g1 = group_scale(octets.y / group_octets);
  let g2 = group_scale(octets.z / group_octets);
  let g3 = group_scale(octets.w / group_octets);
  return WeightScales(vec4<f32>(g0.x, g1.x, g2.x, g3.x), vec4<f32>(g0.y, g1.y, g2.y, g3.y));
}

// total + what has been counted within one group of one row of the input, whose scale is `scale`.
fn add_scaled(total: vec4<f32>, counts: Counts, w: WeightScales, scale: f32) -> vec4<f32> {
  let sum = f32(counts.sum);
  // Still exact integers: Σ (code − zero) · input code.
  let centred = vec4<f32>(counts.dots) + (CODE_BIAS - zero) * sum;
  let scaled = fma(scale * w.scales, centred, total);
  if (scale_format == 2u) {
    return fma(w.offsets, vec4<f32>(scale * sum), scaled);
  }
  return scaled;
}

// The most multiply-adds a driver does: eight chains per invocation that depend on nothing but themselves, no memory.
// A round is eight links of each: lavapipe keeps what crosses a loop's end in memory, and would measure that.
// Grid: as many workgroups as wanted, of 64. Each invocation does 256 · `rounds` multiply-adds (8 links of 8 chains of vec4).

override rounds: u32 = 128;

@group(0) @binding(0) var<storage, read_write> sums: array<f32>;

fn links(start: vec4<f32>, factor: vec4<f32>, summand: vec4<f32>) -> vec4<f32> {
  let one = fma(start, factor, summand);
  let two = fma(one, factor, summand);
  let three = fma(two, factor, summand);
  let four = fma(three, factor, summand);
  let five = fma(four, factor, summand);
  let six = fma(five, factor, summand);
  let seven = fma(six, factor, summand);
  return fma(seven, factor, summand);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let seed = f32(id.x % 64u) * 0.001;
  let factor = vec4(0.5 + seed);
  let summand = vec4(0.25 - seed);
  var a = vec4(seed);
  var b = vec4(seed + 0.1);
  var c = vec4(seed + 0.2);
  var d = vec4(seed + 0.3);
  var e = vec4(seed + 0.4);
  var f = vec4(seed + 0.5);
  var g = vec4(seed + 0.6);
  var h = vec4(seed + 0.7);
  for (var round = 0u; round < rounds; round++) {
    a = links(a, factor, summand);
    b = links(b, factor, summand);
    c = links(c, factor, summand);
    d = links(d, factor, summand);
    e = links(e, factor, summand);
    f = links(f, factor, summand);
    g = links(g, factor, summand);
    h = links(h, factor, summand);
  }
  sums[id.x] = dot(a + b + c + d + e + f + g + h, vec4(1.0));
}

// The most multiply-adds a driver does: eight chains per invocation that depend on nothing but themselves, no memory.
// Grid: as many workgroups as wanted, of 64. Each invocation does 32 · `rounds` multiply-adds (8 chains of vec4).

override rounds: u32 = 1024;

@group(0) @binding(0) var<storage, read_write> sums: array<f32>;

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
    a = fma(a, factor, summand);
    b = fma(b, factor, summand);
    c = fma(c, factor, summand);
    d = fma(d, factor, summand);
    e = fma(e, factor, summand);
    f = fma(f, factor, summand);
    g = fma(g, factor, summand);
    h = fma(h, factor, summand);
  }
  sums[id.x] = dot(a + b + c + d + e + f + g + h, vec4(1.0));
}

// hidden += delta; f32 [rows, size]. Ends a slice without a head: what travels on is the whole residual stream.
// Grid: x covers the row in steps of 64 quads, y is the row.

override size: u32; // elements of a row, a multiple of 4

// Pending branch output, f32 [rows, size].
@group(0) @binding(0) var<storage, read> delta: array<vec4<f32>>;
// Residual stream, f32 [rows, size].
@group(0) @binding(1) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let quads = size / 4u;
  if (id.x < quads) {
    let index = id.y * quads + id.x;
    hidden[index] += delta[index];
  }
}

// activated = silu(gate) · up, where silu(x) = x / (1 + exp(-x)); gate_up is f32 [rows, 2 · size], gate first; activated f32 [rows, size].
// Grid: x covers the row in steps of 64 quads, y is the row.

override size: u32; // intermediate size, a multiple of 4

// f32 [rows, 2 · size].
@group(0) @binding(0) var<storage, read> gate_up: array<vec4<f32>>;
// f32 [rows, size].
@group(0) @binding(1) var<storage, read_write> activated: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let quads = size / 4u;
  if (id.x < quads) {
    let gate = gate_up[2u * id.y * quads + id.x];
    let up = gate_up[(2u * id.y + 1u) * quads + id.x];
    activated[id.y * quads + id.x] = gate / (1.0 + exp(-gate)) * up;
  }
}

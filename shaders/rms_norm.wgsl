// normed[i] = x · weight / sqrt(mean(x²) + epsilon), where x is a row of the residual stream; f32 [rows, size].
//
// add_residual: x is hidden + delta, the branch output of the previous block, and is written back to hidden: the residual add costs no
//   dispatch of its own.
// gather: only the rows listed in head_info are normed, into consecutive rows of `normed`; hidden is not written, since those rows are
//   all that is still needed.
// Grid: x is the row. One workgroup of `lanes` invocations per row, one barrier: every invocation then adds up all partial sums itself,
// which reads the same few words everywhere and is cheaper than a tree of barriers, on CPUs above all.

override size: u32; // elements of a row, a multiple of 4
override epsilon: f32;
override add_residual: bool;
override gather: bool;
override lanes: u32; // invocations per row

// Row per head row; read when `gather`.
@group(0) @binding(0) var<storage, read> head_info: array<u32>;
// f32 [size].
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
// Pending branch output, f32 [rows, size]; read when `add_residual`.
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
// Residual stream, f32 [rows, size].
@group(0) @binding(3) var<storage, read_write> hidden: array<vec4<f32>>;
// f32 [rows or head rows, size].
@group(0) @binding(4) var<storage, read_write> normed: array<vec4<f32>>;

var<workgroup> partial_squares: array<f32, lanes>;

@compute @workgroup_size(lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let quads = size / 4u;
  var row = group.x;
  if (gather) {
    row = head_info[group.x];
  }
  let first = row * quads;

  var squares = 0.0;
  for (var quad = lane; quad < quads; quad += lanes) {
    var x = hidden[first + quad];
    if (add_residual) {
      x += delta[first + quad];
      if (!gather) {
        hidden[first + quad] = x;
      }
    }
    squares += dot(x, x);
  }
  partial_squares[lane] = squares;
  workgroupBarrier();

  var sum = 0.0;
  for (var other = 0u; other < lanes; other += 1u) {
    sum += partial_squares[other];
  }
  let scale = inverseSqrt(sum / f32(size) + epsilon);

  for (var quad = lane; quad < quads; quad += lanes) {
    // Written above by this very invocation, so no barrier is needed to read it back.
    var x = hidden[first + quad];
    if (add_residual && gather) {
      x += delta[first + quad];
    }
    normed[group.x * quads + quad] = x * scale * weight[quad];
  }
}

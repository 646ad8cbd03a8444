// Prepares attention: per head an optional RMS norm of q and k (Qwen3), the rotary position embedding, and the append of k and v
// to the paged cache of the layer.
//
//   qkv     f32 [rows, heads + 2 * kv_heads, head_dim]  q is replaced by the normed and rotated q; k and v stay as they came
//   keys    [block, BLOCK_TOKENS, kv_heads, head_dim]   f32, or halves packed two per u32
//   values  the same shape and format
//
// The rotation is Hugging Face's "rotate half": elements i and i + head_dim / 2 are one complex number, turned by
// position * inverse_frequency[i].
//
// Grid: x = ceil((heads + 2 * kv_heads) / heads_per_workgroup), y = rows. Workgroup: x = head_dim / 4 invocations per head,
// y = heads. An invocation keeps four elements of its head in registers, two neighbours from either half: a neighbour pair makes
// one whole word of packed halves, the halves make complete rotations, so nothing is read that another invocation writes.
// The mean square costs one barrier, and none where there is no norm.

struct Step {
  rows: u32,
  block_table_stride: u32,
}

const BLOCK_TOKENS = 16u;
const CACHE_F16 = 1u;

override heads: u32;
override kv_heads: u32;
override head_dim: u32;
override lanes_per_head: u32; // head_dim / 4
override heads_per_workgroup: u32;
override qk_norm: u32; // 1: q and k are RMS-normalised per head before the rotation
override epsilon: f32;
override cache_format: u32; // 0 f32, 1 f16

// Sizes of this forward pass.
@group(0) @binding(0) var<uniform> step: Step;
// f32 [rows, heads + 2 * kv_heads, head_dim], in pairs.
@group(0) @binding(1) var<storage, read_write> qkv: array<vec2<f32>>;
// f32 [head_dim] each, in pairs; unused without qk_norm.
@group(0) @binding(2) var<storage, read> q_norm: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> k_norm: array<vec2<f32>>;
// (cos, sin) [positions, head_dim / 2], two rotations per vec4.
@group(0) @binding(4) var<storage, read> rope_table: array<vec4<f32>>;
// Per row: sequence, position.
@group(0) @binding(5) var<storage, read> row_info: array<vec2<u32>>;
// [sequences, block_table_stride]: cache blocks of each sequence, in order.
@group(0) @binding(6) var<storage, read> block_tables: array<u32>;
// The layer's cache.
@group(0) @binding(7) var<storage, read_write> keys: array<u32>;
@group(0) @binding(8) var<storage, read_write> values: array<u32>;

// Sum of squares of each invocation's four elements.
var<workgroup> squares: array<f32, lanes_per_head * heads_per_workgroup>;

// The first cache element of a KV head at a position of a sequence.
fn cache_element(sequence: u32, position: u32, kv_head: u32) -> u32 {
  let block = block_tables[sequence * step.block_table_stride + position / BLOCK_TOKENS];
  return ((block * BLOCK_TOKENS + position % BLOCK_TOKENS) * kv_heads + kv_head) * head_dim;
}

fn append_key(element: u32, pair: vec2<f32>) {
  if (cache_format == CACHE_F16) {
    keys[element / 2u] = pack2x16float(pair);
  } else {
    keys[element] = bitcast<u32>(pair.x);
    keys[element + 1u] = bitcast<u32>(pair.y);
  }
}

fn append_value(element: u32, pair: vec2<f32>) {
  if (cache_format == CACHE_F16) {
    values[element / 2u] = pack2x16float(pair);
  } else {
    values[element] = bitcast<u32>(pair.x);
    values[element + 1u] = bitcast<u32>(pair.y);
  }
}

// Multiplies the two complex numbers (low.x, high.x) and (low.y, high.y) by the rotations (cos, sin, cos, sin).
fn rotate_low(low: vec2<f32>, high: vec2<f32>, rotations: vec4<f32>) -> vec2<f32> {
  return low * rotations.xz - high * rotations.yw;
}

fn rotate_high(low: vec2<f32>, high: vec2<f32>, rotations: vec4<f32>) -> vec2<f32> {
  return high * rotations.xz + low * rotations.yw;
}

@compute @workgroup_size(lanes_per_head, heads_per_workgroup)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = local.x;
  let head = workgroup.x * heads_per_workgroup + local.y;
  let row = workgroup.y;
  let exists = head < heads + 2u * kv_heads;
  let is_query = head < heads;
  let is_value = head >= heads + kv_heads;

  let half_pairs = head_dim / 4u; // vec2s in half a head
  let low_index = (row * (heads + 2u * kv_heads) + head) * head_dim / 2u + lane;
  let high_index = low_index + half_pairs;
  var low = vec2<f32>();
  var high = vec2<f32>();
  if (exists) {
    low = qkv[low_index];
    high = qkv[high_index];
  }

  if (qk_norm == 1u) {
    squares[local.y * lanes_per_head + lane] = dot(low, low) + dot(high, high);
    workgroupBarrier();
    if (!is_value) {
      var sum = 0.0;
      for (var other = 0u; other < lanes_per_head; other += 1u) {
        sum += squares[local.y * lanes_per_head + other];
      }
      let scale = inverseSqrt(sum / f32(head_dim) + epsilon);
      if (is_query) {
        low *= scale * q_norm[lane];
        high *= scale * q_norm[lane + half_pairs];
      } else {
        low *= scale * k_norm[lane];
        high *= scale * k_norm[lane + half_pairs];
      }
    }
  }
  if (!exists) {
    return;
  }

  let sequence = row_info[row].x;
  let position = row_info[row].y;
  if (is_value) {
    let element = cache_element(sequence, position, head - heads - kv_heads) + 2u * lane;
    append_value(element, low);
    append_value(element + head_dim / 2u, high);
    return;
  }
  let rotations = rope_table[position * half_pairs + lane];
  let rotated_low = rotate_low(low, high, rotations);
  let rotated_high = rotate_high(low, high, rotations);
  if (is_query) {
    qkv[low_index] = rotated_low;
    qkv[high_index] = rotated_high;
  } else {
    let element = cache_element(sequence, position, head - heads) + 2u * lane;
    append_key(element, rotated_low);
    append_key(element + head_dim / 2u, rotated_high);
  }
}

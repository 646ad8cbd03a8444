// Prepares attention: per head an optional RMS norm of q and k (Qwen3), the rotary position embedding, and the append of k and v
// to the paged cache of the layer.
//
//   qkv     f32 [rows, heads + 2 * kv_heads, head_dim]  q is replaced by the normed and rotated q; k and v stay as they came
//   keys    [block, BLOCK_TOKENS, kv_heads, head]       formats in attention.wgsl
//   values  the same shape and format
//
// The rotation is Hugging Face's "rotate half": elements i and i + head_dim / 2 are one complex number, turned by
// position * inverse_frequency[i].
//
// Grid: x = ceil((heads + 2 * kv_heads) / heads_per_workgroup), y = rows. Workgroup: x = head_dim / 4 invocations per head,
// y = heads. An invocation keeps four elements of its head in registers, two neighbours from either half: a neighbour pair makes
// one whole word of packed halves, the halves make complete rotations, so nothing is read that another invocation writes.
// The mean square costs one barrier, and none where there is no norm. An int8 cache costs another: a head's codes count in its
// largest magnitude / 127, and an invocation packs four neighbours, which come from two invocations.

struct Step {
  rows: u32,
  block_table_stride: u32,
}

const BLOCK_TOKENS = 16u;
const CACHE_F16 = 1u;
const CACHE_INT8 = 2u;

override heads: u32;
override kv_heads: u32;
override head_dim: u32;
override lanes_per_head: u32; // head_dim / 4
override heads_per_workgroup: u32;
override qk_norm: u32; // 1: q and k are RMS-normalised per head before the rotation
override epsilon: f32;
override cache_format: u32; // 0 f32, 1 f16, 2 int8
override head_words: u32; // of one head of one token in the cache

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
// Of an int8 cache: heads as they go to the cache [heads_per_workgroup, head_dim], and each invocation's largest magnitude.
var<workgroup> staged: array<f32, 4u * lanes_per_head * heads_per_workgroup>;
var<workgroup> peaks: array<f32, lanes_per_head * heads_per_workgroup>;

// The first cache word of a KV head at a position of a sequence.
fn cache_word(sequence: u32, position: u32, kv_head: u32) -> u32 {
  let block = block_tables[sequence * step.block_table_stride + position / BLOCK_TOKENS];
  return ((block * BLOCK_TOKENS + position % BLOCK_TOKENS) * kv_heads + kv_head) * head_words;
}

fn write_word(is_value: bool, word: u32, bits: u32) {
  if (is_value) {
    values[word] = bits;
  } else {
    keys[word] = bits;
  }
}

// Two neighbouring elements of a head that begins at a word.
fn append_pair(is_value: bool, first_word: u32, element: u32, pair: vec2<f32>) {
  if (cache_format == CACHE_F16) {
    write_word(is_value, first_word + element / 2u, pack2x16float(pair));
  } else {
    write_word(is_value, first_word + element, bitcast<u32>(pair.x));
    write_word(is_value, first_word + element + 1u, bitcast<u32>(pair.y));
  }
}

// Four neighbouring elements of a staged head as codes, and with the first four the unit they count in.
fn append_codes(is_value: bool, first_word: u32, lane: u32, local_head: u32) {
  var peak = 0.0;
  for (var other = 0u; other < lanes_per_head; other += 1u) {
    peak = max(peak, peaks[local_head * lanes_per_head + other]);
  }
  let per_unit = select(0.0, 127.0 / peak, peak > 0.0);
  let first = local_head * head_dim + 4u * lane;
  let elements = vec4<f32>(staged[first], staged[first + 1u], staged[first + 2u], staged[first + 3u]);
  let codes = bitcast<vec4<u32>>(vec4<i32>(clamp(round(elements * per_unit), vec4<f32>(-127.0), vec4<f32>(127.0))));
  let bytes = (codes & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
  write_word(is_value, first_word + lane, bytes.x | bytes.y | bytes.z | bytes.w);
  if (lane == 0u) {
    write_word(is_value, first_word + lanes_per_head, bitcast<u32>(peak / 127.0));
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
  let sequence = row_info[row].x;
  let position = row_info[row].y;
  if (exists && !is_value) {
    let rotations = rope_table[position * half_pairs + lane];
    let rotated_low = rotate_low(low, high, rotations);
    high = rotate_high(low, high, rotations);
    low = rotated_low;
  }
  if (cache_format == CACHE_INT8) {
    let first = local.y * head_dim + 2u * lane;
    staged[first] = low.x;
    staged[first + 1u] = low.y;
    staged[first + head_dim / 2u] = high.x;
    staged[first + head_dim / 2u + 1u] = high.y;
    peaks[local.y * lanes_per_head + lane] = max(max(abs(low.x), abs(low.y)), max(abs(high.x), abs(high.y)));
    workgroupBarrier();
  }
  if (!exists) {
    return;
  }
  if (is_query) {
    qkv[low_index] = low;
    qkv[high_index] = high;
    return;
  }
  let first_word = cache_word(sequence, position, (head - heads) % kv_heads);
  if (cache_format == CACHE_INT8) {
    append_codes(is_value, first_word, lane, local.y);
  } else {
    append_pair(is_value, first_word, 2u * lane, low);
    append_pair(is_value, first_word, head_dim / 2u + 2u * lane, high);
  }
}

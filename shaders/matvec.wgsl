// A linear map for few rows. Reads every weight once per `input_rows` rows: bound by memory, as decoding is.
//
// A team of `lanes` invocations computes 4 output features of `input_rows` rows. Its lanes sweep the 4 weight rows side by side in
// octets, so that one cycle touches one contiguous stripe of each, and the activations are loaded once for all 4. Partial sums meet as
// the file in front says (team_memory, team_subgroup), in a fixed order: the bits of a row depend neither on the other rows nor on
// scheduling. One barrier.
// Grid: x and y are the groups of 4 · teams output features (two-dimensional, since a vocabulary can exceed 65,535 groups), z the groups
// of `input_rows` rows.

override input_rows: u32; // rows computed together: 1 or 4
override lanes: u32; // invocations of a team, a power of two
override teams: u32; // teams of a workgroup

// Of one row and 4 output features: products, and squares of the input.
struct RowSums {
  products: vec4<f32>,
  squares: f32,
}

struct WeightOctets {
  w0: Octet,
  w1: Octet,
  w2: Octet,
  w3: Octet,
}

// `quad` is where the octet begins in the input, in vec4s. Gains, scales and offsets are read where the map has them.
fn add_octet(
  sums: RowSums,
  w: WeightOctets,
  gains: Octet,
  scales: vec4<f32>,
  offsets: vec4<f32>,
  quad: u32,
) -> RowSums {
  var lo = input[quad];
  var hi = input[quad + 1u];
  var squares = sums.squares;
  if (normed) {
    squares += dot(lo, lo) + dot(hi, hi);
    lo *= gains.lo;
    hi *= gains.hi;
  }
  if (QUANTIZED) {
    let inputs = dot(lo, vec4<f32>(1.0)) + dot(hi, vec4<f32>(1.0));
    let products = accumulate(vec4<f32>(), w.w0, w.w1, w.w2, w.w3, lo * CODE_LO, hi * CODE_HI);
    return RowSums(sums.products + scales * (products - zero * inputs) + offsets * inputs, squares);
  }
  return RowSums(accumulate(sums.products, w.w0, w.w1, w.w2, w.w3, lo, hi), squares);
}

@compute @workgroup_size(lanes, teams)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let team = local.y;
  let octets = sizes.in_features / 8u;
  let first_row = group.z * input_rows;
  let first_feature = 4u * ((group.y * groups.x + group.x) * teams + team);
  let rows = quad_rows(first_feature) * octets;
  let x0 = 2u * octets * input_row(first_row);
  let x1 = 2u * octets * input_row(first_row + 1u);
  let x2 = 2u * octets * input_row(first_row + 2u);
  let x3 = 2u * octets * input_row(first_row + 3u);

  var s0 = RowSums();
  var s1 = RowSums();
  var s2 = RowSums();
  var s3 = RowSums();
  for (var octet = lane; octet < octets; octet += lanes) {
    let w = WeightOctets(
      load_codes(rows.x + octet),
      load_codes(rows.y + octet),
      load_codes(rows.z + octet),
      load_codes(rows.w + octet),
    );
    var gains = Octet();
    if (normed) {
      gains = Octet(gain[2u * octet], gain[2u * octet + 1u]);
    }
    var scales = vec4<f32>();
    var offsets = vec4<f32>();
    if (QUANTIZED) {
      let g0 = group_scale((rows.x + octet) / group_octets);
      let g1 = group_scale((rows.y + octet) / group_octets);
      let g2 = group_scale((rows.z + octet) / group_octets);
      let g3 = group_scale((rows.w + octet) / group_octets);
      scales = vec4<f32>(g0.x, g1.x, g2.x, g3.x);
      offsets = vec4<f32>(g0.y, g1.y, g2.y, g3.y);
    }
    s0 = add_octet(s0, w, gains, scales, offsets, x0 + 2u * octet);
    if (input_rows > 1u) {
      s1 = add_octet(s1, w, gains, scales, offsets, x1 + 2u * octet);
      s2 = add_octet(s2, w, gains, scales, offsets, x2 + 2u * octet);
      s3 = add_octet(s3, w, gains, scales, offsets, x3 + 2u * octet);
    }
  }
  meet(0u, team, lane, s0);
  if (input_rows > 1u) {
    meet(1u, team, lane, s1);
    meet(2u, team, lane, s2);
    meet(3u, team, lane, s3);
  }
  workgroupBarrier();

  for (var index = lane; index < input_rows; index += lanes) {
    let row = first_row + index;
    if (row < row_count()) {
      let sums = team_sums(index, team);
      var values = sums.products;
      if (normed) {
        values *= norm_scale(sums.squares);
      }
      store_quad(row, first_feature, values);
    }
  }
}

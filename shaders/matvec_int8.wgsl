// matvec with the input rounded to int8: a linear map for few rows, bound by memory.
//
// A team, its sweep and its sums are those of matvec. 4 neighbouring lanes have the octets of a group of the input, and each rounds its
// own with the scale of all (int8_memory, int8_shuffled); so a team has at least 4 lanes.
// Grid: as matvec.

override input_rows: u32; // rows computed together: 1 or 4
override lanes: u32; // invocations of a team, a power of two and at least 4
override teams: u32; // teams of a workgroup

// Of one row and 4 output features: products, and squares of the input.
struct RowSums {
  products: vec4<f32>,
  squares: f32,
}

// An octet of one row of the input, times the norm's gains.
struct InputOctet {
  lo: vec4<f32>,
  hi: vec4<f32>,
  largest: f32,
  squares: f32, // without the gains
}

// `quad` is where the octet begins in the input, in vec4s. Gains are read where the map has them.
fn load_input(quad: u32, gains: Octet) -> InputOctet {
  var lo = input[quad];
  var hi = input[quad + 1u];
  var squares = 0.0;
  if (normed) {
    squares = dot(lo, lo) + dot(hi, hi);
    lo *= gains.lo;
    hi *= gains.hi;
  }
  return InputOctet(lo, hi, largest_of(max(abs(lo), abs(hi))), squares);
}

// `largest` of the group that the octet lies in.
fn add_octet(sums: RowSums, w: WeightCodes, scales: WeightScales, x: InputOctet, largest: f32) -> RowSums {
  let per_unit = codes_per_unit(largest);
  let codes = vec2<u32>(quantise(x.lo, per_unit), quantise(x.hi, per_unit));
  let counts = Counts(
    add_octet_dots(vec4<Count>(), w, codes),
    sum_of_codes(codes.x) + sum_of_codes(codes.y),
  );
  return RowSums(add_scaled(sums.products, counts, scales, input_scale(largest)), sums.squares + x.squares);
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
  // All lanes sweep equally often, as who shares must.
  for (var sweep = 0u; sweep * lanes < octets; sweep += 1u) {
    // A lane past the end, as its whole group then is, looks at the last group and adds none of it.
    let is_inside = sweep * lanes + lane < octets;
    let octet = select(octets - GROUP_OCTETS + lane % GROUP_OCTETS, sweep * lanes + lane, is_inside);
    var gains = Octet();
    if (normed) {
      gains = Octet(gain[2u * octet], gain[2u * octet + 1u]);
    }
    let i0 = load_input(x0 + 2u * octet, gains);
    var i1 = InputOctet();
    var i2 = InputOctet();
    var i3 = InputOctet();
    if (input_rows > 1u) {
      i1 = load_input(x1 + 2u * octet, gains);
      i2 = load_input(x2 + 2u * octet, gains);
      i3 = load_input(x3 + 2u * octet, gains);
    }
    let largest = largest_of_groups(vec4<f32>(i0.largest, i1.largest, i2.largest, i3.largest), sweep, team, lane);
    if (is_inside) {
      let w = load_weight_codes(rows + octet);
      let scales = load_weight_scales(rows + octet);
      s0 = add_octet(s0, w, scales, i0, largest.x);
      if (input_rows > 1u) {
        s1 = add_octet(s1, w, scales, i1, largest.y);
        s2 = add_octet(s2, w, scales, i2, largest.z);
        s3 = add_octet(s3, w, scales, i3, largest.w);
      }
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

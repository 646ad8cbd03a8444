// matvec with the input rounded to int8: a linear map for few rows, bound by memory.
//
// A team, its sweep and its sums are those of matvec. 4 neighbouring lanes have the octets of a group of the input, and each rounds its
// own with the scale of all (int8_alone, int8_shuffled); so a team has at least 4 lanes.
// Grid: as matvec.

override input_rows: u32; // rows computed together: 1 or 4
override lanes: u32; // invocations of a team, a power of two and at least 4
override teams: u32; // teams of a workgroup

// Of one row and 4 output features: products, and squares of the input.
struct RowSums {
  products: vec4<f32>,
  squares: f32,
}

// `row_quad` is where the row begins in the input, in vec4s. Gains are read where the map has them.
fn add_octet(sums: RowSums, w: WeightCodes, scales: WeightScales, gains: Octet, row_quad: u32, octet: u32) -> RowSums {
  let quad = row_quad + 2u * octet;
  var lo = input[quad];
  var hi = input[quad + 1u];
  var squares = sums.squares;
  if (normed) {
    squares += dot(lo, lo) + dot(hi, hi);
    lo *= gains.lo;
    hi *= gains.hi;
  }
  let first_gain = GROUP_QUADS * (octet / GROUP_OCTETS);
  let largest = largest_of_group(largest_of(max(abs(lo), abs(hi))), row_quad + first_gain, first_gain);
  let per_unit = codes_per_unit(largest);
  let codes = vec2<u32>(quantise(lo, per_unit), quantise(hi, per_unit));
  let counts = Counts(
    add_octet_dots(vec4<Count>(), w, codes),
    sum_of_codes(codes.x) + sum_of_codes(codes.y),
  );
  return RowSums(add_scaled(sums.products, counts, scales, input_scale(largest)), squares);
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
  // All lanes sweep equally often, as who shuffles must.
  for (var first_octet = 0u; first_octet < octets; first_octet += lanes) {
    // A lane past the end, as its whole group then is, repeats a group at the end and adds none of it.
    let is_inside = first_octet + lane < octets;
    let octet = select(octets - GROUP_OCTETS + lane % GROUP_OCTETS, first_octet + lane, is_inside);
    let w = load_weight_codes(rows + octet);
    let scales = load_weight_scales(rows + octet);
    var gains = Octet();
    if (normed) {
      gains = Octet(gain[2u * octet], gain[2u * octet + 1u]);
    }
    let next0 = add_octet(s0, w, scales, gains, x0, octet);
    if (is_inside) {
      s0 = next0;
    }
    if (input_rows > 1u) {
      let next1 = add_octet(s1, w, scales, gains, x1, octet);
      let next2 = add_octet(s2, w, scales, gains, x2, octet);
      let next3 = add_octet(s3, w, scales, gains, x3, octet);
      if (is_inside) {
        s1 = next1;
        s2 = next2;
        s3 = next3;
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

// How the partial sums of a team of matvec meet, without subgroups: in workgroup memory, and whoever wants them adds them up.

// [input row, team, lane].
var<workgroup> partial_products: array<vec4<f32>, input_rows * teams * lanes>;
var<workgroup> partial_squares: array<f32, input_rows * teams * lanes>;

// Before the barrier.
fn meet(index: u32, team: u32, lane: u32, sums: RowSums) {
  let slot = (index * teams + team) * lanes + lane;
  partial_products[slot] = sums.products;
  if (normed) {
    partial_squares[slot] = sums.squares;
  }
}

// Behind the barrier.
fn team_sums(index: u32, team: u32) -> RowSums {
  let first = (index * teams + team) * lanes;
  var sums = RowSums();
  // Lanes behind the last octet have nothing. A run-time value: some compilers unroll a constant loop whole, and take half a minute for it.
  let others = min(lanes, sizes.in_features / 8u);
  for (var other = 0u; other < others; other += 1u) {
    sums.products += partial_products[first + other];
    if (normed) {
      sums.squares += partial_squares[first + other];
    }
  }
  return sums;
}

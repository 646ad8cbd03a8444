// How the partial sums of a team of matvec meet, with subgroups: a butterfly of shuffles, log2(lanes) steps. A team is no wider than a
// subgroup and begins at a multiple of its own power of two, so it never lies across two.

// [input row, team].
var<workgroup> finished: array<RowSums, input_rows * teams>;

// Before the barrier.
fn meet(index: u32, team: u32, lane: u32, sums: RowSums) {
  var products = sums.products;
  var squares = sums.squares;
  for (var distance = 1u; distance < lanes; distance *= 2u) {
    products += subgroupShuffleXor(products, distance);
    if (normed) {
      squares += subgroupShuffleXor(squares, distance);
    }
  }
  if (lane == 0u) {
    finished[index * teams + team] = RowSums(products, squares);
  }
}

// Behind the barrier.
fn team_sums(index: u32, team: u32) -> RowSums {
  return finished[index * teams + team];
}

// How the lanes of matvec_int8 learn the largest magnitudes of groups, without subgroups: in workgroup memory. One barrier.

// [sweep is odd, team, lane], of up to 4 rows. Who is a sweep ahead writes to the other half, and nobody is two ahead.
var<workgroup> octet_largest: array<vec4<f32>, 2u * teams * lanes>;

// For a lane's octets of up to 4 rows, the largest magnitudes of the groups that they lie in.
fn largest_of_groups(own: vec4<f32>, sweep: u32, team: u32, lane: u32) -> vec4<f32> {
  let first = ((sweep % 2u) * teams + team) * lanes;
  octet_largest[first + lane] = own;
  workgroupBarrier();
  let group = first + lane - lane % GROUP_OCTETS;
  let pair = max(octet_largest[group], octet_largest[group + 1u]);
  return max(pair, max(octet_largest[group + 2u], octet_largest[group + 3u]));
}

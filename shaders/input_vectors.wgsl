// Input of a linear map in vec4s.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<vec4<f32>>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<vec4<f32>>;

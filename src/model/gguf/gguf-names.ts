import { EMBEDDING_TENSOR, FINAL_NORM_TENSOR, HEAD_TENSOR } from '../tensor-names.ts';

const WHOLE_MODEL: ReadonlyMap<string, string> = new Map([
  [EMBEDDING_TENSOR, 'token_embd.weight'],
  [FINAL_NORM_TENSOR, 'output_norm.weight'],
  [HEAD_TENSOR, 'output.weight'],
]);

/** Modules of a layer, as Hugging Face and as GGUF call them. */
const OF_LAYER: ReadonlyMap<string, string> = new Map([
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.q_norm', 'attn_q_norm'],
  ['self_attn.k_norm', 'attn_k_norm'],
  ['self_attn.o_proj', 'attn_output'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
]);

/** What GGUF calls a tensor; null for one it does not have. @param name as Hugging Face has it. */
export function ggufName(name: string): string | null {
  const ofModel = WHOLE_MODEL.get(name);
  if (ofModel !== undefined) return ofModel;
  const [, layer, module, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const ofLayer = OF_LAYER.get(module ?? '');
  return ofLayer === undefined || layer === undefined || kind === undefined
    ? null
    : `blk.${layer}.${ofLayer}.${kind}`;
}

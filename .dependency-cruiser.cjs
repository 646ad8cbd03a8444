/** Imports point one way: ui, cli → client, contributor → mesh, engine, model, tokenizer → protocol. */
const forbid = (name, from, to, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { path: from },
  to: { path: to },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-unresolved',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '\\.wgsl|\\?' },
    },
    forbid(
      'protocol-is-a-leaf',
      '^src/protocol',
      '^(src/(?!protocol)|signaling)',
      'protocol imports nothing of ours',
    ),
    forbid(
      'mesh-knows-no-engine',
      '^src/mesh',
      '^(src/(?!protocol|mesh)|signaling)',
      'mesh carries frames; engines are injected',
    ),
    forbid('model-and-tokenizer', '^src/(model|tokenizer)', '^(src/(?!protocol|model|tokenizer)|signaling)'),
    forbid('engine-needs-only-models', '^src/engine', '^(src/(?!protocol|model|engine)|signaling)'),
    forbid(
      'grammar-constrains-engines',
      '^src/grammar',
      '^(src/(?!protocol|model|tokenizer|engine|grammar)|signaling)',
      'grammars know tokens; engines are told what may come next',
    ),
    forbid('client-is-below-faces', '^src/client', '^(src/(ui|cli|contributor|engine)/|signaling)'),
    forbid('contributor-is-below-faces', '^src/contributor', '^(src/(ui|cli|client)/|signaling)'),
    forbid('ui-is-a-face', '^src/ui', '^(src/cli/|signaling)'),
    forbid('server-sees-no-engine', '^signaling', '^src/(?!protocol|client)'),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};

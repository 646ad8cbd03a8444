/** Kernels are imported as text: `import code from '../../shaders/matmul.wgsl?raw'`. */
declare module '*.wgsl?raw' {
  const code: string;
  export default code;
}

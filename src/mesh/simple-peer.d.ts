/** The browser build: simple-peer with its Node shims inside. It runs in Node as well, so both run the same code. */
declare module 'simple-peer/simplepeer.min.js' {
  export { default } from 'simple-peer';
}

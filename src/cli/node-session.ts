export { openNodeSession } from '../mesh/node-session.ts';
export { parseServerUrl } from '../mesh/server-url.ts';

/** All that is public beside `connect`. */
export { ERROR_CODES, SkeinError } from '../../protocol/errors.ts';
export type { ErrorCode } from '../../protocol/errors.ts';
export type * from '../api/openai-objects.ts';
export type * from './progress.ts';
export type * from './requests.ts';
export type * from './types.ts';

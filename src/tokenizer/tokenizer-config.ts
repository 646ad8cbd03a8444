import * as v from 'valibot';
import { SkeinError } from '../protocol/errors.ts';
import { isJsonObject } from '../model/json.ts';
import { describeFile } from '../model/model-path.ts';
import { readJsonFile, readTextFile } from '../model/read-file.ts';
import { ChatTemplate } from './chat-template.ts';
import type { FileSource } from '../model/file-source.ts';
import type { JsonObject } from '../model/json.ts';

const CONFIG_FILE = 'tokenizer_config.json';
const TEMPLATE_FILE = 'chat_template.jinja';
const TEMPLATE_VARIABLES = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const;

/** Written as its text, or as an object with `content`. */
const specialToken = v.nullish(
  v.union([
    v.string(),
    v.pipe(
      v.object({ content: v.string() }),
      v.transform(({ content }) => content),
    ),
  ]),
);

const configSchema = v.pipe(
  // An array would pass for an object below.
  v.custom<JsonObject>(isJsonObject, 'expected a JSON object'),
  v.looseObject({
    bos_token: specialToken,
    eos_token: specialToken,
    unk_token: specialToken,
    pad_token: specialToken,
    additional_special_tokens: v.nullish(v.array(v.unknown())),
    chat_template: v.nullish(
      v.union([v.string(), v.array(v.object({ name: v.string(), template: v.string() }))]),
    ),
  }),
);

export interface TokenizerConfig {
  /** The file, with special tokens as their text. */
  readonly json: object;
  /** Text of the token that ends an answer. */
  readonly endToken: string | null;
  readonly chatTemplate: ChatTemplate | null;
}

/** Reads tokenizer_config.json, which a model may lack, and the chat template in it or in a file beside it. */
export async function readTokenizerConfig(
  source: FileSource,
  signal?: AbortSignal,
): Promise<TokenizerConfig> {
  const file = describeFile(source, CONFIG_FILE);
  const result = v.safeParse(configSchema, (await readJsonFile(source, CONFIG_FILE, signal)) ?? {});
  if (!result.success) {
    const [issue] = result.issues;
    const field = v.getDotPath(issue) ?? 'config';
    throw new SkeinError('model-corrupt', `${file}: "${field}": ${issue.message}. Repair the file.`, {
      data: { file, field },
    });
  }
  const config = result.output;
  const specialTokens: Record<string, string> = {};
  for (const name of TEMPLATE_VARIABLES) {
    const token = config[name];
    if (typeof token === 'string') specialTokens[name] = token;
  }
  const inConfig = defaultTemplate(config.chat_template);
  const template = inConfig ?? (await readTextFile(source, TEMPLATE_FILE, signal));
  const templateFile = inConfig === null ? describeFile(source, TEMPLATE_FILE) : file;
  return {
    json: config,
    endToken: config.eos_token ?? null,
    chatTemplate: template === null ? null : new ChatTemplate(template, templateFile, specialTokens),
  };
}

/** Some models bring several templates by name. */
function defaultTemplate(value: v.InferOutput<typeof configSchema>['chat_template']): string | null {
  if (Array.isArray(value)) return value.find(({ name }) => name === 'default')?.template ?? null;
  return value ?? null;
}

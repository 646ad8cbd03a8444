/**
 * How deep arrays and objects are nested in a JSON text. Parsers take any depth; whoever walks what they give, to write it again for
 * one, runs out of stack.
 * @param json may be anything; what is no JSON gets some number.
 */
export function jsonDepth(json: string): number {
  let depth = 0;
  let deepest = 0;
  let isText = false;
  for (let index = 0; index < json.length; index += 1) {
    const character = json[index];
    if (isText) {
      if (character === '\\') index += 1;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === '[' || character === '{') deepest = Math.max(deepest, (depth += 1));
    else if (character === ']' || character === '}') depth -= 1;
  }
  return deepest;
}

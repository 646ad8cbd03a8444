import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { LOCAL_OPTIONS } from '../../../src/cli/generate-over-mesh.ts';
import { skeinProgram } from '../../../src/cli/program.ts';
import { SLASH_HELP } from '../../../src/cli/chat/slash.ts';
import { closest } from '../../../src/cli/closest.ts';

const DOCS = readFileSync(resolve(import.meta.dirname, '../../../docs/cli.md'), 'utf8');

/** Every command and command of a command, by its full name. */
function commandsOf(parent: Command, name: string): [name: string, command: Command][] {
  return parent.commands.flatMap((command) => {
    const full = `${name} ${command.name()}`;
    return [[full, command] as [string, Command], ...commandsOf(command, full)];
  });
}

/** From a heading to the next. */
function sectionOf(name: string): string {
  const [, section = ''] = `\n${DOCS}`.split(`\n## ${name}\n`);
  return section.split('\n## ')[0] ?? '';
}

const COMMANDS = commandsOf(skeinProgram(), 'skein');

describe('docs/cli.md', () => {
  it.each(COMMANDS.filter(([, { options }]) => options.length > 0))(
    'has the options of %s, and no others',
    (name, { options }) => {
      const rows = [...sectionOf(name).matchAll(/^\| `(?:-\w, )?--([a-z-]+)/gm)].map(([, option]) => option);
      const expected = options.map(({ long }) => long?.slice(2));
      expect(rows.sort()).toEqual(expected.sort());
    },
  );

  it('names every command in its table', () => {
    for (const { name } of skeinProgram().commands.map((command) => ({ name: command.name() }))) {
      expect(DOCS).toContain(`| \`skein ${name}\``);
    }
  });

  it('has what can be said in a chat', () => {
    for (const [usage] of SLASH_HELP) expect(sectionOf('skein chat')).toContain(`\`${usage}\``);
  });

  it('says which options a mesh refuses', () => {
    const section = sectionOf('skein generate');
    for (const name of LOCAL_OPTIONS) {
      const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      expect(section.split('refused by name')[0]).toContain(`\`--${flag}\``);
    }
  });
});

describe('the help of every command', () => {
  it.each(COMMANDS.filter(([, { commands }]) => commands.length === 0))(
    'of %s says what it is for',
    (_, command) => {
      expect(command.description()).toMatch(/\.$/);
      expect(command.helpInformation()).toContain(command.description().slice(0, 20));
    },
  );
});

describe('a name that is not there', () => {
  it.each([
    ['hlep', 'help'],
    ['mode', 'model'],
    ['temp', 'temperature'],
    ['max-token', 'max-tokens'],
    ['zzzz', null],
    ['', null],
  ])('%s was probably %s', (given, meant) => {
    expect(closest(given, ['help', 'model', 'temperature', 'max-tokens'])).toBe(meant);
  });
});

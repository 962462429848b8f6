import test from 'ava';
import type { Command } from 'commander';
import { examples } from '../../src/cli/examples.js';
import { program } from '../../src/cli/program.js';

/** Every command that does something, with its words after `memoir`. */
function leaves(command: Command, words: readonly string[] = []): [words: string, command: Command][] {
  if (command.commands.length === 0) return [[words.join(' '), command]];
  return command.commands.flatMap((below) => leaves(below, [...words, below.name()]));
}

/** The arguments of an example, as a shell gives them. */
function argumentsOf(line: string): string[] {
  const [command = ''] = line.split(/ [>|] /);
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  );
}

const all = leaves(program());

/** The command as it is before it was given anything. */
function named(words: string): Command {
  const found = leaves(program()).find(([name]) => name === words);
  if (!found) throw new Error(`there is no command ${words}`);
  return found[1];
}

test('every command has examples, and no others have', (t) => {
  t.deepEqual(Object.keys(examples).sort(), all.map(([words]) => words).sort());
});

for (const [words] of all) {
  test(`the examples of ${words} are commands as it takes them`, (t) => {
    for (const line of examples[words] ?? []) {
      const [memoir, ...rest] = argumentsOf(line);
      t.is(memoir, 'memoir');
      const own = words.split(' ');
      t.deepEqual(rest.slice(0, own.length), own);
      // By the command's own parser, which checks values too; the action does not run.
      const command = named(words);
      const { operands, unknown } = command.parseOptions(rest.slice(own.length));
      t.deepEqual(unknown, [], line);
      const required = command.registeredArguments.filter((argument) => argument.required).length;
      const variadic = command.registeredArguments.some((argument) => argument.variadic);
      const most = variadic ? Number.POSITIVE_INFINITY : command.registeredArguments.length;
      t.true(operands.length >= required && operands.length <= most, line);
      for (const option of command.options.filter(({ mandatory }) => mandatory)) {
        t.not(command.getOptionValue(option.attributeName()), undefined, `${line}: ${option.long}`);
      }
    }
  });
}

test('help marks what is required and shows the examples', (t) => {
  const help = (words: string) => {
    const command = named(words);
    let said = '';
    command.configureOutput({
      writeOut: (text) => {
        said += text;
      },
    });
    command.outputHelp();
    return said.replaceAll(/\s+/g, ' ');
  };
  t.regex(
    help('submit'),
    /--repository <name> repository, as the server names it \(required, unless --from is given\)/,
  );
  t.regex(help('submit'), /Examples: memoir submit --repository demo/);
  t.regex(help('run'), /--to <directory> .* \(required\)/);
  t.notRegex(help('worker'), /\(required\)/);
  t.notRegex(help('list'), /\(required\)/);
});

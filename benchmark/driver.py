"""./bench's other half: runs the measures in turn and prints one table. Use ./bench; this needs the namespaces it makes."""

import argparse
import json
import os
import sys
import time

from gi.repository import GLib

import report
from rows import MEASURES
from world import Trouble, World


def parse(words):
    parser = argparse.ArgumentParser(prog='./bench', add_help=False)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--rows', default='')
    parser.add_argument('--rounds', type=int, default=0)
    parser.add_argument('--write')
    parser.add_argument('--json')
    parser.add_argument('--no-peer', dest='peer', action='store_false')
    parser.add_argument('--tuned-peer', action='store_true')
    parser.add_argument('--bus', choices=('dbus-daemon', 'dbus-broker'), default='dbus-daemon')
    parser.add_argument('--only-stand-in', action='store_true')
    parser.add_argument('--scale', type=float, default=0)
    # From ./bench:
    for name in ('dir', 'source', 'roostd', 'load', 'floor', 'stand-in', 'qemu', 'build-type', 'packages', 'no-peer-because'):
        parser.add_argument(f'--x-{name}', dest=name.replace('-', '_'), default='')
    options = parser.parse_args(words)
    options.words = [word for word in words if not word.startswith('--x-')]
    options.scale = options.scale or (0.4 if options.quick else 1)
    options.rounds = options.rounds or (3 if options.quick else 5)
    if options.no_peer_because or options.only_stand_in:
        options.peer = False
    return options


def chosen(options):
    names = [name for name in options.rows.split(',') if name]
    known = [measure.name for measure in MEASURES]
    for name in names:
        if name not in known:
            sys.exit(f'bench: there is no row {name}; there are: {", ".join(known)}')
    if names:
        picked = [measure for measure in MEASURES if measure.name in names]
    else:
        picked = [measure for measure in MEASURES if measure.quick or not options.quick]
    if options.only_stand_in:
        picked = [measure for measure in picked if measure.stand_in]
    return picked


def columns_of(measure, options):
    columns = list(measure.columns)
    if not options.peer or (options.quick and not measure.quick_peer and not options.rows):
        columns = [column for column in columns if column != 'peer']
    return columns


def words_of(error):
    if isinstance(error, GLib.Error):
        return error.message
    return str(error) or type(error).__name__


def run_rounds(world, measure, options, results, troubles):
    columns = columns_of(measure, options)
    at_most = [options.rounds, measure.rounds, measure.quick_rounds if options.quick else None]
    rounds = min(n for n in at_most if n)
    for i in range(rounds):
        # Another order each time: who comes first has no advantage from it.
        for column in columns if i % 2 == 0 else reversed(columns):
            if column in troubles:
                continue
            try:
                figures = measure.columns[column](world)
            except (Trouble, GLib.Error, OSError, ValueError) as error:
                troubles[column] = 'failed'
                print(f'bench: {measure.name}: {column}: {words_of(error)}', file=sys.stderr)
                continue
            beside = figures.pop('limit', {})
            for other, values in ((column, figures), ('limit', beside)):
                for key, value in values.items():
                    results.setdefault(key, {}).setdefault(other, []).append(value)


def run(measure, options):
    """The lines of the table; what a column can't give is said in it."""
    results, troubles, world = {}, {}, None
    begin = time.monotonic()
    print(f'{measure.name}: ', end='', flush=True, file=sys.stderr)
    try:
        world = World(options)
        measure.setup(world)
        run_rounds(world, measure, options, results, troubles)
    except (Trouble, GLib.Error, OSError) as error:
        print(f'bench: {measure.name}: {words_of(error)}', file=sys.stderr)
        troubles = {column: 'failed' for column in measure.columns}
    finally:
        if world:
            world.close()
    print(f'{time.monotonic() - begin:.1f} s', file=sys.stderr)
    if 'peer' in measure.columns and 'peer' not in columns_of(measure, options):
        troubles['peer'] = options.no_peer_because or 'not run'
    return [report.Line(measure, figure, results.get(figure.key, {}), troubles) for figure in measure.figures], troubles


def main():
    options = parse(sys.argv[1:])
    load_before = os.getloadavg()[0]
    lines, failed = [], []
    for measure in chosen(options):
        these, troubles = run(measure, options)
        lines += these
        failed += [f'{measure.name} ({column})' for column, why in troubles.items() if why == 'failed']
    facts = report.facts(options, load_before)
    print()
    for name, value in facts:
        print(f'{name}: {value}')
    print()
    print(report.table(lines))
    said = report.behind(lines)
    compared = any(line.ahead() is not None for line in lines)
    print('\nNot ahead, or below the bar:' if said else '\nAhead in every row, and no bar missed.' if compared
          else '\nNo bar missed; not compared with libvirt.')
    for each in said:
        print(f'  {each}')
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as file:
            json.dump({'facts': dict(facts), 'figures': {
                line.figure.key: {column: cell.values for column, cell in line.cells.items()} for line in lines}},
                      file, indent='\t')
            file.write('\n')
    if options.write:
        report.write_page(options.write, lines, facts)
        print(f'\nWritten into {options.write}')
    if failed:
        print(f'\nFailed: {", ".join(failed)}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

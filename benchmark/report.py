"""The table: what came out, how it compares, and what it is judged by."""

import datetime
import math
import os
import platform
import re
import statistics
import subprocess

BEGIN = '<!-- results: written by ./bench --write -->'
END = '<!-- end of results -->'
COLUMNS = ('roost', 'peer', 'limit')


class Cell:
    """One figure of one column: what each round gave."""

    def __init__(self, values):
        self.values = values

    @property
    def median(self):
        return statistics.median(self.values)

    def text(self):
        low, high = min(self.values), max(self.values)
        if math.isinf(self.median):
            return 'no reply in 3 s'
        spread = f' ({number(low)}-{number(high)})' if len(self.values) > 1 and number(low) != number(high) else ''
        return number(self.median) + spread


def number(value):
    if math.isinf(value):
        return 'never'
    if value == 0 or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


class Line:
    """A figure of all columns."""

    def __init__(self, measure, figure, results, troubles):
        self.measure = measure
        self.figure = figure
        self.cells = {column: Cell(values) for column, values in results.items() if values}
        self.troubles = troubles

    def compared(self, above, below, operation):
        """Of each round, where both were measured in it as often; else of the medians."""
        if above not in self.cells or below not in self.cells:
            return None
        a, b = self.cells[above].values, self.cells[below].values
        if len(a) != len(b):
            a, b = [self.cells[above].median], [self.cells[below].median]
        return statistics.median(operation(x, y) for x, y in zip(a, b))

    def ratio(self, above, below):
        def divide(x, y):
            return x / y if y and not (math.isinf(x) and math.isinf(y)) else math.inf
        return self.compared(above, below, divide)

    def verdicts(self):
        """(words, met) for every bar; met is None where it can't be judged."""
        if 'roost' not in self.cells:
            return [(bar.text(self.figure.unit), None) for bar in self.figure.bars]
        extra = self.compared('roost', 'limit', lambda x, y: x - y)
        return [(bar.text(self.figure.unit),
                 bar.is_met(self.cells['roost'].median, self.ratio('roost', 'limit'), extra)) for bar in self.figure.bars]

    def ahead(self):
        """How many times better than the peer; None: nothing to compare."""
        if self.figure.is_fact:
            return None
        return self.ratio('roost', 'peer') if self.figure.more_is_better else self.ratio('peer', 'roost')

    def words(self):
        cells = [self.cells[column].text() if column in self.cells else self.troubles.get(column, '-')
                 for column in COLUMNS]
        to_limit, ahead = self.ratio('roost', 'limit'), self.ahead()
        bars = '; '.join(f'{words}: {"?" if met is None else "yes" if met else "NO"}' for words, met in self.verdicts())
        return [f'{self.figure.title}{", " + self.figure.unit if self.figure.unit else ""}', *cells,
                f'{to_limit:.2f}' if to_limit is not None else '',
                '' if ahead is None else 'it stops' if math.isinf(ahead) else f'{ahead:.2g}' if ahead < 10 else f'{ahead:.0f}',
                bars]


HEADS = ['', 'Roost', 'libvirt', 'limit', 'to limit', 'ahead', 'bar']


def aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join(cell.ljust(width) if i == 0 or i == len(row) - 1 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def table(lines):
    """For a terminal."""
    groups, rows = {}, [HEADS]
    for line in lines:
        groups.setdefault(line.measure.title, []).append(line)
    shape = []
    for title, members in groups.items():
        shape.append(title)
        for line in members:
            row = line.words()
            row[0] = '  ' + row[0]
            rows.append(row)
            shape.append(len(rows) - 1)
    text = aligned(rows)
    return '\n'.join([text[0]] + [each if isinstance(each, str) else text[each] for each in shape])


def behind(lines):
    """Where Roost is not ahead of the peer, and the bars that are not met."""
    said = []
    for line in lines:
        name, ahead = f'{line.measure.title}: {line.figure.title}', line.ahead()
        if ahead is not None and ahead < 1:
            said.append(f'{name}: libvirt is ahead, {line.cells["peer"].text()} against '
                        f'{line.cells["roost"].text()} {line.figure.unit}')
        for words, met in line.verdicts():
            if met is False:
                ratio = line.ratio('roost', 'limit')
                compared = f', {ratio:.2f} x limit' if ratio is not None else ''
                said.append(f'{name}: the bar ({words}) is not met: {line.cells["roost"].text()} '
                            f'{line.figure.unit}{compared}')
    return said


# ---- of the run ----
def output_of(*words):
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout.strip()
    except FileNotFoundError:
        return ''


def first_version(text):
    found = re.search(r'\d+(\.\d+)+', text)
    return found.group() if found else '?'


def package_version(options, name):
    """Of what was unpacked, or is installed."""
    for entry in os.listdir(options.packages) if os.path.isdir(options.packages) else ():
        if entry.startswith(name + '_'):
            return entry.split('_')[1].replace('%3a', ':')
    return output_of('dpkg-query', '-W', '-f', '${Version}', name) or '?'


def facts(options, load_before):
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        found = re.search(r'model name\s*: (.*)', file.read())
    commit = output_of('git', '-C', options.source, 'rev-parse', '--short', 'HEAD')
    dirty = output_of('git', '-C', options.source, 'status', '--porcelain', '--untracked-files=no')
    versions = [f'Roost {first_version(output_of(options.roostd, "--version"))}'
                + (f' ({commit}{", changed" if dirty else ""})' if commit else ''),
                f'QEMU {first_version(output_of(options.qemu, "--version"))}',
                f'{options.bus} {package_version(options, options.bus)}',
                f'libsystemd {package_version(options, "libsystemd0")}']
    if options.peer:
        tuned = 'tuned: 64 threads, 128 workers' if options.tuned_peer else 'as shipped'
        versions.append(f'libvirt-daemon {package_version(options, "libvirt-daemon")}, '
                        f'libvirt-dbus {package_version(options, "libvirt-dbus")} ({tuned})')
    return [
        ('When', datetime.datetime.now().strftime('%Y-%m-%d %H:%M')),
        ('Command', './bench ' + ' '.join(re.sub(r'=.*/', '=', word) for word in options.words)),
        ('Machine', f'{found.group(1) if found else platform.machine()}, {os.cpu_count()} processors, Linux '
                    f'{platform.release().split("-")[0]}, without KVM (TCG); build type {options.build_type}'),
        ('Load', f'{load_before:.1f} before, {os.getloadavg()[0]:.1f} after'
                 + ('; **others were busy on this machine**' if load_before > 0.5 else '')),
        ('Versions', ', '.join(versions)),
    ]


# ---- for a page ----
def escape(text):
    return text.replace('|', '\\|')


def page(lines, run_facts):
    text = [BEGIN, '']
    text += [f'- {name}: {value}' for name, value in run_facts]
    text += ['', '### Not ahead, or below the bar', '']
    said = behind(lines)
    text += [f'- {each}.' for each in said] if said else ['Nothing in this run.']
    text += ['', '### All rows', '']
    text.append('| ' + ' | '.join(HEADS) + ' |')
    text.append('|---|' + '---:|' * (len(HEADS) - 2) + '---|')
    title = None
    for line in lines:
        if line.measure.title != title:
            title = line.measure.title
            text.append(f'| **{title}** |' + ' |' * (len(HEADS) - 1))
        text.append('| ' + ' | '.join(escape(word) for word in line.words()) + ' |')
    return '\n'.join(text + ['', END])


def write_page(path, lines, run_facts):
    with open(path, encoding='utf-8') as file:
        old = file.read()
    begin, end = old.find(BEGIN), old.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f'{path}: has no place for results ("{BEGIN}" ... "{END}")')
    new = old[:begin] + page(lines, run_facts) + old[end + len(END):]
    with open(path, 'w', encoding='utf-8') as file:
        file.write(new)

"""What is measured: a table of measures. A measure has a world that its set-up makes, and a function for each column, which
takes the world and gives its figures; the columns are measured in turn, and that some times over.

A figure's bar is from the project's goals, and says what the figure is judged by: most often its ratio to the limit."""

from dataclasses import dataclass, field

import measures as m
import measures_of_much as much


@dataclass
class Bar:
    """`kind`: what of Roost's figure is compared: `value` itself, its `ratio` to the limit, its `extra` over the limit."""
    kind: str
    most: float = None
    least: float = None

    def text(self, unit):
        words = {'value': '', 'ratio': ' x limit', 'extra': ''}[self.kind]
        bound = f'<= {self.most:g}' if self.most is not None else f'>= {self.least:g}'
        if self.kind == 'ratio':
            return f'{bound}{words}'
        return f'limit + {self.most:g} {unit}' if self.kind == 'extra' else f'{bound} {unit}'.strip()

    def is_met(self, value, ratio, extra):
        judged = {'value': value, 'ratio': ratio, 'extra': extra}[self.kind]
        if judged is None:
            return None
        return judged <= self.most if self.most is not None else judged >= self.least


@dataclass
class Figure:
    key: str
    title: str
    unit: str = 'us'
    bars: tuple = ()
    more_is_better: bool = False
    # Not compared with the peer: a fact about Roost.
    is_fact: bool = False


@dataclass
class Measure:
    name: str
    title: str
    setup: object
    columns: dict
    figures: list = field(default_factory=list)
    quick: bool = True         # it is in --quick
    quick_peer: bool = True    # so is its peer's column
    rounds: int = None         # at most; None: as many as asked for
    quick_rounds: int = None   # the same in --quick
    stand_in: bool = False     # it runs without QEMU, on the stand-in alone


def at_most(kind, value):
    return Bar(kind, most=value)


def at_least(kind, value):
    return Bar(kind, least=value)


def read_figures(prefix, title, longest=False):
    return [
        Figure(f'{prefix}.p50', f'{title}, p50', bars=(at_most('ratio', 1.3),)),
        Figure(f'{prefix}.p99', f'{title}, p99'),
        *([Figure(f'{prefix}.max', f'{title}, the longest')] if longest else []),
        Figure(f'{prefix}8.rate', f'{title}, 8 clients', '/s', more_is_better=True,
               bars=(at_least('ratio', 0.7),)),
    ]


def event_figures(prefix, title, p50=(), p99=()):
    return [Figure(f'{prefix}.p50', f'{title}, p50', bars=p50), Figure(f'{prefix}.p99', f'{title}, p99', bars=p99)]


def list_measure(n, bar=None, quick=True):
    figures = [Figure(f'list{n}.p50', f'{n:,} VMs, p50', bars=(at_most('value', bar),) if bar else ())]
    return Measure(f'list{n}', 'Names and states of VMs in one call', m.with_defined(n),
                   {'roost': m.list_roost(n), 'peer': m.list_peer(n), 'limit': m.list_limit(n)}, figures, quick=quick,
                   rounds=3 if n > 500 else None)


def hung_measure(n, quick_peer=False):
    title = f'{n} hung'
    figures = [Figure(f'hung{n}.{key}', f'{title}: {what}, {p}')
               for what, keys in (('property read of another VM', ('read.p50', 'read')),
                                  ('a method that asks QEMU, of another VM', ('method.p50', 'method')))
               for key, p in zip(keys, ('p50', 'p99'))]
    return Measure(f'hung{n}', 'Hung QEMUs, a method outstanding in each', much.hung_setup,
                   {'roost': much.hung_roost(n), 'peer': much.hung_peer(n), 'limit': much.hung_limit(n)}, figures,
                   quick=n == 20, quick_peer=quick_peer, rounds=2, quick_rounds=1)


MEASURES = [
    Measure('read', 'A property', m.read_setup,
            {'roost': m.read_roost, 'peer': m.read_peer, 'limit': m.read_limit},
            read_figures('read', 'Name') + [Figure('state.p50', 'the state, p50', bars=(at_most('ratio', 1.3),))],
            stand_in=True),
    Measure('busy', 'A property while a method runs on that VM', m.busy_setup,
            {'roost': m.busy_roost, 'peer': m.busy_peer, 'limit': m.busy_limit}, read_figures('busy', 'Name', longest=True),
            stand_in=True, quick_rounds=2),
    Measure('pause', 'Pause and resume, in turn', m.pause_setup,
            {'roost': m.pause_roost, 'peer': m.pause_peer, 'limit': m.pause_limit},
            [Figure('pause.p50', 'until the reply, p50'), Figure('pause.p99', 'until the reply, p99')]),
    list_measure(10, quick=False),
    list_measure(100),
    list_measure(500, bar=600),
    list_measure(1000, quick=False),
    Measure('objects', 'All properties of 1,000 VMs', m.with_defined(1000),
            {'roost': m.objects_roost, 'peer': m.objects_peer, 'limit': m.objects_limit},
            [Figure('objects.cpu', 'the service\'s time', 'ms', (at_most('value', 12),)),
             Figure('objects.p50', 'until it is there, p50', 'ms')], rounds=3, quick=False),
    Measure('start', 'Start and stop', m.start_setup,
            {'roost': m.start_roost, 'peer': m.start_peer, 'limit': m.start_limit},
            [Figure('start', 'start', 'ms', (at_most('extra', 10),)),
             Figure('kill', 'kill', 'ms', (at_most('value', 10),)),
             Figure('start39', '39 starts at once', '/s', (at_least('ratio', 0.9),), more_is_better=True)], quick_rounds=1),
    Measure('event', 'Event to signal', m.event_setup,
            {'roost': m.event_roost, 'peer': m.event_peer, 'limit': m.event_limit},
            event_figures('event', 'idle', (at_most('ratio', 2),), (at_most('ratio', 5),))
            + event_figures('event-fast', 'one upon the other, without a pause'),
            quick_rounds=2),
    Measure('event-long', 'Event to signal, a long method in flight on that VM', m.event_long_setup,
            {'roost': m.event_long_roost, 'peer': m.event_long_peer},
            event_figures('event-long', 'that VM', (), (at_most('value', 1000),)), stand_in=True, quick_rounds=1),
    Measure('flood', 'A guest that floods with events', much.flood_setup,
            {'roost': much.flood_roost, 'peer': much.flood_peer},
            [Figure('flood.read', 'property read of another VM, p99', bars=(at_most('ratio', 1.5),)),
             *event_figures('flood.event', 'event to signal of another VM', (), (at_most('ratio', 1.5),)),
             Figure('flood.events', 'events taken from QEMU', '/s', more_is_better=True, is_fact=True),
             Figure('flood.batches', 'batches on the bus', '/s', (at_most('value', 50),), is_fact=True),
             Figure('flood.growth', 'growth meanwhile', 'MiB', (at_most('value', 2),)),
             Figure('flood.cpu', 'processor time of the service, with that for the reads', '%')], quick_peer=False, rounds=2,
            quick_rounds=1),
    Measure('ceiling', 'Events from a stand-in that writes many at once', much.ceiling_setup, {'roost': much.ceiling_roost},
            [Figure('ceiling.events', 'taken', '/s', more_is_better=True, is_fact=True),
             Figure('ceiling.cost', 'processor time of the service for each', is_fact=True)], rounds=2, quick_rounds=1,
            stand_in=True),
    hung_measure(1),
    hung_measure(3),
    hung_measure(5),
    hung_measure(20),
    hung_measure(100),
    Measure('memory', 'Memory (RSS)', much.memory_setup,
            {'roost': much.memory_roost, 'peer': much.memory_peer, 'limit': much.memory_limit},
            [Figure('memory1', '1 VM defined', 'MiB', (at_most('value', 8),)),
             Figure('memory500', '500 VMs defined, after lists', 'MiB', (at_most('value', 16),)),
             Figure('running', 'for each running VM', 'KiB'),
             Figure('threads', 'threads with 20 running VMs', '')], rounds=1),
    Measure('defined1000', '1,000 VMs defined', much.scale_setup, {'roost': much.defined_roost(1000)},
            much.defined_figures(Figure, 1000), quick=False, rounds=1, stand_in=True),
    Measure('defined10000', '10,000 VMs defined', much.scale_setup, {'roost': much.defined_roost(10000)},
            much.defined_figures(Figure, 10000), quick=False, rounds=1, stand_in=True),
    Measure('running1000', '1,000 VMs running (stand-ins)', much.scale_setup, {'roost': much.running_roost(1000)},
            much.running_figures(Figure, 1000), quick=False, rounds=1, stand_in=True),
    Measure('live200', '200 real QEMUs, paused', much.live_setup, {'roost': much.live_roost(200)}, much.live_figures(Figure, 200),
            quick=False, rounds=1),
]

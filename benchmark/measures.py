"""How each figure is taken: for every measure of rows.py a set-up and a function for each column.

Times come from bench-load in microseconds. NEVER is the figure of a call that was not answered."""

import statistics
import time

from gi.repository import GLib

from peer import RNG, STATS_STATE, Peer
from roost import Roost
from world import Floor, Trouble, cpu_usec, wait_for

NEVER = float('inf')
# Stand-in: one method that takes long, and events meanwhile.
SLOW = 'on query-version delay 15000\n'
SLOW_QUERY = '{"execute": "query-version"}'


def counts(world, n):
    """Fewer in a try-out."""
    return max(int(n * world.options.scale), 20)


def add_all(world, peer=True, floor=True, stand_in=False):
    world.roost = Roost(world, stand_in)
    if floor:
        world.floor = Floor(world)
    if peer and world.options.peer:
        world.peer = Peer(world)


def add_one_running(world, **keys):
    world.roost.define('a', **keys)
    world.roost.start('a')
    if world.peer:
        world.peer.define('a')
        world.peer.start('a')


# ---- a property ----
def read_setup(world):
    add_all(world, stand_in=world.options.only_stand_in)
    add_one_running(world)


def read(world, target, arguments, prefix, n=3000):
    one = world.load('call', target, *arguments, count=counts(world, n))
    eight = world.load('call', target, *arguments, clients=8, seconds=1)
    if one['errors'] or eight['errors']:
        raise Trouble(one['said'] or eight['said'])
    return {f'{prefix}.p50': one['p50'], f'{prefix}.p99': one['p99'], f'{prefix}8.rate': eight['rate'],
            # For what waits for the other method.
            f'{prefix}.max': max(one['max'], eight['max'])}


def name_of(subject, vm):
    target, arguments = subject.property_of(vm)
    return target, (arguments[0], 'Name')


def p50(world, target, arguments, n=1000):
    return world.load('call', target, *arguments, count=counts(world, n))['p50']


def read_roost(world):
    return read(world, *name_of(world.roost, 'a'), 'read') | {'state.p50': p50(world, *world.roost.property_of('a'))}


def read_peer(world):
    return read(world, *name_of(world.peer, 'a'), 'read') | {'state.p50': p50(world, *world.peer.state_of('a'))}


def read_limit(world):
    target = Floor.target | {'member': 'Ping'}
    return read(world, target, (), 'read') | {'state.p50': p50(world, target, ())}


def busy_setup(world):
    """Roost's is a stand-in: no method of a real QEMU takes long and lets it do other things meanwhile."""
    add_all(world, stand_in=True)
    add_one_running(world, script=SLOW)


def begin_slow(world):
    target = world.roost.of_vm('a', 'ExecuteQMP') | {'signature': 's'}
    process = world.load_behind('call', target, SLOW_QUERY, count=1)
    wait_for('the method to run', lambda: world.roost.get('a', 'CurrentOperation'))
    return process


def end_slow(world, process):
    if not world.roost.get('a', 'CurrentOperation'):
        raise Trouble('the long method was over too soon')
    world.roost.call('a', 'CancelOperation', GLib.Variant('(t)', (0,)))
    world.finish(process)
    # The stand-in is still busy with it; another one is not.
    world.roost.kill('a')
    world.roost.start('a')


def busy_roost(world):
    process = begin_slow(world)
    result = read(world, *name_of(world.roost, 'a'), 'busy', n=1000)
    end_slow(world, process)
    return result


def begin_detach(world):
    """Five seconds: the guest has no driver that would agree. Once for each start."""
    target = world.peer.of_vm('a', 'DetachDevice') | {'signature': 'su'}
    process = world.load_behind('call', target, RNG, '0', count=1)
    time.sleep(0.1)
    return process


def end_detach(world, process, longest_usec):
    """Where something else waited for it, it is over."""
    if process.poll() is not None and longest_usec < 1000000:
        raise Trouble(f'DetachDevice was over too soon: {world.said("behind")[-300:]}')
    world.finish(process)
    world.peer.kill('a')
    world.peer.start('a')


def busy_peer(world):
    process = begin_detach(world)
    result = read(world, *name_of(world.peer, 'a'), 'busy', n=1000)
    end_detach(world, process, result['busy.max'])
    return result


def busy_limit(world):
    return read(world, Floor.target | {'member': 'Ping'}, (), 'busy', n=1000)


# ---- a method that QEMU must do ----
def pause_setup(world):
    add_all(world, floor=False)
    world.roost.define('limit', qmp=True)
    world.roost.start('limit')
    add_one_running(world)


def pause_figures(result):
    if result['errors']:
        raise Trouble(result['said'])
    return {'pause.p50': result['p50'], 'pause.p99': result['p99']}


def pause(world, target):
    return pause_figures(world.load('call', target, count=counts(world, 1000)))


def pause_roost(world):
    return pause(world, world.roost.of_vm('a', 'Pause') | {'then': 'Resume'})


def pause_peer(world):
    return pause(world, world.peer.of_vm('a', 'Suspend') | {'then': 'Resume'})


def pause_limit(world):
    return pause_figures(world.load('qmp', {'qmp': world.roost.qmp_path('limit')}, count=counts(world, 1000)))


# ---- lists ----
def with_defined(n):
    def setup(world):
        add_all(world)
        for i in range(n):
            world.roost.define(f'vm{i}')
            if world.peer:
                world.peer.define(f'vm{i}', devices='')
    return setup


def list_figures(world, n, target, *arguments):
    return {f'list{n}.p50': p50(world, target, arguments, max(20, 20000 // n))}


def list_roost(n):
    return lambda world: list_figures(world, n, world.roost.of_manager('ListVMs'))


def list_peer(n):
    return lambda world: list_figures(world, n, world.peer.of_manager('GetAllDomainStats') | {'signature': 'uu'},
                                      str(STATS_STATE), '0')


def list_limit(n):
    return lambda world: list_figures(world, n, Floor.target | {'member': 'List', 'signature': 'u'}, str(n))


def objects(world, pids, target, *arguments, n=20, times=1):
    """`times`: how many calls make one figure."""
    before = cpu_usec(*pids)
    result = world.load('call', target, *arguments, count=n * times)
    spent = cpu_usec(*pids) - before
    if result['errors']:
        raise Trouble(result['said'])
    return {'objects.cpu': spent / n / 1000, 'objects.p50': result['p50'] * times / 1000}


def objects_roost(world):
    return objects(world, world.roost.pids, {'dest': 'org.roost1', 'path': '/org/roost1', 'member': 'GetManagedObjects',
                                             'interface': 'org.freedesktop.DBus.ObjectManager'})


def objects_peer(world):
    target = {'dest': 'org.libvirt', 'path': world.peer.paths['vm0'], 'member': 'GetAll', 'signature': 's',
              'interface': 'org.freedesktop.DBus.Properties'}
    return objects(world, world.peer.pids, target, 'org.libvirt.Domain', n=1, times=1000)


def objects_limit(world):
    return objects(world, world.floor.pids, Floor.target | {'member': 'Objects', 'signature': 'u'}, '1000')


# ---- start and stop ----
N_AT_ONCE = 39


def start_setup(world):
    add_all(world, floor=False)
    for i in range(N_AT_ONCE):
        for subject in filter(None, (world.roost, world.peer)):
            subject.define(f'vm{i}')
    world.roost.start('vm0')
    world.bare = ['@QMP@' if word.startswith('socket,') and 'id=qmp' in word else word
                  for word in world.roost.command_line('vm0')]
    world.roost.kill('vm0')


def timed_msec(function, *arguments):
    begin = time.monotonic()
    function(*arguments)
    return (time.monotonic() - begin) * 1000


def start_figures(world, subject, start_member, kill_member, signature, kill_signature):
    starts, kills = [], []
    for i in range(5):
        starts.append(timed_msec(subject.start, f'vm{i}'))
        kills.append(timed_msec(subject.kill, f'vm{i}'))
    target = subject.of_vm('vm0', start_member) | {'signature': signature}
    result = world.load('burst', target, *subject.paths.values(), timeout_msec=60000)
    if result['errors']:
        raise Trouble(result['said'])
    world.load('burst', target | {'member': kill_member, 'signature': kill_signature}, *subject.paths.values(), timeout_msec=60000)
    return {'start': statistics.median(starts), 'kill': statistics.median(kills),
            'start39': len(subject.paths) / result['seconds']}


def start_roost(world):
    return start_figures(world, world.roost, 'Start', 'Kill', 'E', '')


def start_peer(world):
    return start_figures(world, world.peer, 'Create', 'Destroy', '0', '0')


def start_limit(world):
    ones = [world.load('spawn', {}, *world.bare, count=1) for _ in range(5)]
    return {'start': statistics.median(one['seconds'] for one in ones) * 1000,
            'kill': statistics.median(one['kill'] for one in ones) / 1000,
            'start39': world.load('spawn', {}, *world.bare, count=N_AT_ONCE)['rate']}


# ---- events ----
def event_setup(world):
    add_all(world)
    add_one_running_with_qmp(world, 'a')
    add_floor_qemu(world)


def add_floor_qemu(world):
    """The limit listens to a QEMU that Roost started: the third who is connected to it."""
    world.roost.define('limit', arguments=[
        '-qmp', f'unix:{world.dir}/limit.qmp,server=on,wait=off', '-qmp', f'unix:{world.dir}/floor.qmp,server=on,wait=off'])
    world.roost.start('limit')
    world.floor.call('Watch', GLib.Variant('(s)', (f'{world.dir}/floor.qmp',)))


def add_one_running_with_qmp(world, name):
    for subject in filter(None, (world.roost, world.peer)):
        subject.define(name, qmp=True)
        subject.start(name)


# Roost sends a VM's signals at most 50 times a second: after this it is quiet again.
QUIET_USEC = 30000


def events(world, prefix, target, settings, n=150, pause_usec=QUIET_USEC):
    result = world.load('events', target, count=counts(world, n), pause_usec=pause_usec, **settings)
    if result['errors'] > result['n'] / 100:
        raise Trouble(f'{result["errors"]} of {result["n"]} events brought no signal')
    return {f'{prefix}.p50': result['p50'], f'{prefix}.p99': result['p99']}


def events_both(world, target, settings):
    """After a pause, and as fast as the signals come."""
    return (events(world, 'event', target, settings)
            | events(world, 'event-fast', target, settings, n=100, pause_usec=0))


def event_roost(world):
    return events_both(world, *world.roost.event_settings('a'))


def event_peer(world):
    return events_both(world, *world.peer.event_settings('a'))


def event_limit(world):
    return events_both(world, *floor_events(world))


def floor_events(world):
    return Floor.target | {'member': 'Event'}, {'qmp': f'{world.dir}/limit.qmp', 'stops': ' STOP ', 'conts': ' RESUME '}


LONG_SECONDS = 4  # DetachDevice takes five


def event_long_setup(world):
    add_all(world, stand_in=True, floor=False)
    # Each is new: nothing is merged.
    world.roost.define('a', script=SLOW + 'every 30 event {"event": "DEVICE_DELETED", "data": {"path": "/machine/$N"}}\n')
    world.roost.start('a')
    if world.peer:
        world.peer.define('a', qmp=True)
        world.peer.start('a')


def event_long_roost(world):
    process = begin_slow(world)
    result = world.load('follow', world.roost.of_vm('a', 'Event'), seconds=LONG_SECONDS)
    end_slow(world, process)
    return {'event-long.p50': result['p50'], 'event-long.p99': result['p99']}


def event_long_peer(world):
    target, settings = world.peer.event_settings('a')
    process = begin_detach(world)
    result = world.load('events', target, count=100000, seconds=LONG_SECONDS, pause_usec=QUIET_USEC, **settings)
    end_detach(world, process, result['max'])
    return {'event-long.p50': result['p50'], 'event-long.p99': result['p99']}

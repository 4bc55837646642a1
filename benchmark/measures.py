"""How each figure is taken: for every measure of rows.py a set-up and a function for each column.

Times come from bench-load in microseconds. NEVER is the figure of a call that was not answered."""

import os
import signal
import statistics
import time

from gi.repository import GLib

from peer import RNG, STATS_STATE, Peer
from roost import Roost
from world import Floor, Trouble, alive, cpu_usec, rss_mib, status_of, wait_for

NEVER = float('inf')
HUNG_TIMEOUT_MSEC = 3000
QUERY = '{"execute": "query-status"}'
# Stand-in: one method that takes long, and events meanwhile.
SLOW = 'on query-version delay 15000\n'
SLOW_QUERY = '{"execute": "query-version"}'
# A guest in a boot sector: writes "crash loaded" to the pvpanic device, again and again.
FLOODER = bytes.fromhex('faba0505b002eeebfd')


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
            | events(world, 'event-fast', target, settings, n=300, pause_usec=0))


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


# ---- a flood ----
FLOOD_SECONDS = 4


def flood_setup(world):
    floppy = os.path.join(world.dir, 'flood.img')
    with open(floppy, 'wb') as file:
        file.write(FLOODER.ljust(510, b'\0') + b'\x55\xaa')
        file.truncate(1440 * 1024)
    arguments = ['-drive', f'if=floppy,format=raw,file={floppy},snapshot=on', '-device', 'pvpanic', '-boot', 'order=a']
    add_all(world)
    add_one_running_with_qmp(world, 'other')
    world.roost.define('flood', arguments=arguments, MachineType=GLib.Variant('s', 'pc'))
    if world.peer:
        world.peer.define('flood', arguments=arguments, machine='pc', devices='')
    add_floor_qemu(world)


def flood_figures(world, subject, signals, read_target):
    """While the VM `flood` of this subject floods: how another one fares."""
    before, cpu, begin = rss_mib(*subject.pids), cpu_usec(*subject.pids), time.monotonic()
    follow = world.load_behind('follow', signals, seconds=FLOOD_SECONDS)
    target, arguments = read_target
    result = world.load('call', target, *arguments, seconds=1, timeout_msec=HUNG_TIMEOUT_MSEC)
    figures = {'flood.read': NEVER if result['errors'] else result['p99']}
    event = world.load('events', subject.event_settings('other')[0], count=100, pause_usec=QUIET_USEC, seconds=4,
                       **subject.event_settings('other')[1])
    lost = event['errors'] > event['n'] / 100
    figures['flood.event.p50'] = NEVER if lost else event['p50']
    figures['flood.event.p99'] = NEVER if lost else event['p99']
    followed = world.finish(follow)
    figures['flood.batches'] = followed['batches'] / FLOOD_SECONDS
    figures['flood.growth'] = rss_mib(*subject.pids) - before
    figures['flood.cpu'] = (cpu_usec(*subject.pids) - cpu) / (time.monotonic() - begin) / 10000
    return figures, followed


def flood_roost(world):
    world.roost.start('flood')
    wait_for('the flood', lambda: world.roost.get('flood', 'EventSequence') > 100)
    signals = world.roost.of_vm('flood', 'Event')
    figures, followed = flood_figures(world, world.roost, signals, name_of(world.roost, 'other'))
    figures['flood.events'] = followed['merged'] / FLOOD_SECONDS
    # What an empty service can do beside such a QEMU.
    limit = world.load('call', Floor.target | {'member': 'Ping'}, seconds=1)
    event = events(world, 'flood.event', *floor_events(world), n=100)
    world.roost.kill('flood')
    return figures | {'limit': {'flood.read': limit['p99']} | event}


def flood_peer(world):
    peer = world.peer
    peer.start('flood')
    time.sleep(3)  # the firmware's
    signals = peer.of_manager('DomainEvent')
    figures, followed = flood_figures(world, peer, signals, peer.state_of('other'))
    figures['flood.events'] = followed['signals'] / FLOOD_SECONDS
    figures['flood.batches'] = followed['signals'] / FLOOD_SECONDS
    # It has what it was sent in a queue: the next round needs another one.
    renew_peer(world)
    return figures


def renew_peer(world):
    definitions = world.peer.definitions
    world.peer.close()
    world.peer = Peer(world)
    for name, keys in definitions.items():
        world.peer.define(name, **keys)
    world.peer.start('other')


def ceiling_setup(world):
    add_all(world, peer=False, floor=False, stand_in=True)
    world.roost.define('flood', script='flood 0 {"event": "GUEST_CRASHLOADED", "data": {"action": "run"}}\n')


def ceiling_roost(world):
    """The stand-in writes many events at once, which QEMU does not."""
    world.roost.start('flood')
    wait_for('the flood', lambda: world.roost.get('flood', 'EventSequence') > 100)
    before, begin = cpu_usec(*world.roost.pids), time.monotonic()
    followed = world.load('follow', world.roost.of_vm('flood', 'Event'), seconds=2)
    spent, seconds = cpu_usec(*world.roost.pids) - before, time.monotonic() - begin
    world.roost.kill('flood')
    rate = followed['merged'] / followed['seconds']
    return {'ceiling.events': rate, 'ceiling.cost': spent / seconds / rate}


# ---- hung QEMUs ----
def hung_setup(world):
    add_all(world)


def hang(subject, n):
    """n VMs that run, and do not answer any more; and one that does."""
    for i in range(n):
        if f'hung{i}' not in subject.paths:
            subject.define(f'hung{i}')
        subject.start(f'hung{i}')
    if 'other' not in subject.paths:
        subject.define('other')
        subject.start('other')
    pids = [subject.pid(f'hung{i}') for i in range(n)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def p99_or_never(world, target, arguments):
    result = world.load('call', target, *arguments, seconds=1, timeout_msec=HUNG_TIMEOUT_MSEC)
    if result['errors'] and result['seconds'] < HUNG_TIMEOUT_MSEC / 1000:
        raise Trouble(result['said'])
    return NEVER if result['errors'] else result['p99']


def hung_roost(n):
    def measure(world):
        roost = world.roost
        pids = hang(roost, n)
        paths = [roost.paths[f'hung{i}'] for i in range(n)]
        outstanding = world.load_behind('burst', roost.of_vm('hung0', 'Pause'), *paths)
        wait_for('calls in flight', lambda: len(roost.manage('ListOperations')[0]) >= n)
        figures = {f'hung{n}.read': p99_or_never(world, *name_of(roost, 'other')),
                   f'hung{n}.method': p99_or_never(world, roost.of_vm('other', 'ExecuteQMP') | {'signature': 's'}, (QUERY,))}
        for i in range(n):
            roost.kill(f'hung{i}')
        world.finish(outstanding)
        wait_for('the hung to end', lambda: not any(alive(pid) for pid in pids))
        return figures
    return measure


def hung_peer(n):
    def measure(world):
        peer = world.peer
        hang(peer, n)
        paths = [peer.paths[f'hung{i}'] for i in range(n)]
        world.load_behind('burst', peer.of_vm('hung0', 'GetStats') | {'signature': '00'}, *paths)
        time.sleep(1)
        # A bug of its client library loses wake-ups; a call of somebody else makes up for it. What is measured is the rest.
        target, arguments = peer.state_of('other')
        kicker = world.load_behind('kick', target, *arguments, seconds=8, pause_usec=20000)
        figures = {f'hung{n}.read': p99_or_never(world, target, arguments),
                   f'hung{n}.method': p99_or_never(world, peer.of_vm('other', 'GetStats') | {'signature': 'uu'}, ('0', '0'))}
        kicker.kill()
        kicker.wait()
        renew_peer(world)
        return figures
    return measure


def hung_limit(n):
    def measure(world):
        return {f'hung{n}.read': world.load('call', Floor.target | {'member': 'Ping'}, seconds=1)['p99']}
    return measure


# ---- memory ----
def memory_setup(world):
    add_all(world)


def memory_figures(world, subject, list_once):
    subject.define('vm0')
    list_once()
    figures = {'memory1': rss_mib(*subject.pids)}
    for i in range(1, 500):
        subject.define(f'vm{i}')
    for _ in range(20):
        list_once()
    figures['memory500'] = rss_mib(*subject.pids)
    for i in range(20):
        subject.start(f'vm{i}')
    figures['running'] = (rss_mib(*subject.pids) - figures['memory500']) * 1024 / 20
    time.sleep(2)  # workers without work end
    figures['threads'] = sum(status_of(pid, 'Threads') for pid in subject.pids)
    return figures


def memory_roost(world):
    return memory_figures(world, world.roost, lambda: world.roost.manage('ListVMs'))


def memory_peer(world):
    everything = GLib.Variant('(uu)', (STATS_STATE, 0))
    return memory_figures(world, world.peer, lambda: world.peer.manage('GetAllDomainStats', everything))


def memory_limit(world):
    return {'memory1': rss_mib(*world.floor.pids)}


# ---- scale ----
def scale_setup(world):
    add_all(world, peer=False, floor=False, stand_in=True)


# Of more the reply would be over 16 MiB, and is refused.
OBJECTS_MAX = 5000


def defined_figures(figure, n):
    key = f'defined{n}'
    figures = [figure(f'{key}.up', 'the service is there after', 'ms', is_fact=True),
               figure(f'{key}.memory', 'memory for each VM', 'KiB', is_fact=True),
               figure(f'{key}.list', 'ListVMs, p50', 'ms', is_fact=True),
               figure(f'{key}.read', 'a property, p50', 'us', is_fact=True)]
    if n <= OBJECTS_MAX:
        figures.append(figure(f'{key}.objects', 'GetManagedObjects, the service\'s time', 'ms', is_fact=True))
    return figures


def defined_roost(n):
    def measure(world):
        roost, key = world.roost, f'defined{n}'
        before = rss_mib(*roost.pids)
        for i in range(n):
            roost.define(f'vm{i}')
        roost.stop_service()
        up = timed_msec(roost.start_service)
        figures = {f'{key}.up': up,
                   f'{key}.memory': (rss_mib(*roost.pids) - before) * 1024 / n,
                   f'{key}.list': p50(world, roost.of_manager('ListVMs'), (), 50) / 1000,
                   f'{key}.read': p50(world, *name_of(roost, 'vm0'))}
        if n <= OBJECTS_MAX:
            figures[f'{key}.objects'] = objects_roost(world)['objects.cpu']
        return figures
    return measure


def running_figures(figure, n):
    key = f'running{n}'
    return [figure(f'{key}.start', 'starts, 100 at a time', '/s', is_fact=True, more_is_better=True),
            figure(f'{key}.memory', 'memory for each VM', 'KiB', is_fact=True),
            figure(f'{key}.threads', 'threads', '', is_fact=True),
            figure(f'{key}.read', 'a property, p50', 'us', is_fact=True),
            figure(f'{key}.method', 'a method that asks QEMU, p50', 'us', is_fact=True),
            figure(f'{key}.list', 'ListVMs, p50', 'us', is_fact=True),
            figure(f'{key}.kill', 'kills, 100 at a time', '/s', is_fact=True, more_is_better=True)]


def in_hundreds(world, roost, member, signature):
    paths, spent = list(roost.paths.values()), 0
    for i in range(0, len(paths), 100):
        result = world.load('burst', roost.of_vm('vm0', member) | {'signature': signature}, *paths[i:i + 100])
        if result['errors']:
            raise Trouble(result['said'])
        spent += result['seconds']
    return len(paths) / spent


def running_roost(n):
    def measure(world):
        roost, key = world.roost, f'running{n}'
        for i in range(n):
            roost.define(f'vm{i}', Memory=GLib.Variant('t', 16 << 20))
        before = rss_mib(*roost.pids)
        figures = {f'{key}.start': in_hundreds(world, roost, 'Start', 'E')}
        wait_for('idle workers to end', lambda: status_of(roost.pids[0], 'Threads') < 10)
        figures |= {f'{key}.memory': (rss_mib(*roost.pids) - before) * 1024 / n,
                    f'{key}.threads': status_of(roost.pids[0], 'Threads'),
                    f'{key}.read': p50(world, *name_of(roost, 'vm0')),
                    f'{key}.method': p50(world, roost.of_vm('vm0', 'ExecuteQMP') | {'signature': 's'}, (QUERY,)),
                    f'{key}.list': p50(world, roost.of_manager('ListVMs'), (), 100)}
        figures[f'{key}.kill'] = in_hundreds(world, roost, 'Kill', '')
        return figures
    return measure


def live_setup(world):
    add_all(world, peer=False, floor=False)


def live_figures(figure, n):
    key = f'live{n}'
    return [figure(f'{key}.start', 'paused starts, 100 at a time', '/s', is_fact=True, more_is_better=True),
            figure(f'{key}.memory', 'memory of the service for each VM', 'KiB', is_fact=True),
            figure(f'{key}.threads', 'threads', '', is_fact=True),
            figure(f'{key}.read', 'a property, p50', 'us', is_fact=True),
            *[figure(f'{key}.event.{p}', f'event to signal, {p}', 'us', is_fact=True) for p in ('p50', 'p99')],
            figure(f'{key}.kill', 'kills, 100 at a time', '/s', is_fact=True, more_is_better=True)]


def live_roost(n):
    def measure(world):
        roost, key = world.roost, f'live{n}'
        for i in range(n):
            roost.define(f'vm{i}', qmp=i == 0, Memory=GLib.Variant('t', 32 << 20))
        before = rss_mib(*roost.pids)
        figures = {f'{key}.start': in_hundreds(world, roost, 'Start', 'P')}
        wait_for('idle workers to end', lambda: status_of(roost.pids[0], 'Threads') < 10)
        figures |= {f'{key}.memory': (rss_mib(*roost.pids) - before) * 1024 / n,
                    f'{key}.threads': status_of(roost.pids[0], 'Threads'),
                    f'{key}.read': p50(world, *name_of(roost, 'vm0'))}
        roost.call('vm0', 'Resume')
        figures |= events(world, f'{key}.event', *roost.event_settings('vm0'))
        figures[f'{key}.kill'] = in_hundreds(world, roost, 'Kill', '')
        return figures
    return measure

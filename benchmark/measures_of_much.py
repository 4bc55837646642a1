"""How the figures of rows.py are taken that are about much: floods, hung QEMUs, many VMs. The rest is in measures.py."""

import os
import signal
import time

from gi.repository import GLib

from measures import (NEVER, QUIET_USEC, add_all, add_floor_qemu, add_one_running_with_qmp, events, floor_events, name_of,
                      objects_roost, p50, timed_msec)
from peer import STATS_STATE, Peer
from world import Floor, Trouble, alive, cpu_usec, rss_mib, status_of, wait_for

HUNG_TIMEOUT_MSEC = 3000
QUERY = '{"execute": "query-status"}'
# A guest in a boot sector: writes "crash loaded" to the pvpanic device, again and again.
FLOODER = bytes.fromhex('faba0505b002eeebfd')


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


def how_it_fares(world, target, arguments):
    """p50 and p99; NEVER if a call was not answered."""
    result = world.load('call', target, *arguments, seconds=1, timeout_msec=HUNG_TIMEOUT_MSEC)
    if result['errors'] and result['seconds'] < HUNG_TIMEOUT_MSEC / 1000:
        raise Trouble(result['said'])
    return (NEVER, NEVER) if result['errors'] else (result['p50'], result['p99'])


def hung_figures(world, n, read, method=None):
    figures = {}
    figures[f'hung{n}.read.p50'], figures[f'hung{n}.read'] = how_it_fares(world, *read)
    if method:
        figures[f'hung{n}.method.p50'], figures[f'hung{n}.method'] = how_it_fares(world, *method)
    return figures


def hung_roost(n):
    def measure(world):
        roost = world.roost
        pids = hang(roost, n)
        paths = [roost.paths[f'hung{i}'] for i in range(n)]
        outstanding = world.load_behind('burst', roost.of_vm('hung0', 'Pause'), *paths)
        wait_for('calls in flight', lambda: len(roost.manage('ListOperations')[0]) >= n)
        figures = hung_figures(world, n, name_of(roost, 'other'),
                               (roost.of_vm('other', 'ExecuteQMP') | {'signature': 's'}, (QUERY,)))
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
        figures = hung_figures(world, n, (target, arguments),
                               (peer.of_vm('other', 'GetStats') | {'signature': 'uu'}, ('0', '0')))
        kicker.kill()
        kicker.wait()
        renew_peer(world)
        return figures
    return measure


def hung_limit(n):
    def measure(world):
        return hung_figures(world, n, (Floor.target | {'member': 'Ping'}, ()))
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

"""Faults of the server and the network: storms of errors, dropped connections, dead keys and changed quotas."""

from __future__ import annotations

import time
from random import Random

from chaos.world import World
from gemini_simulator.config import QuotaConfig

_STORMS: tuple[dict[str, float], ...] = (
    {"503": 0.7, "500": 0.2},
    {"drop": 0.8},
    {"502": 0.5, "503": 0.4},
    {"malformed": 0.4, "max_tokens": 0.3, "fenced": 0.2},
    {"empty": 0.5, "503": 0.3},
)


def drop_network(world: World, rng: Random) -> str | None:
    """Close all connections and refuse new ones for a while, or accept them and stay silent."""
    mode, seconds = rng.choice(("refusing", "silent")), rng.uniform(0.5, 3.0)
    with world.server.proxy.interrupted("silent" if mode == "silent" else "refusing"):
        time.sleep(seconds)
    return f"the network was {mode} for {seconds:.1f} s"


def storm(world: World, rng: Random) -> str | None:
    """Let most requests fail for a while."""
    rates, seconds = rng.choice(_STORMS), rng.uniform(0.5, 2.5)
    calm = world.server.config.faults
    world.server.change(faults=dict(calm) | rates)
    time.sleep(seconds)
    world.server.change(faults=calm)
    return f"{', '.join(f'{share:.0%} {name}' for name, share in rates.items())} for {seconds:.1f} s"


def slow_down(world: World, rng: Random) -> str | None:
    """Let answers take up to ten times as long as usual for a while; some exceed the timeout of a call."""
    factor, seconds = rng.choice((10, 100)), rng.uniform(0.5, 2.0)
    before = world.server.change(latency_s=world.server.config.latency_s * factor)
    time.sleep(seconds)
    world.server.change(latency_s=before.latency_s)
    return f"answers took {factor} times as long for {seconds:.1f} s"


def suspend_key(world: World, rng: Random) -> str | None:
    """Suspend one key for the rest of the campaign, unless it is the last one that works."""
    dead = world.server.config.key_states
    working = [secret for secret in world.secrets if secret not in dead]
    if len(working) < 2:
        return None
    secret = rng.choice(working)
    world.server.change(key_states={**dead, secret: "suspended"})
    return f"key {world.secrets.index(secret) + 1} was suspended"


def change_quota(world: World, rng: Random) -> str | None:
    """Move every key to a new project with half or twice the quota."""
    factor = rng.choice((0.5, 2))
    quota = world.server.config.quota
    changed = QuotaConfig(
        rpm=max(4, int(quota.rpm * factor)) if quota.rpm else None,
        tpm=max(20_000, int(quota.tpm * factor)) if quota.tpm else None,
    )
    projects = {secret: f"later-{'all' if world.scenario.one_project else n}" for n, secret in enumerate(world.secrets)}
    world.server.change(quota=changed, projects=projects)
    return f"the quota changed by a factor of {factor:g}, to {changed.rpm} requests per minute"

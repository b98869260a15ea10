"""A provider that says "too many requests" is heard by every worker.

What one worker is told is kept in Redis for all: until when to pause (``Retry-After``), and then a
rate, shared as a token bucket. Each further refusal halves the rate; with time it doubles, until the
bucket is so wide that it is done away with. A provider that refuses nothing costs a look at Redis
four times a second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

_KEY = "maester:throttle:"
_FRESH_S = 0.25
"""Seconds for which a provider that refuses nothing is not asked about again."""
_DEFAULT_PAUSE_S = 1.0
"""Seconds to pause for a provider that does not say how long."""
_LONGEST_PAUSE_S = 600.0
_LEAST_RATE = 0.5
_WINDOW = 256

_LIMITED = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local told = redis.call('HMGET', KEYS[1], 'until', 'rate', 'halved')
local pause = now + tonumber(ARGV[1])
local rate = tonumber(told[2])
local halved = tonumber(told[3]) or 0
if not rate then
  rate = tonumber(ARGV[2]); halved = now
elseif now - halved > 1000 then
  rate = math.max(tonumber(ARGV[3]), rate / 2); halved = now
end
if told[1] and tonumber(told[1]) > pause then pause = tonumber(told[1]) end
redis.call('HSET', KEYS[1], 'until', pause, 'rate', rate, 'halved', halved, 'tokens', 0, 'stamp', pause)
redis.call('PEXPIRE', KEYS[1], 900000)
return pause - now
"""

_ACQUIRE = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local told = redis.call('HMGET', KEYS[1], 'until', 'rate', 'tokens', 'stamp')
if not told[2] then return -1 end
local pause, rate = tonumber(told[1]), tonumber(told[2])
if now < pause then return pause - now end
local elapsed = math.max(0, now - tonumber(told[4]))
rate = rate * 2 ^ (elapsed / 10000)
if rate > 2000 then redis.call('DEL', KEYS[1]); return -1 end
local tokens = math.min(math.max(1, rate / 10), tonumber(told[3]) + rate * elapsed / 1000)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) / rate * 1000) end
redis.call('HSET', KEYS[1], 'rate', rate, 'tokens', tokens, 'stamp', now)
redis.call('PEXPIRE', KEYS[1], 900000)
return wait
"""


class Throttle:
    """Paces the calls to providers. Safe to share between threads.

    Where Redis cannot be reached, only what this process was told itself counts.
    """

    def __init__(self, redis: Redis) -> None:
        self._acquire: Any = redis.register_script(_ACQUIRE)
        self._limited: Any = redis.register_script(_LIMITED)
        self._open_until: dict[str, float] = {}
        self._own_pause: dict[str, float] = {}
        self._starts: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait(self, provider: str, stopping: threading.Event) -> bool:
        """Wait until a call may be made; ``False`` when `stopping` was set meanwhile."""
        while not stopping.is_set():
            pause_s = self._pause(provider)
            if pause_s <= 0:
                self._started(provider)
                return True
            stopping.wait(min(pause_s, 1.0))
        return False

    def limited(self, provider: str, retry_after_s: float | None) -> None:
        """Say that the provider refused a call as one too many.

        :param retry_after_s: what it said, in seconds, if it said anything.
        """
        pause_s = min(_DEFAULT_PAUSE_S if retry_after_s is None else retry_after_s, _LONGEST_PAUSE_S)
        with self._lock:
            self._own_pause[provider] = max(self._own_pause.get(provider, 0.0), time.monotonic() + pause_s)
            self._open_until.pop(provider, None)
        first_rate = max(_LEAST_RATE, self._rate(provider) / 2)
        try:
            self._limited(keys=[_KEY + provider], args=[round(pause_s * 1000), first_rate, _LEAST_RATE])
        except RedisError:
            return

    def _pause(self, provider: str) -> float:
        """Seconds to wait before asking again; nothing when a call may be made."""
        now = time.monotonic()
        own = self._own_pause.get(provider, 0.0) - now
        if own > 0:
            return own
        if self._open_until.get(provider, 0.0) > now:
            return 0.0
        try:
            told = int(self._acquire(keys=[_KEY + provider]))
        except RedisError:
            told = -1
        if told < 0:
            self._open_until[provider] = now + _FRESH_S
        return max(0, told) / 1000

    def _started(self, provider: str) -> None:
        with self._lock:
            self._starts.setdefault(provider, deque(maxlen=_WINDOW)).append(time.monotonic())

    def _rate(self, provider: str) -> float:
        """Calls a second that this process began lately."""
        with self._lock:
            starts = tuple(self._starts.get(provider, ()))
        if len(starts) < 2:
            return 1.0
        return (len(starts) - 1) / max(0.001, time.monotonic() - starts[0])

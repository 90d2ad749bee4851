"""Waiting for a condition: tests never wait for time to pass."""
import threading
import time


class NotYet(AssertionError):
    pass


def wait_until(fetch, predicate, description, timeout_s=30, every_s=0.01):
    """Calls `fetch` until `predicate` holds for what it gives, and returns that. Says what was last seen if it never does."""
    end = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        seen = fetch()
        if predicate(seen):
            return seen
        if time.monotonic() > end:
            text = repr(seen)
            raise NotYet(f"waited {timeout_s} s for: {description}. Last seen: {text[:1500]}")
        pause.wait(every_s)

# %% [markdown]
# # Web hooks
#
# Ten orders, six receivers that want to hear of each by HTTP. Receivers are down now and then, and the program that has
# the news must not wait for them.

# %%
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from taskyard import Cluster, LocalCluster, as_completed, task

EVENTS, RECEIVERS = 10, 6
DOWN_SECONDS = 1.5

# %% [markdown]
# What the workers do: one POST. OSError is what a network has for all its troubles; it is worth another attempt, a little
# later each time. An answer that says "no" for good is another exception, and ends the task. An attempt that hangs is
# killed after ten seconds, whatever it hangs in.


# %%
@task(retries=8, backoff=0.25, retry_on=OSError, time_limit=10)
def deliver(url: str, event: dict[str, Any], key: str) -> int:
    """POST one event; returns the status. Raises OSError when it may work later, ValueError when it won't."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        if refusal.code == 429 or refusal.code >= 500:
            raise ConnectionError(f"{url} answered {refusal.code}") from None
        raise ValueError(f"{url} answered {refusal.code}") from None


# %% [markdown]
# Receivers to try it with: one real HTTP server. It is down at first, loses its first answer on the way, and acts upon each
# key once.

# %%
lock = threading.Lock()
acted: Counter[str] = Counter()  # by Idempotency-Key
answers: Counter[str] = Counter()
up_from = float("inf")


class Receiver(BaseHTTPRequestHandler):
    """Answers hooks."""

    def do_POST(self) -> None:
        """Take one hook."""
        self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            status, what = self.act(self.headers["Idempotency-Key"])
            answers[what] += 1
        if what != "lost":
            self.send_response(status)
            self.end_headers()

    def act(self, key: str) -> tuple[int, str]:
        """Returns the status to answer with, and what to count it as."""
        if self.path == "/gone":
            return 410, "gone"
        if time.monotonic() < up_from:
            return 503, "down"
        if key in acted:
            return 200, "known"
        acted[key] += 1
        return 200, "taken" if len(acted) > 1 else "lost"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


# %% [markdown]
# TASKYARD_URL names a cluster that is there already. Without it, one of two workers starts here. The receivers listen where
# the workers can reach this program: at the address from which it reaches the master. (Failed attempts are expected here: the
# workers' logs are not to tell of them.)

# %%
cluster = Cluster() if "TASKYARD_URL" in os.environ else LocalCluster(workers=2, log_level="error")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(cluster.queue.address)
    address = probe.getsockname()[0]
server = ThreadingHTTPServer((address, 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://{address}:{server.server_port}"
up_from = time.monotonic() + DOWN_SECONDS

# %% [markdown]
# Each event for each receiver is a task of its own, so that nobody waits for somebody else's receiver. Its key makes a
# second submit of the same hook the same task: a program that was stopped in the middle can simply begin again.

# %%
run = uuid.uuid4().hex[:8]  # a real order has an id
hooks = {
    f"{run}-order-{order}-for-{receiver}": (f"{base}/receivers/{receiver}", {"order": order, "state": "paid"})
    for order in range(EVENTS)
    for receiver in range(RECEIVERS)
}


def submit(key: str) -> Future[int]:
    """Queue one hook."""
    url, event = hooks[key]
    return cluster.options(key=key).submit(deliver, url, event, key)


sent = [submit(key) for key in hooks]
again = [submit(key) for key in hooks]
print(f"{EVENTS} events for {RECEIVERS} receivers: {len(set(sent + again))} hooks, submitted twice")
gone = cluster.submit(deliver, f"{base}/gone", {"order": 1, "state": "paid"}, f"{run}-gone")
for future in as_completed(sent, description="hooks"):
    future.result()

# %% [markdown]
# What became of them. The lost answer was followed by one more delivery, which the receiver knew by its key.

# %%
once = sum(acted[key] == 1 for key in hooks)
print(f"a receiver that is gone: {gone.exception()} (attempts: {answers['gone']})")
print(f"{answers['down']} times refused, {answers['lost']} answer lost, {answers['known']} delivery repeated")
print(f"{len(hooks)} hooks: {once} acted upon exactly once")
assert once == len(hooks) == len(acted)

# %% [markdown]
# The workers end with the cluster that was started here; one that was there already goes on.

# %%
cluster.shutdown()
server.shutdown()

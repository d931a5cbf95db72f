"""Segment's Python SDK, unmodified: `segment_python.py URL KEY COUNT PAUSE [gzip]` prints the ids of what it sent."""

import sys
import time

from segment.analytics.client import Client

url, key, count, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
client = Client(key, host=url, gzip="gzip" in sys.argv, upload_size=10, upload_interval=0.1, max_retries=12)
consent = {"consent": {"categoryPreferences": {"ads": False}}}
for number in range(count):
    for call in (
        lambda number=number: client.track("u1", "Thing Done", {"number": number}, consent),
        lambda: client.identify("u1", {"plan": "free"}, consent),
        lambda: client.page("u1", "shop", "Home", {"path": "/"}, consent),
        lambda: client.screen("u1", "app", "Home", {}, consent),
        lambda: client.group("u1", "g1", {"name": "Group"}, consent),
        lambda: client.alias("u0", "u1", consent),
    ):
        _, message = call()
        print(message["messageId"], flush=True)
    time.sleep(pause)
client.shutdown()

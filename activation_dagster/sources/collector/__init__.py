"""The front door for SDKs: Segment's Tracking API, durable before it answers."""

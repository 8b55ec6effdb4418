"""Talking to the probe: record layouts, batches, the framed wire protocol and the shared-memory mailbox."""

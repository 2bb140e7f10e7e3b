"""Published snapshots: the gates before one is published, how it is written, and every query over one."""

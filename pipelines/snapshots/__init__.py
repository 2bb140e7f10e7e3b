"""Published snapshots: how one is judged and written, and every question that is put to one."""

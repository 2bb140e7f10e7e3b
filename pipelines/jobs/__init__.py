"""Jobs, each from beginning to end: the nightly run, its reports and notifications, pruning, erasing, auditing."""

"""What a command does from beginning to end: the nightly run, its reports and notices, pruning, erasing, auditing."""

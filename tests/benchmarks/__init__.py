"""The benchmarks: the nightly job and the read API side by side with their peers. See README.md.

Nothing in here is a test: pytest collects nothing of it, and nothing passes or fails by how long it took.
"""

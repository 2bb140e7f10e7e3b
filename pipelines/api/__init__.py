"""The read API: three documented endpoints over the published snapshot, and the pages and queries beside them.

    app               routes, middleware, server    endpoints         the documented endpoints
    http_protocol     HTTP below ASGI               responses         published tables -> bodies as bytes
    messages          requests and replies          funded            the body of `funded`
    envelope          the body around answers       snapshot_watcher  the snapshot that is served
    tokens, keys      bearer tokens and their keys  limits            rate limits (redis_limits: shared)
    clients           the client's address          telemetry         metrics
    contract          openapi.yaml and its page     download          a URL's content, bounded in time

    cors              scripts of other origins      compression       bodies in gzip and zstd
    preparation       snapshots, once for all       mapped_files      Arrow files in memory

    cube              the cube as arrays            insight           queries over one snapshot
    query_service     runs queries, one at a time   query_params      query parameters
    workers           processes of a server         sockets           where it listens
    fair_queue        whose turn it is              http_protocol     HTTP below ASGI
    creators          ranges as JSON and CSV        pages             the pages of page/, over HTTP
    operators         the endpoint for operators    explanations      `mostwatched explain` in a process

It reads snapshots and never the lake, imports nothing else of the project but snapshots/manifest.py and core/, and runs
no SQL: what explains a number reads the lake and asks an engine, and is a process of its own.
"""

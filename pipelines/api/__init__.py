"""The read API: three documented endpoints over the published snapshot, and what people ask of it.

    app        routes, layers, the server         endpoints   what each documented route answers
    wire       HTTP below ASGI                    funded      the body that depends most on its caller
    watching   the snapshot that is being served  responses   published tables -> bytes
    auth, keys bearer tokens and the keys behind  limits      moving windows (redis_limits: shared ones)
    exchange   requests and replies as ASGI       envelope    the body around every answer, clock, instants
    clients    whose request it is                telemetry   metrics
    contract   openapi.yaml, served and as a page download    a URL's content, bounded in time

    cube       the snapshot's cube as arrays      insight     any range of days, of a ranking or a creator
    desk       who answers questions, in turn     creators    those endpoints, as JSON and CSV
    asking     what a query asks for              pages       the pages of page/, over HTTP
    operators  what only operators may ask        explaining  `mostwatched explain` in a process of its own

It reads snapshots and never the lake, imports nothing else of the project but settings, errors, logs and spreadsheet,
and runs no SQL: what explains a number reads the lake and asks an engine, and is a process of its own.
"""

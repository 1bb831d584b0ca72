"""The node agent, `meterbridge node`: what only the machine itself can say about its ports and its cards.

Its files, from the edge inwards: `files`, `ethtool`, `unary` (one gRPC call) read; `ports`, `mapping`, `podresources`,
`spool`, `cgroups` know where to look; `counters` and `wire` are pure and know what it means; `page` names the families;
`agent` runs a round and `listener` serves it. It runs on every machine, so it loads nothing else of the house that it
does not use: a test holds its memory.
"""

"""PostgreSQL and Redis for a bare machine: the default while DEBUG is on and no URL names others.

- `places`: which folder they live in, and which user they run as
- `postgres`, `broker`: one class per server, which finds its binary, starts and stops it
- `keeper`: the process that owns the servers and ends when nobody has used them for a while
- `client`: how a process of ours asks the keeper for a server; `backend` asks at each connect

A client is counted by its open connection to the keeper, so the kernel itself reports its end,
however it died.
"""

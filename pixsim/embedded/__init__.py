"""PostgreSQL and Redis for a bare machine: the default while DEBUG is on and no URL names others.

- `paths`: their folders, and the user they run as
- `postgres`, `redis`: one class per server, which finds its binary, starts and stops it
- `supervisor`: the process that runs the servers and ends when they were not used for a while
- `client`: requests to the supervisor; `backend` sends one at each connect

A client is counted by its open connection to the supervisor, which the kernel closes when the
client ends, in whatever way.
"""

"""A peer: sse-starlette on FastAPI, as its documentation has it.

`python server.py PORT`: `GET /sub` follows, `POST /pub` publishes its body to all.
"""

import asyncio
import itertools
import sys

import uvicorn
from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

app = FastAPI()
followers: set[asyncio.Queue] = set()
numbers = itertools.count(1)


@app.get("/sub")
async def follow():
    queue: asyncio.Queue = asyncio.Queue()
    followers.add(queue)

    async def events():
        try:
            while True:
                number, data = await queue.get()
                yield ServerSentEvent(id=str(number), data=data)
        finally:
            followers.discard(queue)

    return EventSourceResponse(events())


@app.post("/pub")
async def publish(request: Request):
    event = (next(numbers), (await request.body()).decode())
    for queue in followers:
        queue.put_nowait(event)


# With room for all who come at once: a dropped SYN costs its sender a second.
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", backlog=4096)

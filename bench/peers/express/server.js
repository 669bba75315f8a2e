// A peer: better-sse on Express, as its documentation has it.
//
// `node server.js PORT`: `GET /sub` follows, `POST /pub` publishes its body to all.

import express from "express";
import { createChannel, createSession } from "better-sse";

const app = express();
const channel = createChannel();

app.get("/sub", async (request, response) => {
  channel.register(await createSession(request, response));
});

app.post("/pub", express.text({ type: "*/*" }), (request, response) => {
  channel.broadcast(request.body);
  response.end();
});

// With room for all who come at once: a dropped SYN costs its sender a second.
app.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });

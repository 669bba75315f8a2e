// Programs to copy: how to follow a topic and publish to it, with what each language has at hand.
// Each is a function from the chosen URL to text; what a person typed reaches it only as a literal.

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
/// A JSON string is a string literal of JavaScript and of Python as well.
const literal = (text) => JSON.stringify(text);

export const SNIPPETS = {
  curl: {
    note: "curl shows the stream as it is on the wire. It does not reconnect or resume by itself.",
    follow: (url) => `# To go on after the last ID you saw, add:
#   -H 'Last-Event-ID: THE-ID'
curl -N ${shell(url)}`,
    publish: (url, body) => [
      `curl ${shell(url)}`,
      ...Object.entries(body).map(([name, value]) => `  --data-urlencode ${shell(`${name}=${value}`)}`),
    ].join(" \\\n"),
  },

  browser: {
    note: "Built in. The browser reconnects and resumes by itself. A page of another origin is let in by tidings serve --allow-origin ORIGIN.",
    follow: (url, types) => `const source = new EventSource(${literal(url)});

function show(event) {
  console.log(event.lastEventId, event.type, event.data);
}
source.addEventListener("message", show); // events without a type
${types.map((type) => `source.addEventListener(${literal(type)}, show);\n`).join("")}
source.addEventListener("tidings.gap", (event) => {
  // These events are gone from the log: load the state they led to.
  const { from, to, reason } = JSON.parse(event.data);
  console.warn("missed", from, to, reason);
});

source.addEventListener("error", () => {
  // CONNECTING: it is coming back by itself. CLOSED: it was refused.
  if (source.readyState === EventSource.CLOSED) {
    console.error("refused; open this to see why:", source.url);
  }
});`,
    publish: (url, body) => `const response = await fetch(${literal(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(${jsObject(body)}),
});
if (!response.ok) throw new Error(await response.text());
const { id } = await response.json(); // answered once it is durable`,
  },

  node: {
    note: "Node 18 or later, no packages: fetch, streamed. The package eventsource does not take up the IDs in heartbeats.",
    follow: (url) => `// Save as follow.mjs, run: node follow.mjs
import { setTimeout as sleep } from "node:timers/promises";

const url = ${literal(url)};
for await (const event of follow(url)) {
  console.log(event.id, event.type, event.data);
}

// Yields events for ever: reconnects, and resumes after the last ID.
async function* follow(url) {
  let lastId = "", retryMs = 1000, failures = 0;
  for (;;) {
    const resume = lastId && \`&last_event_id=\${encodeURIComponent(lastId)}\`;
    const abort = new AbortController();
    // Heartbeats come every 15 s: 45 s of silence is a dead connection.
    const stall = setTimeout(() => abort.abort(), 45_000);
    try {
      const response = await fetch(url + resume, { signal: abort.signal });
      if (response.status === 204) return; // asked not to come back
      if (response.status !== 200) {
        const error = new Error(\`\${response.status} \${await response.text()}\`);
        error.final = response.status < 500 && response.status !== 429;
        throw error;
      }
      let rest = "", id = lastId, type = "", data = [];
      const text = response.body.pipeThrough(new TextDecoderStream());
      for await (const chunk of text) {
        stall.refresh();
        failures = 0;
        const lines = (rest + chunk).split("\\n");
        rest = lines.pop();
        for (const line of lines) {
          const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
          if (field === "data") data.push(value);
          else if (field === "event") type = value;
          else if (field === "id") id = value;
          else if (field === "retry") retryMs = Number(value);
          else if (line === "") {
            lastId = id; // a heartbeat has an ID and no data
            if (data.length) yield { id, type: type || "message", data: data.join("\\n") };
            type = "";
            data = [];
          }
        }
      }
    } catch (error) {
      if (error.final) throw error;
      console.error("reconnecting:", error.message);
    } finally {
      clearTimeout(stall);
      abort.abort();
    }
    await sleep(retryMs + Math.random() * Math.min(30_000, 500 * 2 ** failures++));
  }
}`,
    publish: (url, body) => `import { randomUUID } from "node:crypto";

const response = await fetch(${literal(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    // Sent again with the same key, it is stored once.
    "Idempotency-Key": randomUUID(),
  },
  body: JSON.stringify(${jsObject(body)}),
});
if (!response.ok) throw new Error(await response.text());
console.log((await response.json()).id); // answered once it is durable`,
  },

  python: {
    note: "Python 3.8 or later, standard library only.",
    follow: (url) => `import http.client, random, sys, time
from urllib import error, parse, request

URL = ${literal(url)}


def follow(url):
    """Yields events for ever: reconnects, and resumes after the last ID."""
    last_id, retry_s, failures = "", 1.0, 0
    while True:
        resume = "&last_event_id=" + parse.quote(last_id) if last_id else ""
        try:
            # Heartbeats come every 15 s: 45 s of silence is a dead connection.
            with request.urlopen(url + resume, timeout=45) as response:
                if response.status == 204:
                    return  # asked not to come back
                event_id, kind, data = last_id, "", []
                for raw in response:
                    if not raw.endswith(b"\\n"):
                        break  # cut off: an unfinished line does not count
                    failures = 0
                    line = raw.decode("utf-8", "replace")[:-1]
                    field, _, value = line.partition(":")
                    value = value[1:] if value.startswith(" ") else value
                    if field == "data":
                        data.append(value)
                    elif field == "event":
                        kind = value
                    elif field == "id":
                        event_id = value
                    elif field == "retry":
                        retry_s = int(value) / 1000
                    elif not line:
                        last_id = event_id  # a heartbeat has an ID and no data
                        if data:
                            yield event_id, kind or "message", "\\n".join(data)
                        kind, data = "", []
        except error.HTTPError as refused:
            if refused.code < 500 and refused.code != 429:
                sys.exit(f"{refused.code} {refused.read().decode()}")
        except (OSError, http.client.HTTPException) as lost:
            print("reconnecting:", lost, file=sys.stderr)
        time.sleep(retry_s + random.random() * min(30, 0.5 * 2**failures))
        failures = min(failures + 1, 10)


for event_id, kind, data in follow(URL):
    print(event_id, kind, data, flush=True)`,
    publish: (url, body) => `import json, urllib.request, uuid

body = ${pythonDict(body)}
request = urllib.request.Request(
    ${literal(url)},
    data=json.dumps(body).encode(),
    headers={
        "Content-Type": "application/json",
        # Sent again with the same key, it is stored once.
        "Idempotency-Key": str(uuid.uuid4()),
    },
)
with urllib.request.urlopen(request, timeout=30) as response:
    print(json.load(response)["id"])  # answered once it is durable`,
  },
};

function jsObject(body) {
  return `{ ${Object.entries(body).map(([name, value]) => `${name}: ${literal(value)}`).join(", ")} }`;
}

function pythonDict(body) {
  return `{${Object.entries(body).map(([name, value]) => `"${name}": ${literal(value)}`).join(", ")}}`;
}

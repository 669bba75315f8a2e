// Follows `url` with the browser's own EventSource and keeps a tally of `lines` numbered lines.
const [url, lines] = arguments;
const seen = new Uint8Array(lines + 1);
const tally = {
  got: 0, doubled: 0, out_of_order: 0, altered: 0, gaps: 0, ends: 0,
  opens: 0, closed: false, last: 0, last_id: "",
};
window.tally = tally;

// FNV-1a over UTF-16 code units, as in line.rs.
function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return value >>> 0;
}

function take(data) {
  const number = Number.parseInt(data, 10);
  if (!(number >= 1 && number <= lines)) {
    tally.altered++;
    return;
  }
  if (hash(data.slice(17)) !== Number.parseInt(data.slice(8, 16), 16)) tally.altered++;
  if (seen[number]) tally.doubled++;
  else tally.got++;
  seen[number] = 1;
  if (number < tally.last) tally.out_of_order++;
  tally.last = number;
}

const source = new EventSource(url);
window.source = source;
source.onopen = () => tally.opens++;
source.onerror = () => { tally.closed = source.readyState === EventSource.CLOSED; };
source.onmessage = (event) => {
  take(event.data);
  tally.last_id = event.lastEventId;
};
source.addEventListener("tidings.gap", () => tally.gaps++);
source.addEventListener("tidings.end", () => tally.ends++);

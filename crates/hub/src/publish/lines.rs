//! Lines of text to lines of NDJSON, in batches.

use std::{
    fmt,
    io::{self, Read},
};

use bytes::Bytes;
use memchr::memchr;
use serde::Serialize;
use tokio::sync::mpsc;

/// The longest line that is published; the hub's own limit for an event is the same.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Lines in a batch.
pub(crate) const BATCH_LINES_MAX: usize = 512;

/// Bytes in a batch; its last line may exceed it.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Batches that wait to be sent.
const BATCHES_WAITING_MAX: usize = 4;

/// What is read from stdin at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// All of an event but its data.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Template {
    pub(crate) topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// Events, one on each line of `ndjson`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) ndjson: Bytes,
    pub(crate) lines: usize,
}

/// Why the input cannot be published any further.
#[derive(Debug)]
pub(crate) enum LineError {
    TooLong { line: u64 },
    NotUtf8 { line: u64, at: usize },
    Read(io::Error),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { line } => write!(
                f,
                "line {line} of stdin is longer than {LINE_BYTES_MAX} bytes: split it up, or publish \
                 where to find it"
            ),
            Self::NotUtf8 { line, at } => write!(
                f,
                "line {line} of stdin is not UTF-8 (at byte {at}), and an event is text: convert it, \
                 for example with `iconv -f latin1 -t utf-8`"
            ),
            Self::Read(error) => write!(f, "cannot read stdin: {error}"),
        }
    }
}

impl std::error::Error for LineError {}

/// The beginning of an event's JSON, up to its data.
pub(crate) fn opening(template: &Template) -> Vec<u8> {
    // Strings and numbers only: this cannot fail.
    let mut json = serde_json::to_vec(template).unwrap_or_default();
    json.pop(); // The closing brace.
    json.extend_from_slice(br#","data":"#);
    json
}

/// Finishes an event's JSON.
pub(crate) fn close(data: &str, ndjson: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(&mut *ndjson, data);
    ndjson.extend_from_slice(b"}\n");
}

/// Splits text, however it is cut into chunks.
#[derive(Debug)]
pub(crate) struct Lines {
    opening: Vec<u8>,
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    /// Lines that have ended.
    count: u64,
    /// Kept until what came before it is handed out.
    error: Option<LineError>,
}

impl Lines {
    pub(crate) fn new(template: &Template) -> Self {
        Self {
            opening: opening(template),
            held: Vec::new(),
            count: 0,
            error: None,
        }
    }

    /// The next batch of `chunk`, from which what was read is removed; `None` if it takes more.
    pub(crate) fn next(&mut self, chunk: &mut &[u8]) -> Result<Option<Batch>, LineError> {
        let (mut ndjson, mut lines) = (Vec::new(), 0);
        while self.error.is_none() && lines < BATCH_LINES_MAX && ndjson.len() < BATCH_BYTES_MAX {
            let end = memchr(b'\n', chunk);
            let (line, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            if self.held.len() + line.len() > LINE_BYTES_MAX {
                let line = self.count + 1;
                self.error = Some(LineError::TooLong { line });
                break;
            }
            self.held.extend_from_slice(line);
            *chunk = rest.get(1..).unwrap_or_default();
            if end.is_none() {
                break;
            }
            match self.end_line(&mut ndjson) {
                Ok(()) => lines += 1,
                Err(error) => self.error = Some(error),
            }
        }
        self.hand_out(ndjson, lines)
    }

    /// The last line, if nothing ended it.
    pub(crate) fn finish(&mut self) -> Result<Option<Batch>, LineError> {
        let mut ndjson = Vec::new();
        let lines = usize::from(!self.held.is_empty());
        if lines > 0 {
            self.end_line(&mut ndjson)?;
        }
        self.hand_out(ndjson, lines)
    }

    fn hand_out(&mut self, ndjson: Vec<u8>, lines: usize) -> Result<Option<Batch>, LineError> {
        match self.error.take_if(|_| lines == 0) {
            Some(error) => Err(error),
            None if lines == 0 => Ok(None),
            None => Ok(Some(Batch {
                ndjson: ndjson.into(),
                lines,
            })),
        }
    }

    /// Makes an event of the held line. A CR at its end belongs to the line's end.
    fn end_line(&mut self, ndjson: &mut Vec<u8>) -> Result<(), LineError> {
        self.count += 1;
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        let data = std::str::from_utf8(line).map_err(|error| LineError::NotUtf8 {
            line: self.count,
            at: error.valid_up_to() + 1,
        })?;
        ndjson.extend_from_slice(&self.opening);
        close(data, ndjson);
        self.held.clear();
        Ok(())
    }
}

/// What is read and not yet sent.
pub(crate) type Receiver = mpsc::Receiver<Result<Batch, LineError>>;

/// Reads `input` on a thread of its own, since reading may block, and hands out each line as soon
/// as it is there. Memory is bounded: reading waits for what was read before to be taken.
pub(crate) fn read(input: impl Read + Send + 'static, lines: Lines) -> io::Result<Receiver> {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read_all(input, lines, &sender))?;
    Ok(receiver)
}

/// Ends when the input does, or when nobody listens any more.
fn read_all(
    mut input: impl Read,
    mut lines: Lines,
    sender: &mpsc::Sender<Result<Batch, LineError>>,
) {
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = sender.blocking_send(Err(LineError::Read(error)));
                return;
            }
        };
        let mut chunk = buffer.get(..count).unwrap_or_default();
        while let Some(next) = lines.next(&mut chunk).transpose() {
            let is_last = next.is_err();
            if sender.blocking_send(next).is_err() || is_last {
                return;
            }
        }
        if count == 0 {
            if let Some(last) = lines.finish().transpose() {
                let _ = sender.blocking_send(last);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let topic = "t".to_owned();
        Lines::new(&Template {
            topic,
            ..Template::default()
        })
    }

    /// All batches, and how it ended.
    fn split(chunks: &[&[u8]]) -> (String, usize, Option<String>) {
        let (mut lines, mut text, mut count) = (lines(), String::new(), 0);
        let mut take = |batch: Batch| {
            count += batch.lines;
            text.push_str(std::str::from_utf8(&batch.ndjson).unwrap());
        };
        for chunk in chunks {
            let mut chunk = *chunk;
            loop {
                match lines.next(&mut chunk) {
                    Ok(Some(batch)) => take(batch),
                    Ok(None) => break,
                    Err(error) => return (text, count, Some(error.to_string())),
                }
            }
            assert!(chunk.is_empty());
        }
        match lines.finish() {
            Ok(batch) => batch.into_iter().for_each(take),
            Err(error) => return (text, count, Some(error.to_string())),
        }
        (text, count, None)
    }

    #[test]
    fn a_line_is_an_event_wherever_chunks_end() {
        let expected = "{\"topic\":\"t\",\"data\":\"a\\\"b\"}\n{\"topic\":\"t\",\"data\":\"\"}\n\
                        {\"topic\":\"t\",\"data\":\"ü\"}\n{\"topic\":\"t\",\"data\":\"end\"}\n";
        let input = "a\"b\n\nü\r\nend".as_bytes();
        for cut in 0..=input.len() {
            let (left, right) = input.split_at(cut);
            let (text, count, error) = split(&[left, right]);
            assert_eq!((&*text, count, error), (expected, 4, None), "{cut}");
        }
        assert_eq!(split(&[b""]), (String::new(), 0, None));
        assert_eq!(split(&[b"\n"]).1, 1);
    }

    #[test]
    fn what_comes_before_a_bad_line_is_published() {
        let (text, count, error) = split(&[b"a\nb\nc\xff\nd\n"]);
        assert_eq!((text.lines().count(), count), (2, 2));
        assert!(error.is_some_and(|e| e.starts_with("line 3 of stdin is not UTF-8 (at byte 2)")));
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let (_, count, error) = split(&[b"a\n", &long, b"\n"]);
        assert_eq!(count, 1);
        assert!(error.is_some_and(|e| e.starts_with("line 2 of stdin is longer")));
        assert_eq!(split(&[long.get(1..).unwrap()]).1, 1);
    }

    #[test]
    fn batches_are_bounded() {
        let input = b"\n".repeat(10_000);
        let (mut lines, mut chunk, mut count) = (lines(), &input[..], 0);
        while let Ok(Some(batch)) = lines.next(&mut chunk) {
            assert!(batch.lines <= BATCH_LINES_MAX && batch.ndjson.len() <= BATCH_BYTES_MAX + 64);
            count += batch.lines;
        }
        assert_eq!(count, 10_000);
    }

    #[test]
    fn all_of_an_event_is_in_its_json() {
        let template = Template {
            topic: "t".into(),
            event: Some("e".into()),
            id: Some("i".into()),
            retry: Some(1),
            ttl_s: Some(2),
            key: Some("k".into()),
        };
        let mut json = opening(&template);
        close("x", &mut json);
        let expected = "{\"topic\":\"t\",\"event\":\"e\",\"id\":\"i\",\"retry\":1,\"ttl_s\":2,\
                        \"key\":\"k\",\"data\":\"x\"}\n";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}

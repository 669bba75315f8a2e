//! The query of `GET /events`, and where a subscriber starts.

use std::time::Duration;

use hyper::{HeaderMap, Uri};
use tidings::{Pattern, Selector, Start, Topic};

use crate::{config::Config, problem::Problem};

/// What a subscriber asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) start: Start,
    pub(crate) heartbeat_ms: u64,
    /// Heartbeats that the page can see.
    pub(crate) ping: bool,
}

/// The names under which polyfills and older clients send the last event ID in the query.
const LAST_EVENT_ID: [&str; 3] = ["last_event_id", "lastEventId", "lastEventID"];

impl Query {
    pub(crate) fn parse(uri: &Uri, headers: &HeaderMap, config: &Config) -> Result<Self, Problem> {
        let mut query = Self {
            selectors: Vec::new(),
            start: Start::Latest,
            heartbeat_ms: config.heartbeat_ms,
            ping: false,
        };
        let mut after = None;
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "topic" => query.selectors.push(Selector::Topic(topic(&value)?)),
                "pattern" => query.selectors.push(Selector::Pattern(pattern(&value)?)),
                "from" => query.start = from(&value, config.from_last_max)?,
                "heartbeat" => query.heartbeat_ms = heartbeat(&value, config)?,
                "ping" => query.ping = ping(&value)?,
                name if LAST_EVENT_ID.contains(&name) => after = Some(value.into_owned()),
                // A proxy or a cache-buster may add parameters of its own.
                _ => {}
            }
        }
        if query.selectors.is_empty() {
            let example =
                "name what to follow: `/events?topic=orders/42` or `/events?pattern=orders/:id`";
            return Err(Problem::bad_request(example));
        }
        let given = last_event_id(headers).or(after).filter(|id| !id.is_empty());
        if let Some(id) = given {
            query.start = Start::After(id);
        }
        Ok(query)
    }
}

/// Browsers send the ID as UTF-8. What is not that was never given by this hub, and is told so.
fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?;
    let text = String::from_utf8_lossy(value.as_bytes());
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

pub(crate) fn topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text).map_err(|error| Problem::bad_request(format!("topic: {error}")))
}

fn pattern(text: &str) -> Result<Pattern, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("pattern `{text}`: {error}")))
}

fn from(text: &str, last_max: u64) -> Result<Start, Problem> {
    match text {
        "latest" => return Ok(Start::Latest),
        "earliest" => return Ok(Start::Earliest),
        "" => {
            return Err(Problem::bad_request(
                "`from` is empty; it takes `latest`, `earliest`, an event ID, `-N` for the last N \
                 events, or an RFC 3339 time",
            ));
        }
        _ => {}
    }
    if let Some(digits) = text
        .strip_prefix('-')
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
    {
        return match digits.parse() {
            Ok(n) if n <= last_max => Ok(Start::Last(n)),
            _ => Err(Problem::bad_request(format!(
                "`from=-N` takes an N of 0 to {last_max}"
            ))),
        };
    }
    if looks_like_time(text) {
        return time(text).map(Start::Time);
    }
    Ok(Start::At(text.to_owned()))
}

/// `2026-01-31` or `2026-01-31T…`: no event ID of a hub looks like that.
fn looks_like_time(text: &str) -> bool {
    let date = text.as_bytes().iter().take(11);
    let shape = b"dddd-dd-ddT";
    date.len() >= shape.len() - 1
        && date.zip(shape).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            _ => byte == kind,
        })
}

/// Unix milliseconds; what lies before 1970 is 0.
fn time(text: &str) -> Result<u64, Problem> {
    // A `+` that was not escaped has become a space; one at the offset is meant as a plus.
    let mended = match text.get(11..).and_then(|rest| rest.rfind(' ')) {
        Some(at) => format!(
            "{}+{}",
            text.get(..11 + at).unwrap_or_default(),
            text.get(12 + at..).unwrap_or_default()
        ),
        None => text.to_owned(),
    };
    match mended.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(u64::try_from(time.as_millisecond()).unwrap_or(0)),
        Err(error) => Err(Problem::bad_request(format!(
            "`from={text}` is not an RFC 3339 time such as 2026-01-31T12:00:00Z: {error}"
        ))),
    }
}

fn heartbeat(text: &str, config: &Config) -> Result<u64, Problem> {
    let (min, max) = (config.heartbeat_ms_min, config.heartbeat_ms_max);
    text.parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .and_then(|seconds| {
            u64::try_from(Duration::from_secs_f64(seconds.min(1e9)).as_millis()).ok()
        })
        .filter(|ms| (min..=max).contains(ms))
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "`heartbeat={text}`: it takes seconds, from {} to {}",
                Duration::from_millis(min).as_secs_f64(),
                Duration::from_millis(max).as_secs_f64()
            ))
        })
}

fn ping(text: &str) -> Result<bool, Problem> {
    match text {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Problem::bad_request(format!(
            "`ping={text}`: it takes `true` or `false`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, last_event_id: Option<&[u8]>) -> Result<Query, Problem> {
        let uri = format!("/events?{query}").parse().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(id) = last_event_id {
            let id = hyper::header::HeaderValue::from_bytes(id).unwrap();
            headers.insert("last-event-id", id);
        }
        Query::parse(&uri, &headers, &Config::default())
    }

    fn start(query: &str, last_event_id: Option<&str>) -> Start {
        parse(
            &format!("topic=t&{query}"),
            last_event_id.map(str::as_bytes),
        )
        .unwrap()
        .start
    }

    #[test]
    fn every_form_of_from() {
        assert_eq!(start("", None), Start::Latest);
        assert_eq!(start("from=latest", None), Start::Latest);
        assert_eq!(start("from=earliest", None), Start::Earliest);
        assert_eq!(start("from=-5", None), Start::Last(5));
        assert_eq!(start("from=e1:7", None), Start::At("e1:7".into()));
        assert_eq!(start("from=order-7", None), Start::At("order-7".into()));
        let time = Start::Time(1_767_225_600_000);
        assert_eq!(start("from=2026-01-01T00:00:00Z", None), time);
        assert_eq!(start("from=2026-01-01T02:00:00%2B02:00", None), time);
        assert_eq!(start("from=2026-01-01T02:00:00+02:00", None), time);
    }

    #[test]
    fn the_last_event_id_wins_and_the_header_first() {
        let after = |id: &str| Start::After(id.into());
        assert_eq!(start("from=earliest", Some("e:1")), after("e:1"));
        for name in LAST_EVENT_ID {
            assert_eq!(
                start(&format!("{name}=e:2&from=earliest"), None),
                after("e:2")
            );
            assert_eq!(start(&format!("{name}=e:2"), Some("e:1")), after("e:1"));
            assert_eq!(
                start(&format!("{name}=&from=earliest"), None),
                Start::Earliest
            );
        }
        assert_eq!(start("from=earliest", Some("")), Start::Earliest);
        assert_eq!(start("", Some("grüße")), after("grüße"));
        let start = parse("topic=t", Some(b"\xff")).unwrap().start;
        assert_eq!(start, after("\u{fffd}"));
    }

    #[test]
    fn bad_queries_say_what_to_do() {
        for (query, word) in [
            ("", "topic="),
            ("topic=", "topic"),
            ("topic=a%00b", "control"),
            ("topic=t&pattern=a(b)", "regular expression"),
            ("topic=t&from=", "earliest"),
            ("topic=t&from=-1000001", "1000000"),
            ("topic=t&from=-99999999999999999999", "1000000"),
            ("topic=t&from=2026-13-01T00:00:00Z", "RFC 3339"),
            ("topic=t&from=2026-01-31", "RFC 3339"),
            ("topic=t&heartbeat=0", "seconds"),
            ("topic=t&heartbeat=nan", "seconds"),
            ("topic=t&heartbeat=1e99", "seconds"),
            ("topic=t&heartbeat=-1", "seconds"),
            ("topic=t&ping=maybe", "true"),
        ] {
            let problem = parse(query, None).expect_err(query);
            assert!(problem.detail.contains(word), "{query}: {}", problem.detail);
        }
    }
}

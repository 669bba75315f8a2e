//! An event as a request spells it, before it is checked.

use std::borrow::Cow;

use tidings::{EventId, EventType, NewEvent, Topic};

use crate::{problem::Problem, query::topic};

/// An event's fields, unchecked.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a> {
    pub(crate) topics: Vec<Cow<'a, str>>,
    pub(crate) data: Option<Cow<'a, str>>,
    pub(crate) event: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) retry: Option<u64>,
    pub(crate) ttl_s: Option<f64>,
}

/// What the query says for events that do not say it themselves.
///
/// A plain text body has no other place for its fields; the other kinds may leave their topic to it.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    fields: Vec<(String, String)>,
    topics: Vec<Topic>,
}

/// The longest time to live: 10 years.
const TTL_S_MAX: f64 = 315_360_000.0;

impl Defaults {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        check_utf8(query.as_bytes(), "query")?;
        let mut defaults = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "topic" => defaults.topics.push(topic(&value)?),
                _ => defaults
                    .fields
                    .push((name.into_owned(), value.into_owned())),
            }
        }
        Ok(defaults)
    }
}

/// A plain text body is the data as it is.
pub(crate) fn from_text(body: &[u8], defaults: &Defaults) -> Result<NewEvent, Problem> {
    let mut draft = Draft {
        data: Some(utf8(body)?.into()),
        ..Draft::default()
    };
    for (name, value) in &defaults.fields {
        if name == "data" {
            return Err(Problem::bad_request(
                "the query has `data`, but a plain text body is the data; send one of them",
            ));
        }
        // A proxy may add parameters of its own.
        draft.set(name, value.into())?;
    }
    draft.into_event(defaults)
}

pub(crate) fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not UTF-8 from byte {} on; encode binary data, for example as base64",
            error.valid_up_to()
        ))
    })
}

/// Refuses what is not UTF-8 once its escapes are decoded: parsing would put U+FFFD in its place.
pub(crate) fn check_utf8(encoded: &[u8], what: &str) -> Result<(), Problem> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, tail @ ..] = rest {
        let escape = tail.get(..2).filter(|_| *byte == b'%');
        let escaped = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        rest = tail
            .get(if escaped.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::bad_request(format!(
            "the {what} is not UTF-8; encode binary data, for example as base64"
        ))),
    }
}

impl<'a> Draft<'a> {
    /// Sets the field called `name`. False: there is none.
    pub(crate) fn set(&mut self, name: &str, value: Cow<'a, str>) -> Result<bool, Problem> {
        match name {
            "topic" => self.topics.push(value),
            "data" => self.data = Some(value),
            "event" => self.event = Some(value),
            "id" => self.id = Some(value),
            "key" => self.key = Some(value),
            "retry" => self.retry = Some(number("retry", &value, "milliseconds")?),
            "ttl_s" => self.ttl_s = Some(number("ttl_s", &value, "seconds")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn into_event(self, defaults: &Defaults) -> Result<NewEvent, Problem> {
        let Some(data) = self.data else {
            return Err(Problem::bad_request(
                "the event has no `data`; send it, if only empty",
            ));
        };
        let topics: Vec<Topic> = match self.topics.as_slice() {
            [] => defaults.topics.clone(),
            topics => topics
                .iter()
                .map(|text| topic(text))
                .collect::<Result<_, _>>()?,
        };
        let event_type = match self.event.as_deref() {
            None | Some("") => None,
            Some(text) => Some(EventType::new(text).map_err(|error| wrong("event", &error))?),
        };
        let mut event = NewEvent::with(topics, event_type, self.retry, &data);
        if let Some(id) = self.id.as_deref() {
            event = event.id(EventId::new(id).map_err(|error| wrong("id", &error))?)?;
        }
        if let Some(key) = self.key.as_deref() {
            event = event.key(key);
        }
        match self.ttl_s {
            None => Ok(event),
            Some(ttl_s) => Ok(event.ttl_ms(ttl_ms(ttl_s)?)),
        }
    }
}

fn wrong(field: &str, error: &dyn std::error::Error) -> Problem {
    Problem::bad_request(format!("{field}: {error}"))
}

fn number<T: std::str::FromStr>(name: &str, text: &str, unit: &str) -> Result<T, Problem> {
    let problem = || Problem::bad_request(format!("`{name}={text}`: it takes a number of {unit}"));
    text.parse().map_err(|_| problem())
}

fn ttl_ms(ttl_s: f64) -> Result<u64, Problem> {
    if !(0.001..=TTL_S_MAX).contains(&ttl_s) {
        let range = format!("`ttl_s` takes seconds, from 0.001 to {TTL_S_MAX}");
        return Err(Problem::bad_request(range));
    }
    let ttl = std::time::Duration::from_secs_f64(ttl_s);
    Ok(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

//! `application/json`: one event, or an array of events that are committed together.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use tidings::NewEvent;

use super::draft::{Defaults, Draft, utf8};
use crate::problem::Problem;

#[derive(Debug)]
pub(crate) enum Parsed {
    One(NewEvent),
    Many(Vec<NewEvent>),
}

/// An event as JSON spells it: an object. Derived alone, an array of its fields' values would do.
#[derive(Debug)]
struct Object<'a>(Spelled<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Spelled::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// The fields of an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    topics: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    retry: Option<u64>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(default)]
    ttl_s: Option<f64>,
}

/// `"data": null` is data, and not the absence of it.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

pub(crate) fn parse(body: &[u8], defaults: &Defaults) -> Result<Parsed, Problem> {
    let text = utf8(body)?;
    if text.trim_start().starts_with('[') {
        let spelled: Vec<Object<'_>> = serde_json::from_str(text).map_err(|e| invalid(&e))?;
        let events = spelled.into_iter().enumerate().map(|(i, Object(spelled))| {
            spelled.into_event(defaults).map_err(|problem| Problem {
                detail: format!("event {} of the array: {}", i + 1, problem.detail),
                ..problem
            })
        });
        return events.collect::<Result<_, _>>().map(Parsed::Many);
    }
    parse_one(text, defaults).map(Parsed::One)
}

pub(crate) fn parse_one(text: &str, defaults: &Defaults) -> Result<NewEvent, Problem> {
    let Object(spelled) = serde_json::from_str(text).map_err(|e| invalid(&e))?;
    spelled.into_event(defaults)
}

fn invalid(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!(
        "the body is not an event in JSON such as {{\"topic\":\"orders/42\",\"data\":{{\"paid\":true}}}}: \
         {error}"
    ))
}

impl Spelled<'_> {
    fn into_event(self, defaults: &Defaults) -> Result<NewEvent, Problem> {
        let topics = match (self.topic, self.topics) {
            (Some(_), Some(_)) => {
                return Err(Problem::bad_request(
                    "the event has `topic` and `topics`; send one of them",
                ));
            }
            (Some(topic), None) => vec![topic],
            (None, topics) => topics.unwrap_or_default(),
        };
        let draft = Draft {
            topics,
            data: self.data.map(data).transpose()?,
            event: self.event,
            id: self.id,
            key: self.key,
            retry: self.retry,
            ttl_s: self.ttl_s,
        };
        draft.into_event(defaults)
    }
}

/// A string is the data itself; anything else is sent as compact JSON.
fn data(raw: &RawValue) -> Result<Cow<'_, str>, Problem> {
    let text = raw.get();
    if text.starts_with('"') {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        let Text(text) = serde_json::from_str(text).map_err(|e| invalid(&e))?;
        return Ok(text);
    }
    Ok(compact(text))
}

/// Valid JSON without the white space between its tokens. Numbers keep their spelling, which
/// parsing and writing them again would not.
fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains([' ', '\t', '\n', '\r']) {
        return json.into();
    }
    let mut compact = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if !quoted && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        compact.push(c);
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    compact.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compact_json_keeps_numbers_and_strings_as_they_are() {
        let spaced = " { \"a b\" : [ 1.0 , 1e400 , 12345678901234567890123 ] ,\n\"q\\\" \" : \" \\\\\" , \"n\":null } ";
        assert_eq!(
            compact(spaced),
            "{\"a b\":[1.0,1e400,12345678901234567890123],\"q\\\" \":\" \\\\\",\"n\":null}"
        );
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            any::<bool>().prop_map(Into::into),
            "\\PC*[\"\\\\ ]?".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn compacting_what_was_spread_out_gives_it_back(value in any_json()) {
            let spread = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&spread), serde_json::to_string(&value).unwrap());
        }
    }
}

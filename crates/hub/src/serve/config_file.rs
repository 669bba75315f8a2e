//! The configuration file: TOML whose keys are the names of the options.
//!
//! It is turned into options, put before those of the command line and parsed with them. So there
//! is one list of names, one parser for each value, and one set of messages.

use std::{ffi::OsString, fmt::Write, fs, path::Path};

use clap::{
    ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, parser::ValueSource,
};
use toml::{Table, Value};

use crate::{arguments::Serve, failure::Failure};

/// These make no sense in a file.
const NOT_IN_FILE: [&str; 2] = ["config", "help"];

/// Where events are kept: an option that says so puts aside all that the file says of it.
const STORAGE: [&str; 2] = ["data", "memory"];

/// What is kept of some topics is a table for each pattern, and stands for an option.
const TOPIC_RULES: &str = "retention";
const TOPIC_RULES_OPTION: &str = "retention-topic";

/// The options of the command line `options`, completed with those of the file.
pub(crate) fn complete(path: &Path, options: &[OsString]) -> Result<Serve, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Failure::usage(format!(
            "could not read the configuration file {path}: {error}"
        ))
    })?;
    let from_file = options_from(&text, options).map_err(|problem| {
        let path = path.display();
        Failure::usage(format!("in the configuration file {path}: {problem}"))
    })?;
    let all = from_file
        .into_iter()
        .map(OsString::from)
        .chain(options.iter().cloned());
    parse(all).map_err(|problem| Failure::usage(format!("with {}: {problem}", path.display())))
}

/// What the file says and the command line does not.
fn options_from(text: &str, options: &[OsString]) -> Result<Vec<String>, String> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let command = Serve::command();
    let given = command
        .clone()
        .try_get_matches_from(with_name(options.iter().cloned()))
        .map_err(|error| first_line(&error))?;
    let storage_given = STORAGE.iter().any(|name| is_given(&given, name));
    let mut all = Vec::new();
    for (key, value) in &table {
        let new = options_of(&command, key, value)?;
        parse(new.iter().map(OsString::from)).map_err(|problem| format!("`{key}`: {problem}"))?;
        let aside = STORAGE.contains(&key.as_str()) && storage_given;
        let option = if key == TOPIC_RULES {
            TOPIC_RULES_OPTION
        } else {
            key
        };
        if !aside && !is_given(&given, option) {
            all.extend(new);
        }
    }
    Ok(all)
}

/// Whether an option was given, and not merely has a default.
fn is_given(matches: &ArgMatches, key: &str) -> bool {
    let source = matches.value_source(&key.replace('-', "_"));
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// A key and its value as options.
fn options_of(command: &Command, key: &str, value: &Value) -> Result<Vec<String>, String> {
    if key == TOPIC_RULES {
        return topic_rules(value);
    }
    let known = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(key) && !NOT_IN_FILE.contains(&key));
    let action = known
        .map(clap::Arg::get_action)
        .ok_or_else(|| unknown(command, key))?;
    match (action, value) {
        (ArgAction::SetTrue, Value::Boolean(true)) => Ok(vec![format!("--{key}")]),
        (ArgAction::SetTrue, Value::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err(format!("`{key}`: write true or false")),
        (ArgAction::Append, Value::Array(values)) => {
            values.iter().map(|value| option(key, value)).collect()
        }
        _ => Ok(vec![option(key, value)?]),
    }
}

/// `[[retention]]` tables, as the option that says the same in one line.
fn topic_rules(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("`{TOPIC_RULES}`: write [[{TOPIC_RULES}]] and below it its `pattern`");
    let tables = value.as_array().ok_or_else(wrong)?;
    let mut options = Vec::new();
    for table in tables {
        let table = table.as_table().ok_or_else(wrong)?;
        let pattern = table.get("pattern").and_then(Value::as_str);
        let mut line = pattern.ok_or_else(wrong)?.to_owned();
        for (name, value) in table.iter().filter(|(name, _)| *name != "pattern") {
            if !["age", "bytes", "events"].contains(&name.as_str()) {
                return Err(format!(
                    "unknown key `{name}` in [[{TOPIC_RULES}]]: known are pattern, age, bytes, events"
                ));
            }
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                _ => return Err(format!("`{name}`: write a number or a text in quotes")),
            };
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}={value}");
        }
        options.push(format!("--{TOPIC_RULES_OPTION}={line}"));
    }
    Ok(options)
}

fn option(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(format!("--{key}={text}")),
        Value::Integer(number) => Ok(format!("--{key}={number}")),
        _ => Err(format!("`{key}`: write a number or a text in quotes")),
    }
}

fn unknown(command: &Command, key: &str) -> String {
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|name| !NOT_IN_FILE.contains(name))
        .collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(name, key), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("unknown key `{key}`: did you mean `{name}`?"),
        None => format!("unknown key `{key}`: known are {}", known.join(", ")),
    }
}

fn parse(options: impl Iterator<Item = OsString>) -> Result<Serve, String> {
    let matches = Serve::command().try_get_matches_from(with_name(options));
    matches
        .and_then(|matches| Serve::from_arg_matches(&matches))
        .map_err(|error| first_line(&error))
}

fn with_name(options: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from("tidings serve")).chain(options)
}

/// What clap says, without its frame.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The options when there are none at all.
pub(crate) fn defaults() -> Result<Serve, Failure> {
    Serve::try_parse_from(["tidings serve"]).map_err(|error| Failure::usage(first_line(&error)))
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;

    fn completed(file: &str, options: &[&str]) -> Result<Serve, String> {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        let from_file = options_from(file, &options)?;
        parse(from_file.into_iter().map(OsString::from).chain(options))
    }

    #[test]
    fn a_file_says_what_options_say() {
        let file = r#"
            listen = ["127.0.0.1:1", "127.0.0.1:2"]
            data = "/var/lib/tidings"
            retention-bytes = "1GiB"
            retention-events = 1000
            heartbeat = 20
            insecure = true
        "#;
        let serve = completed(file, &[]).unwrap();
        assert_eq!(serve.listen.len(), 2);
        assert_eq!(serve.data, PathBuf::from("/var/lib/tidings"));
        assert_eq!(serve.retention_bytes, Some(1 << 30));
        assert_eq!(serve.retention_events, Some(1000));
        assert_eq!(serve.heartbeat, Duration::from_secs(20));
        assert!(serve.insecure);
    }

    #[test]
    fn what_is_kept_of_topics_has_tables() {
        let file = r#"
            retention-bytes = "1GiB"

            [[retention]]
            pattern = "orders/*"
            age = "7d"

            [[retention]]
            pattern = "daily/:name"
            events = 30
            bytes = "1MiB"
        "#;
        let rules = completed(file, &[]).unwrap().retention_topic;
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].pattern.as_str(), "orders/*");
        assert_eq!(rules[0].age, Some(Duration::from_hours(7 * 24)));
        assert_eq!((rules[1].events, rules[1].bytes), (Some(30), Some(1 << 20)));
        let rules = completed(file, &["--retention-topic", "a events=1"]).unwrap();
        assert_eq!(rules.retention_topic.len(), 1, "options win");
        for (table, words) in [
            ("[[retention]]", "its `pattern`"),
            ("retention = 5", "its `pattern`"),
            ("[[retention]]\npattern = \"a\"", "what is kept"),
            (
                "[[retention]]\npattern = \"a\"\nages = 1",
                "unknown key `ages`",
            ),
            (
                "[[retention]]\npattern = \"a\"\nage = true",
                "write a number",
            ),
        ] {
            let problem = completed(table, &[]).unwrap_err();
            assert!(problem.contains(words), "{table}: {problem}");
        }
    }

    #[test]
    fn options_win() {
        let file = r#"
            listen = ["127.0.0.1:1", "127.0.0.1:2"]
            data = "/var/lib/tidings"
            stall = "1m"
        "#;
        let serve = completed(file, &["--listen", "127.0.0.1:3", "--memory"]).unwrap();
        assert_eq!(serve.listen.len(), 1);
        assert_eq!(serve.listen[0].port(), 3);
        assert!(serve.memory);
        assert_eq!(serve.stall, Duration::from_mins(1));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (file, words) in [
            (
                "retention_bytes = 1",
                "unknown key `retention_bytes`: did you mean `retention-bytes`?",
            ),
            ("hartbeat = 1", "did you mean `heartbeat`?"),
            ("zzz = 1", "unknown key `zzz`: known are listen, "),
            ("config = 'x'", "unknown key `config`"),
            (
                "retention-bytes = '4G'",
                "`retention-bytes`: invalid value '4G'",
            ),
            ("memory = 'yes'", "`memory`: write true or false"),
            ("stall = 1.5", "`stall`: write a number or a text in quotes"),
            ("stall = ['1s', '2s']", "`stall`: write a number"),
            ("memory = true\ndata = 'x'", "cannot be used with"),
            ("listen = ", "TOML parse error at line 1"),
        ] {
            let problem = completed(file, &[]).unwrap_err();
            assert!(problem.contains(words), "{file}: {problem}");
        }
    }
}

//! What a load program printed: one JSON object per line, by name.

use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct Figures(Value);

impl Figures {
    /// The last line is the result.
    pub(super) fn parse(printed: &str) -> Result<Self> {
        let line = printed.lines().last().context("the load printed nothing")?;
        let value = serde_json::from_str(line);
        Ok(Self(value.with_context(|| {
            format!("the load printed no JSON: {line}")
        })?))
    }

    /// All of them.
    pub(super) fn all(&self) -> &Value {
        &self.0
    }

    /// `a` or `a.b`; 0 where there is none.
    pub(super) fn number(&self, path: &str) -> f64 {
        self.find(path).unwrap_or_default()
    }

    fn find(&self, path: &str) -> Option<f64> {
        let mut names = path.split('.');
        let found = names.try_fold(&self.0, |value, name| value.get(name));
        found.and_then(Value::as_f64)
    }

    /// With so many digits after the point, if it was measured.
    pub(super) fn fixed(&self, path: &str, digits: usize) -> String {
        // A difference of two readings may be a hair below nothing.
        let shown = |number: f64| format!("{:.digits$}", number.max(0.0));
        self.find(path).map_or("-".to_owned(), shown)
    }

    /// Microseconds, shown as milliseconds.
    pub(super) fn ms(&self, path: &str) -> String {
        match self.number(path) / 1000.0 {
            0.0 => "-".to_owned(),
            ms if ms < 10.0 => format!("{ms:.2}"),
            ms => format!("{ms:.0}"),
        }
    }

    /// With k and M.
    pub(super) fn rate(&self, path: &str) -> String {
        match self.number(path) {
            rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
            rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
            rate => format!("{rate:.0}"),
        }
    }

    /// A share of one, in percent.
    pub(super) fn percent(&self, path: &str) -> String {
        match self.number(path) * 100.0 {
            0.0 => "-".to_owned(),
            percent => format!("{percent:.0}"),
        }
    }

    /// The same without what several publishers make of it: there is no order between them, and the
    /// independent load does not tell whose an event is.
    pub(super) fn unordered(mut self) -> Self {
        if let Some(figures) = self.0.as_object_mut() {
            figures.remove("out_of_order");
        }
        self
    }

    /// What went wrong, or that nothing did.
    pub(super) fn faults(&self) -> String {
        let names = [
            ("lost", "lost"),
            ("dups", "doubled"),
            ("out_of_order", "out of order"),
            ("bad", "refused"),
            ("closed", "cut"),
            ("pub_err", "publishes refused"),
            ("live_lost", "lost by others"),
        ];
        let faults: Vec<String> = names
            .iter()
            .filter(|(path, _)| self.number(path) > 0.0)
            .map(|(path, name)| format!("{} {name}", self.number(path)))
            .collect();
        if faults.is_empty() {
            "none".to_owned()
        } else {
            faults.join(", ")
        }
    }
}

/// The floor's figures, to hold others against.
#[derive(Debug, Default)]
pub(super) struct Floor(Option<Value>);

impl Floor {
    pub(super) fn set(&mut self, figures: &Figures) {
        self.0 = Some(figures.0.clone());
    }

    /// How many times the floor's it is.
    pub(super) fn times(&self, figures: &Figures, path: &str) -> String {
        let floor = self.0.clone().map(|value| Figures(value).number(path));
        match floor {
            Some(floor) if floor > 0.0 => format!("{:.2}", figures.number(path) / floor),
            _ => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_are_found_and_faults_are_named() {
        let printed = "noise\n{\"lost\":2,\"dups\":0,\"lat_us\":{\"p99\":1500},\"per_s\":2500000}";
        let figures = Figures::parse(printed).expect("JSON");
        assert_eq!(figures.ms("lat_us.p99"), "1.50");
        assert_eq!(figures.rate("per_s"), "2.50 M");
        assert_eq!(figures.faults(), "2 lost");
        assert_eq!(figures.fixed("lost", 1), "2.0");
        assert_eq!(figures.fixed("no.such", 1), "-");
    }

    #[test]
    fn order_is_a_fault_only_where_there_is_one() {
        let figures = Figures::parse(r#"{"lost":0,"dups":1,"out_of_order":4}"#).expect("JSON");
        assert_eq!(figures.faults(), "1 doubled, 4 out of order");
        assert_eq!(figures.unordered().faults(), "1 doubled");
    }
}

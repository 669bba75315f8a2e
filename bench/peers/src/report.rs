use std::fmt;

use serde_json::{Map, Value};

use crate::Usage;

/// One JSON object, which a load program prints at its end.
#[derive(Debug, Default)]
pub struct Report(Map<String, Value>);

impl Report {
    /// All fields of a JSON object; what is no object adds nothing.
    pub fn add(&mut self, fields: Value) {
        if let Value::Object(fields) = fields {
            self.0.extend(fields);
        }
    }

    /// What server and load used in `seconds`, also for each of `units`.
    pub fn usage(&mut self, server: &Usage, load: &Usage, seconds: f64, units: u64) {
        let each = 1e6 / units.max(1) as f64;
        self.add(serde_json::json!({
            "us_cpu_per_delivery": server.cpu_s() * each, "us_user": server.user_s * each,
            "us_sys": server.system_s * each, "memory_growth_kib": server.memory_kib,
            "server_busy": server.cpu_s() / seconds, "load_busy": load.cpu_s() / seconds,
        }));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Value::Object(self.0.clone()))
    }
}

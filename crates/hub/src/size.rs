//! Sizes as people write them: `64MiB`, `4GiB`, `1500000`.

/// Parses a size into bytes. Decimal and binary units are told apart: 1 MB is not 1 MiB.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit.trim() {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor);
    bytes
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "write bytes, or a number with a unit, like 64MiB or 4GiB".to_owned())
}

/// A size for people, in binary units.
pub(crate) fn show(bytes: u64) -> String {
    let units = [
        (1_u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    for (unit, name) in units {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole} {name}"),
                (whole, tenth) => format!("{whole}.{tenth} {name}"),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("1500000", 1_500_000),
            ("64MiB", 64 << 20),
            ("4GiB", 4 << 30),
            ("4 GiB", 4 << 30),
            ("1kB", 1000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "4G", "-1", "1.5GiB", "99999999TiB", "4 GiB!"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_what_people_read() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(4 << 30), "4 GiB");
        assert_eq!(show((5 << 20) / 2), "2.5 MiB");
        assert_eq!(show(u64::MAX), "16777215.9 TiB");
    }
}

//! Kubernetes quantities: `1Gi`, `500m`, `1.5G`.

use std::fmt;
use std::str::FromStr;

/// An amount of bytes, rounded up to a whole byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(pub u64);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Something like `1GB`: the unit of a shop, not of Kubernetes.
    #[error("{text:?} is not a quantity: did you mean {number}{binary} or {number}{decimal}?")]
    Unit {
        /// What was written.
        text: String,
        /// Its number.
        number: String,
        /// The nearest binary unit, such as `Gi`.
        binary: String,
        /// The nearest decimal unit, such as `G`.
        decimal: String,
    },
    /// Anything else.
    #[error("{text:?} is not a quantity: write a number and a unit, such as 512Mi or 1Gi")]
    Malformed {
        /// What was written.
        text: String,
    },
    /// Below zero.
    #[error("{text:?}: must be greater than or equal to 0")]
    Negative {
        /// What was written.
        text: String,
    },
    /// More than 2^64 - 1 bytes.
    #[error("{text:?} is more than can be stored")]
    TooLarge {
        /// What was written.
        text: String,
    },
}

/// Units with their value as (numerator, denominator).
const UNITS: [(&str, u128, u128); 16] = [
    ("", 1, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
];

/// More digits than any amount needs; keeps the arithmetic inside 128 bits.
const DIGITS_MAX: usize = 18;

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let malformed = || InvalidQuantity::Malformed { text: text.to_owned() };
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if let Some(rest) = unsigned.strip_prefix('-') {
            let negative = rest.starts_with(|c: char| c.is_ascii_digit());
            return Err(if negative { InvalidQuantity::Negative { text: text.to_owned() } } else { malformed() });
        }
        let split = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, unit) = unsigned.split_at(split);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || number == "." || fraction.contains('.') || whole.len() + fraction.len() > DIGITS_MAX {
            return Err(malformed());
        }
        let (numerator, denominator) = unit_value(unit).ok_or_else(|| wrong_unit(text, number, unit))?;
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| malformed())?;
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?) * denominator;
        let bytes = (digits.checked_mul(numerator).ok_or_else(malformed)?).div_ceil(scale);
        u64::try_from(bytes).map(Self).map_err(|_| InvalidQuantity::TooLarge { text: text.to_owned() })
    }
}

fn unit_value(unit: &str) -> Option<(u128, u128)> {
    if let Some((_, numerator, denominator)) = UNITS.iter().find(|(name, ..)| *name == unit) {
        return Some((*numerator, *denominator));
    }
    // Decimal exponent: 1e3, 1E-3.
    let exponent: i32 = unit.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10u128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.unsigned_abs() <= 18)?;
    Some(if exponent >= 0 { (power, 1) } else { (1, power) })
}

fn wrong_unit(text: &str, number: &str, unit: &str) -> InvalidQuantity {
    let letter = unit.chars().next().map(|c| c.to_ascii_uppercase()).filter(|c| "KMGTPE".contains(*c));
    match letter {
        Some(letter) => InvalidQuantity::Unit {
            text: text.to_owned(),
            number: number.to_owned(),
            binary: format!("{letter}i"),
            decimal: if letter == 'K' { "k".to_owned() } else { letter.to_string() },
        },
        None => InvalidQuantity::Malformed { text: text.to_owned() },
    }
}

impl fmt::Display for Quantity {
    /// The shortest exact form, binary units first: `1Gi`, `1536Mi`, `1G`, `1500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |value: u128| value > 1 && self.0 > 0 && u128::from(self.0).is_multiple_of(value);
        let largest = |suffix_i: bool| {
            UNITS.iter().rev().find(|(name, value, denominator)| {
                *denominator == 1 && name.ends_with('i') == suffix_i && whole(*value)
            })
        };
        match largest(true).or_else(|| largest(false)) {
            Some((name, value, _)) => write!(f, "{}{name}", u128::from(self.0) / value),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("1Gi", 1_073_741_824),
            ("1G", 1_000_000_000),
            ("1.5Gi", 1_610_612_736),
            ("0", 0),
            ("100m", 1),
            ("1e3", 1_000),
            ("20Mi", 20_971_520),
        ] {
            assert_eq!(text.parse(), Ok(Quantity(bytes)), "{text}");
        }
        assert!("1GB".parse::<Quantity>().unwrap_err().to_string().contains("did you mean 1Gi or 1G?"));
        for bad in ["", ".", "Gi", "1 Gi", "1..5", "abc", "-", "1e99", "99999999999999999999"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shortest_exact_form() {
        for text in ["1Gi", "20Mi", "1G", "1500", "0", "1536Mi"] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
        }
    }
}

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
        let (digits, numerator, scale) = parts(text)?;
        let too_large = || InvalidQuantity::TooLarge { text: text.to_owned() };
        let bytes = digits.checked_mul(numerator).ok_or_else(too_large)?.div_ceil(scale);
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

/// Digits, numerator and denominator of an amount.
fn parts(text: &str) -> Result<(u128, u128, u128), InvalidQuantity> {
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
    Ok((digits, numerator, scale))
}

/// The form in which Kubernetes stores an amount: `1000m` and `1.0` are `1`, `0.5` is `500m`, `1.5Gi` is `1536Mi`.
///
/// # Errors
/// When `text` is no quantity, or below zero.
pub fn canonical_quantity(text: &str) -> Result<String, InvalidQuantity> {
    let nanos = quantity_nanos(text)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '+');
    let binary_from = 1024 * NANOS;
    if unit.ends_with('i') && nanos >= binary_from {
        let (number, power) = strip_factors(nanos.div_ceil(NANOS), 1024, BINARY.len() - 1);
        return Ok(format!("{number}{}", BINARY[power]));
    }
    let (number, power) = strip_factors(nanos, 1000, DECIMAL.len() - 1);
    let is_exponent = unit.starts_with(['e', 'E']) && unit.len() > 1;
    Ok(match (is_exponent, i32::try_from(power).unwrap_or_default() * 3 - 9) {
        (true, exponent) if exponent != 0 && nanos > 0 => format!("{number}e{exponent}"),
        (true, _) => number.to_string(),
        (false, _) if nanos == 0 => "0".to_owned(),
        (false, _) => format!("{number}{}", DECIMAL[power]),
    })
}

/// An amount in billionths, rounded up: what two spellings are compared by.
///
/// # Errors
/// When `text` is no quantity, or below zero.
pub fn quantity_nanos(text: &str) -> Result<u128, InvalidQuantity> {
    /// Kubernetes stores no amount above this.
    const UNITS_MAX: u128 = i64::MAX as u128;
    let (digits, numerator, scale) = parts(text)?;
    let too_large = || InvalidQuantity::TooLarge { text: text.to_owned() };
    let product = digits.checked_mul(numerator).ok_or_else(too_large)?;
    let nanos = match product.checked_mul(NANOS) {
        Some(nanos) => nanos.div_ceil(scale),
        None => product.div_ceil(scale).checked_mul(NANOS).ok_or_else(too_large)?,
    };
    if nanos.div_ceil(NANOS) <= UNITS_MAX { Ok(nanos) } else { Err(too_large()) }
}

const NANOS: u128 = 1_000_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

fn strip_factors(mut number: u128, factor: u128, power_max: usize) -> (u128, usize) {
    let mut power = 0;
    while number > 0 && power < power_max && number.is_multiple_of(factor) {
        number /= factor;
        power += 1;
    }
    (number, power)
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
    fn canonical_form_is_that_of_kubernetes() {
        for (text, canonical) in [
            ("1000m", "1"),
            ("1.0", "1"),
            ("0.5", "500m"),
            ("0.1m", "100u"),
            ("1.5Gi", "1536Mi"),
            ("2048Ki", "2Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1000Mi", "1000Mi"),
            ("1000M", "1G"),
            ("1500M", "1500M"),
            ("1024", "1024"),
            ("1e3", "1e3"),
            ("10e2", "1e3"),
            ("1E", "1E"),
            ("0", "0"),
            ("0Gi", "0"),
            ("+5", "5"),
        ] {
            assert_eq!(canonical_quantity(text).as_deref(), Ok(canonical), "{text}");
        }
        assert!(canonical_quantity("100E").is_err(), "more than 2^63 - 1");
        assert!(canonical_quantity("-1").is_err());
        assert_eq!(quantity_nanos("0.00000000000000001"), Ok(1), "rounded up");
    }

    #[test]
    fn shortest_exact_form() {
        for text in ["1Gi", "20Mi", "1G", "1500", "0", "1536Mi"] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
        }
    }
}

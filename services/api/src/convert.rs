//! Conversions between the wire and the domain.
//!
//! `TryFrom<proto>` collects every violation of a message at once; `From<domain>` cannot fail.

//! Objects as text. Everything here is pure: JSON and the time in, text out.

mod age;
mod columns;
mod decision;
mod describe;
mod history;
mod json;
mod pod;
mod refusal;
mod table;

pub(crate) use self::columns::{headers, labels, row, sort_events};
pub(crate) use self::describe::describe;
pub(crate) use self::history::{history, revision};
pub(crate) use self::json::{as_json, as_yaml, is_owned, name_of, ordinal, qualified_name, resource_name, text};
pub(crate) use self::pod::summarize;
pub(crate) use self::refusal::explain;
pub(crate) use self::table::Table;

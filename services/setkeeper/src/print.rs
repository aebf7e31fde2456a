//! Objects as text. Everything here is pure: JSON and the time in, text out.

mod age;
mod columns;
mod describe;
mod json;
mod pod;
mod refusal;
mod rollout;
mod table;

pub(crate) use self::columns::{headers, labels, row};
pub(crate) use self::describe::describe;
pub(crate) use self::json::{as_json, as_yaml, name_of, qualified_name, resource_name, text};
pub(crate) use self::pod::summarize;
pub(crate) use self::refusal::explain;
pub(crate) use self::rollout::{Rollout, rollout};
pub(crate) use self::table::Table;

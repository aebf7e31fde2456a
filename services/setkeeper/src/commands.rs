//! What the commands do.

mod apply;
mod delete;
mod describe;
mod fence;
mod get;
mod logs;
mod port_forward;
mod rollout;
mod scale;
mod store;
mod version;

pub(crate) use self::apply::{apply, send};
pub(crate) use self::delete::delete;
pub(crate) use self::describe::describe;
pub(crate) use self::fence::fence;
pub(crate) use self::get::get;
pub(crate) use self::logs::logs;
pub(crate) use self::port_forward::port_forward;
pub(crate) use self::rollout::rollout;
pub(crate) use self::scale::scale;
pub(crate) use self::store::{backup, check, restore};
pub(crate) use self::version::version;

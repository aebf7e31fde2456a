//! What the tests share: the product started as a user starts it, levels to wait for, processes as they really are.

mod collector;
mod hosts;
mod processes;
mod product;
mod program;
mod proxy;
mod scrape;
mod wait;

pub use collector::{Collector, Exported};
pub use hosts::Hosts;
pub use processes::{Process, in_pod};
pub use product::{FreePorts, Layout, Options, Output, Product, SERVICES, User, end_leftovers};
pub use program::available;
pub use proxy::{PROXY, Proxy};
pub use scrape::{Scrape, get};
pub use wait::{WAIT_MAX, until};

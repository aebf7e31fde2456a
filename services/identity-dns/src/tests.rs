//! The conformance table of the DNS rules (section 7), by its numbers, read with another codec than ours.

mod conformance;
mod fixture;
mod garbage;
mod messages;
mod network;
mod publishing;
mod time;

//! Pods in a small world where time is a number: each test is a scenario of the pod rules, by its number.

mod ends;
mod probes;
mod starts;
mod world;

use world::{Life, World};

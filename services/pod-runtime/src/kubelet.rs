//! Makes assigned pods real and tells how they are: a pure core that decides, and a shell that carries out.

pub mod backoff;
pub mod decide;
pub mod probing;
pub mod record;
pub mod status;

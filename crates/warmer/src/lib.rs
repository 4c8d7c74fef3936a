//! The warmer: pulls images through Harbor's proxy caches from a durable queue, and proves that Harbor has them.
//!
//! [`run`] is the whole service; tests call it as `main` does. Decisions are made by the pure [`image`] and
//! [`announcement`]; [`store`] makes them durable, [`worker`] carries them out, and [`harbor`] alone speaks to Harbor.

pub mod clock;
pub mod config;
pub mod harbor;
pub mod limiter;
pub mod metrics;
pub mod transfers;
pub mod view;

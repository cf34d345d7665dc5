//! Claims: which tasks this server takes, and how it keeps them.

pub mod budget;
pub mod dispatch;
pub mod health;
pub mod held_claims;
pub mod lease;
pub mod peers;
pub mod reach;
pub mod scope;

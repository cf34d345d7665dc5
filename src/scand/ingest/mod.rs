//! Reads tasks from Kafka into the claim table, and rebuilds the table from Kafka after Redis lost its data.

pub mod poll;
mod rebuild;
mod records;

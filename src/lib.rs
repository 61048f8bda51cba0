//! imbridge publishes the webhooks of an IM server to Kafka, durably and in order. The binary is a thin shell around this library.

pub mod admin;
pub mod app;
pub mod callback;
pub mod cli;
pub mod forward;
pub mod ingress;
pub mod lifecycle;
pub mod private_port;
pub mod provider;
pub mod publish;
pub mod registry_api;
pub mod schema;
pub mod secret;
pub mod spool;

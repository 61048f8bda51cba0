//! Several bridges before one Kafka.

mod trial;

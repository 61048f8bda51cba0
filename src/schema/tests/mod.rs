//! Tests of the part as a whole.

//! A record as the columns of a table: what its fields hold, in no tool's own words.

use std::collections::HashMap;

use serde_json::Value;

use super::Command;

/// A column, or a field of a record within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// As in the schema: letters, digits and underscores.
    pub name: String,
    /// Whether it can be null.
    pub optional: bool,
    pub shape: Shape,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Text,
    Int,
    Long,
    Double,
    Boolean,
    /// Milliseconds since 1970.
    Instant,
    /// Texts by their names.
    Map,
    List(Box<Shape>),
    Record(Vec<Column>),
}

impl Command {
    /// The columns of its records, in the order of the newest schema.
    pub fn columns(&self) -> Vec<Column> {
        match shape(&self.parsed(), &mut HashMap::new()) {
            Shape::Record(columns) => columns,
            _ => unreachable!("a schema is a record"),
        }
    }
}

/// `named` are the records that stood before this place: Avro writes each out once.
fn shape(avro: &Value, named: &mut HashMap<String, Shape>) -> Shape {
    let kind = avro["logicalType"].as_str().or(avro["type"].as_str());
    match kind.or(avro.as_str()).expect("what is loaded has a type") {
        "string" => Shape::Text,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "double" => Shape::Double,
        "boolean" => Shape::Boolean,
        "timestamp-millis" => Shape::Instant,
        "map" => Shape::Map,
        "array" => Shape::List(Box::new(shape(&avro["items"], named))),
        "record" => {
            let fields = avro["fields"].as_array().into_iter().flatten();
            let record = Shape::Record(fields.map(|field| column(field, named)).collect());
            named.insert(simple(avro["name"].as_str().unwrap_or_default()), record.clone());
            record
        }
        name => named
            .get(&simple(name))
            .expect("a name stands behind its record")
            .clone(),
    }
}

fn column(field: &Value, named: &mut HashMap<String, Shape>) -> Column {
    let avro = &field["type"];
    let branch = avro
        .as_array()
        .and_then(|union| union.iter().find(|branch| **branch != "null"));
    Column {
        name: field["name"].as_str().unwrap_or_default().to_owned(),
        optional: branch.is_some(),
        shape: shape(branch.unwrap_or(avro), named),
    }
}

/// A name without its namespace.
fn simple(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

//! A record as the columns of a table, in terms that are independent of the tool that makes the table.

use std::collections::HashMap;

use serde_json::Value;

use super::Command;

/// A column, or a field of a record within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The field's name in the schema: letters, digits and underscores.
    pub name: String,
    /// Whether it can be null.
    pub optional: bool,
    pub shape: Shape,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Text,
    Int,
    Long,
    Double,
    Boolean,
    /// Milliseconds since 1970.
    Instant,
    /// Strings by name.
    Map,
    List(Box<Shape>),
    Record(Vec<Column>),
}

impl Command {
    /// The columns of the command's records, in the order of the newest schema.
    pub fn columns(&self) -> Vec<Column> {
        match shape(&self.parsed(), &mut HashMap::new()) {
            Shape::Record(columns) => columns,
            _ => unreachable!("a schema is a record"),
        }
    }
}

/// `named` has the records that were defined before this place. Avro defines each record once, then uses its name.
fn shape(avro: &Value, named: &mut HashMap<String, Shape>) -> Shape {
    let kind = avro["logicalType"].as_str().or(avro["type"].as_str());
    match kind.or(avro.as_str()).expect("a loaded schema has types") {
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
            named.insert(simple_name(avro["name"].as_str().unwrap_or_default()), record.clone());
            record
        }
        name => named
            .get(&simple_name(name))
            .expect("a record is defined before its name is used")
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
fn simple_name(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

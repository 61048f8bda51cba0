//! The names that each tool has for the types of columns.

use crate::schema::{Column, Shape};

/// A tool's names of types. A pair has what comes before and after.
pub(super) struct Types {
    pub text: &'static str,
    pub int: &'static str,
    pub long: &'static str,
    pub double: &'static str,
    pub boolean: &'static str,
    pub instant: &'static str,
    pub map: &'static str,
    /// `None` if lists have the type of maps.
    pub list: Option<(&'static str, &'static str)>,
    pub record: (&'static str, &'static str),
    /// A column, or a field of a record, that may be null. Lists, maps and records are empty instead.
    pub optional: (&'static str, &'static str),
    pub quote: char,
}

pub(super) const CLICKHOUSE: Types = Types {
    text: "String",
    int: "Int32",
    long: "Int64",
    double: "Float64",
    boolean: "Bool",
    instant: "DateTime64(3, 'UTC')",
    map: "Map(String, String)",
    list: Some(("Array(", ")")),
    record: ("Tuple(", ")"),
    optional: ("Nullable(", ")"),
    quote: '`',
};

pub(super) const FLINK: Types = Types {
    text: "STRING",
    int: "INT",
    long: "BIGINT",
    double: "DOUBLE",
    boolean: "BOOLEAN",
    instant: "TIMESTAMP(3)",
    map: "MAP<STRING, STRING>",
    list: Some(("ARRAY<", ">")),
    record: ("ROW<", ">"),
    optional: ("", ""),
    quote: '`',
};

/// For columns without records.
pub(super) const POSTGRES: Types = Types {
    text: "text",
    int: "integer",
    long: "bigint",
    double: "double precision",
    boolean: "boolean",
    instant: "timestamptz",
    map: "jsonb",
    list: None,
    record: ("", ""),
    optional: ("", ""),
    quote: '"',
};

impl Types {
    /// A quoted name, which may be a reserved word and keeps its case. Each part of a path is quoted.
    pub fn name(&self, name: &str) -> String {
        let quote = |part: &str| format!("{0}{part}{0}", self.quote);
        name.split('.').map(quote).collect::<Vec<_>>().join(".")
    }

    pub fn column(&self, column: &Column) -> String {
        let (before, after) = match column.shape {
            Shape::Map | Shape::List(_) | Shape::Record(_) => ("", ""),
            _ if column.optional => self.optional,
            _ => ("", ""),
        };
        format!(
            "{} {before}{}{after}",
            self.name(&column.name),
            self.shape(&column.shape)
        )
    }

    pub fn shape(&self, shape: &Shape) -> String {
        let word = match shape {
            Shape::Text => self.text,
            Shape::Int => self.int,
            Shape::Long => self.long,
            Shape::Double => self.double,
            Shape::Boolean => self.boolean,
            Shape::Instant => self.instant,
            Shape::Map => self.map,
            Shape::List(items) => match self.list {
                Some((before, after)) => return format!("{before}{}{after}", self.shape(items)),
                None => self.map,
            },
            Shape::Record(fields) => {
                let fields: Vec<_> = fields.iter().map(|field| self.column(field)).collect();
                return format!("{}{}{}", self.record.0, fields.join(", "), self.record.1);
            }
        };
        word.to_owned()
    }
}

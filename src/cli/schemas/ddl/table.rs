//! One topic as a table of each tool: the template of its statements, and the values for its blanks.

use super::types::{CLICKHOUSE, FLINK, POSTGRES, Types};
use crate::schema::{Column, Shape};

/// The column of the message's key, if the record has no field for it.
const KEY: &str = "ordering_key";

/// A template, and the values for its blanks.
type Form = (&'static str, Vec<(&'static str, String)>);

pub(super) struct Table {
    name: String,
    /// The columns of the record.
    fields: Vec<Column>,
    /// The columns of the table.
    columns: Vec<Column>,
    /// Whether the record has the message's key.
    is_keyed: bool,
    event_id: String,
    received_at: String,
    /// The columns by which rows are sorted. Copies of an event have equal values, later events of a group have greater
    /// ones.
    order: Vec<String>,
}

impl Table {
    pub fn new(name: String, fields: Vec<Column>) -> Table {
        let has = |name: &str| fields.iter().any(|field| field.name == name);
        let of_meta = |name: &str| {
            if has(name) {
                name.to_owned()
            } else {
                format!("meta.{name}")
            }
        };
        let [app, event_id, received_at] = ["app", "event_id", "received_at"].map(of_meta);
        let is_keyed = has(KEY);
        // The timeline's columns, and those of a command's record, which may also have a `seq` of the IM server.
        let position = match is_keyed {
            true => ["spool", "seq", "part"],
            false => ["spool", "spool_seq", "spool_part"],
        };
        let key = Column {
            name: KEY.to_owned(),
            optional: false,
            shape: Shape::Text,
        };
        let key = (!is_keyed).then_some(key);
        Table {
            name,
            columns: key.into_iter().chain(fields.clone()).collect(),
            fields,
            is_keyed,
            event_id,
            received_at,
            order: [&*app, KEY].into_iter().chain(position).map(str::to_owned).collect(),
        }
    }

    pub fn clickhouse(&self) -> Form {
        let name = |end: &str| CLICKHOUSE.name(&format!("{}{end}", self.name));
        let selected = if self.is_keyed { "*" } else { "_key AS ordering_key, *" };
        let blanks = vec![
            ("name", self.name.clone()),
            ("table", name("")),
            ("table_queue", name("_queue")),
            ("table_view", name("_view")),
            ("columns", list(&CLICKHOUSE, &self.columns)),
            ("fields", list(&CLICKHOUSE, &self.fields)),
            ("received_at", CLICKHOUSE.name(&self.received_at)),
            ("order", names(&CLICKHOUSE, &self.order)),
            ("selected", selected.to_owned()),
        ];
        (include_str!("clickhouse.sql"), blanks)
    }

    pub fn flink(&self) -> Form {
        let time = FLINK.name("received_at");
        let computed = match self.received_at.split_once('.') {
            Some(_) => format!("{time} AS {},\n  ", FLINK.name(&self.received_at)),
            None => String::new(),
        };
        let key =
            "\n  'key.format' = 'raw',\n  'key.fields' = 'ordering_key',\n  'value.fields-include' = 'EXCEPT_KEY',";
        let blanks = vec![
            ("table", FLINK.name(&self.name)),
            ("columns", list(&FLINK, &self.columns)),
            (
                "watermark",
                format!("{computed}WATERMARK FOR {time} AS {time} - INTERVAL '10' SECOND"),
            ),
            ("key", if self.is_keyed { "" } else { key }.to_owned()),
        ];
        (include_str!("flink.sql"), blanks)
    }

    pub fn spark(&self) -> Form {
        let key = if self.is_keyed { "" } else { "\"ordering_key\", " };
        let blanks = vec![("table", self.name.clone()), ("selected", format!("{key}\"record.*\""))];
        (include_str!("spark.py"), blanks)
    }

    pub fn postgres(&self) -> Form {
        let key = (!self.is_keyed).then(|| (POSTGRES.column(&self.columns[0]), "key".to_owned()));
        let flat = flat(&self.fields, &[]);
        let with_value = |(path, column): &(String, Column)| (POSTGRES.column(column), value(path, &column.shape));
        let (columns, values): (Vec<_>, Vec<_>) = key.into_iter().chain(flat.iter().map(with_value)).unzip();
        let joined = |name: &String| name.replace('.', "_");
        let blanks = vec![
            ("table", POSTGRES.name(&self.name)),
            ("columns", columns.join(",\n  ")),
            ("event_id", POSTGRES.name(&joined(&self.event_id))),
            (
                "order",
                names(&POSTGRES, &self.order.iter().map(joined).collect::<Vec<_>>()),
            ),
            ("values", values.join(",\n--   ")),
        ];
        (include_str!("postgres.sql"), blanks)
    }
}

fn list(types: &Types, columns: &[Column]) -> String {
    let columns: Vec<_> = columns.iter().map(|column| types.column(column)).collect();
    columns.join(",\n  ")
}

fn names(types: &Types, names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| types.name(name)).collect();
    names.join(", ")
}

/// Replaces record columns by their fields. Each column has its path.
fn flat(columns: &[Column], above: &[&str]) -> Vec<(String, Column)> {
    let mut all = Vec::new();
    for column in columns {
        let path: Vec<&str> = above.iter().copied().chain([column.name.as_str()]).collect();
        match &column.shape {
            Shape::Record(fields) => all.extend(flat(fields, &path)),
            shape => {
                let (name, shape) = (path.join("_"), shape.clone());
                all.push((path.join(","), Column { name, shape, ..*column }));
            }
        }
    }
    all
}

/// The expression by which PostgreSQL takes a column out of a record in JSON.
fn value(path: &str, shape: &Shape) -> String {
    let (json, text) = (format!("record #> '{{{path}}}'"), format!("record #>> '{{{path}}}'"));
    match shape {
        Shape::Text => text,
        Shape::Map | Shape::List(_) => format!("nullif({json}, 'null')"),
        Shape::Instant => format!("to_timestamp(({text})::bigint / 1000.0)"),
        shape => format!("({text})::{}", POSTGRES.shape(shape)),
    }
}

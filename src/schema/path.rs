//! Paths of fields, as attributes write them, and the captures that they put into the plan. The walk keeps the value of a
//! field with a capture. Knows which types of field an attribute may name, not what the values are used for.

use super::capture::TimeCapture;
use super::plan::{FieldPlan, Kind, RecordPlan};

/// A path into a record: the names of fields. The name of an array has a suffix that selects its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    names: Vec<PathName>,
    suffix: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PathName {
    name: String,
    into_array: bool,
}

/// The suffix that selects an array's first item.
pub(super) const FIRST: &str = "[0]";
/// The suffix that selects all items of an array.
pub(super) const EVERY: &str = "[]";

/// Which fields an attribute may name.
pub(super) struct FieldTest {
    pub accepts: fn(&FieldPlan) -> bool,
    /// The fields that it accepts, for error messages.
    pub wanted: &'static str,
}

pub(super) const INTEGER: FieldTest = FieldTest {
    accepts: |field| matches!(field.kind, Kind::Long | Kind::Int),
    wanted: "an integer",
};
pub(super) const STRING_OR_INTEGER: FieldTest = FieldTest {
    accepts: |field| matches!(field.kind, Kind::Text | Kind::Long | Kind::Int),
    wanted: "a string or an integer",
};

/// The paths whose text is captured from a body. Each has a slot, even if several attributes name it.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Path>);

impl Paths {
    /// The slot of a path.
    pub fn slot(&mut self, text: &str) -> Result<usize, String> {
        let path = Path::parse(text, FIRST)?;
        if let Some(known) = self.0.iter().position(|other| *other == path) {
            return Ok(known);
        }
        self.0.push(path);
        Ok(self.0.len() - 1)
    }

    /// The slot and the type of a path's field. From now on the field's text is captured.
    pub fn keep(&mut self, text: &str, plan: &mut RecordPlan, test: &FieldTest) -> Result<(usize, Kind), String> {
        let slot = self.slot(text)?;
        let field = self.0[slot].field(plan, test)?;
        field.capture.get_or_insert_default().text = Some(slot);
        Ok((slot, field.kind.clone()))
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Path {
    /// Parses `Info.To_Account` or, with the suffix behind the name of an array, `PairList[0].From_Account`.
    pub fn parse(text: &str, suffix: &'static str) -> Result<Self, String> {
        let names = text.split('.').map(|part| {
            let (name, into_array) = match part.strip_suffix(suffix) {
                Some(name) => (name, true),
                None => (part, false),
            };
            if name.is_empty() || name.contains(|c: char| "()[]|, ".contains(c)) {
                return Err(format!(
                    "`{text}` is not a path: names joined by `.`, `{suffix}` behind the name of an array"
                ));
            }
            Ok(PathName {
                name: name.to_owned(),
                into_array,
            })
        });
        Ok(Self {
            text: text.to_owned(),
            names: names.collect::<Result<_, _>>()?,
            suffix,
        })
    }

    /// Whether the path leads into an array.
    pub fn leads_into_array(&self) -> bool {
        self.names.iter().any(|name| name.into_array)
    }

    /// Captures the field at this path as one alternative of the time.
    pub fn keep_time(&self, plan: &mut RecordPlan, alternative: usize) -> Result<(), String> {
        let name = self.names.last().map_or("", |last| &last.name);
        let field = self.find(plan)?;
        let unit_ms = match field.kind {
            Kind::Millis => 1,
            Kind::Seconds => 1000,
            _ => return Err(format!("`{name}` is neither timestamp-millis nor a long of unit s")),
        };
        let time = &mut field.capture.get_or_insert_default().time;
        match time.replace(TimeCapture { alternative, unit_ms }) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` is there twice")),
        }
    }

    /// The field at this path, if it passes the test.
    pub fn field<'p>(&self, plan: &'p mut RecordPlan, test: &FieldTest) -> Result<&'p mut FieldPlan, String> {
        match self.find(plan)? {
            field if (test.accepts)(field) => Ok(field),
            _ => Err(format!("`{}` is not {}", self.text, test.wanted)),
        }
    }

    fn find<'p>(&self, plan: &'p mut RecordPlan) -> Result<&'p mut FieldPlan, String> {
        let (last, parents) = self.names.split_last().expect("split yields at least one part");
        let mut record = plan;
        for parent in parents {
            let Kind::Record(inner) = &mut parent.find(record, self.suffix)?.kind else {
                return Err(format!("`{}` is not a record", parent.name));
            };
            record = inner;
        }
        last.find(record, self.suffix)
    }
}

impl PathName {
    fn find<'p>(&self, record: &'p mut RecordPlan, suffix: &str) -> Result<&'p mut FieldPlan, String> {
        let name = &self.name;
        let field = record.fields.iter_mut().find(|field| *field.name == **name);
        let field = field.ok_or_else(|| format!("there is no field `{name}`"))?;
        match (&field.kind, self.into_array) {
            (Kind::Array(_), false) => Err(format!("`{name}` is an array: write `{name}{suffix}`")),
            (_, false) => Ok(field),
            (_, true) => match &mut field.kind {
                Kind::Array(item) => Ok(item),
                _ => Err(format!("`{name}` is not an array")),
            },
        }
    }
}

//! Ways into a record, as attributes name them, and the marks they leave in the plan: where the walk has to keep a
//! value. Knows neither keys nor times nor identities, only which kinds of field each can use.

use super::plan::{FieldPlan, Kind, RecordPlan};

/// A way into a record: names, those of arrays followed by a mark that says which items are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    strides: Vec<Stride>,
    mark: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stride {
    name: String,
    into_array: bool,
}

/// The mark of an array's first item, and that of all its items.
pub(super) const FIRST: &str = "[0]";
pub(super) const EVERY: &str = "[]";

/// The paths whose texts a body yields; each has a slot, however many attributes name it.
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

    /// The slot of a path whose text is kept from now on, where its field `fits`; `wanted` says which do.
    pub fn keep(
        &mut self,
        text: &str,
        plan: &mut RecordPlan,
        (fits, wanted): (fn(&FieldPlan) -> bool, &str),
    ) -> Result<(usize, Kind), String> {
        let slot = self.slot(text)?;
        let field = self.0[slot].enter(plan)?;
        if !fits(field) {
            return Err(format!("`{text}` is not {wanted}"));
        }
        field.capture.get_or_insert_default().text = Some(slot);
        Ok((slot, field.kind.clone()))
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Path {
    /// Reads `Info.To_Account` or, with the mark of the items that are meant, `PairList[0].From_Account`.
    pub fn parse(text: &str, mark: &'static str) -> Result<Self, String> {
        let strides = text.split('.').map(|part| {
            let (name, into_array) = match part.strip_suffix(mark) {
                Some(name) => (name, true),
                None => (part, false),
            };
            if name.is_empty() || name.contains(|c: char| "()[]|, ".contains(c)) {
                return Err(format!(
                    "`{text}` is no path: names joined by `.`, `{mark}` behind an array's"
                ));
            }
            Ok(Stride {
                name: name.to_owned(),
                into_array,
            })
        });
        Ok(Self {
            strides: strides.collect::<Result<_, _>>()?,
            mark,
        })
    }

    /// Whether it leads into an array.
    pub fn leads_into_array(&self) -> bool {
        self.strides.iter().any(|stride| stride.into_array)
    }

    /// Marks the field at this path for one alternative of the time.
    pub fn keep_time(&self, plan: &mut RecordPlan, alternative: usize) -> Result<(), String> {
        let name = self.strides.last().map_or("", |last| &last.name);
        let field = self.enter(plan)?;
        let scale = match field.kind {
            Kind::Millis => 1,
            Kind::Seconds => 1000,
            _ => return Err(format!("`{name}` is neither timestamp-millis nor a long of unit s")),
        };
        let capture = field.capture.get_or_insert_default();
        match capture.time.replace((alternative, scale)) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` is there twice")),
        }
    }

    /// The field at this path.
    pub fn enter<'p>(&self, plan: &'p mut RecordPlan) -> Result<&'p mut FieldPlan, String> {
        let (last, way) = self.strides.split_last().expect("split yields at least one part");
        let mut record = plan;
        for stride in way {
            let Kind::Record(inner) = &mut stride.enter(record, self.mark)?.kind else {
                return Err(format!("`{}` is no record", stride.name));
            };
            record = inner;
        }
        last.enter(record, self.mark)
    }
}

impl Stride {
    fn enter<'p>(&self, record: &'p mut RecordPlan, mark: &str) -> Result<&'p mut FieldPlan, String> {
        let name = &self.name;
        let field = record.fields.iter_mut().find(|field| *field.name == **name);
        let field = field.ok_or_else(|| format!("there is no field `{name}`"))?;
        match (&field.kind, self.into_array) {
            (Kind::Array(_), false) => Err(format!("`{name}` is an array: write `{name}{mark}`")),
            (_, false) => Ok(field),
            (_, true) => match &mut field.kind {
                Kind::Array(item) => Ok(item),
                _ => Err(format!("`{name}` is no array")),
            },
        }
    }
}

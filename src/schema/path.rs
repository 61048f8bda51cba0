//! Ways into a record, as attributes name them, and the marks they leave in the plan: where the walk has to keep a
//! value. Knows neither keys nor times nor identities, only which kinds of field each can use.

use super::plan::{FieldPlan, Kind, RecordPlan};

/// A way into a record: names, each perhaps followed by `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Stride>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stride {
    name: String,
    first_item: bool,
}

/// The paths whose texts a body yields; each has a slot, however many attributes name it.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Path>);

impl Paths {
    /// The slot of a path.
    pub fn slot(&mut self, text: &str) -> Result<usize, String> {
        let path = Path::parse(text)?;
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
    /// Reads `Info.To_Account` or `PairList[0].From_Account`.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split('.')
            .map(|part| {
                let (name, first_item) = match part.strip_suffix("[0]") {
                    Some(name) => (name, true),
                    None => (part, false),
                };
                if name.is_empty() || name.contains(|c: char| "()[]|, ".contains(c)) {
                    return Err(format!(
                        "`{text}` is no path: names joined by `.`, `[0]` behind an array's"
                    ));
                }
                Ok(Stride {
                    name: name.to_owned(),
                    first_item,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Marks the field at this path for one alternative of the time.
    pub fn keep_time(&self, plan: &mut RecordPlan, alternative: usize) -> Result<(), String> {
        let name = self.0.last().map_or("", |last| &last.name);
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

    fn enter<'p>(&self, plan: &'p mut RecordPlan) -> Result<&'p mut FieldPlan, String> {
        let (last, way) = self.0.split_last().expect("split yields at least one part");
        let mut record = plan;
        for stride in way {
            let Kind::Record(inner) = &mut stride.enter(record)?.kind else {
                return Err(format!("`{}` is no record", stride.name));
            };
            record = inner;
        }
        last.enter(record)
    }
}

impl Stride {
    fn enter<'p>(&self, record: &'p mut RecordPlan) -> Result<&'p mut FieldPlan, String> {
        let name = &self.name;
        let field = record.fields.iter_mut().find(|field| *field.name == **name);
        let field = field.ok_or_else(|| format!("there is no field `{name}`"))?;
        match (&field.kind, self.first_item) {
            (Kind::Array(_), false) => Err(format!("`{name}` is an array: `{name}[0]` is its first item")),
            (_, false) => Ok(field),
            (_, true) => match &mut field.kind {
                Kind::Array(item) => Ok(item),
                _ => Err(format!("`{name}` is no array")),
            },
        }
    }
}

//! The single pass over a body. Each value is written as Avro or kept in `unmapped`, and captured if the plan says so. If a
//! record's fields do not come in schema order, they are put in order at the end of the record, in place. Knows the plan and
//! the JSON text, not the framing and not the meta record.

use jiter::{Jiter, Peek};

use super::avro;
use super::capture::{Capture, Captures};
use super::error::{DEPTH_MAX, EncodeError};
use super::exact;
use super::plan::{FieldPlan, Kind, RecordPlan};
use super::unmapped::{BodyPath, KEPT_BYTES_MAX, Segment, Unmapped};

/// What a walk fills beside the output. It is reused, so that its buffers keep their capacity.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub captures: Captures,
    pub unmapped: Unmapped,
    /// Where the bytes of each field are, for all records that are open.
    spans: Vec<Span>,
    name: String,
}

impl Scratch {
    pub fn reset(&mut self, slots: usize) {
        self.captures.reset(slots);
        self.unmapped.reset();
        self.name.clear();
        self.name.shrink_to(KEPT_BYTES_MAX);
        self.spans.clear();
    }
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// A field that has not arrived. The bytes of a field are never empty, not even those of null.
const ABSENT: Span = Span { start: 0, end: 0 };

pub(super) struct Walk<'w, 'j> {
    pub json: Jiter<'j>,
    /// The body as it was sent, if `json` reads a copy without unpaired surrogates.
    pub sent: Option<&'j [u8]>,
    pub out: &'w mut Vec<u8>,
    pub scratch: &'w mut Scratch,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct At<'a> {
    path: Option<&'a BodyPath<'a>>,
    /// How many objects and arrays are open.
    depth: u32,
    /// Whether each open array is at its first item.
    first: bool,
}

impl<'a> At<'a> {
    fn child(&self, segment: Segment<'a>) -> BodyPath<'a> {
        BodyPath {
            parent: self.path,
            segment,
        }
    }

    fn inside(&self, path: &'a BodyPath<'a>) -> At<'a> {
        At {
            path: Some(path),
            depth: self.depth + 1,
            first: self.first,
        }
    }
}

impl<'j> Walk<'_, 'j> {
    /// Writes the whole body as the record's fields.
    pub fn body(&mut self, plan: &RecordPlan) -> Result<(), EncodeError> {
        let peek = self.json.peek()?;
        if peek == Peek::Object {
            let root = At {
                path: None,
                depth: 1,
                first: true,
            };
            self.record(plan, root)?;
            return Ok(self.json.finish()?);
        }
        self.skip(peek, 0)?;
        self.json.finish()?;
        Err(EncodeError::NotAnObject)
    }

    fn record(&mut self, plan: &RecordPlan, at: At<'_>) -> Result<(), EncodeError> {
        let start = self.out.len();
        let base = self.scratch.spans.len();
        self.scratch.spans.resize(base + plan.fields.len(), ABSENT);
        let mut expected = 0;
        let mut in_order = true;
        let mut key = self.json.known_object()?;
        while let Some(name) = key {
            match plan.find(name, expected) {
                Some((index, name)) if self.scratch.spans[base + index].end == 0 => {
                    if index > expected {
                        self.out.resize(self.out.len() + index - expected, avro::NULL);
                    } else if index < expected {
                        in_order = false;
                    }
                    expected = index + 1;
                    let span_start = self.out.len();
                    self.field(&plan.fields[index], name, at)?;
                    self.scratch.spans[base + index] = Span {
                        start: span_start,
                        end: self.out.len(),
                    };
                }
                Some((_, name)) => self.keep_next(&at.child(Segment::Name(name)), at.depth, true)?,
                None => {
                    self.scratch.name.clear();
                    self.scratch.name.push_str(name);
                    self.keep_undeclared(at)?;
                }
            }
            key = self.json.next_key()?;
        }
        if in_order {
            self.out
                .resize(self.out.len() + plan.fields.len() - expected, avro::NULL);
        } else {
            self.reorder(start, base);
        }
        self.scratch.spans.truncate(base);
        Ok(())
    }

    /// Puts the fields written since `start` into schema order.
    fn reorder(&mut self, start: usize, base: usize) {
        let end = self.out.len();
        for span in &self.scratch.spans[base..] {
            if span.end == 0 {
                self.out.push(avro::NULL);
            } else {
                self.out.extend_from_within(span.start..span.end);
            }
        }
        self.out.copy_within(end.., start);
        self.out.truncate(start + self.out.len() - end);
    }

    fn field(&mut self, field: &FieldPlan, name: &str, at: At<'_>) -> Result<(), EncodeError> {
        let peek = self.json.peek()?;
        if peek == Peek::Null {
            self.out.push(avro::NULL);
            return Ok(self.json.known_null()?);
        }
        let written = self.out.len();
        let value_start = self.json.current_index();
        self.out.push(avro::PRESENT);
        let path = at.child(Segment::Name(name));
        if !self.value(&field.kind, field.capture, peek, at.inside(&path))? {
            self.out.truncate(written);
            self.out.push(avro::NULL);
            self.keep(&path, value_start, false)?;
        }
        Ok(())
    }

    fn array(&mut self, items: &FieldPlan, at: At<'_>) -> Result<(), EncodeError> {
        let opened = avro::open_array(self.out);
        let mut count = 0;
        let mut index = 0;
        let mut next = self.json.known_array()?;
        while let Some(peek) = next {
            let value_start = self.json.current_index();
            let path = at.child(Segment::Index(index));
            let inside = At {
                first: at.first && index == 0,
                ..at.inside(&path)
            };
            if self.value(&items.kind, items.capture, peek, inside)? {
                count += 1;
            } else {
                self.keep(&path, value_start, false)?;
            }
            index += 1;
            next = self.json.array_step()?;
        }
        avro::close_array(self.out, opened, count);
        Ok(())
    }

    /// Consumes one value. Returns whether `kind` holds it exactly. If it does not, nothing was written.
    fn value(&mut self, kind: &Kind, capture: Option<Capture>, peek: Peek, at: At<'_>) -> Result<bool, EncodeError> {
        match (kind, peek) {
            (Kind::Record(plan), Peek::Object) => self.record(plan, at)?,
            (Kind::Array(items), Peek::Array) => self.array(items, at)?,
            (Kind::Boolean, Peek::True | Peek::False) => {
                let value = self.json.known_bool(peek)?;
                self.out.push(u8::from(value));
            }
            (Kind::Json, _) => {
                let start = self.json.current_index();
                self.skip(peek, at.depth - 1)?;
                let text = self.text_since(start)?;
                avro::put_text(self.out, text);
            }
            _ if kind.is_scalar()
                && (peek.is_num() || peek == Peek::String && !self.has_unpaired_surrogate(peek)?) =>
            {
                let text = if peek == Peek::String {
                    self.json.known_str()?
                } else {
                    let number = self.json.known_number_bytes(peek)?;
                    std::str::from_utf8(number).expect("a JSON number is ASCII")
                };
                if !put_scalar(kind, text, self.out) {
                    return Ok(false);
                }
                if let Some(capture) = capture {
                    self.scratch.captures.keep(capture, at.first, text);
                }
            }
            _ => {
                self.skip(peek, at.depth - 1)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the string ahead has an unpaired surrogate. An Avro string cannot hold it.
    fn has_unpaired_surrogate(&self, peek: Peek) -> Result<bool, EncodeError> {
        let Some(sent) = self.sent else { return Ok(false) };
        let (start, mut ahead) = (self.json.current_index(), self.json.clone());
        ahead.known_skip(peek)?;
        Ok(ahead.slice_to_current(start) != &sent[start..ahead.current_index()])
    }

    /// The text that was sent, from `start` to the current position.
    fn text_since(&self, start: usize) -> Result<&'j str, EncodeError> {
        let read = self.json.slice_to_current(start);
        let sent = self.sent.map_or(read, |sent| &sent[start..][..read.len()]);
        // `skip` does not check that strings are UTF-8.
        std::str::from_utf8(sent).map_err(|error| EncodeError::NotText {
            position: start + error.valid_up_to(),
        })
    }

    /// Keeps the next value, whose name is in the scratch and belongs to no field.
    fn keep_undeclared(&mut self, at: At<'_>) -> Result<(), EncodeError> {
        let name = std::mem::take(&mut self.scratch.name);
        let kept = self.keep_next(&at.child(Segment::Name(&name)), at.depth, false);
        self.scratch.name = name;
        kept
    }

    /// Consumes the next value and keeps it in `unmapped`.
    fn keep_next(&mut self, path: &BodyPath<'_>, depth: u32, repeated: bool) -> Result<(), EncodeError> {
        let peek = self.json.peek()?;
        let start = self.json.current_index();
        self.skip(peek, depth)?;
        self.keep(path, start, repeated)
    }

    /// Keeps in `unmapped` the value that was consumed since `start`.
    fn keep(&mut self, path: &BodyPath<'_>, start: usize, repeated: bool) -> Result<(), EncodeError> {
        let text = self.text_since(start)?;
        self.scratch.unmapped.keep(path, text, repeated);
        Ok(())
    }

    /// Consumes a value that is inside `depth` open objects and arrays.
    fn skip(&mut self, peek: Peek, depth: u32) -> Result<(), EncodeError> {
        if !matches!(peek, Peek::Object | Peek::Array) {
            return Ok(self.json.known_skip(peek)?);
        }
        if depth == DEPTH_MAX {
            let position = self.json.current_index();
            return Err(EncodeError::TooDeep { position });
        }
        if peek == Peek::Array {
            let mut next = self.json.known_array()?;
            while let Some(item) = next {
                self.skip(item, depth + 1)?;
                next = self.json.array_step()?;
            }
        } else {
            let mut has_next = self.json.known_object()?.is_some();
            while has_next {
                let value = self.json.peek()?;
                self.skip(value, depth + 1)?;
                has_next = self.json.next_key()?.is_some();
            }
        }
        Ok(())
    }
}

/// Writes the text of a number or a string, if `kind` holds it exactly. Senders use numbers and strings interchangeably, so
/// the JSON type does not matter.
fn put_scalar(kind: &Kind, text: &str, out: &mut Vec<u8>) -> bool {
    let long = match kind {
        Kind::Text => {
            avro::put_text(out, text);
            return true;
        }
        Kind::Double => {
            let value = exact::double(text);
            return value.map(|value| out.extend(value.to_le_bytes())).is_some();
        }
        Kind::Long | Kind::Seconds => exact::integer(text),
        Kind::Millis => exact::instant_ms(text, 1),
        Kind::Int => exact::integer(text).filter(|value| i32::try_from(*value).is_ok()),
        Kind::Json | Kind::Boolean | Kind::Record(_) | Kind::Array(_) => None,
    };
    long.map(|value| avro::put_long(out, value)).is_some()
}

//! One pass over a body: each value is written as Avro, noted for the key, or left in `unmapped`. A record whose
//! fields come in schema order is final as it is written; otherwise its pieces are put in order at its end, in place.
//! Knows the plan and the JSON text; not the framing, not the meta record.

use jiter::{Jiter, Peek};

use super::avro;
use super::capture::{Capture, Captures};
use super::error::{DEPTH_MAX, EncodeError};
use super::exact;
use super::plan::{FieldPlan, Kind, RecordPlan};
use super::unmapped::{KEPT_BYTES_MAX, Place, Step, Unmapped};

/// What a walk fills beside the output; kept from one body to the next for its room.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub captures: Captures,
    pub unmapped: Unmapped,
    /// Where each field's bytes are, for the records that are open.
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

/// No field's bytes are empty, not even those of null.
const UNSEEN: Span = Span { start: 0, end: 0 };

pub(super) struct Walk<'w, 'j> {
    pub json: Jiter<'j>,
    /// The body as it came, where `json` reads a copy without its halves of surrogate pairs.
    pub sent: Option<&'j [u8]>,
    pub out: &'w mut Vec<u8>,
    pub scratch: &'w mut Scratch,
}

/// Where the walk is: the path, how many objects and arrays are open, and whether each array among them is at its first item.
#[derive(Clone, Copy)]
struct At<'a> {
    place: Option<&'a Place<'a>>,
    depth: u32,
    first: bool,
}

impl<'a> At<'a> {
    fn under(&self, place: &'a Place<'a>) -> At<'a> {
        At {
            place: Some(place),
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
            self.record(
                plan,
                At {
                    place: None,
                    depth: 1,
                    first: true,
                },
            )?;
            return Ok(self.json.finish()?);
        }
        self.skip(peek, 0)?;
        self.json.finish()?;
        Err(EncodeError::NotAnObject)
    }

    fn record(&mut self, plan: &RecordPlan, at: At<'_>) -> Result<(), EncodeError> {
        let start = self.out.len();
        let base = self.scratch.spans.len();
        self.scratch.spans.resize(base + plan.fields.len(), UNSEEN);
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
                Some((_, name)) => {
                    let place = Place {
                        parent: at.place,
                        step: Step::Name(name),
                    };
                    self.leave(&place, at.depth, true)?;
                }
                None => {
                    self.scratch.name.clear();
                    self.scratch.name.push_str(name);
                    self.undeclared(at)?;
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

    /// Lays the pieces written since `start` in schema order.
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
        let place = Place {
            parent: at.place,
            step: Step::Name(name),
        };
        if !self.value(&field.kind, field.capture, peek, at.under(&place))? {
            self.out.truncate(written);
            self.out.push(avro::NULL);
            self.keep(&place, value_start, false)?;
        }
        Ok(())
    }

    fn array(&mut self, items: &FieldPlan, at: At<'_>) -> Result<(), EncodeError> {
        let opened = avro::open_array(self.out);
        let mut held = 0;
        let mut index = 0;
        let mut next = self.json.known_array()?;
        while let Some(peek) = next {
            let value_start = self.json.current_index();
            let place = Place {
                parent: at.place,
                step: Step::Index(index),
            };
            let inside = At {
                first: at.first && index == 0,
                ..at.under(&place)
            };
            if self.value(&items.kind, items.capture, peek, inside)? {
                held += 1;
            } else {
                self.keep(&place, value_start, false)?;
            }
            index += 1;
            next = self.json.array_step()?;
        }
        avro::close_array(self.out, opened, held);
        Ok(())
    }

    /// Consumes one value. Says whether `kind` holds it exactly; if not, nothing was written.
    fn value(&mut self, kind: &Kind, capture: Option<Capture>, peek: Peek, at: At<'_>) -> Result<bool, EncodeError> {
        let written = match (kind, peek) {
            (Kind::Record(plan), Peek::Object) => self.record(plan, at).map(|()| true)?,
            (Kind::Array(items), Peek::Array) => self.array(items, at).map(|()| true)?,
            (Kind::Boolean, Peek::True | Peek::False) => {
                let value = self.json.known_bool(peek)?;
                self.out.push(u8::from(value));
                true
            }
            (Kind::Json, _) => {
                let start = self.json.current_index();
                self.skip(peek, at.depth - 1)?;
                let text = self.text_since(start)?;
                avro::put_text(self.out, text);
                true
            }
            (Kind::Record(_) | Kind::Array(_) | Kind::Boolean, _) => {
                self.skip(peek, at.depth - 1)?;
                false
            }
            (_, Peek::String) if self.is_half_text(peek)? => {
                self.json.known_skip(peek)?;
                false
            }
            (_, peek) if peek == Peek::String || peek.is_num() => {
                let text = if peek == Peek::String {
                    self.json.known_str()?
                } else {
                    let number = self.json.known_number_bytes(peek)?;
                    std::str::from_utf8(number).expect("a JSON number is ASCII")
                };
                let held = scalar(kind, text, self.out);
                if let Some(capture) = capture.filter(|_| held) {
                    self.scratch.captures.keep(capture, at.first, text);
                }
                held
            }
            _ => {
                self.skip(peek, at.depth - 1)?;
                false
            }
        };
        Ok(written)
    }

    /// Whether the string ahead has half of a surrogate pair: no Avro string holds it.
    fn is_half_text(&self, peek: Peek) -> Result<bool, EncodeError> {
        let Some(sent) = self.sent else { return Ok(false) };
        let (start, mut ahead) = (self.json.current_index(), self.json.clone());
        ahead.known_skip(peek)?;
        Ok(ahead.slice_to_current(start) != &sent[start..ahead.current_index()])
    }

    /// The text that was sent from `start` to where the walk is.
    fn text_since(&self, start: usize) -> Result<&'j str, EncodeError> {
        let read = self.json.slice_to_current(start);
        let sent = self.sent.map_or(read, |sent| &sent[start..][..read.len()]);
        // Skipping does not check that strings are UTF-8.
        std::str::from_utf8(sent).map_err(|error| EncodeError::NotText {
            position: start + error.valid_up_to(),
        })
    }

    /// Keeps a value whose name, in the scratch, no field has.
    fn undeclared(&mut self, at: At<'_>) -> Result<(), EncodeError> {
        let name = std::mem::take(&mut self.scratch.name);
        let place = Place {
            parent: at.place,
            step: Step::Name(&name),
        };
        let left = self.leave(&place, at.depth, false);
        self.scratch.name = name;
        left
    }

    /// Keeps the next value unread.
    fn leave(&mut self, place: &Place<'_>, depth: u32, repeated: bool) -> Result<(), EncodeError> {
        let peek = self.json.peek()?;
        let start = self.json.current_index();
        self.skip(peek, depth)?;
        self.keep(place, start, repeated)
    }

    /// Keeps the value that has just been consumed.
    fn keep(&mut self, place: &Place<'_>, start: usize, repeated: bool) -> Result<(), EncodeError> {
        let text = self.text_since(start)?;
        self.scratch.unmapped.keep(place, text, repeated);
        Ok(())
    }

    /// Consumes a value inside `depth` open objects and arrays.
    fn skip(&mut self, peek: Peek, depth: u32) -> Result<(), EncodeError> {
        let mut open = Open { objects: 0, count: 0 };
        let mut next = Some(peek);
        loop {
            match next {
                Some(container @ (Peek::Object | Peek::Array)) => {
                    if depth + open.count == DEPTH_MAX {
                        let position = self.json.current_index();
                        return Err(EncodeError::TooDeep { position });
                    }
                    open.push(container == Peek::Object);
                    next = if container == Peek::Array {
                        self.json.known_array()?
                    } else if self.json.known_object()?.is_some() {
                        Some(self.json.peek()?)
                    } else {
                        None
                    };
                    continue;
                }
                Some(scalar) => self.json.known_skip(scalar)?,
                None => open.pop(),
            }
            if open.count == 0 {
                return Ok(());
            }
            next = if !open.in_object() {
                self.json.array_step()?
            } else if self.json.next_key()?.is_some() {
                Some(self.json.peek()?)
            } else {
                None
            };
        }
    }
}

/// The containers that a skip is in: one bit for each, set for an object.
struct Open {
    objects: u128,
    count: u32,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        self.objects = self.objects << 1 | u128::from(is_object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.count -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Writes a number or a string, which a sender may use for one another, by its text.
fn scalar(kind: &Kind, text: &str, out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Text => {
            avro::put_text(out, text);
            true
        }
        Kind::Long | Kind::Seconds => exact::integer(text).map(|value| avro::put_long(out, value)).is_some(),
        Kind::Millis => exact::instant_ms(text, 1)
            .map(|value| avro::put_long(out, value))
            .is_some(),
        Kind::Int => exact::integer(text)
            .filter(|value| i32::try_from(*value).is_ok())
            .map(|value| avro::put_long(out, value))
            .is_some(),
        Kind::Double => exact::double(text)
            .map(|value| out.extend_from_slice(&value.to_le_bytes()))
            .is_some(),
        Kind::Json | Kind::Boolean | Kind::Record(_) | Kind::Array(_) => false,
    }
}

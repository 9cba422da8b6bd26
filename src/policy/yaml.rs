//! YAML with places: the JSON that a file means, and the line and column of every part of it.
//!
//! YAML 1.2 with its core schema: `no` and `23:00` are texts. Bounded in size, depth and in what
//! aliases may unfold to.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

/// Largest file, in bytes.
pub(super) const BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting; a policy has ten levels.
const DEPTH_MAX: usize = 64;
/// Most bytes of texts and paths together, those that aliases repeat counted each time; some tens
/// of times what the largest file without aliases has.
const UNFOLDED_MAX: usize = 64 * 1024 * 1024;
/// What each value costs besides, so that empty ones count too.
const VALUE_BYTES: usize = 64;

/// Line and column, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

/// What is wrong with the YAML itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) path: String,
    pub(super) mark: Option<Mark>,
    pub(super) message: String,
}

/// A file: what it means, and where it says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) value: Value,
    /// By path: `services[0].grouping[1].window`. A member is where its key is.
    marks: HashMap<String, Mark>,
    /// Keys that are there twice; the first one counts.
    pub(super) mistakes: Vec<Mistake>,
}

impl Document {
    /// Where `path` is, or what of it there is.
    pub(super) fn mark(&self, path: &str) -> Option<Mark> {
        let mut path = path;
        loop {
            if let Some(mark) = self.marks.get(path) {
                return Some(*mark);
            }
            path = path.get(..path.rfind(['.', '[']).unwrap_or(0)).filter(|_| !path.is_empty())?;
        }
    }
}

/// Reads a file. What is no YAML, or goes beyond a bound, ends the reading.
pub(super) fn parse(text: &str) -> Result<Document, Mistake> {
    if text.len() > BYTES_MAX {
        return Err(Mistake::at(None, format!("has more than {BYTES_MAX} bytes")));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new() };
    let node = reader.document()?;
    let mut unfolding = Unfolding { document: Document::default(), left: UNFOLDED_MAX };
    unfolding.document.value = unfolding.unfold(&node, &mut String::new())?;
    Ok(unfolding.document)
}

impl Mistake {
    fn at(mark: Option<Mark>, message: impl Into<String>) -> Self {
        Self { path: String::new(), mark, message: message.into() }
    }
}

fn mark_of(span: Span) -> Mark {
    Mark { line: span.start.line(), column: span.start.col() + 1 }
}

/// A part of the file.
#[derive(Debug)]
struct Node {
    mark: Mark,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar(Value),
    List(Vec<Rc<Node>>),
    /// In the order of the file, and with what is there twice.
    Object(Vec<(String, Mark, Rc<Node>)>),
}

/// Makes parts of the parser's events.
struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Mark), Mistake> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, mark_of(span))),
            Some(Err(error)) => {
                let at = error.marker();
                let mark = Mark { line: at.line(), column: at.col() + 1 };
                Err(Mistake::at(Some(mark), format!("is no YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Mark { line: 1, column: 1 })),
        }
    }

    /// The only document of the file; an empty file is one too.
    fn document(&mut self) -> Result<Node, Mistake> {
        let mut found = None;
        loop {
            let (event, mark) = self.next()?;
            match event {
                Event::StreamEnd => {
                    let empty =
                        Node { mark: Mark { line: 1, column: 1 }, kind: Kind::Scalar(Value::Null) };
                    return Ok(found.unwrap_or(empty));
                }
                Event::DocumentStart(_) if found.is_some() => {
                    return Err(Mistake::at(Some(mark), "must be one document"));
                }
                Event::DocumentStart(_) => {
                    let (event, mark) = self.next()?;
                    found = Some(self.node(event, mark, 0)?.0);
                }
                _ => {}
            }
        }
    }

    /// The part that begins with `event`, and its anchor.
    fn node(
        &mut self,
        event: Event<'t>,
        mark: Mark,
        depth: usize,
    ) -> Result<(Node, usize), Mistake> {
        if depth > DEPTH_MAX {
            return Err(Mistake::at(Some(mark), format!("is nested deeper than {DEPTH_MAX}")));
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.as_ref().is_some_and(|tag| tag.suffix == "str");
                known_tag(tag.as_deref(), mark)?;
                let plain = style == ScalarStyle::Plain && !is_text;
                let value = if plain { meaning(&text) } else { text.into_owned().into() };
                (Kind::Scalar(value), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                known_tag(tag.as_deref(), mark)?;
                (Kind::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                known_tag(tag.as_deref(), mark)?;
                (Kind::Object(self.object(depth)?), anchor)
            }
            _ => return Err(Mistake::at(Some(mark), "is no YAML: a value is missing")),
        };
        Ok((Node { mark, kind }, anchor))
    }

    /// A part inside another: it may be an alias, or be given a name by an anchor.
    fn inner(&mut self, event: Event<'t>, mark: Mark, depth: usize) -> Result<Rc<Node>, Mistake> {
        if let Event::Alias(anchor) = event {
            let what = "is an alias of what is not whole yet";
            return self.anchors.get(&anchor).cloned().ok_or_else(|| Mistake::at(Some(mark), what));
        }
        let (node, anchor) = self.node(event, mark, depth + 1)?;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<Node>>, Mistake> {
        let mut items = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.inner(event, mark, depth)?);
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(String, Mark, Rc<Node>)>, Mistake> {
        let mut members = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(Mistake::at(Some(mark), "must be a text, as all keys")),
            };
            let (event, at) = self.next()?;
            members.push((key, mark, self.inner(event, at, depth)?));
        }
    }
}

/// Tags of our own would mean nothing here.
fn known_tag(tag: Option<&Tag>, mark: Mark) -> Result<(), Mistake> {
    match tag.filter(|tag| !tag.is_yaml_core_schema()) {
        None => Ok(()),
        Some(tag) => {
            let what =
                format!("has the tag {}{}, which means nothing here", tag.handle, tag.suffix);
            Err(Mistake::at(Some(mark), what))
        }
    }
}

/// What a scalar without quotes means in the core schema. Infinity and hexadecimal numbers, which
/// JSON has not, stay texts.
pub(super) fn meaning(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let number = match serde_json::from_str(text) {
        Ok(Value::Number(number)) => Some(Value::Number(number)),
        _ => text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok().map(Value::from),
    };
    number.unwrap_or_else(|| text.into())
}

/// Makes JSON of parts, aliases put in where they are used, and notes the places.
struct Unfolding {
    document: Document,
    /// How many bytes there may still be.
    left: usize,
}

impl Unfolding {
    fn unfold(&mut self, node: &Node, path: &mut String) -> Result<Value, Mistake> {
        let text = if let Kind::Scalar(Value::String(text)) = &node.kind { text.len() } else { 0 };
        let cost = VALUE_BYTES + path.len() + text;
        self.left = self
            .left
            .checked_sub(cost)
            .ok_or_else(|| Mistake::at(Some(node.mark), "unfolds to more than can be meant"))?;
        self.document.marks.entry(path.clone()).or_insert(node.mark);
        let length = path.len();
        match &node.kind {
            Kind::Scalar(value) => Ok(value.clone()),
            Kind::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    path.extend(["[", &i.to_string(), "]"]);
                    list.push(self.unfold(item, path)?);
                    path.truncate(length);
                }
                Ok(list.into())
            }
            Kind::Object(members) => {
                let mut object = Map::new();
                for (key, mark, value) in members {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(key);
                    if object.contains_key(key) {
                        let message = "is there twice".to_owned();
                        let mistake = Mistake { path: path.clone(), mark: Some(*mark), message };
                        self.document.mistakes.push(mistake);
                    } else {
                        self.document.marks.insert(path.clone(), *mark);
                        let value = self.unfold(value, path)?;
                        object.insert(key.clone(), value);
                    }
                    path.truncate(length);
                }
                Ok(object.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;

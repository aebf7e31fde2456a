//! Where in a manifest each value stands.

use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::options;

/// The text of a manifest, kept to tell the lines of what is wrong with it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: String,
    pub(super) lines: OnceLock<Vec<Lines>>,
}

impl Source {
    /// Read on first use: only a manifest with mistakes needs its lines.
    pub(super) fn lines(&self) -> &[Lines] {
        self.lines.get_or_init(|| {
            let documents = serde_saphyr::from_multiple_with_options::<Spanned<Shape>>(&self.text, options());
            let located =
                |document: Spanned<Shape>| Lines { line: line(&document.referenced), members: document.value.0 };
            documents.map(|documents| documents.into_iter().map(located).collect()).unwrap_or_default()
        })
    }
}

/// Lines of a value and of everything in it.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) line: usize,
    members: Vec<(String, Lines)>,
}

impl Lines {
    pub(super) fn find(&self, path: &str) -> &Self {
        let path = path.trim_start_matches('.');
        // A member may have dots in its name: annotations do. Items and entries are written in brackets.
        let inside = self.members.iter().find_map(|(name, member)| {
            let rest = match path.strip_prefix('[') {
                Some(bracket) => bracket.strip_prefix(name.as_str())?.strip_prefix(']')?,
                None => path.strip_prefix(name.as_str())?,
            };
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some((member, rest))
        });
        match inside {
            Some((member, rest)) if !rest.is_empty() => member.find(rest),
            Some((member, _)) => member,
            None => self,
        }
    }
}

/// The members of a value, with their lines.
struct Shape(Vec<(String, Lines)>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape(Vec::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut members = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Shape>>()? {
            let line = line(&item.referenced);
            members.push((members.len().to_string(), Lines { line, members: item.value.0 }));
        }
        Ok(Shape(members))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Shape>>()?;
            members.push((key.value, Lines { line: line(&key.referenced), members: value.value.0 }));
        }
        Ok(Shape(members))
    }
}

pub(super) fn line(location: &serde_saphyr::Location) -> usize {
    usize::try_from(location.line()).unwrap_or_default()
}

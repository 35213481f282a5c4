//! One table of the file, read key by key: each value through serde, each refusal with its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Faults;
use super::suggest;

/// A table and what has been read from it. The table is needed for faults found later.
pub(super) struct Draft<'a, T> {
    pub(super) section: Section<'a>,
    pub(super) settings: T,
}

/// One table. Keys that nobody asked for are reported by [`Section::finish`].
pub(super) struct Section<'a> {
    faults: &'a Faults<'a>,
    path: String,
    table: &'a DeTable<'a>,
    /// Where the table stands: missing keys are reported there.
    at: usize,
    /// Keys that were asked for, and whether a fault was reported about them.
    known: BTreeMap<&'static str, bool>,
}

/// What may stand where a number or a word may stand.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum WordOrNumber {
    Word(String),
    Number(u32),
}

impl<'a> Section<'a> {
    pub(super) fn root(faults: &'a Faults<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(faults, String::new(), table, 0)
    }

    fn new(faults: &'a Faults<'a>, path: String, table: &'a DeTable<'a>, at: usize) -> Self {
        Self { faults, path, table, at, known: BTreeMap::new() }
    }

    /// The table's path, such as `network[0]`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the file has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key can be judged: nothing has been reported about it.
    pub(super) fn is_sound(&self, key: &str) -> bool {
        !self.known.get(key).is_some_and(|&faulty| faulty)
    }

    /// Reads a value of one type.
    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<T> {
        let value = self.raw(key)?;
        let read = T::deserialize(value.clone().into_deserializer()).ok();
        if read.is_none() {
            self.fault(key, expected);
        }
        read
    }

    /// Reads a number in a range.
    pub(super) fn number<N>(&mut self, key: &'static str, range: RangeInclusive<N>) -> Option<N>
    where
        N: DeserializeOwned + PartialOrd + Display,
    {
        let expected = format!("expected a number from {} to {}", range.start(), range.end());
        let number = self.value::<N>(key, &expected)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.fault(key, expected);
        None
    }

    /// Reads a number in a range, or the word `auto`, which gives none.
    pub(super) fn number_or_auto<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
    ) -> Option<N>
    where
        N: TryFrom<u32> + PartialOrd + Display,
    {
        let (first, last) = (range.start(), range.end());
        let expected = format!("expected \"auto\" or a number from {first} to {last}");
        let number = match self.value(key, &expected)? {
            WordOrNumber::Word(word) if word == "auto" => return None,
            WordOrNumber::Word(_) => None,
            WordOrNumber::Number(number) => N::try_from(number).ok(),
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(key, expected);
        }
        number
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key, "expected true or false").unwrap_or(default)
    }

    /// Reads a string that parses as `T`.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let text: String = self.value(key, expected)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(key, expected);
        }
        parsed
    }

    /// Reads a list of strings, each by `read`, which gives the value or what was expected.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Cow<'static, str>>,
    ) -> Vec<T> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.fault(key, "expected a list of strings");
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match item.get_ref().as_str().map_or(Err("expected a string".into()), &read) {
                Ok(read) => list.push(read),
                Err(expected) => self.fault_item(key, i, expected),
            }
        }
        list
    }

    /// Gives a table inside this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.raw(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.fault(key, format!("expected a table, [{key}]"));
            return None;
        };
        Some(self.inner(self.path_of(key), table, value.span()))
    }

    /// Gives the tables of a list of tables inside this one.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.fault(key, format!("expected a list of tables, [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let path = format!("{}[{i}]", self.path_of(key));
                    sections.push(self.inner(path, table, item.span()));
                }
                None => self.fault_item(key, i, "expected a table"),
            }
        }
        sections
    }

    fn inner(&self, path: String, table: &'a DeTable<'a>, span: Range<usize>) -> Section<'a> {
        Section::new(self.faults, path, table, span.start)
    }

    /// Takes a key for known without reading it.
    pub(super) fn allow(&mut self, key: &'static str) {
        let _ = self.raw(key);
    }

    /// Reports a key that has no place here, if it is there.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        if let Some((name, _)) = self.table.get_key_value(key) {
            self.known.insert(key, true);
            self.faults.report(name.span().start, self.path_of(key), None, message.into());
        }
    }

    /// Reports a fault at the key's value, or at the table's head if the key is absent.
    pub(super) fn fault<'m>(&mut self, key: &'static str, message: impl Into<Cow<'m, str>>) {
        self.known.insert(key, true);
        let (at, value) = match self.table.get_key_value(key) {
            Some((name, value)) if is_header(value) => (name.span().start, None),
            Some((_, value)) => (value.span().start, Some(value.span())),
            None => (self.at, None),
        };
        self.faults.report(at, self.path_of(key), value, message.into());
    }

    /// Reports a fault at one item of a list.
    pub(super) fn fault_item<'m>(
        &mut self,
        key: &'static str,
        item: usize,
        message: impl Into<Cow<'m, str>>,
    ) {
        let Some(value) = self.table.get(key).and_then(|list| list.get_ref().get(item)) else {
            return self.fault(key, message);
        };
        self.known.insert(key, true);
        let path = format!("{}[{item}]", self.path_of(key));
        self.faults.report(value.span().start, path, Some(value.span()), message.into());
    }

    /// Reports a key that has to be there.
    pub(super) fn missing(&mut self, key: &'static str, expected: &str) {
        if !self.has(key) {
            self.fault(key, format!("missing: {expected}"));
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(&mut self) {
        let known: Vec<&str> = self.known.keys().copied().collect();
        for (name, value) in self.table.iter() {
            if self.known.contains_key(name.get_ref().as_ref()) {
                continue;
            }
            let message = match suggest::nearest(name.get_ref(), &known) {
                Some(near) => format!("unknown key: did you mean {near:?}?"),
                None => format!("unknown key: expected one of {}", known.join(", ")),
            };
            let shown = (!is_header(value)).then(|| value.span());
            let key = self.path_of(self.faults.slice(name.span()));
            self.faults.report(name.span().start, key, shown, message.into());
        }
    }

    fn raw(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.entry(key).or_insert(false);
        self.table.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Whether a value is a table or a list of tables: too much to show.
fn is_header(value: &Spanned<DeValue<'_>>) -> bool {
    match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}

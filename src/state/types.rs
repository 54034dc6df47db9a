//! Data types as bits of a `u64`, and what a subscriber wants to hear about (RFC 8620 §7.1, §7.3).
//!
//! Types are an open set (§1.6.1), so bits are given out as types turn up. Only upstream and the
//! capability table can make a type known; a client's query never does.

use std::sync::Arc;

use crate::jmap::capability;
use crate::jmap::id::DataType;

/// The bit of `Email`.
pub const EMAIL: u8 = 0;
/// The bit of `EmailDelivery`, which no method serves (RFC 8621 §1.5).
pub const EMAIL_DELIVERY: u8 = 1;
/// The bit of `Mailbox`.
pub const MAILBOX: u8 = 2;
/// The bit of `Thread`.
pub const THREAD: u8 = 3;

/// How many types fit.
pub const MAX_TYPES: usize = u64::BITS as usize;

/// The set that holds one type.
#[must_use]
pub fn only(bit: u8) -> u64 {
    1u64.checked_shl(u32::from(bit)).unwrap_or(0)
}

/// Which bit stands for which type, the same in the whole process.
///
/// When full: a further type gets no bit, so it is never pushed; all others go on. The registered
/// types and the drafts known to us take about twenty of the 64, and only upstream can add more, by
/// answering methods of that type. So the caller reports it once and needs no remedy at run time.
#[derive(Debug)]
pub struct TypeTable {
    names: Vec<DataType>,
}

impl Default for TypeTable {
    fn default() -> Self {
        Self::new()
    }
}

impl TypeTable {
    /// A table with the mail types at their constants and the whole capability table.
    #[must_use]
    pub fn new() -> Self {
        let mail = ["Email", "EmailDelivery", "Mailbox", "Thread"];
        let offered = capability::TYPES.iter().flat_map(|(_, types)| types.iter().copied());
        let mut table = Self { names: Vec::new() };
        for name in mail.into_iter().chain(offered).filter_map(DataType::parse) {
            let _ = table.intern(&name);
        }
        table
    }

    /// The bit of a type that upstream has named; `None` when the table is full.
    pub fn intern(&mut self, data_type: &DataType) -> Option<u8> {
        if let Some(bit) = self.bit(data_type) {
            return Some(bit);
        }
        if self.names.len() >= MAX_TYPES {
            return None;
        }
        self.names.push(data_type.clone());
        self.bit(data_type)
    }

    /// The bit of a type, if it has one.
    #[must_use]
    pub fn bit(&self, data_type: &DataType) -> Option<u8> {
        let place = self.names.iter().position(|name| name == data_type)?;
        u8::try_from(place).ok()
    }

    /// All types that have a bit.
    #[must_use]
    pub fn known(&self) -> u64 {
        u64::MAX.checked_shl(u32::try_from(self.names.len()).unwrap_or(64)).map_or(u64::MAX, |m| !m)
    }

    /// The type that a bit stands for.
    #[must_use]
    pub fn name(&self, bit: u8) -> Option<&DataType> {
        self.names.get(usize::from(bit))
    }
}

/// What a subscriber wants: `types` of an event source (§7.3), `dataTypes` of a WebSocket (RFC 8887
/// §4.3.5), `types` of a push subscription (§7.2). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeFilter {
    /// Every type, also those not known yet.
    All,
    /// These types, sorted, each once; some may be unknown, or none be named at all.
    Only(Arc<[DataType]>),
}

impl TypeFilter {
    /// A filter for exactly the given types.
    #[must_use]
    pub fn only(types: impl IntoIterator<Item = DataType>) -> Self {
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_unstable();
        types.dedup();
        Self::Only(types.into())
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(types) if types.is_empty())
    }

    /// Whether the subscriber wants this type.
    #[must_use]
    pub fn allows(&self, data_type: &DataType) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.binary_search(data_type).is_ok(),
        }
    }

    /// The wanted types as bits. [`Self::All`] includes those that get a bit later; for
    /// [`Self::Only`] the mask grows when one of its types becomes known.
    #[must_use]
    pub fn mask(&self, table: &TypeTable) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Only(types) => types
                .iter()
                .filter_map(|name| table.bit(name))
                .fold(0, |mask, bit| mask | only(bit)),
        }
    }
}

/// The filters of everybody who watches one account, counted.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// Bounded by the streams that exist (`limits.streams_per_user`).
    filters: Vec<(TypeFilter, u32)>,
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    pub(super) fn add(&mut self, filter: &TypeFilter) {
        match self.filters.iter_mut().find(|(known, _)| known == filter) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => {
                self.filters.reserve_exact(1);
                self.filters.push((filter.clone(), 1));
            }
        }
    }

    pub(super) fn remove(&mut self, filter: &TypeFilter) {
        let Some(place) = self.filters.iter().position(|(known, _)| known == filter) else {
            return;
        };
        if let Some((_, count)) = self.filters.get_mut(place) {
            *count -= 1;
            if *count == 0 {
                self.filters.swap_remove(place);
            }
        }
    }

    pub(super) fn mask(&self, table: &TypeTable) -> u64 {
        self.filters.iter().fold(0, |mask, (filter, _)| mask | filter.mask(table))
    }

    pub(super) fn allows(&self, data_type: &DataType) -> bool {
        self.filters.iter().any(|(filter, _)| filter.allows(data_type))
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.filters.capacity() * size_of::<(TypeFilter, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> DataType {
        DataType::parse(name).unwrap()
    }

    #[test]
    fn the_mail_types_have_their_constants() {
        let table = TypeTable::new();
        for (name, bit) in
            [("Email", EMAIL), ("EmailDelivery", EMAIL_DELIVERY), ("Mailbox", MAILBOX)]
        {
            assert_eq!(table.bit(&named(name)), Some(bit));
        }
        assert_eq!(table.name(THREAD), Some(&named("Thread")));
        assert!(table.bit(&named("SieveScript")).is_some());
    }

    #[test]
    fn a_full_table_refuses_new_types_and_keeps_the_old() {
        let mut table = TypeTable::new();
        let free = MAX_TYPES - table.names.len();
        for n in 0..free {
            assert_eq!(table.known().count_ones() as usize, table.names.len());
            assert!(table.intern(&named(&format!("X{n}"))).is_some());
        }
        assert_eq!(table.known(), u64::MAX);
        assert_eq!(table.intern(&named("OneTooMany")), None);
        assert_eq!(table.intern(&named("Email")), Some(EMAIL));
    }

    #[test]
    fn a_filter_may_name_a_type_before_upstream_does() {
        let mut table = TypeTable::new();
        let filter = TypeFilter::only([named("Memo"), named("Email")]);
        assert_eq!(filter.mask(&table), only(EMAIL));
        let bit = table.intern(&named("Memo")).unwrap();
        assert_eq!(filter.mask(&table), only(EMAIL) | only(bit));
        assert!(filter.allows(&named("Memo")));
        assert!(!filter.allows(&named("Mailbox")));
    }

    #[test]
    fn an_empty_filter_wants_nothing() {
        assert_eq!(TypeFilter::only([]).mask(&TypeTable::new()), 0);
    }

    #[test]
    fn watchers_are_counted_per_filter() {
        let table = TypeTable::new();
        let email = TypeFilter::only([named("Email")]);
        let mut watchers = Watchers::default();
        watchers.add(&email);
        watchers.add(&email);
        watchers.add(&TypeFilter::All);
        watchers.remove(&TypeFilter::All);
        watchers.remove(&email);
        assert_eq!(watchers.mask(&table), only(EMAIL));
        watchers.remove(&email);
        assert!(watchers.is_empty());
        watchers.remove(&email);
        assert!(watchers.is_empty());
    }
}

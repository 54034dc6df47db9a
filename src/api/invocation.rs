//! One invocation (§3.2) of a Response while it is being read, and which of its arguments matter.
//!
//! The scanner finds the values; here they get their types and limits.

use super::observed::{Method, MethodError, MethodResponse, Observed};
use crate::jmap::id::{AccountId, MAX_ID_BYTES, State};

/// An invocation of which the opening bracket has been read.
#[derive(Debug, Default)]
pub(super) struct Invocation {
    /// Elements begun; three make a whole.
    elements: u8,
    is_malformed: bool,
    /// The [`Argument`] bits of the members begun.
    seen: u8,
    content: Content,
    call_id: Option<Box<str>>,
}

#[derive(Debug, Default)]
enum Content {
    /// A response that tells nothing about states.
    #[default]
    Other,
    Response(MethodResponse),
    /// With its `type`.
    Error(Option<Box<str>>),
}

/// The elements of the array that an invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Name,
    Arguments,
    CallId,
    /// One too many.
    Extra,
}

/// The arguments that are read, as bits of [`Invocation::seen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    AccountId = 1,
    State = 2,
    OldState = 4,
    NewState = 8,
    HasMoreChanges = 16,
    Created = 32,
    /// `type` of an error.
    Type = 64,
}

impl Invocation {
    /// Notes that an element begins with `byte`.
    pub(super) const fn begin_element(&mut self, byte: u8) -> Element {
        self.elements = self.elements.saturating_add(1);
        let (element, is_right) = match self.elements {
            1 => (Element::Name, byte == b'"'),
            2 => (Element::Arguments, byte == b'{'),
            3 => (Element::CallId, byte == b'"'),
            _ => (Element::Extra, false),
        };
        self.is_malformed |= !is_right;
        element
    }

    /// Takes the first element.
    pub(super) fn set_name(&mut self, name: &str) {
        self.content = if name == "error" {
            Content::Error(None)
        } else if let Some((data_type, method)) = Method::parse(name) {
            Content::Response(MethodResponse::new(data_type, method))
        } else {
            Content::Other
        };
    }

    /// Takes the third element.
    pub(super) fn set_call_id(&mut self, call_id: &str) {
        self.call_id = bounded(call_id);
    }

    /// Whether some argument matters.
    pub(super) const fn is_of_interest(&self) -> bool {
        !matches!(self.content, Content::Other)
    }

    /// The argument of this name, if it matters.
    pub(super) fn argument(&self, name: &str) -> Option<Argument> {
        match (&self.content, name) {
            (Content::Response(_), "accountId") => Some(Argument::AccountId),
            (Content::Response(_), "state") => Some(Argument::State),
            (Content::Response(_), "oldState") => Some(Argument::OldState),
            (Content::Response(_), "newState") => Some(Argument::NewState),
            (Content::Response(_), "hasMoreChanges") => Some(Argument::HasMoreChanges),
            (Content::Response(_), "created") => Some(Argument::Created),
            (Content::Error(_), "type") => Some(Argument::Type),
            _ => None,
        }
    }

    /// Notes that the argument is there. Whether it has been there before.
    pub(super) const fn begin_argument(&mut self, argument: Argument) -> bool {
        let is_repeated = self.seen & argument as u8 != 0;
        self.seen |= argument as u8;
        is_repeated
    }

    /// Sets an argument whose value is a string, or with `None` takes it back. False when it is a
    /// string by its definition and has none now, because `text` is over its limits.
    pub(super) fn set_text(&mut self, argument: Argument, text: Option<&str>) -> bool {
        fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
            *place = value;
            place.is_some()
        }
        match &mut self.content {
            Content::Other => true,
            Content::Error(kind) => put(kind, text.and_then(bounded)),
            Content::Response(response) => match argument {
                Argument::AccountId => {
                    put(&mut response.account_id, text.and_then(AccountId::parse))
                }
                Argument::State => put(&mut response.state, text.and_then(State::parse)),
                Argument::OldState => put(&mut response.old_state, text.and_then(State::parse)),
                Argument::NewState => put(&mut response.new_state, text.and_then(State::parse)),
                Argument::HasMoreChanges | Argument::Created | Argument::Type => true,
            },
        }
    }

    /// Sets `hasMoreChanges`, or that `created` is empty; with `None` takes it back.
    pub(super) const fn set_flag(&mut self, argument: Argument, value: Option<bool>) {
        if let Content::Response(response) = &mut self.content {
            match argument {
                Argument::HasMoreChanges => response.has_more_changes = value,
                Argument::Created => response.created_is_empty = value,
                _ => {}
            }
        }
    }

    /// Adds the whole invocation to what was observed. False when it is none: §3.2 wants a name,
    /// arguments and a call id.
    pub(super) fn end(self, observed: &mut Observed) -> bool {
        if self.elements != 3 || self.is_malformed {
            return false;
        }
        let call_id = self.call_id;
        match self.content {
            Content::Response(response) => {
                observed.responses.push(MethodResponse { call_id, ..response });
            }
            Content::Error(kind) => observed.errors.push(MethodError { kind, call_id }),
            Content::Other => {}
        }
        true
    }
}

/// The text, unless it is longer than an id may be.
fn bounded(text: &str) -> Option<Box<str>> {
    (text.len() <= MAX_ID_BYTES).then(|| Box::from(text))
}

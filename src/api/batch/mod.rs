//! A request that is answered partly here, partly upstream (RFC 8620 §5.8; A5, A6, A7, A8, A9, A10;
//! protocol.md §5.4; hostile.md B7): one with calls of `PushSubscription`, where that is ours.
//!
//! | what | file |
//! |---|---|
//! | what is to be done next: a state machine | here |
//! | the request, and sub-requests made of its parts | [`request`] |
//! | the response in the making | [`response`] |
//! | why a call fails | [`refusal`] |
//! | doing it | [`run`] |
//!
//! Calls keep their order (A8, protocol.md §5.4.2): runs of upstream's are sent as one sub-request each, with
//! what earlier ones created (`createdIds`), ours are answered between them. References to results that came
//! in another part are followed here (A7, §5.4.3), those within a run by upstream. Nothing is sent twice:
//! what fails after the first part is told call by call (A6, §5.4.7).
//!
//! Upstream judges credentials, `using` and the rest of the request before anything is done here: by its
//! first run or, where the first call is ours, by a `Core/echo` of its own. That extra question is left
//! out where the answer is known: other calls follow, and the Session lists all that `using` names (§5.4.5,
//! §5.4.8).

mod refusal;
mod request;
mod response;
mod run;

use std::mem;
use std::ops::Range;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::refusal::Refusal;
use self::request::{CreatedIds, Request, Sent};
use self::response::{Merged, Response};
use crate::jmap::object::json_string;
use crate::jmap::problem::Problem;
use crate::jmap::reference::{self, ResultReference};
use crate::jmap::strict;

pub use refusal::Failed;

/// Bytes of results that the references of one batch may lead into, each counted as often as it is
/// referred to: some tens of milliseconds of work.
const MOST_FOLLOWED: usize = 32 << 20;

/// Bytes of the arguments of a call of ours: some hundred subscriptions.
const MOST_ARGUMENTS: usize = 256 << 10;

/// What a request is judged by.
pub struct Terms<'a> {
    /// The capabilities that are ours, and nothing to upstream.
    pub own: &'a [&'a str],
    /// Whether upstream's Session lists this capability.
    pub is_known: &'a dyn Fn(&str) -> bool,
    /// `maxCallsInRequest` (§2; protocol.md §5.4.4).
    pub max_calls: Option<u64>,
    /// What `sessionState` was last, for a response to which upstream gave none.
    pub session_state: &'a str,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send this request upstream, then tell [`Batch::upstream`].
    Upstream(Vec<u8>),
    /// Answer this call, then tell [`Batch::own`].
    Own(OwnCall),
    /// Upstream's last answer, whatever it was, is that to the whole request: nothing was done here.
    Pass,
    /// This is the Response. The batch is over.
    Done(Vec<u8>),
}

/// A method call that is ours to answer, result references resolved.
#[derive(Debug, PartialEq)]
pub struct OwnCall {
    /// Such as `PushSubscription/get`, known or not.
    pub name: String,
    /// Its arguments: I-JSON, 256 KiB at most.
    pub arguments: Map<String, Value>,
    /// The method call id.
    pub call_id: String,
}

/// See the module.
#[derive(Debug)]
pub struct Batch {
    request: Request,
    merged: Merged,
    created: CreatedIds,
    /// The first call that has not been answered.
    at: usize,
    waiting: Waiting,
    /// Upstream is to be asked before anything else.
    asks_first: bool,
    has_asked: bool,
    /// Something was done that stays done.
    has_begun: bool,
    /// What ends all further sub-requests.
    gone: bool,
    /// Bytes that may still be followed.
    budget: usize,
    /// The last of upstream's; JSON.
    session_state: Option<String>,
    /// JSON.
    usual_session_state: String,
}

/// For what a batch waits.
#[derive(Debug)]
enum Waiting {
    Nothing,
    /// The response to `Core/echo`.
    Echo,
    /// Responses to these calls.
    Run(Range<usize>),
    Own,
    /// Nothing more.
    Over,
}

/// Whether a body that [`api::Request`](crate::api::Request) cannot read is to be judged by a [`Batch`] all
/// the same (protocol.md §5.4.1: fail closed): it is JSON, and calls a method of ours, or is such that
/// nobody can say whether it does, and may name one. Upstream might make something of it. What is no JSON
/// (RFC 8259) is not: it is upstream's to refuse.
#[must_use]
pub fn may_call_own(body: &[u8]) -> bool {
    super::request::may_name_own(body)
        && match Request::read(body, &[], &|_| true) {
            Ok(request) => request.calls.iter().any(request::Call::is_own),
            // By its grammar: half a surrogate pair, say, is JSON to some.
            Err(_) => serde_json::from_slice::<&RawValue>(body).is_ok(),
        }
}

impl Batch {
    /// Takes a plain body apart.
    ///
    /// # Errors
    /// `notJSON`, `notRequest` or `limit` (§3.6.1).
    pub fn new(body: &[u8], terms: &Terms<'_>) -> Result<Self, Problem> {
        let request = Request::read(body, terms.own, terms.is_known)?;
        let most = terms.max_calls.and_then(|most| usize::try_from(most).ok());
        if let Some(most) = most.filter(|most| request.calls.len() > *most) {
            let detail = format!("more than {most} method calls in one request");
            return Err(Problem::limit(400, request::MAX_CALLS_IN_REQUEST, detail));
        }
        let has_others = request.calls.iter().any(|call| !call.is_own());
        let begins_here = request.calls.first().is_some_and(request::Call::is_own)
            && request.using.has_core
            && !request.using.has_enhanced_references;
        Ok(Self {
            asks_first: !has_others || (begins_here && !request.using.is_known),
            created: request.created.clone().unwrap_or_default(),
            request,
            merged: Merged::default(),
            at: 0,
            waiting: Waiting::Nothing,
            has_asked: false,
            has_begun: false,
            gone: false,
            budget: MOST_FOLLOWED,
            session_state: None,
            usual_session_state: json_string(terms.session_state),
        })
    }

    /// What is to be done next. To be asked again only when that was told.
    pub fn step(&mut self) -> Step {
        if matches!(self.waiting, Waiting::Over) {
            return Step::Pass;
        }
        if mem::take(&mut self.asks_first) {
            return self.ask();
        }
        while let Some(call) = self.request.calls.get(self.at) {
            if call.is_own() && !self.request.using.has_enhanced_references {
                match self.own_call(self.at) {
                    Ok(call) => {
                        (self.waiting, self.has_begun) = (Waiting::Own, true);
                        return Step::Own(call);
                    }
                    Err(refusal) => self.refuse(self.at, &refusal),
                }
                self.at += 1;
            } else if let Some(body) = self.run() {
                return Step::Upstream(body);
            }
        }
        // A Response has a `sessionState` (A3).
        if self.session_state.is_none() && !self.has_asked && !self.gone {
            return self.ask();
        }
        self.waiting = Waiting::Over;
        let session_state = self.session_state.as_ref().unwrap_or(&self.usual_session_state);
        let created = self.request.created.as_ref().map(|_| &self.created);
        Step::Done(mem::take(&mut self.merged).finish(created, session_state))
    }

    /// What upstream answered with a status of success to the last [`Step::Upstream`], or why there is
    /// no such answer.
    pub fn upstream(&mut self, answer: Result<&[u8], Failed>) {
        let read = |body| Response::read(body).ok_or(Failed::Unreadable);
        let waiting = mem::replace(&mut self.waiting, Waiting::Nothing);
        match answer.and_then(read) {
            Err(_) if !self.has_begun => self.waiting = Waiting::Over,
            Err(failed) => {
                self.gone |= failed.is_transport();
                if let Waiting::Run(run) = waiting {
                    run.for_each(|index| self.fail(index, failed));
                }
            }
            Ok(mut response) => {
                self.has_begun = true;
                if let Some(state) = response.session_state() {
                    self.session_state = Some(state.to_owned());
                }
                if let Waiting::Run(run) = waiting {
                    self.created.append(&mut response.created_ids);
                    self.take(run, &response);
                }
            }
        }
    }

    /// What the last [`Step::Own`] came to: responses by name with their arguments, and ids by the
    /// creation ids that they were asked for with.
    pub fn own(&mut self, answers: Vec<(String, Value)>, created: Vec<(String, String)>) {
        self.waiting = Waiting::Nothing;
        self.created.extend(created);
        if let Some(call) = self.request.calls.get(self.at) {
            for (name, arguments) in answers {
                self.merged.add(&name, &arguments.to_string(), &call.call_id);
            }
        }
        self.at += 1;
    }

    /// The id behind a creation id of an earlier call (§3.3, §5.3).
    #[must_use]
    pub fn created(&self, creation_id: &str) -> Option<&str> {
        self.created.get(creation_id).map(String::as_str)
    }

    fn ask(&mut self) -> Step {
        (self.waiting, self.has_asked) = (Waiting::Echo, true);
        Step::Upstream(self.request.with_echo().into_bytes())
    }

    /// The run of upstream's calls that begins here, as a request. `None` if there is nothing to be
    /// sent: the call that stands here was answered then.
    fn run(&mut self) -> Option<Vec<u8>> {
        let start = self.at;
        let mut sent: Vec<Sent> = Vec::new();
        while let Some(call) = self.request.calls.get(self.at) {
            if call.is_own() {
                if !self.request.using.has_enhanced_references {
                    break;
                }
            } else if self.gone {
                self.fail(self.at, Failed::Unreachable);
                self.at += 1;
                return None;
            } else {
                match self.resolve(self.at) {
                    Ok(arguments) => sent.push((self.at, arguments)),
                    // Its place is between the responses to those before and behind it.
                    Err(_) if !sent.is_empty() => break,
                    Err(refusal) => {
                        self.refuse(self.at, &refusal);
                        self.at += 1;
                        return None;
                    }
                }
            }
            self.at += 1;
        }
        if sent.is_empty() {
            (start..self.at).for_each(|index| self.refuse(index, &Refusal::EnhancedReferences));
            return None;
        }
        self.waiting = Waiting::Run(start..self.at);
        let created = self.threads().then_some(&self.created);
        Some(self.request.with(&sent, created).into_bytes())
    }

    /// Whether sub-requests are given what the others created: where the client asks for that (§3.3), or
    /// calls of upstream's follow one of ours, so that there may be several sub-requests, or one of ours that
    /// is still to come may name what is created (A9).
    fn threads(&self) -> bool {
        let calls = &self.request.calls;
        let mut others = calls.iter().skip_while(|call| !call.is_own());
        let mut to_come = calls.iter().skip(self.at).filter(|call| call.is_own());
        let may_name = |call: &request::Call| self.request.arguments(call).contains(['#', '\\']);
        self.request.created.is_some()
            || (!self.request.using.has_enhanced_references
                && (others.any(|call| !call.is_own()) || to_come.any(may_name)))
    }

    /// Takes over the responses to a run. Calls of ours in it are refused in their place, as far as call
    /// ids tell where that is.
    fn take(&mut self, run: Range<usize>, response: &Response<'_>) {
        let mut calls = self.request.calls.get(run).unwrap_or_default().iter();
        let mut current = "";
        let refusal = Refusal::EnhancedReferences.to_json();
        let merged = &mut self.merged;
        let refuse = |merged: &mut Merged, call: &request::Call| {
            if call.is_own() {
                merged.add("error", &refusal, &call.call_id);
            }
        };
        for invocation in &response.method_responses {
            let call_id = invocation.call_id();
            let is_answer = |call: &request::Call| !call.is_own() && *call.call_id == *call_id;
            if current != call_id && calls.clone().any(is_answer) {
                for call in calls.by_ref() {
                    refuse(merged, call);
                    if is_answer(call) {
                        current = &call.call_id;
                        break;
                    }
                }
            }
            merged.copy(invocation);
        }
        calls.for_each(|call| refuse(merged, call));
    }

    fn own_call(&mut self, index: usize) -> Result<OwnCall, Refusal> {
        let resolved = self.resolve(index)?;
        let call = self.request.calls.get(index).filter(|_| self.request.using.has_core);
        let Some(call) = call else { return Err(Refusal::NoCore) };
        let arguments = resolved.as_deref().unwrap_or_else(|| self.request.arguments(call));
        if arguments.len() > MOST_ARGUMENTS {
            return Err(Refusal::LargeArguments(MOST_ARGUMENTS));
        }
        let arguments = strict::object(arguments).map_err(Refusal::Arguments)?;
        Ok(OwnCall { name: call.name.to_string(), arguments, call_id: call.call_id.to_string() })
    }

    /// The arguments of a call with what they refer to (A7); `None` where that is nothing, or the
    /// reference is upstream's to follow.
    fn resolve(&mut self, index: usize) -> Result<Option<String>, Refusal> {
        let Self { request, merged, budget, .. } = self;
        let Some(call) = request.calls.get(index) else { return Ok(None) };
        let is_own = call.is_own();
        let arguments = request.arguments(call);
        if is_own && arguments.len() > MOST_ARGUMENTS {
            return Err(Refusal::LargeArguments(MOST_ARGUMENTS));
        }
        reference::resolve(arguments, |reference: Result<ResultReference<'_>, reference::Error>| {
            let reference = match reference {
                Ok(reference) => reference,
                Err(_) if !is_own => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let (name, result) = match merged.first(&reference.result_of) {
                Some(first) => first,
                None if !is_own => return Ok(None),
                None => return Err(reference::Error::NoSuchResult.into()),
            };
            if name != reference.name {
                return Err(reference::Error::NoSuchResult.into());
            }
            let left = budget.checked_sub(result.len());
            *budget = left.ok_or(Refusal::ManyReferences(MOST_FOLLOWED))?;
            Ok(Some(reference.follow(result)?))
        })
    }

    fn fail(&mut self, index: usize, failed: Failed) {
        let Some(call) = self.request.calls.get(index) else { return };
        if call.is_own() {
            self.refuse(index, &Refusal::EnhancedReferences);
        } else {
            self.refuse(index, &failed.of(call.may_change()));
        }
    }

    fn refuse(&mut self, index: usize, refusal: &Refusal) {
        let Some(call) = self.request.calls.get(index) else { return };
        self.merged.add("error", &refusal.to_json(), &call.call_id);
    }
}

#[cfg(test)]
mod tests;

//! One account's probe, carried out: request after request until its [`Round`] is over.
//!
//! Holds a place in flight and in the principal's lane, and gives both back when dropped, so that a
//! probe which is cancelled or panics leaves nothing behind.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::answer::{self, AccountError, Answer, Answered, Lost, Refusal, Reply};
use super::desk::Shared;
use super::lane;
use super::plan::{self, EMAIL_DELIVERY, Request, Subject};
use super::prober::{Answers, Ask, Told};
use super::round::Round;
use super::schedule::Ended;
use super::window::Borne;
use crate::clock::Moment;
use crate::jmap::id::DataType;
use crate::state::fact::{AccountKey, Delivery, Exchange, Observer, ProbeAnswer};

/// A type that upstream could not answer for, without breaking, is asked for again after this at the
/// latest, should the interval be longer or none.
const FAILED_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Visit {
    shared: Arc<Shared>,
    key: AccountKey,
    subject: Subject,
    round: Round,
    /// Types wanted that have got no answer yet.
    open: Vec<DataType>,
    began: Moment,
    /// What the schedule is told when this is dropped.
    ended: Ended,
    /// Whether upstream answered at all; `None` when it was not asked or refused.
    upstream_works: Option<bool>,
    /// Whether some answer was more than an error.
    is_useful: bool,
    /// Whether the first request has been counted against the budget.
    is_prepaid: bool,
    withheld_until: Option<Moment>,
}

impl Visit {
    /// Takes a place in the principal's lane and sorts the types; `None` when the account has to wait
    /// for the lane.
    pub(super) fn open(
        shared: &Arc<Shared>,
        key: AccountKey,
        mut subject: Subject,
        now: Moment,
    ) -> Option<Self> {
        let mut guard = shared.desk();
        let desk = &mut *guard;
        let width = lane::width(subject.limits.max_concurrent_requests);
        if !desk.lanes.enter(subject.principal, width, &key) {
            desk.schedule.park(&key, now);
            return None;
        }
        let open = subject.asked();
        let others = plan::offered(&subject.capabilities).into_iter();
        let bystander = desk.quarantine.bystander(&key, others.filter(|name| !open.contains(name)));
        subject.retain_capabilities(|capability| desk.quarantine.knows(capability, now));
        let sorted = desk.quarantine.sort(&key, subject.asked(), now);
        let groups: Vec<_> = sorted.together.chunks(subject.calls()).map(<[_]>::to_vec).collect();
        // Paid before the schedule is asked for the next account.
        let is_prepaid = !groups.is_empty() || !sorted.alone.is_empty();
        if is_prepaid {
            desk.schedule.spend(now);
            let asked = groups.iter().flatten().chain(&sorted.alone);
            let asked = asked.filter(|name| name.as_str() != EMAIL_DELIVERY).cloned().collect();
            desk.schedule.asking(&key, asked);
            if let Some(why) = desk.schedule.why(&key) {
                shared.metrics.probe_reasons.get_or_create(&[("reason", why.name())]).inc();
            }
        }
        drop(guard);
        Some(Self {
            shared: Arc::clone(shared),
            key,
            subject,
            round: Round::new(groups, sorted.alone, bystander),
            open,
            began: now,
            ended: Ended::Idle,
            upstream_works: None,
            is_useful: false,
            is_prepaid,
            withheld_until: sorted.withheld_until,
        })
    }

    /// Asks and tells.
    ///
    /// Cancel safety: may be dropped at any time; the probe then counts as failed and is not told to
    /// be over.
    pub(super) async fn run<C, A, F, T>(mut self, credential: C, ask: &A, tell: &T)
    where
        C: Clone,
        A: Fn(Ask<C>) -> F,
        F: Future<Output = Result<Reply, Lost>>,
        T: Fn(Told<C>) -> bool,
    {
        tell(Told::Sent(self.key.clone()));
        let mut is_told_complete = false;
        while let Some(types) = self.round.next_group() {
            // Until the end is known.
            self.ended = Ended::Failed;
            let request = plan::request(&self.key.id, &self.subject, types);
            let sent = self.spend();
            let body = request.body.clone();
            let asked = Ask { credential: credential.clone(), key: self.key.clone(), body };
            let reply = timeout(self.shared.timeout, ask(asked)).await;
            let reply = reply.unwrap_or(Err(Lost::TimedOut));
            self.note_how_borne(&reply, sent);
            match answer::read(&request, reply) {
                Answer::Answered(answered) => {
                    if let Some((_, error)) = answered.account_errors.first() {
                        tell(self.revalidate(&credential, *error));
                    }
                    let answers = self.take(&request, answered, sent, credential.clone());
                    is_told_complete = answers.complete;
                    if tell(Told::Answered(answers)) {
                        self.found();
                    }
                }
                Answer::Broken => self.broke(&request),
                Answer::Unreachable => {
                    self.failed();
                    break;
                }
                Answer::Refused(refusal) => {
                    self.refused(refusal, &credential, tell);
                    break;
                }
            }
        }
        self.close();
        if !is_told_complete {
            tell(Told::Answered(self.nothing_more(credential)));
        }
    }

    fn note_how_borne(&self, reply: &Result<Reply, Lost>, sent: Moment) {
        let now = Moment::now();
        // The search for a type that breaks upstream goes on until it has broken it often enough.
        let is_broken = matches!(reply, Ok(reply) if reply.status.is_server_error());
        if is_broken && self.round.is_searching() {
            return;
        }
        if let Some(borne) = Borne::by(reply, now.since(sent)) {
            self.shared.desk().schedule.borne(borne, sent, now);
        }
    }

    /// What upstream said was news to subscribers.
    fn found(&self) {
        let change = self.shared.desk().schedule.found(&self.key, Moment::now());
        if let Some(change) = change {
            self.shared.published(change);
        }
    }

    fn spend(&mut self) -> Moment {
        let now = Moment::now();
        if !std::mem::take(&mut self.is_prepaid) {
            self.shared.desk().schedule.spend(now);
        }
        self.shared.metrics.probes.inc();
        now
    }

    /// Upstream answered: keeps what that says about its types, gives the rest to be told.
    fn take<C>(
        &mut self,
        request: &Request,
        answered: Answered,
        sent: Moment,
        credential: C,
    ) -> Answers<C> {
        let received = Moment::now();
        self.round.answered();
        self.upstream_works = Some(true);
        self.is_useful |= answered.is_useful();
        self.open.retain(|name| !request.types.contains(name));
        self.learn(&request.types, &answered, received);
        let complete = self.round.is_over();
        let mut types = answered.types;
        if complete {
            types.extend(self.unanswered());
        }
        let delivered = request.since.clone().zip(answered.delivery);
        Answers {
            key: self.key.clone(),
            credential,
            at: self.exchange(sent, received),
            types,
            delivery: delivered.map(|(since, created)| Delivery { since, created }),
            complete,
            session_state: answered.session_state,
        }
    }

    /// Keeps which types upstream has, and which it has not or not for this account. When all are
    /// forbidden it is the account that is in doubt, not its types.
    fn learn(&mut self, asked: &[DataType], answered: &Answered, now: Moment) {
        for data_type in asked {
            let is_state = answered
                .types
                .iter()
                .any(|(name, answer)| name == data_type && matches!(answer, ProbeAnswer::State(_)));
            if is_state {
                self.shared.answered(&self.key, data_type, now);
            } else {
                self.shared.unbroken(&self.key, data_type);
            }
        }
        let mut desk = self.shared.desk();
        for data_type in &answered.unknown {
            desk.quarantine.unsupported(&self.key, data_type, now);
        }
        for (data_type, error) in &answered.account_errors {
            let is_about_type = match error {
                AccountError::NotSupported => true,
                AccountError::Forbidden => answered.is_useful(),
                AccountError::NotFound => false,
            };
            if is_about_type {
                desk.quarantine.unsupported(&self.key, data_type, now);
            }
        }
        drop(desk);
        if answered.types.iter().any(|(_, answer)| *answer == ProbeAnswer::Failed) {
            let again = now.after(FAILED_AGAIN);
            self.withheld_until = Some(self.withheld_until.map_or(again, |until| until.min(again)));
        }
    }

    /// Upstream gave no answer.
    fn failed(&mut self) {
        self.shared.metrics.probe_failures.inc();
        self.upstream_works.get_or_insert(false);
    }

    fn broke(&mut self, request: &Request) {
        self.failed();
        let now = Moment::now();
        let mut desk = self.shared.desk();
        let found = desk.quarantine.found_meanwhile(&self.key, &request.types);
        if found.is_empty() {
            let may_halve = request.types.len() > 1 && desk.quarantine.may_search(&self.key, now);
            self.round.broke(may_halve);
        } else {
            self.round.explained(&found);
        }
    }

    fn refused<C: Clone>(
        &mut self,
        refusal: Refusal,
        credential: &C,
        tell: &impl Fn(Told<C>) -> bool,
    ) {
        self.shared.metrics.probe_failures.inc();
        match refusal {
            Refusal::Unauthorized => {
                tell(Told::Unauthorized { credential: credential.clone() });
            }
            Refusal::Forbidden => {
                tell(self.revalidate(credential, AccountError::Forbidden));
            }
            Refusal::Limited(patience) => self.ended = Ended::Limited(patience),
            Refusal::UnknownCapability(Some(capability)) => {
                tracing::warn!(capability, "upstream refuses a capability that its Session names");
                self.shared.desk().quarantine.drop_capability(capability, Moment::now());
            }
            Refusal::UnknownCapability(None) => {
                tracing::warn!("upstream refuses a capability that its Session names");
            }
            Refusal::Status(status) => tracing::warn!(%status, "upstream refuses a probe"),
        }
    }

    fn revalidate<C: Clone>(&self, credential: &C, error: AccountError) -> Told<C> {
        Told::Revalidate { credential: credential.clone(), key: self.key.clone(), error }
    }

    /// Judges the types that broke upstream, if any did.
    fn close(&mut self) {
        if self.ended == Ended::Idle {
            return;
        }
        let is_over = self.round.is_over();
        let verdict = std::mem::take(&mut self.round).verdict();
        let now = Moment::now();
        for culprit in &verdict.culprits {
            self.shared.convict(&self.key, culprit, now);
        }
        if is_over && self.is_useful && !verdict.has_failed {
            self.ended = Ended::Answered;
        }
    }

    /// The last word of a probe whose last request brought none.
    fn nothing_more<C>(&mut self, credential: C) -> Answers<C> {
        Answers {
            key: self.key.clone(),
            credential,
            at: self.exchange(self.began, Moment::now()),
            types: self.unanswered().collect(),
            delivery: None,
            complete: true,
            session_state: None,
        }
    }

    fn exchange(&self, sent: Moment, received: Moment) -> Exchange {
        Exchange { who: Observer::Known(self.subject.principal), sent, received }
    }

    fn unanswered(&mut self) -> impl Iterator<Item = (DataType, ProbeAnswer)> + use<> {
        let open = std::mem::take(&mut self.open).into_iter();
        open.filter(|name| name.as_str() != EMAIL_DELIVERY).map(|name| (name, ProbeAnswer::Failed))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = Moment::now();
        let mut guard = self.shared.desk();
        let desk = &mut *guard;
        if let Some(works) = self.upstream_works {
            self.shared.judge(desk, works, now);
        }
        desk.quarantine.finish(&self.key, now);
        let is_watched = desk.schedule.finished(&self.key, self.ended, self.withheld_until, now);
        if !is_watched && desk.quarantine.forget(&self.key) {
            self.shared.count_quarantined(desk);
        }
        desk.lanes.leave(self.subject.principal);
        for key in desk.lanes.take_waiting(self.subject.principal) {
            desk.schedule.unpark(&key);
        }
        drop(guard);
        self.shared.wake.notify_one();
    }
}

//! The border between the API and the worker: questions over a bounded channel, answers back.
//!
//! The worker owns all state. It takes questions with [`QueryReceiver::try_next`] between batches
//! and answers from what it has; the API waits, never the worker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::report;

/// Questions that wait for the worker, at most: each connection has one at a time.
const WAITING_MAX: usize = 32;

/// How long the worker may take. It answers between batches, so this is only met when it hangs.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Entries in one [`report::FdbPage`], at most: about 100 µs of the worker's time.
pub const FDB_PAGE_MAX: u32 = 512;

/// A question to the daemon, as JSON `{"query":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// `{"query":"status"}`.
    Status,
    /// `{"query":"peers"}`.
    Peers,
    /// `{"query":"fdb","network":"office","cursor":0,"max":512}`.
    Fdb {
        /// The network's name.
        network: String,
        /// Where to go on: 0 at first (and if absent), then `next` of the answer before.
        #[serde(default)]
        cursor: u64,
        /// Entries wanted, at most; absent or more than [`FDB_PAGE_MAX`] is [`FDB_PAGE_MAX`].
        #[serde(default = "fdb_page_max")]
        max: u32,
    },
    /// `{"query":"routes"}`.
    Routes,
    /// `{"query":"drops"}`.
    Drops,
}

/// The worker's answer to the [`Query`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Becomes a [`report::Status`] with what the API knows of the daemon.
    Status(report::State),
    /// All peers.
    Peers(Vec<report::Peer>),
    /// A part of one network's table.
    Fdb(report::FdbPage),
    /// All routes.
    Routes(Vec<report::Route>),
    /// All drops.
    Drops(report::Drops),
    /// No network has this name.
    NoSuchNetwork(String),
}

/// A question on its way to the worker.
#[derive(Debug)]
pub struct Question {
    query: Query,
    reply: oneshot::Sender<Answer>,
}

impl Question {
    /// Gives what is asked; `max` of [`Query::Fdb`] is within its limit.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Sends the answer. It is lost if nobody waits any more.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

/// Makes the channel between API and worker. `wake` is called after each question; it must make
/// the worker look at the channel (it rings its eventfd) and must not block.
pub fn channel(wake: Arc<dyn Fn() + Send + Sync>) -> (QuerySender, QueryReceiver) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (QuerySender { sender, wake }, QueryReceiver(receiver))
}

/// The API's end of the channel.
#[derive(Clone)]
pub struct QuerySender {
    sender: mpsc::Sender<Question>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The channel is full.
    #[error("{WAITING_MAX} questions wait already")]
    Busy,
    /// The worker dropped its end, or the question.
    #[error("the daemon is stopping")]
    Stopping,
    /// The worker did not answer in time.
    #[error("the worker did not answer within {} s", ANSWER_TIME.as_secs())]
    TimedOut,
}

impl QuerySender {
    /// Asks the worker and waits for the answer, at most 5 s.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; none of them is the fault of the question.
    pub async fn ask(&self, query: Query) -> Result<Answer, AskError> {
        self.ask_within(ANSWER_TIME, query).await
    }

    async fn ask_within(&self, limit: Duration, query: Query) -> Result<Answer, AskError> {
        let (reply, answer) = oneshot::channel();
        let question = Question { query: query.limited(), reply };
        self.sender.try_send(question).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Stopping,
        })?;
        (self.wake)();
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Stopping),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// Waits until the worker has dropped its end: it has stopped, or died.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl fmt::Debug for QuerySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySender").finish_non_exhaustive()
    }
}

/// The worker's end of the channel. Dropping it tells the daemon that the worker has ended.
#[derive(Debug)]
pub struct QueryReceiver(mpsc::Receiver<Question>);

impl QueryReceiver {
    /// Takes the next question whose asker still waits, if there is one. Never blocks.
    pub fn try_next(&mut self) -> Option<Question> {
        while let Ok(question) = self.0.try_recv() {
            if !question.reply.is_closed() {
                return Some(question);
            }
        }
        None
    }
}

impl Query {
    fn limited(mut self) -> Self {
        if let Self::Fdb { max, .. } = &mut self {
            *max = (*max).clamp(1, FDB_PAGE_MAX);
        }
        self
    }
}

fn fdb_page_max() -> u32 {
    FDB_PAGE_MAX
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn question_wakes_the_worker_and_its_answer_returns() {
        let rung = Arc::new(AtomicU32::new(0));
        let (sender, mut receiver) = counting_channel(&rung);

        let (answer, ()) = tokio::join!(sender.ask(Query::Peers), async {
            tokio::task::yield_now().await;
            let question = receiver.try_next().expect("asked above");
            assert_eq!(question.query(), &Query::Peers);
            question.answer(Answer::Peers(Vec::new()));
        });

        assert_eq!(answer, Ok(Answer::Peers(Vec::new())));
        assert_eq!(rung.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn question_to_a_worker_that_ended_says_so() {
        let (sender, receiver) = counting_channel(&Arc::default());
        drop(receiver);

        sender.closed().await;
        assert_eq!(sender.ask(Query::Status).await, Err(AskError::Stopping));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn worker_that_hangs_is_not_waited_for_and_its_questions_are_forgotten() {
        let (sender, mut receiver) = counting_channel(&Arc::default());

        let answer = sender.ask_within(Duration::ZERO, Query::Drops).await;

        assert_eq!(answer, Err(AskError::TimedOut));
        assert!(receiver.try_next().is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn full_channel_refuses_the_newcomer() {
        let (sender, _receiver) = counting_channel(&Arc::default());
        let mut asked: Vec<_> =
            (0..=WAITING_MAX).map(|_| Box::pin(sender.ask(Query::Drops))).collect();
        for waiting in &mut asked[..WAITING_MAX] {
            assert!(timeout(Duration::ZERO, waiting).await.is_err());
        }

        let last = asked.pop().expect("one more than the channel takes");
        assert_eq!(last.await, Err(AskError::Busy));
    }

    #[test]
    fn page_size_is_limited_and_cursor_and_size_may_be_absent() {
        let query: Query =
            serde_json::from_str(r#"{"query":"fdb","network":"a","max":4294967295}"#).unwrap();
        assert_eq!(
            query.limited(),
            Query::Fdb { network: "a".into(), cursor: 0, max: FDB_PAGE_MAX }
        );
        let query: Query = serde_json::from_str(r#"{"query":"fdb","network":"a"}"#).unwrap();
        assert_eq!(query, Query::Fdb { network: "a".into(), cursor: 0, max: FDB_PAGE_MAX });
    }

    fn counting_channel(rung: &Arc<AtomicU32>) -> (QuerySender, QueryReceiver) {
        let rung = Arc::clone(rung);
        channel(Arc::new(move || {
            rung.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

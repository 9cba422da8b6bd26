//! How the process ends: every task is known, told to stop, and waited for.
//!
//! Two tokens. *Soft* means drain: take no more work, finish what was accepted. *Hard* means stop
//! now: tasks are dropped where they stand. Hard implies soft. A task without which the gateway is
//! no gateway is *essential*: if it ends or panics while nobody asked it to, the rest is drained
//! and the process exits non-zero, because a gateway that looks alive and commits nothing is the
//! worst of all states. (`TaskTracker` alone would swallow the panic.)
//!
//! Nothing here is global, so two gateways in one test process stop separately.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks of one gateway. Clones are handles to the same tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    failure: Arc<Mutex<Option<TaskFailure>>>,
}

/// Why a task failed the process. The first one is kept: later ones tend to follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    #[error("task {name} panicked")]
    Panicked { name: &'static str },
    #[error("task {name} ended although nobody asked it to")]
    Ended { name: &'static str },
    #[error("task {name} was cut off before it was done")]
    CutOff { name: &'static str },
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        let hard = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            soft: hard.child_token(),
            hard,
            failure: Arc::default(),
        }
    }

    /// Cancelled when the gateway drains: finish what was accepted, then return.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when the gateway stops at once.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Asks all tasks to finish what they accepted and to return.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Drops all tasks where they stand.
    pub fn abort(&self) {
        self.hard.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Runs `task` until it is done or the hard token is cancelled. If it panics, the gateway
    /// drains and the failure is kept; if it returns, nothing happens.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(name, Role::Ordinary, task);
    }

    /// As [`Tasks::spawn`], and returning while nobody drains is a failure too.
    pub fn spawn_essential(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(name, Role::Essential, task);
    }

    fn start(
        &self,
        name: &'static str,
        role: Role,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut guard = Guard { tasks: self.clone(), name, role, returned: false };
        let hard = self.hard.clone();
        self.tracker.spawn(async move {
            let returned = tokio::select! {
                biased;
                () = task => true,
                () = hard.cancelled() => false,
            };
            guard.ended(returned);
        });
    }

    /// Waits until every task has ended. Tasks may still be spawned meanwhile, and are waited for.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Why the process must not exit with status 0, if so.
    pub fn failure(&self) -> Option<TaskFailure> {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for signals from now on. The future acts on them: the first `SIGTERM` or `SIGINT`
    /// drains, the second stops at once and ends the future; `SIGHUP` calls `reload`.
    ///
    /// Run it beside the application (`tokio::select!`), not as one of the tasks: it has to
    /// outlive them to see the second signal.
    pub fn signals(
        &self,
        mut reload: impl FnMut() + Send,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        // Installed here and not in the future, so that no signal is lost before its first poll.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let tasks = self.clone();
        Ok(async move {
            let mut asked = false;
            loop {
                let signal = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => {
                        tracing::info!("reloading settings on SIGHUP");
                        reload();
                        continue;
                    }
                };
                if asked {
                    tracing::warn!("{signal} again, stopping at once");
                    tasks.abort();
                    return;
                }
                asked = true;
                tracing::info!("{signal}, draining; a second signal stops at once");
                tasks.drain();
            }
        })
    }

    fn fail(&self, failure: TaskFailure) {
        tracing::error!("{failure}, draining");
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        drop(first);
        self.soft.cancel();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Ordinary,
    Essential,
}

/// Lives in the task and is dropped with it, however it ends.
struct Guard {
    tasks: Tasks,
    name: &'static str,
    role: Role,
    returned: bool,
}

impl Guard {
    // A method, because an assignment to a field would move only that field into the task.
    fn ended(&mut self, returned: bool) {
        self.returned = returned;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let name = self.name;
        if std::thread::panicking() {
            self.tasks.fail(TaskFailure::Panicked { name });
            return;
        }
        match (self.role, self.returned) {
            (Role::Ordinary, _) => {}
            (Role::Essential, true) => {
                if !self.tasks.is_draining() {
                    self.tasks.fail(TaskFailure::Ended { name });
                }
            }
            // By the hard token, or by the end of the runtime.
            (Role::Essential, false) => self.tasks.fail(TaskFailure::CutOff { name }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn draining_waits_for_tasks_that_finish_their_work() {
        let tasks = Tasks::new();
        let done = Arc::new(AtomicUsize::new(0));
        for name in ["one", "two"] {
            let (soft, done) = (tasks.soft(), Arc::clone(&done));
            tasks.spawn_essential(name, async move {
                soft.cancelled().await;
                tokio::task::yield_now().await;
                done.fetch_add(1, Ordering::SeqCst);
            });
        }

        tasks.drain();
        tasks.drained().await;

        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(tasks.failure(), None);
        assert!(!tasks.hard().is_cancelled());
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_drains_the_others_and_is_a_failure() {
        let tasks = Tasks::new();
        let soft = tasks.soft();
        tasks.spawn_essential("other", async move { soft.cancelled().await });
        tasks.spawn_essential("committer", async {});

        tasks.drained().await;

        assert!(tasks.is_draining());
        assert_eq!(tasks.failure(), Some(TaskFailure::Ended { name: "committer" }));
    }

    #[tokio::test]
    async fn a_panic_drains_and_is_a_failure_in_any_task() {
        for essential in [true, false] {
            let tasks = Tasks::new();
            let task = async { panic!("expected by the test") };
            if essential {
                tasks.spawn_essential("t", task);
            } else {
                tasks.spawn("t", task);
            }

            tasks.drained().await;

            assert!(tasks.is_draining());
            assert_eq!(tasks.failure(), Some(TaskFailure::Panicked { name: "t" }));
        }
    }

    #[tokio::test]
    async fn a_panic_while_draining_is_a_failure_too() {
        let tasks = Tasks::new();
        let soft = tasks.soft();
        tasks.spawn_essential("t", async move {
            soft.cancelled().await;
            panic!("expected by the test");
        });

        tasks.drain();
        tasks.drained().await;

        assert_eq!(tasks.failure(), Some(TaskFailure::Panicked { name: "t" }));
    }

    #[tokio::test]
    async fn an_ordinary_task_may_end_at_any_time() {
        let tasks = Tasks::new();
        tasks.spawn("t", async {});

        tasks.drained().await;

        assert!(!tasks.is_draining());
        assert_eq!(tasks.failure(), None);
    }

    #[tokio::test]
    async fn aborting_drops_tasks_that_do_not_listen_and_says_what_was_cut_off() {
        let tasks = Tasks::new();
        tasks.spawn("patient", pending());
        tasks.spawn_essential("stuck", pending());

        tasks.abort();
        tasks.drained().await;

        assert!(tasks.is_draining(), "hard implies soft");
        assert_eq!(tasks.failure(), Some(TaskFailure::CutOff { name: "stuck" }));
    }

    /// Sends a signal to this process, as an operator does.
    fn raise(name: &str) {
        let pid = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    #[tokio::test]
    async fn signals_reload_then_drain_then_stop_at_once() {
        let tasks = Tasks::new();
        let (reloaded, mut reloads) = tokio::sync::mpsc::unbounded_channel();
        let signals = tasks.signals(move || reloaded.send(()).unwrap()).unwrap();

        let operator = async {
            raise("HUP");
            reloads.recv().await.unwrap();
            assert!(!tasks.is_draining());
            raise("TERM");
            tasks.soft().cancelled().await;
            assert!(!tasks.hard().is_cancelled());
            raise("INT");
            tasks.hard().cancelled().await;
        };

        tokio::join!(signals, operator);
    }

    #[tokio::test]
    async fn two_gateways_stop_separately() {
        let (one, two) = (Tasks::new(), Tasks::new());

        one.abort();

        assert!(!two.is_draining());
    }
}

//! A row of the list: a registry with one thing wrong, how it has to end, and what it may cost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::http::{Answer, Request, Sockets};
use crate::registry::{Kind, Registry};
use crate::site::{Said, Site};

/// No row takes longer; nearly all are over in a tenth of it, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(90);
/// Where any reason will do, a row has so long to be called warm all the same.
const ANY_REASON_AFTER: Duration = Duration::from_secs(5);
/// What is given up is watched for so long, and what it asks for in this time is counted.
const WATCHED: Duration = Duration::from_millis(1_000);
/// The same of what is waited for. Much longer than failures that count take to use an image up.
const WAITING_WATCHED: Duration = Duration::from_secs(14);
/// So many rows at once, of all tests together: nearly all of a row's time is waiting.
static AT_ONCE: Semaphore = Semaphore::const_new(24);
/// A good image of one wanted platform with three blobs takes 20 to 30 requests.
const USUAL_BOUND: usize = 160;

/// How a row ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The wanted platform is warm, by the registry's own account.
    Warm,
    /// Waited for, for a reason with all of these words, and never given up.
    Waits(&'static [&'static str]),
    /// Given up or waited for.
    NotWarm(&'static [&'static str]),
}

/// What is wrong: an answer in place of the right one, or none where nothing is.
pub(crate) type Hook = Box<dyn Fn(&Request, &Registry) -> Option<Answer> + Send + Sync>;

pub(crate) struct Row {
    pub(crate) name: String,
    kind: Kind,
    project: &'static str,
    content: Box<dyn Fn(&mut Registry) + Send + Sync>,
    hook: Arc<Hook>,
    end: End,
    most_requests: usize,
}

/// A registry that has the usual image, and does as the hook says.
pub(crate) fn row(
    name: impl Into<String>,
    hook: impl Fn(&Request, &Registry) -> Option<Answer> + Send + Sync + 'static,
) -> Row {
    Row {
        name: name.into(),
        kind: Kind::Harbor,
        project: "transfer: touch",
        content: Box::new(Registry::add_usual_image),
        hook: Arc::new(Box::new(hook)),
        end: End::Warm,
        most_requests: USUAL_BOUND,
    }
}

/// A registry that does everything right, with this content.
pub(crate) fn holding(name: impl Into<String>, content: impl Fn(&mut Registry) + Send + Sync + 'static) -> Row {
    row(name, |_, _| None).content(content)
}

impl Row {
    pub(crate) fn content(mut self, content: impl Fn(&mut Registry) + Send + Sync + 'static) -> Self {
        self.content = Box::new(content);
        self
    }

    /// The registry is a Distribution cache, read to the end of each blob.
    pub(crate) fn distribution(mut self) -> Self {
        (self.kind, self.project) = (Kind::Distribution, "transfer: drain");
        self
    }

    /// Keys of the project.
    pub(crate) fn project(mut self, keys: &'static str) -> Self {
        self.project = keys;
        self
    }

    pub(crate) fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub(crate) fn at_most(mut self, requests: usize) -> Self {
        self.most_requests = requests;
        self
    }

    /// Plays it; what is wrong.
    pub(crate) async fn play(&self) -> Result<(), String> {
        let sockets = Sockets::bind().await.map_err(|error| error.to_string())?;
        let (url, elsewhere) = (sockets.url(), sockets.elsewhere());
        let (url, elsewhere) = url.and_then(|url| Ok((url, elsewhere?))).map_err(|error| error.to_string())?;
        let mut registry = Registry::new(self.kind, url, elsewhere);
        (self.content)(&mut registry);
        let registry = Arc::new(registry);
        let (answering, hook) = (Arc::clone(&registry), Arc::clone(&self.hook));
        let respond = move |request: &Request| hook(request, &answering).unwrap_or_else(|| answering.answer(request));
        let server = sockets.serve(Arc::new(respond)).map_err(|error| error.to_string())?;
        let site = Site::start(self.kind, &server.url, self.project).await;
        let outcome = self.judge(&site, &registry).await;
        let requests = server.requests();
        if std::env::var_os("HOSTILE_ROW").is_some() {
            for request in &requests {
                let Request { method, target, elsewhere, .. } = request;
                let range = request.header("range").unwrap_or_default();
                println!("{}: {method} {target} {range}{}", self.name, if *elsewhere { " elsewhere" } else { "" });
            }
        }
        site.stop().await;
        for request in &requests {
            if request.elsewhere && request.header("authorization").is_some() {
                return Err(format!("credentials went to another host: {} {}", request.method, request.target));
            }
        }
        outcome?;
        if requests.len() > self.most_requests {
            return Err(format!("{} requests, at most {}: {}", requests.len(), self.most_requests, most_of(&requests)));
        }
        Ok(())
    }

    async fn judge(&self, site: &Site, registry: &Registry) -> Result<(), String> {
        let id = site.hand_over().await;
        let started = Instant::now();
        let patience = PATIENCE;
        let mut last;
        loop {
            last = site.said(&id).await;
            if last.is_warm() && !registry.is_warm() {
                return Err(format!("called {} although the registry doesn't hold it", last.phase));
            }
            let reached = match self.end {
                End::Warm if last.has_failed() => return Err(format!("given up: {}", last.reason)),
                End::Warm => last.is_warm(),
                End::Waits(words) => {
                    if last.has_failed() {
                        return Err(format!("given up: {}", last.reason));
                    }
                    contains(words, &last.reason)
                }
                End::NotWarm(words) if last.has_failed() => all(words, &last.reason)?,
                End::NotWarm([]) => started.elapsed() > ANY_REASON_AFTER && !last.reason.trim().is_empty(),
                End::NotWarm(words) => contains(words, &last.reason),
            };
            if !matches!(self.end, End::Warm) && last.is_warm() {
                return Err(format!("called {}, expected {:?}", last.phase, self.end));
            }
            if reached {
                break;
            }
            if started.elapsed() > patience {
                return Err(format!("still {} ({}), expected {:?}", last.phase, last.reason, self.end));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        if !matches!(self.end, End::Warm) {
            let waits = matches!(self.end, End::Waits(_));
            tokio::time::sleep(if waits { WAITING_WATCHED } else { WATCHED }).await;
            let after: Said = site.said(&id).await;
            if after.is_warm() || (after.has_failed() && matches!(self.end, End::Waits(_))) {
                return Err(format!("became {} ({}), expected {:?}", after.phase, after.reason, self.end));
            }
        }
        Ok(())
    }
}

fn contains(words: &[&str], reason: &str) -> bool {
    words.iter().all(|word| reason.to_lowercase().contains(&word.to_lowercase()))
}

fn all(words: &[&str], reason: &str) -> Result<bool, String> {
    if contains(words, reason) {
        Ok(true)
    } else {
        Err(format!("given up for another reason than {words:?}: {reason}"))
    }
}

/// What was asked for most.
fn most_of(requests: &[Request]) -> String {
    let most = requests.iter().max_by_key(|request| request.before);
    most.map(|request| format!("{} times {} {}", request.before + 1, request.method, request.target))
        .unwrap_or_default()
}

/// Plays all rows and panics with those that are red and not known to be.
#[track_caller]
pub(crate) fn play(rows: Vec<Row>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    // A single row is looked into by a part of its name, and shows what was asked.
    let chosen = std::env::var("HOSTILE_ROW").unwrap_or_default();
    let rows: Vec<Row> = rows.into_iter().filter(|row| row.name.contains(&chosen)).collect();
    let count = rows.len();
    let played: Vec<(Row, Result<(), String>, Duration)> = runtime.block_on(async {
        let play = |row: Row| async move {
            let _turn = AT_ONCE.acquire().await.expect("it is never closed");
            let started = Instant::now();
            let came_to = row.play().await;
            (row, came_to, started.elapsed())
        };
        join_all(rows.into_iter().map(|row| tokio::spawn(play(row)))).await.into_iter().map(Result::unwrap).collect()
    });
    let mut red = Vec::new();
    for (row, came_to, took) in played {
        if let Err(seen) = came_to {
            red.push(format!("{} after {:.1} s: {seen}", row.name, took.as_secs_f64()));
        }
    }
    red.sort();
    assert!(red.is_empty(), "{} of {count} rows are red:\n{}", red.len(), red.join("\n"));
}

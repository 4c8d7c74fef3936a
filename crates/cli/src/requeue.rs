//! `harbor-warmer requeue`.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::admin_client::{AdminClient, AdminError};
use super::arguments::RequeueArguments;
use super::units::count_text;
use super::{CommandError, Exit, Printed};
use crate::terminal::screen::{Screen, Tone};
use harbor_warmer_core::view::Phase;

/// Requests at once.
const AT_ONCE: usize = 8;

/// The service's largest page.
const PAGE: usize = 1000;

pub(super) async fn run(arguments: &RequeueArguments, screen: &Screen) -> Result<Printed, CommandError> {
    let client = AdminClient::of(&arguments.service)?;
    let ids = if arguments.all_failed { failed(&client).await? } else { arguments.ids.clone() };
    let requeued: Vec<(String, bool)> = stream::iter(ids)
        .map(|id| {
            let client = &client;
            async move { client.requeue(&id).await.map(|known| (id, known)) }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let unknown: Vec<_> = requeued.iter().filter(|(_, known)| !known).map(|(id, _)| id.as_str()).collect();
    let done = requeued.len() - unknown.len();
    let mut text = format!("{} will be tried again.\n", count_text(done, "image"));
    // An image that is forgotten between the list and the request is not what anybody asked about.
    if unknown.is_empty() || arguments.all_failed {
        return Ok(Printed::new(text, Exit::Done));
    }
    text.push_str(&screen.paint(&format!("Nobody has these ids: {}", unknown.join(", ")), Tone::Bad));
    text.push('\n');
    Ok(Printed::new(text, Exit::Failed))
}

/// All of them before the first is requeued, which would move the pages.
async fn failed(client: &AdminClient) -> Result<Vec<String>, AdminError> {
    let mut ids = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client.images(Some(Phase::Failed), None, after.as_deref(), PAGE).await?;
        ids.extend(page.images.into_iter().map(|image| image.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(ids),
        }
    }
}

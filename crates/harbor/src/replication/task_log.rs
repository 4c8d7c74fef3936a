//! The log of a replication's task: the only place where Harbor says why it failed.

use http::Method;

use super::{ExecutionId, READ_EXECUTION, ReplicationClient};
use crate::HarborError;
use crate::request::Request;
use crate::transport::API_MAX_BYTES;

/// How much of a line is repeated.
const SAID_MAX_CHARACTERS: usize = 200;

impl ReplicationClient {
    /// The last error in the log of a task; none where its log has none.
    ///
    /// # Errors
    /// As for every request to the API; a log that is gone is a 404.
    pub async fn last_error(&self, execution: ExecutionId, task: i64) -> Result<Option<String>, HarborError> {
        let path = format!("/api/v2.0/replication/executions/{execution}/tasks/{task}/log");
        let asked = self.transport.ask(Request::new(Method::GET, READ_EXECUTION, path)).await;
        let answer = self.counted(asked)?;
        let log = answer.read_whole(API_MAX_BYTES).await?;
        Ok(last_error_of(&String::from_utf8_lossy(&log)))
    }
}

/// What follows the place in Harbor's source: `2026-01-02T03:04:05Z [ERROR] [/jobservice/…/transfer.go:123]: message`.
/// A signed URL's query is a secret, and is cut off.
fn last_error_of(log: &str) -> Option<String> {
    let is_error = |line: &&str| line.contains("[ERROR]") || line.contains("[FATAL]");
    let line = log.lines().rev().find(is_error)?;
    let message = line.split_once("]: ").map_or(line, |(_, message)| message);
    let words = message.split_whitespace().map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => address,
        _ => word,
    });
    let message = words.collect::<Vec<_>>().join(" ");
    let message: String = message.chars().filter(|c| !c.is_control()).take(SAID_MAX_CHARACTERS).collect();
    (!message.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::last_error_of;

    const LOG: &str = "\
2026-01-02T03:04:05Z [INFO] [/controller/replication/transfer/image/transfer.go:126]: client for source created
2026-01-02T03:04:06Z [ERROR] [/controller/replication/transfer/image/transfer.go:211]: failed to pull the manifest
2026-01-02T03:04:07Z [ERROR] [/controller/replication/transfer/image/transfer.go:444]: failed to push manifest to \
https://1.dkr.ecr.eu.amazonaws.com/v2/a/manifests/1?X-Signature=s3cr3t: http status code: 403, body: denied
2026-01-02T03:04:08Z [INFO] [/controller/replication/transfer/image/transfer.go:99]: done";

    #[rstest]
    #[case::last_of_several(
        LOG,
        Some(
            "failed to push manifest to https://1.dkr.ecr.eu.amazonaws.com/v2/a/manifests/1 http status code: 403, \
             body: denied"
        )
    )]
    #[case::none("2026-01-02T03:04:05Z [INFO] [/a.go:1]: done", None)]
    #[case::without_a_place("[ERROR] broken", Some("[ERROR] broken"))]
    #[case::empty("", None)]
    fn the_last_error_of_a_log_is_told_without_secrets(#[case] log: &str, #[case] expected: Option<&str>) {
        assert_eq!(last_error_of(log).as_deref(), expected);
    }

    #[test]
    fn a_long_line_is_cut() {
        let log = format!("[ERROR] [a]: {}", "é".repeat(1_000));
        assert_eq!(last_error_of(&log).unwrap().chars().count(), 200);
    }
}
